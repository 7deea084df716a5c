"""Node pools as users meet them, and the objects that belong to a service or a pool."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from immutable_operator.api import provider
from immutable_operator.api.names import API_VERSION
from tests.cluster.kstatus import compute
from tests.cluster.refusals import told
from tests.controlplane import ControlPlane
from tests.unit.pool_specs import IMAGE_IDS, POOLS, POOLS_REFUSED, karpenter, pool
from tests.unit.service_specs import Refused
from tests.waiting import wait_for

Json = dict[str, Any]
Apply = Callable[..., CompletedProcess[str]]
# Policies let only the operator write revisions; what the definitions say is below.
pytestmark = pytest.mark.usefixtures("without_policies")
EXAMPLE = Path(__file__).parents[2] / "examples" / "nodepool.yaml"


def manifest(given: Json, name: str = "web", kind: str = "ImmutableNodePool") -> Json:
    """Give the manifest of an object of the product."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": given}


@pytest.fixture(scope="module")
def apply(control_plane: ControlPlane, module_namespace: str) -> Apply:
    """`kubectl apply` of one object; what it prints is the user's view."""

    def run(given: Json, *options: str, check: bool = True) -> CompletedProcess[str]:
        return control_plane.kubectl(
            "apply", "-f", "-", *options,
            namespace=module_namespace, stdin=json.dumps(given), check=check,
        )  # fmt: skip

    wait_for(
        "the API server admits the kind",
        lambda: run(manifest(pool()), "--dry-run=server", check=False).returncode == 0,
    )
    return run


@pytest.fixture
def kubectl(control_plane: ControlPlane) -> Iterator[Callable[..., str]]:
    """`kubectl`, and what it prints; pools that a test created are deleted afterwards."""

    def run(*arguments: str) -> str:
        return control_plane.kubectl(*arguments).stdout

    yield run
    control_plane.kubectl("delete", "imnp", "--all")


@pytest.mark.parametrize("case", POOLS_REFUSED, ids=lambda case: case.why)
def test_bad_pool_is_refused_at_apply(case: Refused, apply: Apply) -> None:
    result = apply(manifest(case.spec, case.name), "--dry-run=server", check=False)
    assert result.returncode == 1
    text = result.stderr.strip().replace("is invalid: \n* ", "is invalid: ")
    first, *more = text.split("\n* ")
    assert first.startswith(f'The ImmutableNodePool "{case.name}" is invalid: {told(case)}')
    # The rest is the API server's own: what its scale subresource says, and that it stopped there.
    assert all(line.startswith((".spec.replicas: ", "<nil>: ", "spec.replicas: ")) for line in more)


@pytest.mark.parametrize("given", POOLS)
def test_good_pool_is_accepted_with_the_longest_name(given: Json, apply: Apply) -> None:
    apply(manifest(given, "x" * 45), "--dry-run=server")


@pytest.mark.parametrize("image", IMAGE_IDS)
def test_id_of_one_image_is_accepted_at_apply(image: str, apply: Apply) -> None:
    apply(manifest(pool(image={"id": image})), "--dry-run=server")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (pool(provider={"clusterAPI": {}}), "spec.provider.clusterAPI"),
        (pool({"maxsurge": 1}), "spec.rollout.maxsurge"),
        (pool(template={"kubelet": {"maxpods": 1}}), "spec.template.kubelet.maxpods"),
        (pool(drift={"bootId": "Ignore"}), "spec.drift.bootId"),
    ],
)
def test_typo_or_unknown_provider_is_refused_and_named(
    given: Json, path: str, apply: Apply
) -> None:
    result = apply(manifest(given), check=False)
    assert result.returncode == 1
    assert f'strict decoding error: unknown field "{path}"' in result.stderr


def test_unknown_provider_of_a_tool_without_strict_checks_is_refused_with_those_that_exist(
    apply: Apply,
) -> None:
    result = apply(manifest(pool(provider={"clusterAPI": {}})), "--validate=false", check=False)
    assert result.returncode == 1
    assert provider.NO_PROVIDER in result.stderr


def test_provider_of_a_pool_cannot_be_changed_but_its_settings_can(
    apply: Apply, kubectl: Callable[..., str]
) -> None:
    apply(manifest(pool()))
    apply(manifest(pool(provider={"simulated": {"capacity": {"cpu": 4}}})))
    result = apply(manifest(karpenter()), check=False)
    assert result.returncode == 1
    assert "the provider of a pool cannot be changed" in result.stderr
    assert "create another pool" in result.stderr


def test_new_pool_shows_columns_and_counts_as_in_progress(
    apply: Apply, kubectl: Callable[..., str]
) -> None:
    apply(manifest(pool(replicas=2)))
    titles, row = (line.split() for line in kubectl("get", "imnp").splitlines())
    assert " ".join(titles) == "NAME DESIRED CURRENT READY STALE REVISION OLDEST STATUS AGE"
    assert row[:2] == ["web", "2"]
    found = json.loads(kubectl("get", "imnp/web", "-o", "json"))
    assert found["status"] == {"observedGeneration": -1}
    assert compute(found) == "InProgress"
    assert "immutablenodepool.immutable.dev/web" in kubectl("get", "immutable", "-o", "name")


def test_pool_is_scaled_with_kubectl(
    apply: Apply, kubectl: Callable[..., str], control_plane: ControlPlane
) -> None:
    apply(manifest(pool(replicas=2)))
    kubectl("scale", "imnp/web", "--replicas=3")
    assert kubectl("get", "imnp/web", "-o", "jsonpath={.spec.replicas}") == "3"
    refused = control_plane.kubectl("scale", "imnp/web", "--replicas=5001", check=False)
    assert refused.returncode == 1
    assert "divide the pool into several pools" in refused.stderr


