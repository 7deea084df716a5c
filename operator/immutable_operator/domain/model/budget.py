"""PodDisruptionBudgets that cover the instances of a service."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DisruptionBudget"]


@dataclass(frozen=True, slots=True)
class DisruptionBudget:
    """A budget that covers the instances of a service.

    ``is_own`` says that the operator created it for this service. ``min_available`` is None if the
    budget states its limit in another form.
    """

    name: str
    uid: str
    min_available: int | None = None
    is_own: bool = False
