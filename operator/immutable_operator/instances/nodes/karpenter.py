"""The provider karpenter: a NodeClaim for each node, without a NodePool.

Karpenter starts and ends the machines, and says in the claim how far it is. What it cannot start it
deletes, and says why in an event at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from immutable_operator.api.names import ANNOTATION_PROVIDER
from immutable_operator.domain.model import Cause, Create, Instance, Move, Trouble, TroubleKind
from immutable_operator.instances.certificate import certificate
from immutable_operator.instances.driver import Refused, Seen, Template, outcome_of
from immutable_operator.instances.nodes.claimed import NodeClaims
from immutable_operator.instances.nodes.node_classes import NodeClasses
from immutable_operator.instances.nodes.observe import Observer
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import version_of
from immutable_operator.wire.claim import (
    CLAIMS,
    UNREGISTERED,
    ClaimRecord,
    claim_body,
)
from immutable_operator.wire.node import NodeRecord
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["KarpenterProvider"]

NOT_SERVED = "NodeClaim (karpenter.sh/v1) is not installed; install Karpenter"
EVENTS = ApiPath("api/v1", "events")
# The events of objects without a namespace are there.
EVENTS_NAMESPACE = "default"
NO_CAPACITY = "InsufficientCapacityError"
# What Karpenter says of a claim to which it has not come yet.
AWAITED = "AwaitingReconciliation"
OF_CAPACITY = ("capacity", "quota", "limitexceeded")
CAPACITY = "get more of this capacity, or allow other instance types or zones in requirements"
MOST_TEXT = 512
MOST_VERIFIED = 10_000


class _Event(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _Events(msgspec.Struct, frozen=True):
    items: list[_Event] = []


class _Created(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


class KarpenterProvider:
    """Each instance is a NodeClaim; its node appears when its machine registers."""

    name = "karpenter"
    resource = CLAIMS.resource

    def __init__(self, client: KubeClient, observer: Observer, claims: NodeClaims) -> None:
        self._client, self._observer, self._claims = client, observer, claims
        self._classes = NodeClasses(client)
        self._verified: dict[str, float] = {}

    def observe(self, owner: OwnerRecord) -> Iterator[Instance]:
        for claim in self._claims.of(owner.uid):
            yield self._instance(owner, claim, _trouble(claim))

    def gone(self, owner: OwnerRecord) -> Iterator[Instance]:
        for claim, why in self._claims.untold(owner.uid):
            if self._verified.pop(claim.uid, None) is None:
                yield self._instance(owner, claim, why or _last_trouble(claim))
        if len(self._verified) > MOST_VERIFIED:
            self._verified = {
                uid: at for uid, at in self._verified.items() if self._claims.remembers(uid)
            }

    def _instance(
        self, owner: OwnerRecord, claim: ClaimRecord, trouble: Trouble | None
    ) -> Instance:
        node = self._node(claim)
        lacks = tuple(_lacks(claim, node))
        found = self._observer.instance(owner, claim.meta, node, lacks, trouble)
        if found.machine is None:
            return found
        if node is None and claim.uid in self._verified:
            # Karpenter removes the node first; what was verified did not fail to start.
            machine = replace(found.machine, verified=self._verified[claim.uid], lacks=())
            return replace(found, machine=machine)
        if found.machine.verified is not None:
            self._verified[claim.uid] = found.machine.verified
        return found

    def _node(self, claim: ClaimRecord) -> NodeRecord | None:
        return self._observer.nodes.all.get(claim.node) if claim.node else None

    def node(self, uid: str) -> NodeRecord | None:
        claim = self._claims.get(uid)
        return self._node(claim) if claim else None

    def has(self, uid: str) -> bool:
        claim = self._claims.get(uid)
        return claim is not None and claim.meta.deletion_timestamp is None

    async def create(self, owner: OwnerRecord, template: Template, birth: Create) -> Seen:
        if not self._claims.served:
            raise Refused(Cause.DEPENDENCY, NOT_SERVED)
        ref = template["provider"]["karpenter"]["nodeClassRef"]
        which = (ref["group"], ref["kind"], ref["name"])
        await self._classes.check(which, template.get("image") or {})
        marks = {**certificate(birth), ANNOTATION_PROVIDER: self.name}
        body = claim_body(owner, template, birth.name, birth.revision, marks)
        try:
            answer = await self._client.create(CLAIMS.all(), body, resource=CLAIMS.resource)
        except Conflict as error:
            return self._own(owner, birth, error)
        except NotFound as error:
            raise Refused(Cause.DEPENDENCY, NOT_SERVED) from error
        except ApiError as error:
            raise outcome_of(Move.CREATE, error) from error
        made = msgspec.json.decode(answer, type=_Created).metadata
        version = version_of(made.resource_version)
        # Karpenter may delete it before any plan observes it.
        return lambda: self._claims.version >= version or self._claims.get(made.uid) is not None

    def _own(self, owner: OwnerRecord, birth: Create, error: Conflict) -> Seen:
        """Return at once if the claim that has the name already is the one to be created."""
        there = self._claims.named(birth.name)
        if there is None:
            # The watch has not shown it yet.
            raise Refused(Cause.API_SERVER, error.message) from error
        if there.owner != owner.uid:
            text = (
                f"nodeclaim {birth.name} exists but does not belong to this pool; the operator"
                " uses another name; to end this warning, delete it"
            )
            raise Refused(Cause.NAME_TAKEN, text) from error
        return lambda: True

    async def delete(self, name: str, uid: str) -> None:
        body = {"preconditions": {"uid": uid}}
        self._claims.deleted(uid)
        await self._client.delete(CLAIMS.item("", name), body, resource=CLAIMS.resource)

    async def explain(self, uid: str) -> bool:
        """Find out why a claim vanished; return False if nothing says so (yet)."""
        claim = self._claims.lost(uid)
        if claim is None or claim.is_launched or _trouble(claim) is not None:
            return True  # the pool is gone, or the claim had the reason itself
        if problem := await self._class_problem(claim):
            self._claims.explain(uid, Trouble(TroubleKind.CONFIG, problem, settled=True))
            return True
        path, chosen = EVENTS.collection(EVENTS_NAMESPACE), f"involvedObject.uid={uid}"
        answer = await self._client.list(path, resource="events", fieldSelector=chosen)
        for event in msgspec.json.decode(answer, type=_Events).items:
            if event.reason == NO_CAPACITY:
                text = f"{event.message[:MOST_TEXT]}; {CAPACITY}"
                self._claims.explain(uid, Trouble(TroubleKind.CAPACITY, text, settled=True))
                return True
        return False

    async def _class_problem(self, claim: ClaimRecord) -> str:
        """Return what is wrong with the node class of a claim now; "" if that is not known."""
        try:
            await self._classes.check(claim.node_class, {"id": claim.asked_image})
        except Refused as refused:
            return refused.message if refused.cause is Cause.CONFIG else ""
        return ""


def _lacks(claim: ClaimRecord, node: NodeRecord | None) -> Iterator[str]:
    """Yield what is missing until there is a registered node."""
    if not claim.is_launched:
        yield "Karpenter has not started a machine for it yet"
    elif node is None:
        yield "its machine has not registered as a node yet"
    elif any(taint.key == UNREGISTERED for taint in node.taints):
        yield f"Karpenter has not given node {node.name} its labels and taints yet"


def _trouble(claim: ClaimRecord) -> Trouble | None:
    """Return what a claim itself says; Karpenter tries again until it deletes the claim."""
    if claim.wrong_image:
        text = (
            f"its machine was started from image {claim.wrong_image} instead of"
            f" {claim.asked_image}; correct the image in its node class or in the pool"
        )
        return Trouble(TroubleKind.CONFIG, text, settled=True)
    launched = claim.condition("Launched")
    if claim.is_launched or launched.reason in ("", AWAITED):
        return None
    said = f"{launched.reason} {launched.message}".lower()
    is_full = any(word in said for word in OF_CAPACITY)
    kind = TroubleKind.CAPACITY if is_full else TroubleKind.CONFIG
    return Trouble(kind, f"its machine cannot be started: {launched.message[:MOST_TEXT]}")


def _last_trouble(claim: ClaimRecord) -> Trouble:
    """Return why a claim was deleted before its node worked, as far as it says so itself."""
    said = _trouble(claim)
    if said is not None:
        return Trouble(said.kind, said.message, settled=True)
    if claim.is_launched and not claim.is_registered:
        text = "its machine was started but did not register as a node; see the machine's log"
        return Trouble(TroubleKind.BOOT_TIMEOUT, text, settled=True)
    text = "it was deleted before its node worked; see the log of Karpenter"
    return Trouble(TroubleKind.VANISHED, text, settled=True)
