"""What Karpenter does with a NodeClaim that another client created: what our nodes build on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.node_claims import UNVERIFIED, NodeClaims
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.karpenter import CLAIMS, NODE_CLASSES, USER, Karpenter
from tests.unit.service_specs import PIN
from tests.waiting import wait_for

DISRUPTED = "karpenter.sh/disrupted"
FINALIZER = "karpenter.sh/termination"


@pytest.fixture
def claims(control_plane: ControlPlane, karpenter: Karpenter) -> Iterator[NodeClaims]:
    """Karpenter's own are removed with it: one by one, each drain would take 5 s."""
    made = NodeClaims(control_plane)
    made.add_class()
    yield made
    assert control_plane.is_running("karpenter-kwok")


class Pod:
    """A pod for one node, which a PodDisruptionBudget protects from eviction."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._api = plane.api()
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"

    def create(self, claim: str) -> None:
        """The pod goes to the node of the claim: Karpenter names the host after the claim."""
        spec = {
            "nodeSelector": {"kubernetes.io/hostname": claim},
            "containers": [{"name": "web", "image": PIN}],
        }
        metadata = {"name": "web", "labels": {"app": "web"}}
        self._api.request("POST", self._path, {"metadata": metadata, "spec": spec})

    def protect(self) -> None:
        spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
        self._api.request("POST", self._budgets, {"metadata": {"name": "web"}, "spec": spec})
        path = f"{self._budgets}/web"
        wait_for("the budget counts the pod", lambda: self._api.get(path)["status"]["expectedPods"])

    def release(self) -> None:
        self._api.request("DELETE", f"{self._budgets}/web")

    def condition(self, kind: str) -> str:
        conditions = self._api.get(f"{self._path}/web")["status"].get("conditions", ())
        return next((str(c["status"]) for c in conditions if c["type"] == kind), "")

    def until(self, kind: str, status: str) -> None:
        wait_for(f"the pod has {kind}={status}", lambda: self.condition(kind) == status)

    @property
    def exists(self) -> bool:
        return bool(self._api.get(self._path)["items"])

    @property
    def is_terminating(self) -> bool:
        return "deletionTimestamp" in self._api.get(f"{self._path}/web")["metadata"]


@pytest.fixture
def pod(control_plane: ControlPlane, namespace: str) -> Pod:
    return Pod(control_plane, namespace)


def taints(node: Json) -> set[str]:
    return {taint["key"] for taint in node["spec"].get("taints", ())}


def name_of(node: Json) -> str:
    return str(node["metadata"]["name"])


def node_names(plane: ControlPlane) -> set[str]:
    return {name_of(node) for node in plane.api().get("/api/v1/nodes")["items"]}


def test_claim_without_a_pool_becomes_a_node_with_its_labels_annotations_and_taints(
    claims: NodeClaims,
) -> None:
    given = {"labels": {"immutable.dev/pool": "web"}, "annotations": {"immutable.dev/try": "1"}}
    team = {"key": "team", "value": "a", "effect": "NoSchedule"}
    node = claims.create_ready("copied", metadata=given, taints=[team])
    metadata, claim = node["metadata"], claims.get("copied")
    assert metadata["labels"].items() >= given["labels"].items()
    assert metadata["annotations"].items() >= given["annotations"].items()
    kept = [taint for taint in node["spec"]["taints"] if "kubernetes.io" not in taint["key"]]
    assert kept == [team, UNVERIFIED]
    labels = metadata["labels"]
    assert labels["kubernetes.io/hostname"] == "copied"
    assert labels["node.kubernetes.io/instance-type"] == "c-2x-amd64-linux"
    assert labels["topology.kubernetes.io/zone"] == "test-zone-a"
    assert labels["karpenter.sh/registered"] == "true"
    assert "karpenter.sh/nodepool" not in labels
    assert metadata["finalizers"] == claim["metadata"]["finalizers"] == [FINALIZER]
    [owner] = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("NodeClaim", "copied")
    # The name ends at random: whoever needs it has to read it from the status of the claim.
    assert name_of(node).startswith("kwok-copied-")
    assert claim["status"]["nodeName"] == name_of(node)
    assert claim["status"]["providerID"] == node["spec"]["providerID"] == f"kwok://{name_of(node)}"


def test_claim_is_initialized_and_its_node_used_once_the_startup_taint_is_removed(
    claims: NodeClaims, pod: Pod
) -> None:
    claims.create_ready("gated")
    pod.create("gated")
    pod.until("PodScheduled", "False")
    waiting = claims.condition("gated", "Initialized")
    assert (waiting["status"], claims.condition("gated", "Ready")["status"]) == ("Unknown",) * 2
    assert UNVERIFIED["key"] in taints(claims.node("gated"))
    claims.verify("gated")
    claims.until("gated", "it is initialized", "Initialized")
    claims.until("gated", "it is Ready", "Ready")
    pod.until("Ready", "True")
    assert UNVERIFIED["key"] not in taints(claims.node("gated"))
    assert claims.node("gated")["metadata"]["labels"]["karpenter.sh/initialized"] == "true"


def test_later_labels_and_annotations_of_a_claim_are_not_copied_to_its_node(
    claims: NodeClaims,
) -> None:
    claims.create_ready("later")
    later = {"immutable.dev/later": "yes"}
    api = claims.plane.api()
    api.merge_patch(f"{CLAIMS}/later", {"metadata": {"labels": later, "annotations": later}})
    # Karpenter sees to the claim once more, and so has seen the change.
    claims.verify("later")
    claims.until("later", "it is initialized", "Initialized")
    metadata = claims.node("later")["metadata"]
    assert "immutable.dev/later" not in metadata["labels"] | metadata["annotations"]


def test_image_id_can_be_simulated_and_is_kept(claims: NodeClaims) -> None:
    """The kwok cloud has no images: a test writes what a real cloud reports."""
    claims.create_ready("image")
    assert "imageID" not in claims.get("image")["status"]
    body = {"status": {"imageID": "ami-0123"}}
    claims.plane.api().merge_patch(f"{CLAIMS}/image/status", body)
    claims.verify("image")
    claims.until("image", "it is initialized", "Initialized")
    assert claims.get("image")["status"]["imageID"] == "ami-0123"


def test_deleted_claim_waits_until_a_disruption_budget_lets_the_pods_go(
    claims: NodeClaims, pod: Pod
) -> None:
    node = name_of(claims.create_ready("drained", startupTaints=[]))
    pod.create("drained")
    pod.until("Ready", "True")
    pod.protect()
    audit, mark = claims.plane.audit(), claims.plane.audit().mark()
    claims.delete("drained")

    def evictions() -> list[int]:
        return [
            record.code
            for record in audit.since(mark)
            if (record.user, record.target) == (USER, "pods/eviction")
        ]

    wait_for("Karpenter was refused an eviction", lambda: 429 in evictions())
    assert not pod.is_terminating
    claims.until("drained", "it is being drained", "Drained", "Unknown")
    terminating = claims.node("drained")
    assert "deletionTimestamp" in terminating["metadata"]
    assert DISRUPTED in taints(terminating)
    wait_for("an event says so", lambda: "FailedDraining" in claims.event_reasons(node))
    pod.release()
    claims.until_gone("drained")
    assert not pod.exists
    assert 201 in evictions()
    assert node not in node_names(claims.plane)


def test_claim_with_a_missing_class_vanishes_and_an_event_says_why(claims: NodeClaims) -> None:
    claims.create("classless", node_class="absent")
    claims.until_gone("classless")
    [event] = wait_for("an event says why", lambda: claims.events("classless"))
    assert event["reason"] == "InsufficientCapacityError"
    assert 'KWOKNodeClass.karpenter.kwok.sh "absent" not found' in event["message"]


def test_claim_whose_class_is_not_ready_is_deleted(claims: NodeClaims) -> None:
    claims.add_class("sick")
    condition = {"type": "Ready", "status": "False", "reason": "NoImage", "message": "no image"}
    condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    body = {"status": {"conditions": [condition]}}
    claims.plane.api().merge_patch(f"{NODE_CLASSES}/sick/status", body)
    claims.create("unlucky", node_class="sick")
    claims.until_gone("unlucky")


def test_claim_with_an_unknown_instance_type_stays_and_says_why(claims: NodeClaims) -> None:
    key = "node.kubernetes.io/instance-type"
    wrong = [{"key": key, "operator": "In", "values": ["huge"]}]
    claims.create("wrong", requirements=wrong)
    claims.until("wrong", "its launch failed", "Launched", "Unknown", "LaunchFailed")
    message = claims.condition("wrong", "Launched")["message"]
    assert "instance type not found (instance-type=huge)" in message


def test_node_that_is_not_ready_and_deleted_ends_with_its_claim_without_a_drain(
    claims: NodeClaims, pod: Pod
) -> None:
    node = name_of(claims.create_ready("lost", startupTaints=[]))
    pod.create("lost")
    pod.until("Ready", "True")
    pod.protect()
    claims.plane.set_node(node, "not-ready")
    wait_for("the node is NotReady", lambda: claims.plane.node_ready(node) == "False")
    mark = claims.plane.audit().mark()
    claims.plane.api().request("DELETE", f"/api/v1/nodes/{node}")
    claims.until_gone("lost")
    assert node not in node_names(claims.plane)
    targets = {r.target for r in claims.plane.audit().since(mark) if r.user == USER}
    assert "pods/eviction" not in targets


def test_claim_deleted_while_karpenter_is_down_ends_when_it_is_back(
    claims: NodeClaims, karpenter: Karpenter
) -> None:
    node = name_of(claims.create_ready("orphan"))
    karpenter.kill()
    try:
        claims.delete("orphan")
        assert "deletionTimestamp" in claims.get("orphan")["metadata"]
        assert "deletionTimestamp" not in claims.node("orphan")["metadata"]
        assert claims.get("orphan")["metadata"]["finalizers"] == [FINALIZER]
    finally:
        karpenter.revive()
    claims.until_gone("orphan")
    assert node not in node_names(claims.plane)
