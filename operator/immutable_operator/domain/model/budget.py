"""PodDisruptionBudgets that cover the instances of a service."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DisruptionBudget", "budget_name"]


@dataclass(frozen=True, slots=True)
class DisruptionBudget:
    """A budget that covers the instances of a service, or that has the name of its own budget.

    ``is_own`` says that the operator created it for this service. ``min_available`` is None if the
    budget states its limit in another form. ``revision`` is the id of the revision whose instances
    the operator's own one selects, "" if it selects all, None if it selects anything else.
    """

    name: str
    uid: str
    min_available: int | None = None
    is_own: bool = False
    covers: bool = True
    revision: str | None = ""


def budget_name(service: str) -> str:
    """Return the name of the operator's budget for a service."""
    return f"{service}-drain-protection"
