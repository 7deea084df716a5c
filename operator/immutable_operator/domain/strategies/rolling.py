"""Rolling: successor first if a surge allows it, unhealthy stale instances before healthy ones.

A rollout, a scale, a regeneration and a repair are the same step. Two revisions may grow in one
ledger: the wanted one, and, as long as that one does not work, the one that worked last, which
replaces lost instances meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from immutable_operator.domain.fleet import Fleet, remain
from immutable_operator.domain.goal import goal, is_stepping
from immutable_operator.domain.ledger import Counts, Ledger
from immutable_operator.domain.model import (
    Because,
    Cause,
    Instance,
    Move,
    OnTaint,
    Quarantine,
    Reason,
    Refusal,
    Retire,
    Revision,
    TroubleKind,
)
from immutable_operator.domain.standing import is_proven
from immutable_operator.domain.strategies.births import Births, latest_ended
from immutable_operator.domain.strategies.order import by_worth, stale_in_order
from immutable_operator.domain.strategies.pairs import Pairs
from immutable_operator.domain.strategies.repair import Repair, refused_births, until_steady
from immutable_operator.domain.strategies.step import Step, tally
from immutable_operator.domain.turn import Turn

__all__ = ["ROLLING", "Growth", "Retirements", "Rolling", "counts", "grow", "quarantine"]


def counts(turn: Turn, fleet: Fleet) -> Counts:
    """Return the counts that the ledger opens with."""
    available = fleet.available_current
    return Counts(
        active=len(fleet.active),
        available=fleet.available,
        current_available=available,
        current_unavailable=len(fleet.current) - available,
        terminating=len(fleet.terminating + fleet.ended) if turn.spec.counts_terminating else 0,
        is_crowded=_is_crowded(turn, fleet),
    )


def _is_crowded(turn: Turn, fleet: Fleet) -> bool:
    """Return whether the wanted revision has no place until another instance is gone."""
    wanted = turn.wanted
    if wanted is None:
        return False
    unplaced = any(
        i.trouble and i.trouble.kind is TroubleKind.UNSCHEDULABLE
        for i in fleet.current
        if not turn.available(i)
    )
    return unplaced or any(r.cause is Cause.QUOTA for r in refused_births(turn, wanted))


ENDED = Because(Reason.ENDED, "it ran to completion")
# What keeps an instance may end without a change of anything that belongs to the owner.
OBSTACLE_SECONDS = 10.0
QUARANTINED = Because(Reason.TAINTED, "it was quarantined")


@dataclass(frozen=True, slots=True)
class Rolling:
    """The strategy; it has no state."""

    def step(self, turn: Turn, fleet: Fleet, ledger: Ledger) -> Step:
        """Return one step of a rolling replacement, a scale, a regeneration, or a repair."""
        step = Step()
        _note_waits(fleet, step)
        if turn.spec.on_taint is OnTaint.QUARANTINE:
            quarantine(turn, fleet, ledger, step)
        repair = Repair.of(turn, fleet, ledger)
        Retirements(turn, fleet, ledger, step, repair).plan()
        _births(turn, fleet, ledger, step, repair)
        return step


ROLLING = Rolling()


def _note_waits(fleet: Fleet, step: Step) -> None:
    pace, age = fleet.healing, fleet.aging
    if pace.until is not None:
        step.due.append(pace.until)
        step.notes.append(f"heal 0 of {len(pace.held)}: their predecessors were modified as well")
    if age.again is not None:
        step.due.append(age.again)
    if age.waiting:
        window = f"; {age.window}" if age.window else ""
        step.notes.append(f"{age.waiting} due by age and waiting{window}")


def quarantine(turn: Turn, fleet: Fleet, ledger: Ledger, step: Step) -> None:
    """Quarantine at once, whatever the budget: the user prefers containment over availability."""
    refused = {r.subject: r for r in turn.view.refusals if r.move is Move.QUARANTINE}
    for instance in fleet.stale:
        if not fleet.heals(instance):
            continue
        ledger.take(available=turn.available(instance))
        refusal = refused.get(instance.name)
        if refusal and refusal.retry_at > turn.now:
            step.due.append(refusal.retry_at)
            continue
        because = fleet.why.get(instance.name, fleet.deviations[instance.name])
        step.quarantines.append(Quarantine(instance.name, instance.uid, because))
    if step.quarantines:
        step.notes.append(f"quarantine {len(step.quarantines)}")


class Retirements:
    """Surplus first, then stale instances, unhealthy ones before healthy ones.

    An instance whose retirement was refused keeps its place in the ledger while it waits, and comes
    after those that were tried less often: a blocked instance does not hide a free one.
    """

    def __init__(
        self, turn: Turn, fleet: Fleet, ledger: Ledger, step: Step, repair: Repair | None
    ) -> None:
        self._turn, self._fleet, self._ledger = turn, fleet, ledger
        self._step, self._repair = step, repair
        self._refused = {r.subject: r for r in turn.view.refusals if r.move is Move.RETIRE}
        shared = (r.shared or r.cause is Cause.DISRUPTION_BUDGET for r in self._refused.values())
        budgets = [
            r for r, is_shared in zip(self._refused.values(), shared, strict=True) if is_shared
        ]
        self._held = max((r.retry_at for r in budgets), default=None)
        self._probed = False
        # What failed gives its places to the revision that is restored, if there are no others.
        asked = turn.target.asked if turn.target.goes_back else None
        self._failed = asked.id if asked and _is_crowded(turn, fleet) else None
        self._lacking = turn.budget.desired - fleet.available_current
        self._pairs = Pairs(fleet)

    def plan(self) -> None:
        self._ended()
        self._turned_away()
        self._quarantined()
        self._surplus()
        self._stale()
        self._over()
        retires = self._step.retires
        if retires:
            leave = {r.name for r in retires}
            left = sum(i.name not in leave for i in self._fleet.stale)
            said = f"retire {len(retires)}: {tally(r.because for r in retires)}"
            self._step.notes.append(f"{said}; {remain(left)}")

    def _retire(self, instance: Instance, because: Because, *, by_will: bool = False) -> None:
        """Retire it, unless that was refused a moment ago or this plan has enough moves.

        Instances of a service mostly share a PodDisruptionBudget, so one probe at a time checks
        whether it still forbids evictions. Instances that cannot violate the budget need no probe.
        """
        if len(self._step.retires) >= self._turn.policy.most_moves:
            return
        unready = instance.ready_since is None
        asks = not (by_will or unready)
        refusal = self._refused.get(instance.name)
        waits = [refusal.retry_at] if refusal and not self._is_moot(refusal, asks) else []
        probes = asks and self._held is not None
        if probes and self._held is not None:
            waits.append(self._held)
        if waits and max(waits) > self._turn.now:
            self._step.due.append(max(waits))
        elif not (probes and self._probed):
            self._probed = self._probed or asks
            order = Retire(instance.name, instance.uid, because, by_will, unready)
            self._step.retires.append(order)

    @staticmethod
    def _is_moot(refusal: Refusal, asks: bool) -> bool:
        """Return whether a budget refused an eviction, and no budget applies now."""
        return not asks and refusal.cause is Cause.DISRUPTION_BUDGET

    def _ended(self) -> None:
        for instance in _ended_to_clear(self._turn, self._fleet):
            self._retire(instance, self._fleet.why.get(instance.name, ENDED))

    def _turned_away(self) -> None:
        """Retire what admission changed, whatever the budget: it was never to be there."""
        for instance in self._fleet.stale:
            if instance.refused:
                self._ledger.take(available=False)
                why = self._fleet.why.get(instance.name)
                self._retire(instance, why or Because(Reason.REFUSED, instance.refused))

    def _quarantined(self) -> None:
        for instance in self._fleet.quarantined:
            over = self._turn.quarantine_ends(instance)
            if over <= self._turn.now:
                why = self._fleet.deviations.get(instance.name, QUARANTINED)
                over_now = f"{why.cause}; its quarantine is over"
                self._retire(instance, replace(why, cause=over_now))
            else:
                self._step.due.append(over)

    def _surplus(self) -> None:
        fleet, desired = self._fleet, goal(self._turn)
        surplus = len(fleet.current) - desired
        most = min(surplus, self._turn.policy.most_moves)
        # What is more than a step of a canary allows goes as stale ones do: nobody scaled.
        by_will = len(fleet.current) - self._turn.budget.desired
        for instance in by_worth(fleet, fleet.current) if most > 0 else ():
            available = self._turn.available(instance)
            if most <= 0 or (available and not self._ledger.can_spare):
                break
            if not self._pairs.may_go(instance):
                continue
            if available:
                self._ledger.retire_available()
            else:
                self._ledger.retire_unavailable_current()
            most -= 1
            self._pairs.take(instance)
            cause = f"{desired} wanted, {len(fleet.current)} are current"
            because = fleet.deviations.get(instance.name, Because(Reason.SCALED, cause))
            self._retire(instance, because, by_will=by_will > 0)
            by_will -= 1

    def _stale(self) -> None:
        turn, fleet = self._turn, self._fleet
        if turn.wanted is None:
            return
        # Keep instances that need a successor as long as none can be created.
        unborn = turn.wanted.id in turn.target.unborn
        surplus = len(fleet.active) - turn.budget.desired
        apart = turn.spec.on_taint is OnTaint.QUARANTINE
        spare = self._repair.there - self._repair.owed if self._repair else 0
        beyond = self._beyond_step()
        flaps = until_steady(fleet)
        for instance in stale_in_order(fleet, self._refused):
            if instance.refused:
                continue
            if self._waits_for_eviction(instance) and beyond <= 0:
                continue
            if (apart and fleet.heals(instance)) or (unborn and surplus <= 0):
                continue
            repaired = instance.name in fleet.leaving or fleet.heals(instance)
            if turn.target.holds_failed and not repaired:
                continue
            if turn.family.obstacle(instance, turn.spec) is not None:
                self._step.due.append(turn.now + OBSTACLE_SECONDS)
                continue
            sound = turn.available(instance) and not fleet.heals(instance)
            if flaps is not None and sound:
                self._step.due.append(flaps)
                continue
            owed = self._owes(instance)
            if owed and spare <= 0:
                continue
            if self._may_go(instance):
                spare -= owed
                beyond -= self._works(instance)
                surplus -= 1
                self._retire(instance, fleet.why[instance.name])

    def _may_go(self, instance: Instance) -> bool:
        """Spend the retirement of a stale instance; return False if the budget forbids it."""
        if self._turn.available(instance):
            if not self._ledger.can_spare or not self._pairs.may_go(instance):
                return False
            self._pairs.take(instance)
            return self._ledger.retire_available()
        useless = instance.ready_since is None and instance.revision == self._failed
        if useless and self._lacking > 0:
            self._lacking -= 1
            self._ledger.take(available=False)
            return True
        return self._ledger.retire_unavailable_stale()

    def _waits_for_eviction(self, instance: Instance) -> bool:
        """Return whether an instance on a cordoned node stays until another client evicts it."""
        fleet = self._fleet
        return instance.name in (fleet.cordoned if self._works(instance) else fleet.prepared)

    def _works(self, instance: Instance) -> bool:
        return self._repair is not None and instance.revision == self._repair.revision.id

    def _beyond_step(self) -> int:
        """Return for how many instances of the working revision a step of a canary has no place.

        An instance and its successor share one place, so those that could have none are counted.
        """
        if self._repair is None or not is_stepping(self._turn):
            return 0
        succeeded = {i.predecessor for i in self._fleet.active}
        own = (i for i in self._fleet.stale if self._works(i))
        return sum(not i.is_among(succeeded) for i in own) - self._repair.owed

    def _owes(self, instance: Instance) -> bool:
        return self._repair is not None and self._repair.counts(self._fleet, instance)

    def _over(self) -> None:
        """Retire unproven instances of the wanted revision that have no place.

        Either there are more than the maximum, or the working revision needs their places.
        """
        turn, fleet = self._turn, self._fleet
        chosen = {r.name for r in self._step.retires}
        apart = {q.name for q in self._step.quarantines}
        why = Because(Reason.SCALED, f"at most {turn.budget.most} instances may exist")
        if over := self._ledger.over:
            current = (i for i in fleet.current if i.name not in chosen)
            unproven = [i for i in current if not turn.available(i)]
            for instance in by_worth(fleet, unproven)[:over]:
                chosen.add(instance.name)
                self._retire(instance, why)
        if self._repair is not None:
            self._make_room(self._repair, chosen, apart)

    def _make_room(self, repair: Repair, chosen: set[str], apart: set[str]) -> None:
        """Retire instances that never worked, to make room for the repair; the surge stays."""
        turn, fleet = self._turn, self._fleet
        if repair.revision.id in turn.target.unborn:
            return  # the wanted revision would take the room again, endlessly
        short = repair.missing - self._ledger.room(replacing=True) - len(chosen)
        if short <= 0:
            return
        out = chosen | apart
        others, current = (
            [i for i in some if i.ready_since is None and i.name not in out]
            for some in (fleet.stale, fleet.current)
        )
        others = [i for i in others if not self._owes(i)]
        wanted = by_worth(fleet, current)
        leaving = sum(
            i.revision == repair.revision.id for i in fleet.stale if i.name in fleet.leaving
        )
        kept = turn.budget.most - repair.owed - leaving - turn.count_available(fleet.current)
        goes = [*others, *wanted[: max(0, len(wanted) - max(0, kept))]]
        why = Because(
            Reason.MISSING, f"its place is needed for revision {repair.revision.id}, which works"
        )
        for instance in goes[:short]:
            self._retire(instance, why)


def _empty_places(turn: Turn, fleet: Fleet) -> int:
    """Return the number of empty places; an instance and its successor share one place."""
    succeeded = {i.predecessor for i in fleet.active if not fleet.is_taken_back(i)}
    holders = sum(not i.is_among(succeeded) for i in fleet.stale)
    return max(0, turn.budget.desired - len(fleet.current) - holders)


def _ended_to_clear(turn: Turn, fleet: Fleet) -> list[Instance]:
    """Return ended instances that are no longer needed.

    The last one in a slot stays until all wanted instances are available: it paces the next births,
    and people inspect it to see why it ended. If a quota counts it and refuses its successor, it
    goes. It also goes where its successor needs its place.
    """
    wanted = turn.wanted
    if wanted is None:
        return []
    if turn.spec.counts_terminating or fleet.available_current >= goal(turn):
        return list(fleet.ended)
    if any(r.cause is Cause.QUOTA for r in refused_births(turn, wanted)):
        return list(fleet.ended)
    keep = {i.name for i in latest_ended(fleet, wanted)}
    return [i for i in fleet.ended if i.name not in keep]


def _births(turn: Turn, fleet: Fleet, ledger: Ledger, step: Step, repair: Repair | None) -> None:
    """Create first what the working revision lost, then what the wanted revision lacks.

    The place of a lost instance is reserved, even if it cannot be created at once. A revision that
    does not work does not grow while the spec asks for another one, unless that one failed.
    """
    wanted, target = turn.wanted, turn.target
    if repair is not None and repair.missing:
        before = len(step.creates)
        grow(turn, fleet, ledger, step, Growth(repair.revision, repair.missing, repairs=True))
        if repair.revision.id not in target.unborn:
            ledger.spend(repair.missing - (len(step.creates) - before))
    missing = goal(turn) - len(fleet.current)
    grows = target.is_asked or target.goes_back or repair is None
    grows = grows and not target.holds_failed
    if target.is_open and not target.is_asked and not is_proven(turn.view, wanted):
        # It did not work, or was scaled to 0: the next revision grows instead, as soon as it is
        # recorded, or the configuration that it reads is known.
        grows = False
    if wanted is not None and grows and missing > 0:
        grow(turn, fleet, ledger, step, Growth(wanted, missing))


@dataclass(frozen=True, slots=True)
class Growth:
    """How many instances of a revision are missing; ``repairs``: they replace lost ones."""

    revision: Revision
    missing: int
    repairs: bool = False


def grow(turn: Turn, fleet: Fleet, ledger: Ledger, step: Step, growth: Growth) -> None:
    """Create instances of one revision, as far as there is room and no refusal."""
    what = f"{growth.missing} of {growth.revision.id}" if growth.repairs else str(growth.missing)
    if held := turn.target.unborn.get(growth.revision.id):
        step.notes.append(f"create 0 of {what}: {held}")
        return
    room = ledger.room(replacing=growth.repairs or bool(fleet.stale))
    count = min(growth.missing, room, turn.policy.most_moves)
    exist = f"{len(fleet.active)} of at most {turn.budget.most} exist"
    if count <= 0:
        step.notes.append(f"create 0 of {what}: {exist} (surge {turn.budget.surge})")
        return
    refusals = refused_births(turn, growth.revision)
    if refusals:
        latest = max(refusals, key=lambda r: (r.retry_at, r.subject))
        if latest.retry_at > turn.now:
            step.due.append(latest.retry_at)
            step.notes.append(f"create 0 of {what}: {latest.message}")
            return
        count = 1  # one probe checks whether the refusal still applies
    empty = count if growth.repairs else _empty_places(turn, fleet)
    births = Births(fleet, growth.revision, count, empty, tuple(step.creates))
    born = births.plan(repairs=growth.repairs)
    step.due += births.due
    step.creates += born
    ledger.spend(len(born) + len(births.due))
    if born:
        step.notes.append(
            f"create {len(born)} of {what}: {tally(c.because for c in born)}; {exist}"
        )
