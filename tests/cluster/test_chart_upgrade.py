"""`helm upgrade` from an earlier chart, with the values of that release, and `helm rollback`.

On a control plane of its own. The pods of the operator are simulated; the operator is a process
beside them, under the service account of the chart: it has the rights of the chart that is
installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from immutable_operator.admission.policies import policies
from immutable_operator.api.names import LABEL_GUARD
from tests.cluster.chart import CHART, LEAST, NAME, NAMESPACE, rendered
from tests.cluster.guards import POLICIES, guarded
from tests.cluster.history import Change, History
from tests.cluster.operator_process import USER, Installation, OperatorProcess
from tests.cluster.services import Service
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.waiting import wait_for

EARLIER = Path(__file__).parents[1] / "fixtures" / "chart" / "immutable-operator-f3feae5.tgz"
# What an administrator had set; the last one is a value of its own today.
OWN = (
    "--set=commonLabels.team=platform,logLevel=DEBUG",
    "--set=enforcement.excludeNamespaces={sandbox},extraArgs={--lease-seconds=20}",
)
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NEW_KIND = f"{DEFINITIONS}/immutablelineages.immutable.dev"
ROLE = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{NAME}"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}"
# What the operator of today misses in the earlier chart, or finds changed.
MISSING = ("PolicyMissing", "PolicyWeakened")
WAIT = ("--wait", "--timeout=2m")


@pytest.fixture(scope="module")
def web() -> Iterator[Service]:
    """A service with a ConfigMap that runs under the earlier chart, and with its operator."""
    with ControlPlane.start() as plane:
        plane.add_nodes(3)
        plane.kubectl("create", "namespace", NAMESPACE)
        options = (f"--values={LEAST}", *OWN, *WAIT)
        plane.helm("install", NAME, str(EARLIER), *options, namespace=NAMESPACE)
        operator = OperatorProcess(Installation(plane), "operator", ()).until_leading()
        plane.kubectl("create", "namespace", "shop")
        plane.kubectl("create", "configmap", "settings", "--from-literal=mode=a", namespace="shop")
        service = Service(plane, "shop")
        reads = {"envFrom": [{"configMapRef": {"name": "settings"}}]}
        service.apply(replicas=4, container=reads)
        service.until_ready()
        yield service
        operator.stop()


def to_today(plane: ControlPlane) -> None:
    """`helm upgrade` to today's chart with the values of the release."""
    plane.helm(
        *("upgrade", NAME, str(CHART), "--reset-then-reuse-values", *WAIT), namespace=NAMESPACE
    )


def whole(items: list[Json]) -> dict[str, str]:
    """The resource version of each object by its uid."""
    return {item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for item in items}


