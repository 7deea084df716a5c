"""Progress: how far the rollout has come, by its best values so far."""

from __future__ import annotations

from dataclasses import replace

from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.goal import is_stepping, step_number
from immutable_operator.domain.model import Rollout
from immutable_operator.domain.turn import Turn
from immutable_operator.domain.weights import observed_weight

__all__ = ["progress"]


def progress(turn: Turn, fleet: Fleet) -> Rollout | None:
    """Carry the best values forward; None if there is no target revision.

    A new revision resets them. A new size resets the best values, but not the deadline of a
    revision that has not proved itself: otherwise an autoscaler would postpone that deadline
    forever.
    """
    found = _progress(turn, fleet)
    if found is None or turn.spec.canary is None:
        return found
    steps = len(turn.spec.canary.steps)
    found = replace(found, weight=observed_weight(turn))
    if not is_stepping(turn):
        return replace(found, step=None, steps=None)
    return replace(found, step=step_number(turn), steps=steps)


def _progress(turn: Turn, fleet: Fleet) -> Rollout | None:
    if turn.wanted is None:
        return None
    paused = turn.spec.suspend or turn.target.is_frozen or bool(turn.target.lacking)
    # A deliberate pause is not a lack of progress.
    paused = paused or bool(fleet.held)
    good, stale, now = fleet.available_current, len(fleet.stale), turn.now
    desired, before = turn.budget.desired, turn.view.prior.rollout
    if before is None or before.revision != turn.wanted.id:
        return Rollout(turn.wanted.id, desired, good, stale, now, None if paused else now)
    # Fewer stale instances are progress only if the wanted revision works, else they were surplus.
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
