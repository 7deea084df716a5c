"""Canary: the instances of a new revision replace those of the previous one step by step.

The record of the revision says how many steps are done, so that a restart continues where they
stood.
"""

from __future__ import annotations

from dataclasses import replace

from immutable_operator.domain.checks import all_passed
from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.goal import current_step, share
from immutable_operator.domain.model import AwaitCheck, CanaryStep, Pause, Verdict
from immutable_operator.domain.promotion import is_frozen
from immutable_operator.domain.standing import live_revision
from immutable_operator.domain.turn import Turn
from immutable_operator.domain.weights import in_effect

__all__ = ["advanced", "is_reached"]


def is_reached(turn: Turn, fleet: Fleet) -> bool:
    """Return whether the wanted revision has the share that its step allows.

    With an HTTPRoute that is its share of the traffic as well, beside all instances of the revision
    that has the rest.
    """
    count, desired = share(turn), turn.budget.desired
    if count is None or len(fleet.current) != count:
        return False
    if live_revision(turn.view) is not None:
        has_share = in_effect(turn)
    else:
        # On a cordoned node those that have successors wait until somebody evicts them.
        others = sum(i.name not in fleet.cordoned for i in fleet.stale)
        has_share = others <= desired - count
    return fleet.available_current >= count and has_share


def advanced(turn: Turn, fleet: Fleet, verdict: Verdict) -> tuple[Verdict, float | None]:
    """Return the verdict with the step that is done now, and when a pause is over.

    A freeze holds the steps, unless the promotion that ends a pause overrides it, and so does a
    size of 0: then they show nothing.
    """
    step, wanted = current_step(turn), turn.wanted
    if step is None or wanted is None or verdict.is_failed or not turn.budget.desired:
        return verdict, None
    held = turn.spec.suspend or turn.target.is_open or not turn.target.is_asked
    held = held or is_frozen(turn, verdict)
    if held or verdict.started is None or verdict.started != wanted.verdict.started:
        return verdict, None
    until = _until(turn, fleet, step, verdict)
    if until is None or until > turn.now:
        return verdict, until
    return (
        replace(
            verdict,
            step=verdict.step + 1,
            stepped=turn.now,
            approved=None,
            # Neither the time of a pause counts against the deadline, nor what was there before.
            progressed=turn.now,
            most_available=fleet.available_current,
            paused=None,
        ),
        None,
    )


def _until(turn: Turn, fleet: Fleet, step: CanaryStep, verdict: Verdict) -> float | None:
    """Return when a step is done; None if something else than time decides that.

    Without the instances of its share neither a check nor time shows anything.
    """
    shows = fleet.available_current >= (share(turn) or 0)
    if isinstance(step, AwaitCheck):
        asked = [check for check in turn.spec.checks if check.name == step.name]
        on_record = turn.wanted.verdict.checks if turn.wanted else ()
        return turn.now if shows and all_passed(asked, on_record) else None
    if not isinstance(step, Pause):
        return turn.now if is_reached(turn, fleet) else None
    if verdict.approved is not None:
        return turn.now
    if step.seconds is None or not shows:
        return None
    return (verdict.stepped or verdict.started or turn.now) + step.seconds
