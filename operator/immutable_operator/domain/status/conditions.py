"""Conditions as kstatus reads them: ``Ready``, ``Reconciling``, ``Stalled``, with their times.

The three are always present; at most one of them is True. ``Available`` says whether the service
works, whatever becomes of a rollout.
"""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.model import Condition, Status
from immutable_operator.domain.promotion import serving
from immutable_operator.domain.turn import Turn

__all__ = ["AVAILABLE", "GUARDED", "Saying", "conditions", "since"]

AVAILABLE = "Available"
GUARDED = "Guarded"


@dataclass(frozen=True, slots=True)
class Saying:
    """Which condition is True (another word: none of them), and the reason and message of all."""

    true: str
    reason: str
    message: str


def conditions(turn: Turn, fleet: Fleet, saying: Saying) -> tuple[Condition, ...]:
    """Return the three conditions, whether it works, and whether the cluster guards it."""
    prior, now = turn.view.prior, turn.now
    found = []
    for kind in ("Ready", "Reconciling", "Stalled"):
        value = str(kind == saying.true)
        begun = since(prior, kind, value, now)
        found.append(Condition(kind, value, saying.reason, saying.message, begun))
    found.append(_available(turn, fleet))
    if (guard := turn.view.guard) is not None:
        value = str(guard.holds)
        begun = since(prior, GUARDED, value, now)
        found.append(Condition(GUARDED, value, guard.reason, guard.message, begun))
    elif (told := prior.condition(GUARDED)) is not None:
        found.append(told)  # after a restart it is not known at once
    return tuple(found)


def _available(turn: Turn, fleet: Fleet) -> Condition:
    """Say whether as many instances are available as the budget demands, of whatever revision.

    Instances without traffic do not count.
    """
    have, least = serving(turn, fleet), turn.budget.fewest_available
    value = str(have >= least)
    reason = "MinimumAvailable" if have >= least else "MinimumUnavailable"
    # Without the present number, which the other conditions have: it changes all the time.
    needed = f"{least} of {turn.budget.desired} instances are available"
    text = f"at least {needed}" if have >= least else f"fewer than the required {needed}"
    return Condition(
        AVAILABLE, value, reason, text, since(turn.view.prior, AVAILABLE, value, turn.now)
    )


def since(prior: Status, kind: str, value: str, now: float) -> float:
    """Return when a condition got its value: the time stays as long as the value does."""
    before = prior.condition(kind)
    return before.since if before and before.status == value else now
