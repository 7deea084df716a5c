"""Drain protection: a PodDisruptionBudget of the operator, so that a drain waits for successors.

The budget lets an evictor remove an instance only while enough others are available. The operator
sees the cordon, creates the successor on another node, and the budget then admits the eviction.
With BlueGreen it selects the instances that have the traffic.
"""

from __future__ import annotations

from immutable_operator.domain.model import DeleteBudget, Move, SetBudget
from immutable_operator.domain.standing import live_revision
from immutable_operator.domain.turn import Turn

__all__ = ["BUDGET_CONFLICT", "BUDGET_REFUSED", "obstacle", "protection", "taken"]

BUDGET_CONFLICT = "DisruptionBudgetConflict"
BUDGET_REFUSED = "DisruptionBudgetRefused"
BudgetMove = SetBudget | DeleteBudget


def protection(turn: Turn) -> tuple[tuple[BudgetMove, ...], tuple[float, ...]]:
    """Return what is to be written now, and when refused writes may be retried."""
    moves = () if turn.spec.suspend else _moves(turn)
    refused = [r.retry_at for r in turn.view.refusals if r.move is Move.BUDGET]
    waits = tuple(at for at in refused if at > turn.now)
    return ((), waits) if moves and waits else (moves, ())


def obstacle(turn: Turn) -> tuple[str, str] | None:
    """Return a reason and a sentence if the pods are not protected as requested, else None."""
    if (conflict := _conflict(turn)) is not None:
        return BUDGET_CONFLICT, conflict
    refused = [r.message for r in turn.view.refusals if r.move is Move.BUDGET]
    return (BUDGET_REFUSED, refused[0]) if refused and _moves(turn) else None


def _moves(turn: Turn) -> tuple[BudgetMove, ...]:
    """Return the writes that make the operator's budget what it is to be."""
    if turn.spec.template is None:
        return ()
    own = [budget for budget in turn.view.budgets if budget.is_own]
    least = turn.budget.fewest_available
    if not turn.spec.drain_protection or not least or _conflict(turn) is not None:
        return tuple(DeleteBudget(budget.name, budget.uid) for budget in own)
    live = live_revision(turn.view)
    # Instances without traffic do not stand in for those that have it.
    wanted = SetBudget(least, "" if live is None else live.id)
    if any((b.min_available, b.revision) == (least, wanted.revision) for b in own):
        return ()
    return (wanted,)


def _conflict(turn: Turn) -> str | None:
    """Return what prevents the protection; None if nothing does, or if it is not requested."""
    if not turn.spec.drain_protection:
        return None
    others = [budget for budget in turn.view.budgets if not budget.is_own]
    covering = sorted(budget.name for budget in others if budget.covers)
    if not covering:
        return taken(others[0].name) if others else None
    return (
        f"PodDisruptionBudget {covering[0]} covers the pods of this service; two budgets on one pod"
        " make every eviction fail, so rollout.drainProtection has no effect; delete that budget,"
        " or set drainProtection: false"
    )


def taken(name: str) -> str:
    """Say that another budget has the name of the budget of a service."""
    return (
        f"PodDisruptionBudget {name} exists and does not belong to this service, so"
        " rollout.drainProtection has no effect; delete that budget, or recreate it under another"
        " name"
    )
