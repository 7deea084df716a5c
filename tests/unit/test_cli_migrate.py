"""`kubectl immutable migrate`: the rules, without a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immutable_operator.api.service import validate_service
from immutable_operator.cli.conversion import convert
from immutable_operator.cli.migration import (
    NO_DIGEST,
    Count,
    deployment_of,
    pinned_template,
    refusal,
    step,
    surge_of,
    tool_of,
    total_of,
)
from immutable_operator.cli.problem import CannotRun
from tests.unit.service_specs import PIN

DIGEST = "sha256:" + "9f" * 32


@given(st.integers(0, 20), st.integers(1, 5), st.data())
def test_migration_ends_and_never_has_too_few_or_too_many_pods(
    total: int, surge: int, data: st.DataObject
) -> None:
    """Pods come and go at any pace between two steps."""
    old, new = Count(total, total, total), Count(0, 0, 0)
    for _ in range(500):
        shrunk, grown = step(total, surge, old, new)
        assert shrunk <= old.wanted
        assert grown >= new.wanted
        gone = data.draw(st.integers(0, max(0, old.there - shrunk)))
        created = data.draw(st.integers(0, max(0, grown - new.there)))
        ready = data.draw(st.integers(0, new.there + created - new.available))
        if (shrunk, grown) == (old.wanted, new.wanted) and not gone + created + ready:
            # Time passes: whatever is under way happens.
            gone, created = old.there - shrunk, grown - new.there
            ready = new.there + created - new.available
        old = Count(shrunk, old.there - gone, min(old.available, old.there - gone))
        new = Count(grown, new.there + created, new.available + ready)
        assert old.there + new.there <= total + surge
        assert old.there + new.available >= total
        if old.there == 0 and new.available == total:
            return
    raise AssertionError("it does not end")


@pytest.mark.parametrize(
    ("budget", "replicas", "wanted"),
    [(None, 4, 1), (None, 5, 2), ({"maxSurge": 0}, 5, 1), ({"maxSurge": "100%"}, 3, 3), ({}, 0, 1)],
)
def test_surge_is_that_of_the_budget_and_at_least_one(
    budget: Any, replicas: int, wanted: int
) -> None:
    assert surge_of(budget, replicas) == wanted


@pytest.mark.parametrize(
    ("replicas", "marks", "is_new", "total"),
    [
        (3, {}, True, 3),
        (1, {"replicas": 3}, False, 3),  # it goes on
        (1, {"replicas": 3}, True, 3),  # the service was deleted on the way
        (5, {"replicas": 3}, True, 5),  # nothing had been moved, and it was scaled since
        (5, {"replicas": 3, "moved": True}, True, 5),  # another migration, long after
        (0, {"replicas": 3, "moved": True}, False, 3),
    ],
)
def test_migration_moves_all_pods_that_the_deployment_has(
    replicas: int, marks: Any, is_new: bool, total: int
) -> None:
    """One with fewer would lose the others before they have a successor."""
    assert total_of({"spec": {"replicas": replicas}}, marks, is_new=is_new) == total


@pytest.mark.parametrize(
    ("metadata", "tool"),
    [
        ({}, ""),
        ({"labels": {"app.kubernetes.io/managed-by": "kubectl"}}, ""),
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm"),
        ({"annotations": {"meta.helm.sh/release-name": "shop"}}, "Helm"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, "Flux"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "shop"}}, "Flux"),
        ({"managedFields": [{"manager": "kubectl"}, {"manager": "argocd-controller"}]}, "Argo CD"),
        ({"managedFields": [{"manager": "kubectl-client-side-apply"}]}, ""),
    ],
)
def test_tool_that_owns_an_object_is_named(metadata: Any, tool: str) -> None:
    assert tool_of({"metadata": metadata}).partition(" (")[0] == tool


def rolled_out(**changes: Any) -> dict[str, Any]:
    status = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
    metadata = {"name": "web", "generation": 2}
    return {
        "metadata": metadata | changes.get("metadata", {}),
        "spec": {"replicas": 3} | changes.get("spec", {}),
        "status": status | changes.get("status", {}),
    }


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"spec": {"paused": True}}, "it is paused"),
        ({"spec": {"strategy": {"type": "Recreate"}}}, "its strategy is Recreate"),
        ({"status": {"updatedReplicas": 2}}, "its own rollout has not ended"),
        ({"status": {"availableReplicas": 2}}, "its own rollout has not ended"),
        ({"metadata": {"generation": 3}}, "its own rollout has not ended"),
        (
            {"metadata": {"ownerReferences": [{"kind": "App", "name": "a", "controller": True}]}},
            "it belongs to App a",
        ),
    ],
)
def test_deployment_that_cannot_be_migrated_says_why(changes: Any, says: str) -> None:
    found = refusal(rolled_out(**changes))
    assert found.startswith(says)
    assert bool(found) is bool(says)


def pod(*images: str, init: str = "") -> dict[str, Any]:
    statuses = [{"name": f"c{n}", "imageID": image} for n, image in enumerate(images)]
    status: dict[str, Any] = {"containerStatuses": statuses}
    return {"status": status | {"initContainerStatuses": [{"name": "init", "imageID": init}]}}


def template(*images: str, init: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = {
        "containers": [{"name": f"c{n}", "image": image} for n, image in enumerate(images)]
    }
    if init:
        spec["initContainers"] = [{"name": "init", "image": init}]
    return {"metadata": {"labels": {"app": "web"}}, "spec": spec}


def test_images_get_the_digests_that_run_and_keep_their_names() -> None:
    given_, other = (
        template("nginx:1", PIN, init="registry.example/i"),
        f"mirror.example/n@{DIGEST}",
    )
    pods = [pod(other, "x", init=other), pod(f"docker-pullable://n@{DIGEST}", "y", init=other)]
    spec = pinned_template(given_, pods)["spec"]
    assert [c["image"] for c in spec["containers"]] == [
        f"docker.io/library/nginx:1@{DIGEST}",
        PIN,
    ]
    assert spec["initContainers"][0]["image"] == f"registry.example/i@{DIGEST}"
    assert given_ == template("nginx:1", PIN, init="registry.example/i")


@pytest.mark.parametrize(
    ("pods", "says"),
    [
        ([], "is not the same everywhere: no pod runs"),
        ([pod(f"a@{DIGEST}"), pod(PIN)], "is not the same everywhere: sha256:"),
        ([pod(DIGEST)], NO_DIGEST),
        ([pod("registry.example/web:v1")], NO_DIGEST),
    ],
)
def test_image_whose_digest_is_not_known_is_named(pods: Any, says: str) -> None:
    with pytest.raises(CannotRun) as error:
        pinned_template(template("registry.example/web:v1"), pods)
    assert says in str(error.value)
    assert "container c0" in str(error.value)
    assert "kubectl immutable pin" in str(error.value)


def test_deployment_of_a_service_converts_back_to_it() -> None:
    rollout = {"maxSurge": 2, "maxUnavailable": 1, "minReadySeconds": 3}
    spec = {"replicas": 5, "rollout": rollout, "template": template(PIN)}
    validate_service("web", spec)
    service = {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}
    made = deployment_of(service)
    assert made["spec"]["replicas"] == 0
    back = convert(made).body["spec"]
    assert (back["rollout"], back["template"]) == (rollout, spec["template"])


def test_deployment_needs_labels() -> None:
    spec: dict[str, Any] = {"template": {"spec": {}}}
    with pytest.raises(CannotRun, match="have no labels"):
        deployment_of({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
