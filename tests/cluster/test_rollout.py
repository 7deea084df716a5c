"""A pinned service is replaced, never patched: births, replacements, and their budgets.

An independent watcher records what happened (`History`); the budgets hold at each of its steps.
"""

from __future__ import annotations

import re

import pytest

from immutable_operator.api.names import API_VERSION
from immutable_operator.kube.times import moment
from tests.cluster.history import History
from tests.cluster.services import Service, annotation, condition, names, names_of, pin, told_to_end
from tests.controlplane.api import Json


def test_first_apply_creates_named_labelled_owned_pods(web: Service) -> None:
    web.apply(image="a", replicas=3)
    web.until_ready()
    service, pods, [record] = web.get(), web.pods(), web.revisions()
    revision = web.revision()
    assert len(pods) == 3
    for pod in pods:
        meta = pod["metadata"]
        assert re.fullmatch(rf"web-im{revision}-[a-z0-9]{{5}}", meta["name"])
        assert meta["labels"] == {
            "app": "web",
            "immutable.dev/service": "web",
            "immutable.dev/revision": revision,
        }
        assert meta["ownerReferences"] == [
            {
                "apiVersion": API_VERSION,
                "kind": "ImmutableService",
                "name": "web",
                "uid": service["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
        assert annotation(pod, "incarnation") == "0"
        assert annotation(pod, "replaces") is None
        assert str(annotation(pod, "because")).startswith("Created: 3 wanted")
        assert pod["spec"]["containers"][0]["image"] == pin("a")
        assert pod["status"]["containerStatuses"][0]["imageID"] == pin("a")
    assert {annotation(pod, "slot") for pod in pods} == {"0", "1", "2"}
    assert record["metadata"]["name"] == f"web-im{revision}"
    spec = record["spec"]
    assert (spec["service"], spec["number"], spec["revision"]) == ("web", 1, revision)
    assert (spec["reason"], spec["by"]) == ("Created", "kubectl-client-side-apply")
    assert spec["image"] == f"web@{pin('a').partition('sha256:')[2][:12]}"
    # As it is born: with a root file system that is read-only (decision 83).
    [container] = spec["template"]["spec"]["containers"]
    assert container.pop("securityContext") == {"readOnlyRootFilesystem": True}
    assert spec["template"] == service["spec"]["template"]


@pytest.mark.parametrize(
    ("replicas", "rollout", "most", "fewest"),
    [
        pytest.param(4, {}, 5, 4, id="default: surge 25%, unavailable 0"),
        pytest.param(3, {"maxSurge": 0, "maxUnavailable": 1}, 3, 2, id="no surge"),
        pytest.param(5, {"maxSurge": "30%", "maxUnavailable": "30%"}, 7, 4, id="percentages"),
        pytest.param(1, {}, 2, 1, id="one replica"),
    ],
)
def test_new_digest_replaces_every_pod_within_budget(
    web: Service, replicas: int, rollout: Json, most: int, fewest: int
) -> None:
    times = {"ready-delay": "300ms", "terminate-delay": "500ms"}
    web.apply(image="a", replicas=replicas, rollout=rollout, sim=times)
    web.until_ready()
    before = names_of(web.pods())
    with History(web) as history:
        web.apply(image="b")
        web.until_ready()
        web.until("the old pods are gone", lambda: not before & names_of(web.pods()))
        history.assert_budget(most=most, fewest=fewest)
        births = history.births()
    after = web.pods()
    assert len(after) == replicas
    for pod in after:
        assert pod["spec"]["containers"][0]["image"] == pin("b")
        assert pod["status"]["containerStatuses"][0]["imageID"] == pin("b")
        assert str(annotation(pod, "because")).startswith("Outdated: revision 2")
    # One pod for each that went, and each says for which.
    assert names_of([c.pod for c in births]) == names_of(after)
    assert {annotation(pod, "replaces") for pod in after} == before
    assert [r["spec"]["reason"] for r in web.revisions()] == ["Created", "TemplateChanged"]


def test_successor_is_ready_before_its_predecessor_is_told_to_end(web: Service) -> None:
    web.apply(image="a", replicas=2, sim={"ready-delay": "500ms"})
    web.until_ready()
    with History(web) as history:
        web.apply(image="b")
        web.until_ready()
        ended = {c.name: c.version for c in history.retirements()}
        assert len(ended) == 2
        for pod in web.active():
            predecessor = str(annotation(pod, "replaces"))
            ready = history.first_ready(pod["metadata"]["name"]).version
            assert ready < ended[predecessor], history.story()


def test_min_ready_seconds_delay_replacement(web: Service) -> None:
    """Ready is not available: the predecessor stays until its successor was ready for 3 s."""
    web.apply(image="a", replicas=1, rollout={"minReadySeconds": 500})
    web.until("its pod is ready", lambda: web.status().get("readyReplicas") == 1)
    assert condition(web.get(), "Ready")["status"] == "False"
    assert web.status()["availableReplicas"] == 0
    web.apply(rollout={"minReadySeconds": 3})
    web.until_ready()
    assert web.status()["availableReplicas"] == 1
    with History(web) as history:
        web.apply(image="b")
        web.until_ready()
        [successor], [end] = history.births(), history.retirements()
        ready = condition(history.first_ready(successor.name).pod, "Ready")
        assert told_to_end(end.pod) - moment(ready["lastTransitionTime"]) >= 3, history.story()


def test_newest_spec_wins(web: Service) -> None:
    web.apply(image="a", replicas=4, sim={"ready-delay": "1s"}, rollout={"maxSurge": 2})
    web.until_ready()
    first = web.revision()
    with History(web) as history:
        web.apply(image="b")
        web.until("b grows", lambda: pin("b") in web.images())
        web.apply(image="c")
        web.until_ready()
        history.assert_budget(most=6, fewest=4)
        births = history.births()
    second, third = (r["spec"]["revision"] for r in web.revisions()[1:])
    assert web.images() == [pin("c")] * 4
    assert {c.revision for c in births} == {second, third}
    superseded_at = int(web.revisions()[2]["metadata"]["resourceVersion"])
    late = [c.name for c in births if c.revision == second and c.version > superseded_at]
    assert not late, f"revision {second} grew after it was superseded: {late}"
    assert web.revision() == third != first


def test_rollback_reuses_revision(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    first = web.revision()
    web.apply(image="b")
    web.until_ready()
    web.apply(image="a")
    web.until_ready()
    assert web.revision() == first
    assert [r["spec"]["number"] for r in web.revisions()] == [1, 2]
    assert web.images() == [pin("a")] * 2
    assert {pod["metadata"]["labels"]["immutable.dev/revision"] for pod in web.active()} == {first}


@pytest.mark.parametrize(("start", "end"), [(3, 6), (6, 2)], ids=["up", "down"])
def test_scaling_during_rollout_keeps_budget(web: Service, start: int, end: int) -> None:
    web.apply(image="a", replicas=start, sim={"ready-delay": "1s"}, rollout={"maxSurge": 1})
    web.until_ready()
    with History(web) as history:
        web.apply(image="b")
        web.until("b grows", lambda: pin("b") in web.images())
        web.kubectl("scale", "imsvc/web", f"--replicas={end}")
        web.until_ready()
        web.until("no more than wanted", lambda: len(web.pods()) == end)
        history.assert_budget(most=max(start, end) + 1, fewest=min(start, end))
    assert web.images() == [pin("b")] * end
    assert len(web.revisions()) == 2


def test_scaling_replaces_no_pod(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    before = names_of(web.pods())
    web.apply(replicas=5)
    web.until_ready()
    assert len(web.active()) == 5
    assert before < names(web)
    web.apply(replicas=1)
    web.until_ready()
    web.until("one is left", lambda: len(web.pods()) == 1)
    assert len(web.revisions()) == 1


def test_unhealthy_pods_are_replaced_first(web: Service) -> None:
    web.apply(image="a", replicas=3, sim={"ready-delay": "500ms"})
    web.until_ready()
    sick = web.pods()[1]["metadata"]["name"]
    web.mark_pod(sick, fault="not-ready")
    web.until("it is seen", lambda: web.status()["readyReplicas"] == 2)
    with History(web) as history:
        web.apply(image="b")
        web.until_ready()
        assert history.retirements()[0].name == sick, history.story()
        history.assert_budget(most=4, fewest=2)


@pytest.mark.parametrize(
    ("rollout", "left"),
    [
        pytest.param({"maxSurge": 1, "maxUnavailable": 2}, 4, id="a surge can prove it"),
        pytest.param({"maxSurge": 0, "maxUnavailable": 1}, 3, id="one must make room"),
    ],
)
def test_broken_revision_keeps_healthy_pods(web: Service, rollout: Json, left: int) -> None:
    """Until one pod of the new revision was available, the last good ones stay."""
    web.apply(image="a", replicas=4, rollout=rollout)
    web.until_ready()
    web.apply(image="b", sim={"fault": "never-ready"})
    web.until("b was tried", lambda: pin("b") in web.images())
    web.always("the rest stays", lambda: web.images().count(pin("a")) >= left, 4)
    assert web.images().count(pin("a")) == left
    web.apply(image="a", sim={})
    web.until_ready()
    assert len(web.revisions()) == 2


def test_update_at_0_replicas_creates_no_pods(web: Service) -> None:
    web.apply(image="a", replicas=0)
    web.until_ready()
    assert web.pods() == []
    web.apply(image="b")
    web.until_ready()
    assert web.pods() == []
    assert len(web.revisions()) == 2
    web.apply(replicas=2)
    web.until_ready()
    assert web.images() == [pin("b")] * 2
    web.apply(replicas=0)
    web.until_ready()
    web.until("all are gone", lambda: not web.pods())


def test_unset_replicas_default_to_1_and_keep_their_value(web: Service) -> None:
    web.apply(image="a", replicas=None)
    web.until_ready()
    assert len(web.active()) == 1
    web.kubectl("scale", "imsvc/web", "--replicas=3")
    web.until_ready()
    assert len(web.active()) == 3
    web.apply(image="b")
    web.until_ready()
    assert web.images() == [pin("b")] * 3
    web.apply(replicas=2)
    web.until_ready()
    web.apply(replicas=None)  # kubectl apply takes the field away
    web.until_ready()
    assert len(web.active()) == 2


def test_suspend_stops_rollout_and_resume_finishes_it(web: Service) -> None:
    web.apply(image="a", replicas=3, sim={"ready-delay": "1s"})
    web.until_ready()
    web.apply(image="b")
    web.until("b grows", lambda: pin("b") in web.images())
    web.apply(spec={"suspend": True})
    web.until("it says so", lambda: condition(web.get(), "Ready")["reason"] == "Suspended")
    with History(web) as history:
        web.kubectl("delete", "pod", names(web).pop(), "--wait=false")
        left = names(web)
        web.always("nothing is created or retired", lambda: names(web) == left, 3)
        web.apply(image="c")
        web.always("nothing is created or retired", lambda: names(web) == left, 2)
        assert history.births() == []
    assert condition(web.get(), "Reconciling")["status"] == "False"
    assert condition(web.get(), "Stalled")["status"] == "False"
    assert len(web.revisions()) == 2, "a suspended service records nothing"
    web.apply(spec={"suspend": False})
    web.until_ready()
    assert web.images() == [pin("c")] * 3
