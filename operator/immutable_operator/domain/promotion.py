"""Promotion: when a revision that was created beside the running one gets the traffic.

The record of a revision says that it was promoted, before the Service of the operator is switched.
What the Service selects follows from the records alone, so a plan after a crash does what is left.
"""

from __future__ import annotations

from dataclasses import replace

from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.goal import goal, is_previewing, is_restored, is_stepping
from immutable_operator.domain.model import (
    BlueGreen,
    Revision,
    Verdict,
    later_than,
)
from immutable_operator.domain.standing import latest_completed, live_revision
from immutable_operator.domain.turn import Turn

__all__ = [
    "is_frozen",
    "is_serving",
    "is_switched",
    "keeps_until",
    "promoted",
    "promotion",
    "serving",
    "taken_over",
]


def is_switched(turn: Turn, live: Revision) -> bool:
    """Return whether the Service of the operator was seen to select a revision."""
    name = turn.view.name
    own = (route for route in turn.view.routes if route.is_own and route.name == name)
    return any(route.revision == live.id and not route.is_leaving for route in own)


def is_serving(turn: Turn, fleet: Fleet) -> bool:
    """Return whether the wanted revision has the traffic, with all instances that are wanted."""
    live = live_revision(turn.view)
    if live is None or turn.wanted is None or live.id != turn.wanted.id:
        return False
    return is_switched(turn, live) and fleet.available_current >= turn.budget.desired


def serving(turn: Turn, fleet: Fleet) -> int:
    """Return how many available instances have the traffic, or may have it."""
    live = live_revision(turn.view)
    if live is None:
        return fleet.available
    return turn.count_available(i for i in fleet.active if i.revision == live.id)


def keeps_until(turn: Turn) -> float | None:
    """Return until when the previous instances are kept; None if that is over, or not known yet.

    They are needed until the Service is seen to select those of the promoted revision, and as long
    as that bakes.
    """
    given, live = turn.spec.sides, live_revision(turn.view)
    if given is None or live is None or live.verdict.promoted is None:
        return None
    until = live.verdict.promoted + given.keep_for
    if live.verdict.baking is None or not live.verdict.is_under_way:
        return until
    return max(until, live.verdict.baking + turn.spec.bake_seconds)


def taken_over(turn: Turn, fleet: Fleet) -> Revision | None:
    """Return the revision that has the traffic from now on, if none was promoted so far.

    A new service, or one that was Rolling before, has one as soon as a revision has all instances.
    """
    if turn.spec.sides is None or live_revision(turn.view) is not None:
        return None
    last, wanted = latest_completed(turn.view), turn.wanted
    for revision in (wanted,) if not turn.budget.desired else (last, wanted):
        if revision is None or revision.verdict.is_failed:
            continue
        own = (i for i in fleet.active if i.revision == revision.id)
        if turn.count_available(own) >= turn.budget.desired:
            return revision
    return None


def promoted(turn: Turn, verdict: Verdict) -> Verdict:
    """Return a verdict that gives the traffic to its revision, after all others."""
    known = (at for r in turn.view.revisions for at in (r.verdict.promoted, r.verdict.completed))
    return replace(verdict, promoted=later_than(known, turn.now))


def promotion(
    turn: Turn, fleet: Fleet, verdict: Verdict, *, passed: bool
) -> tuple[Verdict, float | None]:
    """Return the verdict of the wanted revision with what is decided now, and when to look again.

    ``passed`` says that its checks have passed: until then it is not promoted, even on request.
    A freeze holds the promotion of a revision, and not that of one that is restored.
    """
    given, live = turn.spec.sides, live_revision(turn.view)
    if given is None or turn.spec.suspend or turn.target.is_open:
        return verdict, None
    if live is None or not is_previewing(turn) or not _is_begun(turn, verdict):
        return verdict, None
    works = fleet.available_current
    is_full = works >= turn.budget.desired
    # Of two that failed, with none to go back to, the one that works better has the traffic.
    is_better = live.verdict.is_failed and works > _available_of(turn, fleet, live)
    if verdict.is_failed or is_restored(turn):
        takes = is_better or (is_full and not verdict.is_failed)
        return (promoted(turn, verdict) if takes else verdict), None
    if is_stepping(turn):
        return verdict, None
    if not turn.target.is_asked or is_frozen(turn, verdict):
        return verdict, None
    if works >= goal(turn):
        verdict = _previewed(turn, given, verdict)
    verdict, due = _decided(turn, given, verdict) if passed else (verdict, None)
    if verdict.approved is not None and is_full and passed:
        return promoted(turn, verdict), None
    return verdict, due


def _available_of(turn: Turn, fleet: Fleet, revision: Revision) -> int:
    return turn.count_available(i for i in fleet.active if i.revision == revision.id)


def _is_begun(turn: Turn, verdict: Verdict) -> bool:
    """Return whether the rollout is on record: nothing is decided in the write that begins it."""
    return turn.wanted is not None and verdict.started == turn.wanted.verdict.started


def _previewed(turn: Turn, given: BlueGreen, verdict: Verdict) -> Verdict:
    """Note when all previews were available: checks and the time until a promotion begin then."""
    if verdict.previewed is not None or not (given.is_auto or turn.spec.checks):
        return verdict
    return replace(verdict, previewed=turn.now)


def _decided(turn: Turn, given: BlueGreen, verdict: Verdict) -> tuple[Verdict, float | None]:
    """Note with Auto the decision that follows from the previews."""
    if not given.is_auto or verdict.previewed is None or verdict.approved is not None:
        return verdict, None
    due = (verdict.previewed or turn.now) + given.promote_after
    if due > turn.now:
        return verdict, due
    return replace(verdict, approved=turn.now), None


def is_frozen(turn: Turn, verdict: Verdict) -> bool:
    """Return whether a freeze holds a promotion, which the action for it may override."""
    if not turn.target.freeze.holds:
        return False
    asked = (r for r in turn.view.requests if r.uid == verdict.command)
    return not any(request.override_freeze for request in asked)