def test_pool_without_replicas_starts_with_one_and_keeps_its_number(
    apply: Apply, kubectl: Callable[..., str]
) -> None:
    def replicas() -> str:
        return kubectl("get", "imnp/web", "-o", "jsonpath={.spec.replicas}")

    apply(manifest(pool()))
    assert replicas() == "1"
    kubectl("scale", "imnp/web", "--replicas=3")
    apply(manifest(pool()))
    assert replicas() == "3"


def test_explain_describes_fields_of_pools(kubectl: Callable[..., str]) -> None:
    def explain(path: str) -> str:
        return " ".join(kubectl("explain", path).split())

    assert "ImmutableNodePool runs nodes (instances) of one image that are replaced" in explain(
        "imnp"
    )
    assert "image <Object> -required- The image from which the nodes start" in explain("imnp.spec")
    assert "Exactly one of id and digest must be set." in explain("imnp.spec.image")
    assert "nodeClassRef <Object> -required-" in explain("imnp.spec.provider.karpenter")
    assert "A different boot id: the machine was rebooted. Default Replace." in explain(
        "imnp.spec.drift"
    )
    status = explain("imnp.status")
    assert "Number of nodes that are Ready and verified." in status
    assert "pods" not in status
    assert " service" not in status


def test_example_of_a_pool_is_accepted(control_plane: ControlPlane, apply: Apply) -> None:
    result = control_plane.kubectl("apply", "-f", str(EXAMPLE), "--dry-run=server")
    assert "Warning" not in result.stderr


NODE = {
    "image": {"id": "ami-0abc1234def567890"},
    "template": {"labels": {"team": "a"}, "kubelet": {"systemReserved": {"cpu": 0.5}}},
    "provider": {"simulated": {"capacity": {"cpu": "8"}}},
}


def revision(**fields: Any) -> Json:
    """Give the manifest of a revision of a pool, but for what is asked for; None leaves out."""
    given = {
        "pool": "web",
        "number": 3,
        "revision": "9f2c41d0",
        "hash": "n1:" + "9f2c41d0" * 8,
        "reason": "TemplateChanged",
        "by": "kubectl",
        "image": "ami-0abc1234def567890",
        "node": NODE,
    } | fields
    left = {key: value for key, value in given.items() if value is not None}
    return manifest(left, "web-im9f2c41d0", "ImmutableRevision")


def test_revision_of_a_pool_shows_its_pool_and_cannot_be_changed(
    apply: Apply, control_plane: ControlPlane, module_namespace: str
) -> None:
    apply(revision())
    found = control_plane.kubectl("get", "imrev", namespace=module_namespace).stdout.splitlines()
    titles, row = (line.split() for line in found)
    assert titles[:3] == ["NAME", "OWNER", "NUMBER"]
    assert row[:3] == ["web-im9f2c41d0", "web", "3"]
    stored = control_plane.kubectl(
        "get", "imrev/web-im9f2c41d0", "-o", "json", namespace=module_namespace
    )
    assert json.loads(stored.stdout)["spec"]["node"] == NODE
    for change in (
        {"image": {"id": None, "digest": "ami-0abc1234def567890"}},
        {"template": {"labels": {"team": None, "other": "a"}}},
        {"template": {"kubelet": {"systemReserved": {"cpu": None, "memory": 0.5}}}},
        {"provider": {"simulated": {"capacity": {"cpu": 8}}}},
    ):
        result = apply_patch(control_plane, module_namespace, {"spec": {"node": change}})
        assert "a revision is a record and cannot be changed" in result.stderr, change


def apply_patch(plane: ControlPlane, namespace: str, change: Json) -> CompletedProcess[str]:
    return plane.kubectl(
        "patch", "imrev/web-im9f2c41d0", "--type=merge", "-p", json.dumps(change),
        namespace=namespace, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"service": "web"}, "set exactly one of service and pool"),
        ({"pool": None}, "set exactly one of service and pool"),
        ({"node": None}, "a revision of an ImmutableNodePool records nodes"),
        ({"template": {}}, "a revision of an ImmutableNodePool records nodes"),
        (
            {"service": "web", "pool": None},
            "a revision of an ImmutableService records a pod template",
        ),
    ],
)
def test_revision_that_mixes_service_and_pool_is_refused(
    given: Json, words: str, apply: Apply
) -> None:
    result = apply(revision(**given), "--dry-run=server", check=False)
    assert result.returncode == 1
    assert words in result.stderr


def test_action_concerns_a_service_or_a_pool(
    apply: Apply, control_plane: ControlPlane, module_namespace: str
) -> None:
    def action(name: str, **owner: str) -> Json:
        return manifest({"type": "Regenerate", **owner}, name, "ImmutableAction")

    apply(action("one", pool="nodes"))
    apply(action("two", service="shop"))
    found = control_plane.kubectl("get", "imact", namespace=module_namespace).stdout.splitlines()
    assert found[0].split()[:3] == ["NAME", "TYPE", "OWNER"]
    assert [line.split()[2] for line in found[1:]] == ["nodes", "shop"]
    for owner in ({}, {"pool": "web", "service": "web"}):
        result = apply(action("three", **owner), check=False)
        assert "set exactly one of service and pool" in result.stderr
