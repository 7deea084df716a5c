"""Drain protection: a PodDisruptionBudget of the operator, so that a drain waits for successors.

The budget lets an evictor remove an instance only while enough others are available. The operator
sees the cordon, creates the successor on another node, and the budget then admits the eviction.
"""

from __future__ import annotations

from immutable_operator.domain.model import DeleteBudget, Move, SetBudget
from immutable_operator.domain.turn import Turn

__all__ = ["BUDGET_CONFLICT", "budget_conflict", "protection"]

BUDGET_CONFLICT = "DisruptionBudgetConflict"


def protection(turn: Turn) -> tuple[SetBudget | DeleteBudget, ...]:
    """Return the writes that make the operator's budget what it is to be."""
    view = turn.view
    if turn.spec.suspend or turn.spec.template is None:
        return ()
    own = [budget for budget in view.budgets if budget.is_own]
    least = turn.budget.fewest_available
    wanted = turn.spec.drain_protection and least > 0 and budget_conflict(turn) is None
    held = {r.subject: r.retry_at for r in view.refusals if r.move is Move.BUDGET}
    if any(at > turn.now for at in held.values()):
        return ()
    if not wanted:
        return tuple(DeleteBudget(budget.name, budget.uid) for budget in own)
    if any(budget.min_available == least for budget in own):
        return ()
    return (SetBudget(least),)


def budget_conflict(turn: Turn) -> str | None:
    """Return what prevents the protection; None if nothing does, or if it is not requested."""
    if not turn.spec.drain_protection:
        return None
    others = sorted(budget.name for budget in turn.view.budgets if not budget.is_own)
    if not others:
        return None
    return (
        f"PodDisruptionBudget {others[0]} covers the pods of this service; two budgets on one pod"
        " make every eviction fail, so rollout.drainProtection has no effect; delete that budget,"
        " or set drainProtection: false"
    )
