"""Conditions as kstatus reads them: ``Ready``, ``Reconciling``, ``Stalled``; each with its since.

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
    """Which of the three conditions is True (or another word: none), and what all of them say."""

    true: str
    reason: str
    message: str


def conditions(turn: Turn, saying: Saying) -> tuple[Condition, ...]:
    """The three conditions, and whether the cluster guards the service."""
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
    """When a condition got its value: it keeps that as long as the value stays."""
    before = prior.condition(kind)
    return before.since if before and before.status == value else now
