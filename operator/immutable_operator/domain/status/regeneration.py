"""What the status says of regeneration: is it going on, and can the ages be met at all?"""

from __future__ import annotations

from dataclasses import replace

from immutable_operator.domain.calendar.feasibility import feasibility
from immutable_operator.domain.ledger import Budget
from immutable_operator.domain.model import Condition, Spec, StaleReason, Status
from immutable_operator.domain.staleness.age import swap_seconds
from immutable_operator.domain.strategies import Fleet

__all__ = ["is_regenerating", "regeneration_conditions"]

REGENERATING = "Regenerating"
CANNOT_MEET = "CannotMeetMaxAge"
AGING = (StaleReason.EXPIRED, StaleReason.REQUESTED)


def is_regenerating(fleet: Fleet, budget: Budget) -> bool:
    """Whether instances are replaced for their age or on request, and nothing else is wrong."""
    return (
        bool(fleet.stale)
        and all(fleet.why[i.name].reason in AGING for i in fleet.stale)
        and not fleet.healing.held
        and fleet.count_available(fleet.active) >= budget.fewest_available
    )


def regeneration_conditions(
    spec: Spec, fleet: Fleet, budget: Budget, prior: Status, now: float
) -> tuple[Condition, ...]:
    """The two conditions of a service that asks for regeneration; none of another."""
    wanted = spec.regeneration
    if wanted.max_age is None and wanted.hard_max_age is None and wanted.schedule is None:
        return ()
    going = len([i for i in fleet.stale if fleet.why[i.name].reason in AGING])
    window = f"; {fleet.aging.window}" if fleet.aging.window else ""
    if going:
        text = f"{going} are being replaced, {fleet.aging.waiting} wait{window}"
        regenerating = (True, REGENERATING, text)
    elif fleet.aging.waiting:
        text = f"{fleet.aging.waiting} are due and wait{window}"
        regenerating = (False, "Waiting", text)
    else:
        regenerating = (False, "NothingDue", "no instance is due")
    swap = swap_seconds(fleet.active, spec.min_ready_seconds)
    pace = max(1, min(wanted.max_concurrent, budget.surge + budget.unavailable))
    problem = feasibility(replace(wanted, max_concurrent=pace), budget.desired, swap, now)
    text = problem or f"{budget.desired} instances at {swap:.0f}s each can be replaced in time"
    cannot = (problem is not None, "TooSlow" if problem else "Feasible", text)
    found = []
    for kind, (holds, reason, message) in ((REGENERATING, regenerating), (CANNOT_MEET, cannot)):
        before = prior.condition(kind)
        since = before.since if before and before.status == str(holds) else now
        found.append(Condition(kind, str(holds), reason, message, since))
    return tuple(found)
