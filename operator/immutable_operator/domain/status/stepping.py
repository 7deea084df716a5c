"""What is said of a canary: the step at which a revision is, and what that waits for."""

from __future__ import annotations

from immutable_operator.domain.canary import is_reached
from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.goal import current_step, share, step_number
from immutable_operator.domain.model import AwaitCheck, Pause
from immutable_operator.domain.status.promoting import WAITING, ways
from immutable_operator.domain.status.proving import CHECKING, awaited
from immutable_operator.domain.turn import Turn
from immutable_operator.domain.weights import ROUTE_UNUSABLE, observed_weight, unweighed

__all__ = ["at_step", "step_waits"]

PAUSED = "Paused"


def at_step(turn: Turn) -> str:
    """Return the step at which the wanted revision is, with its separator; "" if it has none."""
    step, canary = current_step(turn), turn.spec.canary
    if step is None or canary is None:
        return ""
    percent = observed_weight(turn)
    gets = "" if percent is None else f"{percent} % of the traffic, "
    return f"step {step_number(turn)} of {len(canary.steps)} ({step}), {gets}"


def step_waits(turn: Turn, fleet: Fleet, counts: str) -> tuple[str, str] | None:
    """Return what a step waits for, apart from its instances: a reason and a sentence."""
    step, wanted = current_step(turn), turn.wanted
    if wanted is None or not turn.target.is_asked or fleet.available_current < (share(turn) or 0):
        return None
    if isinstance(step, AwaitCheck):
        return CHECKING, f"{counts}{awaited(turn, wanted.verdict)}"
    if turn.target.freeze.holds and (isinstance(step, Pause) or is_reached(turn, fleet)):
        return PAUSED, f"{counts}a freeze delays the next step: {turn.target.freeze.message}"
    if not isinstance(step, Pause):
        prevented = unweighed(turn) if step is not None else None
        return (ROUTE_UNUSABLE, f"{counts}{prevented}") if prevented else None
    if step.seconds is None:
        return WAITING, f"{counts}waiting for its promotion{ways(turn, None)}"
    since = wanted.verdict.stepped or wanted.verdict.started or turn.now
    return PAUSED, f"{counts}paused{ways(turn, since + step.seconds, 'until')}"
