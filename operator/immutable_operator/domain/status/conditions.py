"""Conditions as kstatus reads them: ``Ready``, ``Reconciling``, ``Stalled``, with their times.

The three are always present; at most one of them is True.
"""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.model import Condition, Status
from immutable_operator.domain.turn import Turn

__all__ = ["GUARDED", "Saying", "conditions", "since"]

GUARDED = "Guarded"


@dataclass(frozen=True, slots=True)
class Saying:
    """Which condition is True (another word: none of them), and the reason and message of all."""

    true: str
    reason: str
    message: str


def conditions(turn: Turn, saying: Saying) -> tuple[Condition, ...]:
    """Return the three conditions, and whether the cluster guards the service."""
    prior, now = turn.view.prior, turn.now
    found = []
    for kind in ("Ready", "Reconciling", "Stalled"):
        value = str(kind == saying.true)
        begun = since(prior, kind, value, now)
        found.append(Condition(kind, value, saying.reason, saying.message, begun))
    if (guard := turn.view.guard) is not None:
        value = str(guard.holds)
        begun = since(prior, GUARDED, value, now)
        found.append(Condition(GUARDED, value, guard.reason, guard.message, begun))
    return tuple(found)


def since(prior: Status, kind: str, value: str, now: float) -> float:
    """Return when a condition got its value: the time stays as long as the value does."""
    before = prior.condition(kind)
    return before.since if before and before.status == value else now
