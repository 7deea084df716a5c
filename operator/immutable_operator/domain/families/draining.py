"""Drains: which pods leave a retired node, in which order, and what they wait for.

Instances of ImmutableServices are left to their own planner, which creates their successors first.
All others are evicted, so that PodDisruptionBudgets apply, the critical ones last. What runs on
every node (DaemonSets) and what the kubelet itself runs stays until the node is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from immutable_operator.domain.families import Care, tried
from immutable_operator.domain.model import (
    Because,
    End,
    Evict,
    Guest,
    GuestKind,
    Instance,
    Machine,
    Move,
    Obstacle,
    PoolSpec,
    Reason,
    Refusal,
    Retire,
    View,
)

__all__ = ["DELETION_BLOCKED", "DO_NOT_DISRUPT", "DRAIN_TIMEOUT", "EVACUATING", "Draining"]

DO_NOT_DISRUPT = "DoNotDisrupt"
DRAIN_TIMEOUT = "DrainTimeout"
DELETION_BLOCKED = "DeletionBlocked"
EVACUATING = "Evacuating"
# Seconds after a drain timed out until the node is deleted though pods are still terminating.
GRACE = 60.0
# Seconds after which an object that is being deleted counts as blocked.
PATIENCE = 120.0


@dataclass(frozen=True)
class Draining:
    """What is to be done for a retired node."""

    view: View
    pool: PoolSpec
    now: float

    def of(self, instance: Instance, machine: Machine) -> Care:
        """Return the evictions, or the end of the node once nothing is left to evict."""
        if machine.deleted is not None:
            return self._deleted(instance, machine, machine.deleted)
        if self.view.spec.suspend:
            return Care()
        if machine.is_open:
            # A client made it schedulable again: keep new pods off.
            why = machine.because or Because(Reason.SCALED, "it is being drained")
            again = Retire(instance.name, instance.uid, why)
            return tried(self.view, self.now, again, Move.RETIRE, instance.name)
        left = [g for g in machine.guests if g.kind is not GuestKind.STAYS]
        late = (machine.retiring or self.now) + self.pool.drain_timeout
        over = late <= self.now
        gives_up = over and self.pool.delete_after
        if not left or (gives_up and late + GRACE <= self.now):
            return self._end(instance)
        return self._evictions(instance, left, late, gives_up=gives_up)

    def _evictions(
        self, instance: Instance, left: list[Guest], late: float, *, gives_up: bool
    ) -> Care:
        refused = {r.subject: r for r in self.view.refusals if r.move is Move.EVICT}
        moves, due = [], [late, late + GRACE]
        for guest in self._next(left, gives_up=gives_up):
            refusal = refused.get(f"{guest.namespace}/{guest.name}")
            if refusal is not None and refusal.retry_at > self.now:
                due.append(refusal.retry_at)
            else:
                where = (instance.name, guest.namespace, guest.name, guest.uid)
                moves.append(Evict(*where, by_force=gives_up))
        note = f"drain {instance.name}: {len(left)} pods left, evict {len(moves)}"
        waits = tuple(self._waits(instance, left, refused, is_late=late <= self.now))
        return Care(tuple(moves), waits, tuple(t for t in due if t > self.now), (note,))

    def _next(self, left: list[Guest], *, gives_up: bool) -> Iterator[Guest]:
        """Yield the pods to evict now: none of the critical ones before all others are gone."""
        ordinary = any(not guest.critical for guest in left)
        for guest in sorted(left, key=lambda g: (g.namespace, g.name)):
            if guest.terminating or (guest.critical and ordinary and not gives_up):
                continue
            if gives_up or (guest.kind is GuestKind.EVICTED and not guest.keeps):
                yield guest

    def _waits(
        self,
        instance: Instance,
        left: list[Guest],
        refused: dict[str, Refusal],
        *,
        is_late: bool,
    ) -> Iterator[Obstacle]:
        """Yield what the drain waits for, first by name, so that the sentences are stable."""
        for guest in sorted(left, key=lambda g: (g.namespace, g.name)):
            name = f"{guest.namespace}/{guest.name}"
            where = f"node {instance.node}: pod {name}"
            if is_late and not self.pool.delete_after:
                limit = f"{where} is still on the node after drain.timeout"
                end = "delete it, or set drain.onBlocked: DeleteAfter"
                yield Obstacle(DRAIN_TIMEOUT, f"{limit}; {end}", f"pod/{name}")
            if guest.terminating:
                continue
            if (refusal := refused.get(name)) is not None:
                yield Obstacle(refusal.cause, f"{where}: {refusal.message}", f"pod/{name}")
            elif guest.kind is GuestKind.INSTANCE:
                text = f"{where} is evicted when its successor on another node is available"
                yield Obstacle(EVACUATING, text, f"pod/{name}")
            elif guest.keeps:
                yield Obstacle(DO_NOT_DISRUPT, f"{where} {guest.keeps}", f"pod/{name}")

    def _end(self, instance: Instance) -> Care:
        end = End(instance.name, instance.uid)
        return tried(self.view, self.now, end, Move.END, instance.name)

    def _deleted(self, instance: Instance, machine: Machine, since: float) -> Care:
        """Say what an object that is being deleted waits for, if that takes long."""
        if since + PATIENCE > self.now:
            return Care(due=(since + PATIENCE,))
        waits, culprit = "still exists", "its provider"
        if machine.kept_by:
            waits = f"waits for {', '.join(machine.kept_by)}"
            culprit = "the controller with this finalizer"
        text = f"{instance.name} is being deleted and {waits}; check that {culprit} is running"
        return Care(waits=(Obstacle(DELETION_BLOCKED, text, instance.name),))
