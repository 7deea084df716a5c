"""NodeClaims and node classes: what is asked of the API server, and what its answers mean."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from immutable_operator.api.names import (
    ANNOTATION_IMAGE,
    ANNOTATION_INCARNATION,
    ANNOTATION_POOL_UID,
    ANNOTATION_PROVIDER,
    ANNOTATION_SLOT,
    ANNOTATION_VERIFIED,
    LABEL_POOL,
    LABEL_REVISION,
    TAINT_UNVERIFIED,
)
from immutable_operator.domain.model import (
    Because,
    Cause,
    Create,
    Instance,
    Reason,
    TroubleKind,
    instance_name,
)
from immutable_operator.instances.driver import Refused, Seen
from immutable_operator.instances.nodes.claimed import NodeClaims
from immutable_operator.instances.nodes.karpenter import NOT_SERVED, KarpenterProvider
from immutable_operator.instances.nodes.observe import Observer
from immutable_operator.instances.nodes.simulated import SimulatedProvider
from immutable_operator.instances.nodes.watched import Daemons, Guests, Nodes, Volumes
from immutable_operator.kube.client import KubeClient
from immutable_operator.wire.claim import ClaimRecord, decode_claim
from immutable_operator.wire.node import decode_node
from immutable_operator.wire.owner import POOL, OwnerRecord
from tests.unit.pool_specs import karpenter
from tests.wire.scripted import Script, refusal

T = TypeVar("T")
UID, REVISION = "pool-1", "0a1b2c3d"
NAME = instance_name("web", UID, REVISION, 0, 0)
CLAIMS = "/apis/karpenter.sh/v1/nodeclaims"
GROUP = "/apis/karpenter.k8s.aws"
CLASS = f"{GROUP}/v1/ec2nodeclasses/default"
EVENTS = "/api/v1/namespaces/default/events"
IMAGE = "ami-0abc1234def567890"
BIRTH = Create(NAME, REVISION, 0, 0, None, Because(Reason.CREATED, "it is wanted"))
DISCOVERY: list[Any] = [
    {"preferredVersion": {"groupVersion": "karpenter.k8s.aws/v1"}},
    {
        "resources": [
            {"name": "ec2nodeclasses/status", "kind": "EC2NodeClass"},
            {"name": "ec2nodeclasses", "kind": "EC2NodeClass"},
        ]
    },
]
PINNED = {"metadata": {}, "spec": {"amiSelectorTerms": [{"id": IMAGE}]}}
MADE = {"metadata": {"name": NAME, "uid": "c1", "resourceVersion": "9"}}
EXISTS = refusal(409, f'nodeclaims.karpenter.sh "{NAME}" already exists')
ABSENT = refusal(404, "the server could not find the requested resource")


def owner() -> OwnerRecord:
    meta = {"name": "web", "uid": UID, "resourceVersion": "5", "generation": 1}
    taint = {"key": "team", "value": "a", "effect": "NoSchedule"}
    declared = {"labels": {"team": "a"}, "annotations": {"note": "b"}, "taints": [taint]}
    requirement = {"key": "zone", "operator": "In", "values": ["a"]}
    spec = karpenter(requirement, terminationGracePeriod="2d") | {"template": declared}
    return OwnerRecord.of({"metadata": meta, "spec": spec}, POOL, "immutable-system")


def claim(
    *, node: str = "", image: str = "", deleted: bool = False, uid: str = "c1", **conditions: str
) -> ClaimRecord:
    """``conditions`` are by type ``<status> <reason> <message>``."""
    given = []
    for kind, text in conditions.items():
        state, reason, message = [*text.split(" ", 2), "", ""][:3]
        given.append({"type": kind, "status": state, "reason": reason, "message": message})
    meta: dict[str, Any] = {
        "name": NAME,
        "uid": uid,
        "resourceVersion": "8",
        "creationTimestamp": "2026-11-22T01:00:00Z",
        "labels": {LABEL_POOL: "web", LABEL_REVISION: REVISION},
        "annotations": {
            ANNOTATION_POOL_UID: UID,
            ANNOTATION_SLOT: "0",
            ANNOTATION_INCARNATION: "0",
            ANNOTATION_IMAGE: IMAGE,
        },
        "finalizers": ["karpenter.sh/termination"],
    }
    if deleted:
        meta["deletionTimestamp"] = "2026-11-22T02:00:00Z"
    ref = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}
    status: dict[str, Any] = {"nodeName": node, "imageID": image, "conditions": given}
    body = {"metadata": meta, "spec": {"nodeClassRef": ref}, "status": status}
    return decode_claim(json.dumps(body).encode())


class Bed:
    """The stores of a provider."""

    def __init__(self, *claims: ClaimRecord) -> None:
        self.changed: list[str] = []
        self.vanished: list[str] = []
        self.claims = NodeClaims(self.changed.append, lambda gone: self.vanished.append(gone.uid))
        self.claims.replace(list(claims), 8)
        self.nodes = Nodes(lambda uid: None, lambda name: None, lambda: 0.0)
        self.observer = Observer(
            self.nodes,
            Guests(lambda node: None),
            Daemons(lambda: None),
            Volumes(lambda: None),
            frozenset(),
            "immutable-system",
        )

    def run(self, script: Script, story: Callable[[KarpenterProvider], Awaitable[T]]) -> T:
        async def told(client: KubeClient) -> T:
            return await story(KarpenterProvider(client, self.observer, self.claims))

        return script.run(told)

    def create(self, script: Script) -> Seen:
        pool = owner()
        template = pool.spec.template or {}
        return self.run(script, lambda provider: provider.create(pool, template, BIRTH))

    def refused(self, script: Script) -> Refused:
        with pytest.raises(Refused) as caught:
            self.create(script)
        return caught.value

    def observe(self) -> Instance:
        async def story(provider: KarpenterProvider) -> Instance:
            [found] = provider.observe(owner())
            return found

        return self.run(Script(), story)

    def add_node(self, name: str = "n1", *taints: str, verified: bool = False) -> None:
        recorded = {ANNOTATION_VERIFIED: '{"at":"2026-11-22T01:30:00Z","facts":{}}'}
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T01:10:00Z"}
        body = {
            "metadata": {
                "name": name,
                "uid": f"uid-{name}",
                "resourceVersion": "7",
                "annotations": recorded if verified else {},
            },
            "spec": {"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]},
            "status": {"conditions": [ready]},
        }
        self.nodes.upsert(decode_node(json.dumps(body).encode()), 7)


# Births.


def test_claim_has_everything_that_its_node_is_to_have() -> None:
    bed, script = Bed(), Script(*DISCOVERY, PINNED, MADE)
    seen = bed.create(script)
    assert script.lines == [
        f"GET {GROUP}",
        f"GET {GROUP}/v1",
        f"GET {CLASS}",
        f"POST {CLAIMS}",
    ]
    body = script.asked[-1].body
    assert body["metadata"]["name"] == NAME
    assert body["metadata"]["labels"] == {"team": "a", LABEL_POOL: "web", LABEL_REVISION: REVISION}
    marks = body["metadata"]["annotations"]
    assert marks["note"] == "b"
    assert marks[ANNOTATION_POOL_UID] == UID
    assert marks[ANNOTATION_PROVIDER] == "karpenter"
    assert marks[ANNOTATION_IMAGE] == IMAGE
    assert "ownerReferences" not in body["metadata"]
    spec = body["spec"]
    assert spec["expireAfter"] == "Never"
    assert spec["terminationGracePeriod"] == "172800s", "Karpenter knows no days"
    assert spec["taints"] == [{"key": "team", "value": "a", "effect": "NoSchedule"}]
    assert spec["startupTaints"] == [{"key": TAINT_UNVERIFIED, "effect": "NoSchedule"}]
    assert not seen()
    bed.claims.advance(9)
    assert seen(), "even if the claim is gone already"


def test_claim_that_exists_already_is_taken_as_created() -> None:
    assert Bed(claim()).create(Script(*DISCOVERY, PINNED, EXISTS))()


def test_claim_that_the_watch_has_not_shown_yet_is_tried_again() -> None:
    assert Bed().refused(Script(*DISCOVERY, PINNED, EXISTS)).cause is Cause.API_SERVER


def test_missing_karpenter_is_named_without_a_request() -> None:
    bed = Bed()
    bed.claims.serve(False)
    refused = bed.refused(Script())
    assert refused.cause is Cause.DEPENDENCY
    assert refused.message == NOT_SERVED
    bed.claims.serve(True)
    assert len(bed.changed) == 2, "the pools are planned again"
    assert bed.refused(Script(*DISCOVERY, PINNED, ABSENT)).cause is Cause.DEPENDENCY


def test_missing_node_class_is_named() -> None:
    said = Bed().refused(Script(*DISCOVERY, ABSENT))
    assert said.cause is Cause.CONFIG
    assert said.message.startswith("EC2NodeClass default not found; create it")


@pytest.mark.parametrize("answers", [[ABSENT], [DISCOVERY[0], {"resources": []}]])
def test_unknown_kind_of_node_class_is_named(answers: list[Any]) -> None:
    said = Bed().refused(Script(*answers))
    assert said.cause is Cause.CONFIG
    assert said.message.startswith("EC2NodeClass (karpenter.k8s.aws) is not installed")


def test_kind_of_node_class_without_a_permission_is_named() -> None:
    said = Bed().refused(Script(*DISCOVERY, refusal(403, "ec2nodeclasses is forbidden")))
    assert said.cause is Cause.FORBIDDEN
    assert "nodes.karpenter.nodeClasses" in said.message


# What a claim says.


def test_machine_is_not_taken_for_verified_before_karpenter_registered_its_node() -> None:
    bed = Bed(claim(node="n1", Launched="True"))
    machine = bed.observe().machine
    assert machine is not None
    assert machine.lacks == ("its machine has not registered as a node yet",)
    bed.add_node("n1", "karpenter.sh/unregistered")
    machine = bed.observe().machine
    assert machine is not None
    assert machine.lacks == ("Karpenter has not given node n1 its labels and taints yet",)
    bed.add_node("n1", TAINT_UNVERIFIED)
    machine = bed.observe().machine
    assert machine is not None
    assert (machine.lacks, machine.held) == ((), True)


def test_claim_that_waits_for_karpenter_is_in_no_trouble() -> None:
    found = Bed(claim(Launched="Unknown AwaitingReconciliation object is awaiting")).observe()
    assert found.trouble is None
    assert found.machine is not None
    assert found.machine.lacks == ("Karpenter has not started a machine for it yet",)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Unknown LaunchFailed instance type not found", TroubleKind.CONFIG),
        ("Unknown LaunchFailed VcpuLimitExceeded: you have requested", TroubleKind.CAPACITY),
        ("Unknown InsufficientInstanceCapacity none left", TroubleKind.CAPACITY),
    ],
)
def test_failed_launch_is_reported_with_its_class_while_karpenter_retries(
    said: str, kind: TroubleKind
) -> None:
    found = Bed(claim(Launched=said)).observe()
    assert found.trouble is not None
    assert found.trouble.kind is kind
    assert said.split(" ", 2)[2] in found.trouble.message
    assert not found.ended


@pytest.mark.parametrize(("image", "ends"), [("ami-other", True), (IMAGE, False), ("", False)])
def test_machine_from_another_image_ends(image: str, ends: bool) -> None:
    found = Bed(claim(image=image, Launched="True")).observe()
    assert found.ended == ends
    if ends:
        assert found.trouble is not None
        assert found.trouble.kind is TroubleKind.CONFIG
        assert f"image ami-other instead of {IMAGE}" in found.trouble.message


def test_claim_that_is_stuck_names_its_finalizer() -> None:
    machine = Bed(claim(deleted=True)).observe().machine
    assert machine is not None
    assert machine.deleted is not None
    assert machine.kept_by == ("karpenter.sh/termination",)


def test_node_of_karpenter_is_no_simulated_node_though_kwok_operates_it() -> None:
    bed = Bed(claim(node="n1", Launched="True"))
    marks = {ANNOTATION_POOL_UID: UID, "kwok.x-k8s.io/node": "fake"}
    for name, provider in (("n1", "karpenter"), ("n2", "simulated")):
        own = marks | {ANNOTATION_PROVIDER: provider}
        meta = {"name": name, "uid": f"uid-{name}", "annotations": own, "resourceVersion": "7"}
        meta["creationTimestamp"] = "2026-11-22T01:00:00Z"
        bed.nodes.upsert(decode_node(json.dumps({"metadata": meta}).encode()), 7)

    async def story(client: KubeClient) -> list[str]:
        return [i.name for i in SimulatedProvider(client, bed.observer).observe(owner())]

    assert Script().run(story) == ["n2"]


# Claims that vanish.


def vanish(bed: Bed, script: Script, *, explain: bool = True) -> list[Instance]:
    """Let Karpenter delete the claim; give what is known of it then, and later."""

    async def story(provider: KarpenterProvider) -> list[Instance]:
        list(provider.observe(owner()))
        bed.claims.replace([], 20)
        first = list(provider.gone(owner()))
        if explain:
            await provider.explain("c1")
        return [*first, *provider.gone(owner())]

    return bed.run(script, story)


def test_vanished_claim_ended_even_if_no_plan_observed_it() -> None:
    bed = Bed(claim())
    [found] = vanish(bed, Script(), explain=False)
    assert found.ended
    assert found.trouble is not None
    assert found.trouble.kind is TroubleKind.VANISHED
    assert bed.vanished == ["c1"]


def test_vanished_claim_is_explained_by_its_node_class() -> None:
    last = vanish(Bed(claim()), Script(*DISCOVERY, ABSENT))[-1]
    assert last.trouble is not None
    assert last.trouble.kind is TroubleKind.CONFIG
    assert last.trouble.message.startswith("EC2NodeClass default not found")


def test_vanished_claim_is_explained_by_an_event() -> None:
    event = {"reason": "InsufficientCapacityError", "message": "no c5.large in zone a"}
    script = Script(*DISCOVERY, PINNED, {"items": [{"reason": "Other"}, event]})
    last = vanish(Bed(claim()), script)[-1]
    assert script.lines[-1].startswith(f"GET {EVENTS}")
    assert last.trouble is not None
    assert last.trouble.kind is TroubleKind.CAPACITY
    assert last.trouble.message.startswith("no c5.large in zone a; get more of this capacity")


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        ({"Launched": "Unknown LaunchFailed no such type"}, TroubleKind.CONFIG),
        ({"Launched": "True", "Registered": "Unknown NodeNotFound"}, TroubleKind.BOOT_TIMEOUT),
    ],
)
def test_vanished_claim_that_said_why_itself_costs_no_request(
    last: dict[str, Any], kind: TroubleKind
) -> None:
    [found] = vanish(Bed(claim(**last)), Script())
    assert found.trouble is not None
    assert found.trouble.kind is kind


def test_node_that_worked_did_not_fail_to_start_when_its_claim_vanishes() -> None:
    """Karpenter removes the node before the claim."""
    bed = Bed(claim(node="n1", Launched="True", Registered="True"))
    bed.add_node("n1", verified=True)

    async def story(provider: KarpenterProvider) -> list[Instance]:
        list(provider.observe(owner()))
        bed.nodes.replace([], 19)
        [found] = provider.observe(owner())
        assert found.machine is not None
        assert found.machine.verified is not None
        bed.claims.replace([], 20)
        return list(provider.gone(owner()))

    assert bed.run(Script(), story) == []


def test_claim_that_the_operator_deletes_did_not_vanish() -> None:
    bed = Bed(claim())

    async def story(provider: KarpenterProvider) -> list[Instance]:
        await provider.delete(NAME, "c1")
        bed.claims.replace([], 20)
        return list(provider.gone(owner()))

    script = Script({"kind": "Status"})
    assert bed.run(script, story) == []
    assert script.asked[0].body == {"preconditions": {"uid": "c1"}}
    assert bed.vanished == []
