"""Births: which instances of a revision are created, in which place, with which certificate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from immutable_operator.domain.families.admitted import admits
from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.goal import goal
from immutable_operator.domain.model import (
    Because,
    Cause,
    Create,
    Instance,
    Policy,
    Reason,
    Revision,
)
from immutable_operator.domain.standing import latest_completed
from immutable_operator.domain.strategies.order import stale_in_order

__all__ = ["Births", "latest_ended"]


@dataclass
class Births:
    """The births of one revision in one plan, at most ``count``.

    ``empty`` of them may fill empty places; the others are successors of instances that still hold
    their places. ``others`` are births that this plan has decided already. ``due`` is when a birth
    that is held back may follow.
    """

    fleet: Fleet
    revision: Revision
    count: int
    empty: int
    others: Sequence[Create] = ()
    births: list[Create] = field(default_factory=list)
    due: list[float] = field(default_factory=list)

    def plan(self, *, repairs: bool = False) -> list[Create]:
        """Return the best births; ``repairs``: replace only lost instances."""
        fleet, view = self.fleet, self.fleet.turn.view
        known = (*view.instances, *view.departed)
        mine = self.revision.id
        own = [i for i in known if i.revision == mine]
        self._admits = admits(view, mine)
        self._names = {i.name for i in known} | fleet.turn.beside
        self._names |= {r.subject for r in view.refusals if r.cause is Cause.NAME_TAKEN}
        self._latest = {i.slot: i for i in sorted(own, key=lambda i: (i.incarnation, i.name))}
        self._last = {slot: i.incarnation for slot, i in self._latest.items()}
        held = fleet.current if not repairs else self._sound(own)
        self._used = {i.slot for i in held}
        self._cursor = 0
        # Another heir of one that still holds its place replaces the heir that was modified.
        self._modified = [i for i in own if i.predecessor and i.name in fleet.deviations]
        self._paces = self._pauses(own)
        # A stale instance can be a successor, too: then it is the one to be replaced next.
        # A repair counts only successors of its own revision, not those of the wanted one.
        heirs = own if repairs else known
        # A successor that is gone does not count, whatever state it was last seen in.
        living = (i for i in view.instances if i.active and (i.revision == mine or not repairs))
        self._succeeded = {i.predecessor for i in living if not fleet.is_taken_back(i)}
        self._succeeded |= {birth.replaces_uid for birth in self.others}
        # The last instance that held a place is the predecessor, even if it has ended.
        known_to_be = self._succeeded | {i.predecessor for i in heirs}
        for predecessor in self._vacated(repairs=repairs):
            if not self.empty or not self.count:
                break
            if not predecessor.is_among(known_to_be) and predecessor.slot not in self._used:
                self._succeed(predecessor, None if repairs else fleet.why.get(predecessor.name))
        for predecessor in self._holders(repairs=repairs):
            if not self.count:
                break
            goes = predecessor.revision == self.revision.id and not self._stays(predecessor)
            if not predecessor.is_among(self._succeeded) and (goes or not repairs):
                leaves = fleet.leaving.get(predecessor.name) if repairs else None
                self._succeed(predecessor, leaves or fleet.why.get(predecessor.name))
        self._fill()
        return self.births

    def _holders(self, *, repairs: bool) -> list[Instance]:
        """Return the stale instances in the order in which they get successors.

        If there are more than places, some go without one. An instance that goes for its age must
        not be among these: its replacement is on record only with its successor, and without the
        record the next plan would keep it, and retire the other's successor as surplus.
        """
        order = stale_in_order(self.fleet, {})
        places = goal(self.fleet.turn) - len(self.fleet.current)
        left = [i for i in order if not i.is_among(self._succeeded)]
        if not repairs and len(left) > places:
            why = self.fleet.why
            order.sort(key=lambda i: i.name not in why or why[i.name].reason is not Reason.EXPIRED)
        return order

    def _sound(self, own: list[Instance]) -> list[Instance]:
        return [i for i in own if i.active and self._stays(i)]

    def _stays(self, instance: Instance) -> bool:
        """Return whether a repair does not replace an active instance."""
        return not self.fleet.heals(instance) and instance.name not in self.fleet.leaving

    def _vacated(self, *, repairs: bool) -> Iterator[Instance]:
        """Yield the instances whose places are or become empty, in order of succession."""
        view, fleet = self.fleet.turn.view, self.fleet
        departed = sorted(view.departed, key=lambda i: i.name)
        for instance in (*fleet.terminating, *departed, *fleet.quarantined):
            if not repairs or instance.revision == self.revision.id:
                yield instance
        yield from latest_ended(fleet, self.revision)

    def _succeed(self, predecessor: Instance, why: Because | None) -> None:
        holds = predecessor.active
        slot = predecessor.slot if predecessor.slot not in self._used else self._free_slot()
        self._used.add(slot)
        self.count -= 1
        self.empty -= not holds
        if (at := self._paces.get(slot, 0.0)) > self.fleet.turn.now:
            self.due.append(at)
            return  # its place stays reserved: another slot must not bypass the pause
        lost = Because(Reason.MISSING, predecessor.leaving or "it was deleted")
        self._add(slot, predecessor, why or lost)

    def _fill(self) -> None:
        """Fill the places without a known predecessor."""
        first = latest_completed(self.fleet.turn.view) is None
        desired = self.fleet.turn.budget.desired
        while self.count > 0 and self.empty > 0:
            slot = self._free_slot()
            self._used.add(slot)
            self.count -= 1
            self.empty -= 1
            cause = f"{desired} wanted, slot {slot} was empty"
            self._add(slot, None, Because(Reason.CREATED if first else Reason.MISSING, cause))

    def _free_slot(self) -> int:
        while self._cursor in self._used:
            self._cursor += 1
        return self._cursor

    def _add(self, slot: int, predecessor: Instance | None, because: Because) -> None:
        fleet = self.fleet
        heals = tries = 0
        purpose = because.purpose
        if predecessor is not None:
            mine = (predecessor.uid, predecessor.name)
            counted = [i for i in self._modified if i.predecessor in mine]
            if predecessor.name in fleet.deviations:
                counted.append(predecessor)
            heals = max(map(fleet.heals_after, counted), default=0)
            if predecessor.revision == self.revision.id:
                # The successor of a requested instance has the same purpose.
                purpose = purpose or predecessor.purpose
        before = self._latest.get(slot)
        if before is not None and before.ended:
            tries = max(0, before.tries) + 1
        incarnation = max(0, self._last.get(slot, -1) + 1)
        # Skip a name that is taken, by a foreign object or by chance.
        while (name := self._name(slot, incarnation)) in self._names:
            incarnation += 1
        self._names.add(name)
        self._last[slot] = incarnation
        replaces = predecessor.name if predecessor else None
        self.births.append(
            Create(
                name,
                self.revision.id,
                slot,
                incarnation,
                replaces,
                because,
                heals=heals,
                tries=tries,
                purpose=purpose,
                replaces_uid=predecessor.uid if predecessor else "",
                admits=self._admits,
            )
        )

    def _name(self, slot: int, incarnation: int) -> str:
        turn = self.fleet.turn
        owner, uid = turn.view.name, turn.view.uid
        return turn.family.name(owner, uid, self.revision.id, slot, incarnation)

    def _pauses(self, own: list[Instance]) -> dict[int, float]:
        found: dict[int, float] = {}
        for i in own:
            found[i.slot] = max(found.get(i.slot, 0.0), _earliest(i, self.fleet.turn.policy))
        return found


def _earliest(predecessor: Instance, policy: Policy) -> float:
    """Return when a successor may be created: with growing pauses after births that ended quickly.

    Otherwise a node that rejects pods at admission would receive one after the other.
    """
    if not predecessor.ended or predecessor.tries <= 0:
        return 0.0
    return predecessor.born + policy.retry_ended.after(predecessor.tries)


def latest_ended(fleet: Fleet, revision: Revision) -> list[Instance]:
    """Return the last ended instance of a revision in each slot."""
    latest: dict[int, Instance] = {}
    for i in fleet.ended:
        known = latest.get(i.slot)
        if i.revision == revision.id and (not known or known.incarnation < i.incarnation):
            latest[i.slot] = i
    return list(latest.values())
