"""The goal: how many instances of the wanted revision are to exist now.

That is the desired number, unless a step of a canary or the previews of BlueGreen allow fewer. It
follows from the spec and the records, and, for a canary whose last good revision has lost its
copies, from the instances that are left of it.
"""

from __future__ import annotations

from immutable_operator.domain.desired import desired_number
from immutable_operator.domain.ledger import resolve
from immutable_operator.domain.model import CanaryStep, Revision, SetReplicas, SetWeight
from immutable_operator.domain.standing import has_begun, latest_completed, live_revision, ran
from immutable_operator.domain.turn import Turn

__all__ = [
    "current_step",
    "goal",
    "is_previewing",
    "is_restored",
    "is_stepping",
    "share",
    "step_number",
]


def goal(turn: Turn) -> int:
    """Return how many instances of the wanted revision are to exist now."""
    if (count := share(turn)) is not None:
        return count
    desired, given = turn.budget.desired, turn.spec.blue_green
    if given is None or given.preview_replicas is None or turn.wanted is None:
        return desired
    decided = turn.wanted.verdict.approved is not None or is_restored(turn)
    return desired if decided or not is_previewing(turn) else min(desired, given.preview_replicas)


def is_previewing(turn: Turn) -> bool:
    """Return whether the wanted revision exists beside the one that has the traffic."""
    live = live_revision(turn.view)
    return live is not None and turn.wanted is not None and turn.wanted.id != live.id


def is_restored(turn: Turn) -> bool:
    """Return whether the wanted revision worked before, and needs no decision."""
    back = turn.wanted is not None and turn.wanted == latest_completed(turn.view)
    return turn.target.goes_back or back


def current_step(turn: Turn) -> CanaryStep | None:
    """Return the step at which the wanted revision is; None if it is not rolled out in steps.

    A new service has no steps, because there is nothing to fall back on. Neither has the last good
    revision, which is repaired, regenerated and restored without them.
    """
    canary, wanted, target = turn.spec.canary, turn.wanted, turn.target
    if canary is None or wanted is None or target.goes_back:
        return None
    if wanted == latest_completed(turn.view) or not _replaces_another(turn, wanted):
        return None
    if not has_begun(turn.view, wanted):
        return canary.steps[0] if target.is_asked else None
    verdict = wanted.verdict
    if not (verdict.is_under_way or verdict.is_failed) or verdict.step >= len(canary.steps):
        return None
    return canary.steps[verdict.step]


def is_stepping(turn: Turn) -> bool:
    """Return whether steps of the wanted revision are left."""
    return current_step(turn) is not None


def step_number(turn: Turn) -> int:
    """Return the number of the step at which the wanted revision is, from 1."""
    wanted = turn.wanted
    return 1 if wanted is None or not has_begun(turn.view, wanted) else wanted.verdict.step + 1


def share(turn: Turn) -> int | None:
    """Return how many instances of the wanted revision its step allows; None without steps."""
    canary = turn.spec.canary
    if canary is None or not is_stepping(turn):
        return None
    # Of all that are wanted, also where the turn is about one side of them.
    desired = desired_number(turn.view)
    for step in reversed(canary.steps[: step_number(turn)]):
        if isinstance(step, SetReplicas | SetWeight):
            given = step.count if isinstance(step, SetReplicas) else f"{step.percent}%"
            return _filled(turn, min(desired, max(1, resolve(given, desired, round_up=True))))
    return min(desired, 1)


def _filled(turn: Turn, count: int) -> int:
    """Return a share with what the last good revision cannot provide: its copies are lost."""
    last = latest_completed(turn.view)
    if last is None or last.id not in turn.target.unborn:
        return count
    there = sum(i.active and i.revision == last.id for i in turn.view.instances)
    return max(count, turn.budget.desired - there)


def _replaces_another(turn: Turn, wanted: Revision) -> bool:
    """Return whether the last good revision ran when the wanted one began.

    One that was never complete is nothing to fall back on.
    """
    view = turn.view
    before = latest_completed(view)
    if before is None:
        return False
    if wanted.verdict.started is None or not has_begun(view, wanted):
        return ran(view, before)
    # As it was then: what is there now says something else after a restart.
    return wanted.verdict.takes_over_from == before.id
