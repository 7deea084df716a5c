"""BlueGreen: the instances of a new revision beside those that have the traffic, until promotion.

Each revision is Rolling within itself: repairs, a scale and a regeneration are the same step as
always, on the instances of that revision alone, so that instances without traffic never stand in
for those that have it. What is left is decided on one ledger over all instances, whose surge has
room for the new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.goal import goal
from immutable_operator.domain.ledger import Budget, Ledger
from immutable_operator.domain.model import Instance, OnTaint, Revision
from immutable_operator.domain.promotion import is_switched, keeps_until
from immutable_operator.domain.standing import going_back, live_revision
from immutable_operator.domain.strategies.canary import CANARY
from immutable_operator.domain.strategies.rolling import (
    ROLLING,
    Growth,
    Retirements,
    counts,
    grow,
    quarantine,
)
from immutable_operator.domain.strategies.side import side
from immutable_operator.domain.strategies.step import Step
from immutable_operator.domain.turn import Turn
from immutable_operator.domain.weights import previewed_by_weight

__all__ = ["BLUE_GREEN", "BlueGreenStrategy"]


@dataclass(frozen=True, slots=True)
class BlueGreenStrategy:
    """The strategy; it has no state."""

    def step(self, turn: Turn, fleet: Fleet, ledger: Ledger) -> Step:
        """Return one step: before a first promotion as Rolling, then by the two sides."""
        live = live_revision(turn.view)
        if live is None or turn.wanted is None:
            whole = ROLLING if turn.spec.canary is None else CANARY
            return whole.step(turn, fleet, ledger)
        step = _with_traffic(turn, fleet, live)
        room = _most(turn) - len(fleet.active) - counts(turn, fleet).terminating
        del step.creates[max(0, room) :]
        kept = _kept(turn, fleet, live, step) | _weighted(turn, fleet, step)
        if turn.wanted.id == live.id:
            _retire(turn, fleet, live, kept, step)
        else:
            _beside(turn, fleet, live, kept, step)
        return step


BLUE_GREEN = BlueGreenStrategy()


def _most(turn: Turn) -> int:
    """Return how many instances may exist: two fleets, and the surge of one."""
    return turn.budget.most + turn.budget.desired


def _with_traffic(turn: Turn, fleet: Fleet, live: Revision) -> Step:
    """Return the step of the instances that have the traffic, as if there were no others.

    One that failed is left as it is, until the revision that is restored has the traffic.
    """
    if turn.wanted is not None and turn.wanted.id == live.id:
        own = _only(fleet, lambda i: i.revision == live.id)
        # Another revision that fills in would have no traffic.
        alone = replace(turn, target=replace(turn.target, fallback=None))
        return ROLLING.step(alone, own, Ledger(turn.budget, counts(alone, own)))
    if live.verdict.is_failed:
        return Step(notes=[f"{live} keeps the traffic until another one has all instances"])
    return side(turn, live, turn.budget.desired)


def _kept(turn: Turn, fleet: Fleet, live: Revision, step: Step) -> frozenset[str]:
    """Return the instances that are kept for a rollback after a promotion.

    They make room for those of a newer revision.
    """
    before, _ = going_back(turn.view, live)
    until = keeps_until(turn)
    own = [] if before is None else [i for i in fleet.stale if i.revision == before.id]
    if not own or before is None or until is None or before == turn.wanted:
        return frozenset()
    missing = goal(turn) - len(fleet.current) if turn.wanted != live else 0
    if missing > 0 and len(fleet.active) + missing > _most(turn):
        return frozenset()
    if is_switched(turn, live):
        if until <= turn.now:
            return frozenset()
        step.due.append(until)
    step.notes.append(f"keep {len(own)} of {before} for a rollback")
    return frozenset(i.name for i in own)


def _weighted(turn: Turn, fleet: Fleet, step: Step) -> frozenset[str]:
    """Return the instances that get traffic by a weight, as long as they may get some."""
    sent = previewed_by_weight(turn)
    own = [i.name for i in fleet.stale if i.revision == sent]
    live = live_revision(turn.view)
    if not own or live is None or live.id == sent:
        return frozenset()
    step.notes.append(f"keep {len(own)} of revision {sent} until the HTTPRoute sends them none")
    return frozenset(own)


def _retire(turn: Turn, fleet: Fleet, live: Revision, kept: frozenset[str], step: Step) -> None:
    """Retire what is neither of the promoted revision nor kept."""
    others = _only(fleet, lambda i: i.revision != live.id and i.name not in kept)
    ledger = _ledger(turn, fleet, len(others.active), step)
    _contain(turn, _only(fleet, lambda i: i.revision != live.id), ledger, step)
    _retirements(turn, replace(others, current=()), ledger, step)


def _beside(turn: Turn, fleet: Fleet, live: Revision, kept: frozenset[str], step: Step) -> None:
    """Create the instances of the wanted revision, and retire earlier previews.

    Of a revision that failed, instances that do not work make room.
    """
    if turn.wanted is None:
        return
    count, target = goal(turn), turn.target
    useless = live.verdict.is_failed

    def is_other(instance: Instance) -> bool:
        idle = useless and instance.ready_since is None
        return (instance.revision != live.id or idle) and instance.name not in kept

    ledger = _ledger(turn, fleet, count, step)
    previews = replace(turn, budget=replace(turn.budget, desired=count))
    others = _only(fleet, is_other)
    _contain(previews, _only(fleet, lambda i: is_other(i) or i.name in kept), ledger, step)
    _retirements(previews, others, ledger, step)
    missing = count - len(fleet.current)
    grows = (target.is_asked or target.goes_back) and not target.holds_failed
    if grows and missing > 0:
        wide = replace(turn, budget=ledger.budget)
        grow(wide, fleet, ledger, step, Growth(turn.wanted, missing))


def _contain(turn: Turn, others: Fleet, ledger: Ledger, step: Step) -> None:
    """Quarantine what was modified and has no traffic, what is kept for a rollback, too."""
    if turn.spec.on_taint is OnTaint.QUARANTINE:
        quarantine(turn, others, ledger, step)


def _ledger(turn: Turn, fleet: Fleet, more: int, step: Step) -> Ledger:
    """Return the ledger over all instances, with room for ``more``, after what is decided."""
    budget = turn.budget
    wide = Budget(budget.desired, budget.surge + more, budget.unavailable)
    ledger = Ledger(wide, counts(turn, fleet))
    ledger.spend(len(step.creates))
    gone = {order.name for order in step.retires} | {order.name for order in step.quarantines}
    for instance in fleet.active:
        if instance.name in gone:
            ledger.take(available=turn.available(instance))
    return ledger


def _retirements(turn: Turn, fleet: Fleet, ledger: Ledger, step: Step) -> None:
    Retirements(turn, fleet, ledger, step, None).plan()


def _only(fleet: Fleet, which: Callable[[Instance], bool]) -> Fleet:
    """Return the fleet with some of its instances only."""
    return replace(
        fleet,
        current=tuple(filter(which, fleet.current)),
        stale=tuple(filter(which, fleet.stale)),
        ended=tuple(filter(which, fleet.ended)),
        terminating=tuple(filter(which, fleet.terminating)),
        quarantined=tuple(filter(which, fleet.quarantined)),
    )
