"""Expired: which instances are replaced because of their age or the schedule.

`calendar.regeneration.outlook` computes which instances are due; those replaced *now* are those
under way, and as many more as maxConcurrent allows while all wanted instances are available. A
replacement under way is on record: the birth certificate of a living successor says which instance
it replaces, and why. The ledger decides everything else (successor first, surge, budgets), as for
any stale instance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from immutable_operator.domain.calendar.regeneration import Due, Regeneration, outlook
from immutable_operator.domain.goal import goal
from immutable_operator.domain.model import (
    Because,
    Instance,
    Reason,
    purpose_of_slot,
    slot_of,
)
from immutable_operator.domain.turn import Turn

__all__ = ["Aging", "expired", "judge_age", "start_seconds", "swap_seconds", "under_way"]

# The duration of a replacement is rounded up to these steps, so that messages stay the same.
STEPS = (2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600)
UNKNOWN_START = 10.0


@dataclass(frozen=True, slots=True)
class Aging:
    """``going`` is by name why an instance is replaced now; ``waiting`` is how many are due and
    wait.

    ``again`` is when that next changes by time alone, ``window`` is a sentence about the windows.
    """

    going: Mapping[str, Because] = field(default_factory=dict)
    waiting: int = 0
    again: float | None = None
    window: str = ""


def start_seconds(instances: Sequence[Instance]) -> float | None:
    """Return the seconds from birth to readiness: the median of the instances that are ready."""
    starts = sorted(i.ready_since - i.born for i in instances if i.ready_since is not None)
    return max(0.0, starts[len(starts) // 2]) if starts else None


def swap_seconds(turn: Turn, instances: Sequence[Instance]) -> float:
    """Return how long a replacement takes here, rounded up.

    The start duration in the revision's record has precedence: an instance that was unready for a
    while later would look as if it had started slowly.
    """
    known = turn.wanted.verdict.start_seconds if turn.wanted else None
    start = known if known is not None else start_seconds(instances)
    needed = (UNKNOWN_START if start is None else start) + turn.spec.min_ready_seconds + 1.0
    return float(next((step for step in STEPS if step >= needed), needed))


def under_way(candidates: Sequence[Instance], living: Sequence[Instance]) -> dict[str, Because]:
    """Return the instances with a living successor, and the reason of that replacement."""
    found: dict[str, Because] = {}
    wanted = {i.revision for i in candidates}
    reasons = {
        i.predecessor: (i, replace(i.because, purpose=i.purpose))
        for i in living
        # Of a node's end the cluster tells, and it may be taken back.
        if i.because and i.because.reason.is_stale and i.because.reason is not Reason.EVACUATING
        if i.predecessor and i.revision in wanted
    }
    for instance in candidates:
        known = reasons.get(instance.uid) or reasons.get(instance.name)
        if known is not None and known[0] is not instance:
            found[instance.name] = known[1]
    return found


def judge_age(turn: Turn, candidates: Sequence[Instance], going: Mapping[str, Because]) -> Aging:
    """Judge the active instances of the wanted revision that no other reason makes stale.

    ``going`` are those that are replaced already, because their successor lives or a person asked.
    """
    regeneration = turn.spec.regeneration
    if not _wants(regeneration):
        return Aging()
    swap = swap_seconds(turn, candidates)
    rest = [i for i in candidates if i.name not in going]
    births = {i.uid: max(i.born, slot_of(i.purpose) or 0.0) for i in rest}
    seen = outlook(regeneration, births, turn.view.uid, turn.now, swap)
    busy = sum(why.reason is Reason.EXPIRED for why in going.values())
    short = max(0, goal(turn) - len(rest) - busy)
    unready = len(rest) - turn.count_available(rest)
    places = regeneration.max_concurrent - max(busy, short + unready)
    names = {i.uid: i.name for i in rest if _has_served(turn, i, swap)}
    ready = [due for due in seen.due if due.may_start and due.uid in names]
    ready = ready if turn.may_begin else []
    found: dict[str, Because] = {}
    for due in ready[: max(0, places)]:
        found[names[due.uid]] = _because(due)
    return Aging(found, len(seen.due) - len(found), seen.again, seen.window)


def expired(turn: Turn, instances: Sequence[Instance]) -> dict[str, Because]:
    """Return which instances are due because of their age or the schedule, under way or not."""
    if not instances or not _wants(turn.spec.regeneration):
        return {}
    births = {i.uid: max(i.born, slot_of(i.purpose) or 0.0) for i in instances}
    swap = swap_seconds(turn, instances)
    seen = outlook(turn.spec.regeneration, births, turn.view.uid, turn.now, swap)
    names = {i.uid: i.name for i in instances}
    return {names[due.uid]: _because(due) for due in seen.due}


def _because(due: Due) -> Because:
    return Because(
        Reason.EXPIRED, due.reason, "" if due.slot is None else purpose_of_slot(due.slot)
    )


def _has_served(turn: Turn, instance: Instance, swap: float) -> bool:
    """Return whether an instance lived long enough to be replaced because of its age at all.

    If an age cannot be met, or clocks differ, a successor is due at its birth: it would be replaced
    before it is of any use, and so would its own successor.
    """
    return turn.available(instance) and turn.now - instance.born >= swap


def _wants(regeneration: Regeneration) -> bool:
    ages = (regeneration.max_age, regeneration.hard_max_age)
    return any(age is not None for age in ages) or regeneration.schedule is not None