def wanted(plane: ControlPlane, kind: str, name: str) -> Json:
    """An object of today's chart with the values of the release."""
    made = rendered(plane, f"--values={LEAST}", *OWN)
    [found] = [d for d in made if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return found


def arguments(plane: ControlPlane) -> list[str]:
    """Those of the operator in its Deployment."""
    [container] = plane.api().get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    found: list[str] = container["args"]
    return found


def installed_policies(plane: ControlPlane) -> dict[str, Json]:
    items = plane.api().get(f"{POLICIES}?labelSelector={LABEL_GUARD.replace('/', '%2F')}")["items"]
    return {item["metadata"]["labels"][LABEL_GUARD]: item["spec"] for item in items}


@dataclass(frozen=True)
class Upgrade:
    """What there was before `helm upgrade`, and the pods that were created or retired meanwhile."""

    guarded: tuple[str, str]
    kinds: set[str]
    found: dict[str, str]
    moved: tuple[Change, ...]


@pytest.fixture(scope="module")
def upgrade(web: Service) -> Upgrade:
    """The upgrade to today's chart with the values of the release, until the operator noticed."""
    before, found = guarded(web), whole([*web.pods(), *web.revisions()])
    kinds = {item["metadata"]["name"] for item in web.plane.api().get(DEFINITIONS)["items"]}
    with History(web) as history:
        to_today(web.plane)
        web.until("the policies are all there", lambda: guarded(web)[1] not in MISSING)
    return Upgrade(before, kinds, found, (*history.births(), *history.retirements()))


def test_upgrade_from_an_earlier_chart_replaces_no_pod_of_a_service(
    web: Service, upgrade: Upgrade
) -> None:
    assert upgrade.moved == ()
    assert whole([*web.pods(), *web.revisions()]) == upgrade.found
    assert NEW_KIND.rpartition("/")[2] not in upgrade.kinds, "the earlier chart is an earlier one"
    assert upgrade.guarded[1] in MISSING


def test_upgrade_brings_crds_policies_and_rights_of_today(web: Service, upgrade: Upgrade) -> None:
    plane = web.plane
    served = {d["metadata"]["name"]: d for d in plane.api().get(DEFINITIONS)["items"]}
    for made in rendered(plane, f"--values={LEAST}"):
        if made["kind"] == "CustomResourceDefinition":
            [version], [own] = (
                made["spec"]["versions"],
                served[made["metadata"]["name"]]["spec"]["versions"],
            )
            assert version["schema"] == own["schema"]
    assert installed_policies(plane) == policies(USER)
    assert plane.api().get(ROLE)["rules"] == wanted(plane, "ClusterRole", NAME)["rules"]


def test_upgrade_keeps_the_values_of_the_release(web: Service, upgrade: Upgrade) -> None:
    made = wanted(web.plane, "Deployment", NAME)["spec"]["template"]["spec"]["containers"][0]
    assert arguments(web.plane) == made["args"]
    assert "--log-level=DEBUG" in made["args"]
    assert made["args"][-1] == "--lease-seconds=20", "extraArgs take precedence over today's values"
    labels = web.plane.api().get(DEPLOYMENT)["metadata"]["labels"]
    assert labels["team"] == "platform"


def test_service_is_rolled_out_after_the_upgrade(web: Service, upgrade: Upgrade) -> None:
    web.apply(image="b")
    web.until_ready()
    assert len(web.until_recorded()) == 8, "of the kind that is new"


def test_rollback_of_the_release_replaces_no_pod_and_keeps_new_kinds(
    web: Service, upgrade: Upgrade
) -> None:
    plane, pods = web.plane, whole(web.pods())
    plane.helm("rollback", NAME, "1", *WAIT, namespace=NAMESPACE)
    assert whole(web.pods()) == pods
    assert plane.api().get(NEW_KIND)["metadata"]["name"]
    assert "lineages" not in installed_policies(plane)
    assert plane.api().get(ROLE)["rules"] != wanted(plane, "ClusterRole", NAME)["rules"]
    assert "--writes-per-second=200" not in arguments(plane)
    web.apply(image="c")
    web.until_ready()


def test_release_is_upgraded_again_after_a_rollback(web: Service, upgrade: Upgrade) -> None:
    plane, pods = web.plane, whole(web.pods())
    to_today(plane)
    wait_for("the policies are all there", lambda: installed_policies(plane) == policies(USER))
    assert whole(web.pods()) == pods
    assert plane.api().get(ROLE)["rules"] == wanted(plane, "ClusterRole", NAME)["rules"]


# The last one: nothing is left afterwards.


def test_uninstall_deletes_services_and_pods_only_with_keep_off(web: Service) -> None:
    plane = web.plane
    keep_off = ("--reset-then-reuse-values", "--set=crds.keep=false")
    plane.helm("upgrade", NAME, str(CHART), *keep_off, *WAIT, namespace=NAMESPACE)
    assert len(web.pods()) == 4
    plane.helm("uninstall", NAME, "--wait", "--timeout=2m", namespace=NAMESPACE)
    assert plane.api().get(DEFINITIONS)["items"] == []
    pods = f"/api/v1/namespaces/{web.namespace}/pods"
    # The garbage collector notices every 30 s that a kind is gone, and retries with growing pauses.
    gone = 240.0
    wait_for("the pods of the service are gone", lambda: not plane.api().get(pods)["items"], gone)
