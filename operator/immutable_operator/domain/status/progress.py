"""Progress: how far the way to the wanted state has come, by its high-water marks."""

from __future__ import annotations

from dataclasses import replace

from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.model import Rollout
from immutable_operator.domain.turn import Turn

__all__ = ["progress"]


def progress(turn: Turn, fleet: Fleet) -> Rollout | None:
    """Carry the marks on; None where no revision is worked towards.

    A new revision starts them afresh. A new size starts the marks afresh, but not the clock of a
    revision that has not proved itself: an autoscaler would put off its deadline for ever.
    """
    if turn.wanted is None:
        return None
    paused = turn.spec.suspend or turn.target.is_frozen or bool(turn.target.lacking)
    # What waits on purpose is not late.
    paused = paused or bool(fleet.held)
    good, stale, now = fleet.available_current, len(fleet.stale), turn.now
    desired, before = turn.budget.desired, turn.view.prior.rollout
    if before is None or before.revision != turn.wanted.id:
        return Rollout(turn.wanted.id, desired, good, stale, now, None if paused else now)
    # That others go is progress only where the wanted revision works: else they were too many.
    better = good > before.most_current or (good > 0 and stale < before.least_stale)
    if before.desired != desired:
        before = replace(before, desired=desired, most_current=good, least_stale=stale)
        better = good > 0
    resumed = before.progressed_at is None
    progressed = now if better or resumed else before.progressed_at
    return replace(
        before,
        most_current=max(good, before.most_current),
        least_stale=min(stale, before.least_stale),
        progressed_at=None if paused else progressed,
    )
