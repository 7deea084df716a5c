"""What the status says about regeneration: is it in progress, and can the ages be met at all?"""

from __future__ import annotations

from dataclasses import replace

from immutable_operator.domain.calendar.feasibility import feasibility
from immutable_operator.domain.fleet import Fleet, being
from immutable_operator.domain.model import Condition, Reason
from immutable_operator.domain.staleness.age import swap_seconds
from immutable_operator.domain.status.conditions import since
from immutable_operator.domain.turn import Turn

__all__ = ["regeneration_conditions", "routine"]

REGENERATING = "Regenerating"
CANNOT_MEET = "CannotMeetMaxAge"
EVACUATING = "Evacuating"
AGING = (Reason.EXPIRED, Reason.REQUESTED)


def routine(turn: Turn, fleet: Fleet) -> str:
    """Return the reason why instances are replaced while nothing is wrong; "" if there is none.

    They are replaced because of their age, on request, or because their nodes will be removed.
    """
    reasons = {fleet.why[i.name].reason for i in fleet.stale if i.name in fleet.why}
    all_known = all(i.name in fleet.why for i in fleet.stale)
    if not reasons or not all_known or not all(reason.is_routine for reason in reasons):
        return ""
    if fleet.held or turn.count_available(fleet.active) < turn.budget.fewest_available:
        return ""
    return EVACUATING if Reason.EVACUATING in reasons else REGENERATING


def _is_aging(fleet: Fleet, name: str) -> bool:
    return name in fleet.why and fleet.why[name].reason in AGING


def regeneration_conditions(turn: Turn, fleet: Fleet) -> tuple[Condition, ...]:
    """Return the two conditions of a service that asks for regeneration, else none."""
    wanted, budget = turn.spec.regeneration, turn.budget
    if wanted.max_age is None and wanted.hard_max_age is None and wanted.schedule is None:
        return ()
    going = len([i for i in fleet.stale if _is_aging(fleet, i.name)])
    window = f"; {fleet.aging.window}" if fleet.aging.window else ""
    if going:
        text = f"{being(going, 'replaced')}, {fleet.aging.waiting} waiting{window}"
        regenerating = (True, REGENERATING, text)
    elif fleet.aging.waiting:
        due = fleet.aging.waiting
        text = f"{'1 instance is' if due == 1 else f'{due} instances are'} due and waiting{window}"
        regenerating = (False, "Waiting", text)
    else:
        regenerating = (False, "NothingDue", "no instance is due")
    swap = swap_seconds(turn, fleet.active)
    pace = max(1, min(wanted.max_concurrent, budget.surge + budget.unavailable))
    problem = feasibility(replace(wanted, max_concurrent=pace), budget.desired, swap, turn.now)
    text = problem or f"{budget.desired} instances at {swap:.0f}s each can be replaced in time"
    cannot = (problem is not None, "TooSlow" if problem else "Feasible", text)
    found = []
    for kind, (holds, reason, message) in ((REGENERATING, regenerating), (CANNOT_MEET, cannot)):
        begun = since(turn.view.prior, kind, str(holds), turn.now)
        found.append(Condition(kind, str(holds), reason, message, begun))
    return tuple(found)
