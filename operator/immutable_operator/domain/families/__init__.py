"""The pure half of each driver: what differs between kinds of instances.

Planner, ledger, strategies and status call a `Family` and never check which one it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from immutable_operator.domain.model import Because, Evidence, Instance

__all__ = ["Family"]


class Family(Protocol):
    """One kind of instances."""

    def name(self, owner: str, uid: str, revision: str, slot: int, incarnation: int) -> str:
        """Return the name of a new instance: always the same for the same arguments."""
        ...

    def deviation(
        self, instance: Instance, template: Mapping[str, Any] | None, evidence: Evidence
    ) -> Because | None:
        """Return how an instance differs from its original state, or None."""
        ...

    def available_at(self, instance: Instance, least: float) -> float | None:
        """Return when it is (or was) ready for ``least`` seconds; None while it is not ready."""
        ...
