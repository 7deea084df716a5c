"""Proving: what a new revision must show once all of its instances are available.

A revision bakes (`rollout.bakeSeconds`) and passes its checks (`rollout.checks`) before its rollout
is complete. With BlueGreen the checks come before its promotion, and the bake after it; with Canary
a check that is a step runs at that step. A revision that was complete is repaired, regenerated and
restored without that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from immutable_operator.domain.checks import Checked, CheckTurn, all_passed, look
from immutable_operator.domain.failing import CHECK_FAILED, is_judged
from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.goal import current_step, goal, is_previewing, is_stepping
from immutable_operator.domain.model import AwaitCheck, Revision, RunCheck, Verdict
from immutable_operator.domain.promotion import is_serving
from immutable_operator.domain.standing import is_good, latest_completed
from immutable_operator.domain.turn import Turn

__all__ = ["Proof", "is_whole", "prove"]


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict with what is to be noted, what to measure, and when to look again.

    ``is_given`` says that nothing is left to be shown, ``passed`` that no check is.
    """

    verdict: Verdict
    is_given: bool
    passed: bool
    runs: tuple[RunCheck, ...] = ()
    due: tuple[float, ...] = ()


def is_whole(turn: Turn, fleet: Fleet) -> bool:
    """Return whether only the wanted revision is left, with all wanted instances available.

    No step of a canary is left, either.

    Instances that are replaced because of their age, or leave a node, do not count against it.
    """
    wanted, desired = turn.wanted, turn.budget.desired
    if wanted is None or not desired or fleet.held or is_previewing(turn):
        return False
    if is_stepping(turn):
        return False
    others = [i for i in fleet.stale if not fleet.why[i.name].reason.is_routine]
    return not others and fleet.available >= desired


def prove(turn: Turn, fleet: Fleet, wanted: Revision, verdict: Verdict) -> Proof:
    """Return what the wanted revision has shown; ``verdict`` is what is to be written of it.

    What checks have found is judged from the record, so that a restart finds the same.
    """
    checks = turn.spec.checks if _is_unproven(turn, wanted, verdict) else ()
    if verdict.started != wanted.verdict.started:
        return Proof(verdict, not checks, not checks)
    verdict, baked = _baked(turn, fleet, verdict)
    checked = _checked(turn, fleet, wanted, verdict) if checks else Checked(verdict.checks)
    verdict = replace(verdict, checks=checked.records)
    due = checked.due if baked is None or baked <= turn.now else (*checked.due, baked)
    is_baked = baked is None or baked <= turn.now
    passed = all_passed(checks, wanted.verdict.checks)
    return Proof(verdict, is_baked and passed, passed, checked.runs, due)


def _is_unproven(turn: Turn, wanted: Revision, verdict: Verdict) -> bool:
    """Return whether a revision is to pass its checks: it was not complete since it began.

    The last good one is repaired without them, and so is one that was good when it became the one
    to go back to.
    """
    if verdict.is_failed:
        return True
    if is_good(wanted) and not turn.target.is_asked:
        return False
    is_complete = verdict.started is not None and not verdict.is_under_way
    return not is_complete and wanted != latest_completed(turn.view)


def _checked(turn: Turn, fleet: Fleet, wanted: Revision, verdict: Verdict) -> Checked:
    names = tuple(i.name for i in fleet.current if turn.available(i))
    # A failed revision that is kept does not bake.
    begun = verdict.previewed or verdict.baking or verdict.failed or turn.now
    if is_stepping(turn):
        begun = verdict.stepped or begun
    retry, measured = turn.policy.retry_check, turn.view.measured
    asks = frozenset(_asked(turn, fleet, wanted, verdict))
    given = CheckTurn(turn.now, measured, retry, begun, names, asks)
    return look(turn.spec.checks, wanted, given)


def _asked(turn: Turn, fleet: Fleet, wanted: Revision, verdict: Verdict) -> Iterator[str]:
    """Yield the names of the checks that run now: at a step of a canary only its own."""
    verdict_stands = turn.target.holds_failed or wanted.verdict.reason == CHECK_FAILED
    if not turn.may_begin or not turn.target.is_asked or verdict_stands:
        return
    step = current_step(turn)
    if step is not None:
        if isinstance(step, AwaitCheck) and fleet.available_current >= goal(turn):
            yield step.name
    elif is_whole(turn, fleet) or (is_previewing(turn) and verdict.previewed is not None):
        yield from (check.name for check in turn.spec.checks)


def _baked(turn: Turn, fleet: Fleet, verdict: Verdict) -> tuple[Verdict, float | None]:
    """Note when the bake and the checks begin; also return when the bake is over."""
    if not turn.spec.proves or not is_judged(turn):
        return verdict, None
    if verdict.baking is None:
        # What is kept for a rollback does not delay the bake.
        bakes = bool(turn.spec.bake_seconds and turn.budget.desired) and is_serving(turn, fleet)
        if not (bakes or is_whole(turn, fleet)):
            return verdict, None
        verdict = replace(verdict, baking=turn.now)
    return verdict, (verdict.baking or turn.now) + turn.spec.bake_seconds
