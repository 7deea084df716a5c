"""What is said while a new revision proves itself: it bakes, or its checks run."""

from __future__ import annotations

from immutable_operator.domain.calendar.cron import wall
from immutable_operator.domain.checks import waiting
from immutable_operator.domain.goal import current_step
from immutable_operator.domain.model import AwaitCheck, Verdict
from immutable_operator.domain.turn import Turn

__all__ = ["CHECKING", "awaited", "proving"]

CHECKING = "Checking"


def proving(turn: Turn, verdict: Verdict, counts: str) -> tuple[str, str]:
    """Return the reason and the message while a revision bakes or waits for its checks."""
    ends = (verdict.baking or turn.now) + turn.spec.bake_seconds
    bakes = f"baking until {wall(ends, 'UTC')}" if ends > turn.now else ""
    check = awaited(turn, verdict)
    if check is None:
        return "Baking", f"{counts}, {bakes}" if bakes else counts
    also = f"{bakes}; " if bakes else ""
    return CHECKING, f"{counts}, {also}{check}"


def awaited(turn: Turn, verdict: Verdict) -> str | None:
    """Return which check a revision waits for, and what that found last; None if all passed."""
    step = current_step(turn)
    asked = [c for c in turn.spec.checks if step is None or step == AwaitCheck(c.name)]
    check = waiting(asked, verdict.checks)
    if check is None:
        return None
    if turn.target.freeze.holds:
        said = f": no check runs, because {turn.target.freeze.message}"
    else:
        said = f": {check.last.message}" if check.last and check.last.message else ""
    return f"waiting for check {check.name}{said}"
