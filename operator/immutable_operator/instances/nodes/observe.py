"""From what is known of a node and of the pods on it to an instance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from immutable_operator.api.names import (
    ANNOTATION_RETIRING,
    ANNOTATION_TAINTED,
    ANNOTATION_VERIFIED,
    LABEL_POOL,
    LABEL_REVISION,
    TAINT_RETIRING,
    TAINT_UNVERIFIED,
)
from immutable_operator.domain.model import (
    Because,
    Guest,
    GuestKind,
    Instance,
    Machine,
    Trouble,
    TroubleKind,
    instance_name,
)
from immutable_operator.instances.certificate import read_certificate
from immutable_operator.instances.nodes.watched import Daemons, Guests, Nodes, Volumes
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.kube.times import moment
from immutable_operator.wire.guest import GuestRecord
from immutable_operator.wire.node import NodeRecord
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.placement import HOSTNAME

__all__ = ["Observer", "smoke_name"]

# Taints that pods of DaemonSets tolerate without saying so.
DAEMON_TAINTS = (
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/network-unavailable",
)
DAEMON_SET = "DaemonSet"
T = TypeVar("T", bound=msgspec.Struct)


class _Verified(msgspec.Struct, frozen=True):
    at: str
    facts: dict[str, str] = {}

    def __post_init__(self) -> None:
        moment(self.at)


class _Retiring(msgspec.Struct, frozen=True):
    since: str
    because: str = ""

    def __post_init__(self) -> None:
        moment(self.since)


class _Mark(msgspec.Struct, frozen=True):
    what: str = ""


def smoke_name(instance: str) -> str:
    """Return the name of the smoke pod of a node."""
    return f"{instance}-smoke"


@dataclass(frozen=True)
class Observer:
    """The stores from which instances are read. ``exempt`` are namespaces whose pods may access
    nodes; ``home`` is the namespace of the smoke pods.
    """

    nodes: Nodes
    guests: Guests
    daemons: Daemons
    volumes: Volumes
    exempt: frozenset[str]
    home: str

    def instance(
        self,
        owner: OwnerRecord,
        meta: ObjectMeta,
        node: NodeRecord | None,
        lacks: tuple[str, ...] = (),
        trouble: Trouble | None = None,
    ) -> Instance:
        """Return the instance whose certificate is in ``meta``.

        ``lacks`` and ``trouble`` are what its provider says of it.
        """
        machine = self._machine(meta, node, lacks)
        verified, ready = machine.verified, machine.ready_since
        works = verified is not None and ready is not None and not machine.held
        leaving = machine.retiring is not None or machine.deleted is not None
        return Instance(
            name=meta.name,
            uid=meta.uid,
            born=moment(meta.creation_timestamp),
            node=node.name if node else None,
            ready_since=max(verified or 0.0, ready or 0.0) if works else None,
            terminating=leaving,
            taint=_forged(owner, meta),
            trouble=trouble or _trouble(node, machine),
            ended=trouble is not None and trouble.settled,
            machine=machine,
            **read_certificate(meta),
        )

    def _machine(
        self, meta: ObjectMeta, node: NodeRecord | None, lacks: tuple[str, ...]
    ) -> Machine:
        deleted = moment(meta.deletion_timestamp) if meta.deletion_timestamp else None
        if node is None:
            kept = tuple(meta.finalizers)
            lacks = lacks or ("it has no node yet",)
            return Machine(lacks=lacks, deleted=deleted, kept_by=kept, held=True)
        if deleted is None and node.meta.deletion_timestamp:
            deleted = moment(node.meta.deletion_timestamp)
        verified = _read(node, ANNOTATION_VERIFIED, _Verified)
        retiring = _read(node, ANNOTATION_RETIRING, _Retiring)
        mark = _read(node, ANNOTATION_TAINTED, _Mark)
        held = any(taint.key == TAINT_UNVERIFIED for taint in node.taints)
        guests = sorted(self.guests.of(node.name), key=lambda g: (g.namespace, g.name))
        if verified is None:
            lacks = (*lacks, *self._lacks(node))
        smoke = self.guests.named(node.name, self.home, smoke_name(meta.name))
        return Machine(
            ready_since=node.ready_since,
            facts=node.facts,
            birth_facts=tuple(verified.facts.items()) if verified else (),
            verified=moment(verified.at) if verified else None,
            steady_since=self.nodes.steady_since(node),
            held=held,
            lacks=lacks,
            smoke=(smoke.phase or "Pending") if smoke else "",
            labels=tuple(sorted(node.meta.labels.items())),
            taints=tuple((t.key, t.value or "", t.effect) for t in node.taints),
            reached=(mark.what if mark else "") or self._reached(guests),
            marked=mark is not None,
            retiring=moment(retiring.since) if retiring else None,
            is_open=retiring is not None
            and not any(taint.key == TAINT_RETIRING for taint in node.taints),
            because=Because.read(retiring.because) if retiring else None,
            deleted=deleted,
            kept_by=(*meta.finalizers, *node.meta.finalizers),
            guests=tuple(self._guests(node, guests, meta.name)),
        )

    def _lacks(self, node: NodeRecord) -> Iterator[str]:
        """Yield what a node needs before it is verified."""
        if node.ready_since is None:
            yield f"node {node.name} is not Ready"
            return
        pods = (g for g in self.guests.of(node.name) if g.made_by == DAEMON_SET)
        served = {g.controller for g in pods if g.ready and not g.terminating}
        for daemon in sorted(self.daemons.all, key=lambda d: (d.namespace, d.name)):
            place, labels = daemon.placement, node.meta.labels
            if not place.selects(node.name, labels):
                continue
            if not place.tolerates(node.taints, DAEMON_TAINTS):
                continue
            if daemon.uid not in served:
                name = f"{daemon.namespace}/{daemon.name}"
                yield f"DaemonSet {name} has no ready pod on node {node.name}"

    def _reached(self, guests: list[GuestRecord]) -> str:
        """Return which pod has access to the node; what runs on every node belongs to it."""
        for guest in guests:
            usual = guest.made_by == DAEMON_SET or guest.mirror or guest.namespace in self.exempt
            if guest.access and not usual:
                return f"pod {guest.namespace}/{guest.name} {guest.access}"
        return ""

    def _guests(
        self, node: NodeRecord, guests: list[GuestRecord], instance: str
    ) -> Iterator[Guest]:
        host = node.meta.labels.get(HOSTNAME, node.name)
        local = self.volumes.only_on(host)
        for guest in guests:
            kind = self._kind(guest, instance)
            yield Guest(
                namespace=guest.namespace,
                name=guest.name,
                uid=guest.uid,
                kind=kind,
                terminating=guest.terminating,
                critical=guest.critical,
                keeps=guest.keeps,
                homeless="" if kind is GuestKind.STAYS else self._homeless(guest, local),
            )

    def _kind(self, guest: GuestRecord, instance: str) -> GuestKind:
        own = (guest.namespace, guest.name) == (self.home, smoke_name(instance))
        # A pod that is being deleted is gone when its kubelet has cleaned up, not when it ended:
        # its volumes are still in use, and without its node it stays until it is collected.
        over = guest.ended and not guest.terminating
        if own or guest.made_by == DAEMON_SET or guest.mirror or over:
            return GuestKind.STAYS
        return GuestKind.INSTANCE if guest.is_instance else GuestKind.EVICTED

    def _homeless(self, guest: GuestRecord, local: frozenset[str]) -> str:
        """Return why a pod could run on no other node; "" if nothing says so."""
        for claim in guest.claims:
            if f"{guest.namespace}/{claim}" in local:
                return (
                    f"uses PersistentVolumeClaim {claim}, whose volume exists on this node only;"
                    " move its data and delete the claim, or set drain.onBlocked: DeleteAfter"
                )
        if not guest.ports and not guest.placement.apart:
            return ""
        others = (n for n in self.nodes.all.values() if n.name != guest.owner)
        place = guest.placement
        fits = (n for n in others if place.selects(n.name, n.meta.labels))
        fits = (n for n in fits if n.is_usable and place.tolerates(n.taints))
        if any(self._has_room(guest, n) for n in fits):
            return ""
        return (
            "needs a node without pods that match its required anti-affinity or use its host ports,"
            " and there is none; add a node, or set drain.onBlocked: DeleteAfter"
        )

    def _has_room(self, guest: GuestRecord, node: NodeRecord) -> bool:
        for other in self.guests.of(node.name):
            if other.ended or other.uid == guest.uid:
                continue
            if set(other.ports) & set(guest.ports):
                return False
            labels = dict(other.labels)
            for term in guest.placement.apart:
                if term.topology_key != HOSTNAME or term.label_selector is None:
                    continue
                if other.namespace in (term.namespaces or [guest.namespace]) and (
                    term.label_selector.matches(labels)
                ):
                    return False
        return True


def _read(node: NodeRecord, key: str, kind: type[T]) -> T | None:
    """Return what the operator recorded on a node; None if others wrote something else there."""
    text = node.meta.annotations.get(key)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except READ_ERRORS:
        return None


def _trouble(node: NodeRecord | None, machine: Machine) -> Trouble | None:
    if node is None or machine.verified is None or machine.ready_since is not None:
        return None
    return Trouble(TroubleKind.NODE_NOT_READY, f"node {node.name} is not Ready")


def _forged(owner: OwnerRecord, meta: ObjectMeta) -> str | None:
    """Return a sentence if the certificate no longer matches the name."""
    born = read_certificate(meta)
    name = instance_name(owner.name, owner.uid, born["revision"], born["slot"], born["incarnation"])
    if name != meta.name:
        return f"its birth certificate ({LABEL_REVISION}, slot) does not match its name"
    if meta.labels.get(LABEL_POOL) != owner.name:
        return f"its label {LABEL_POOL} was edited"
    return None
