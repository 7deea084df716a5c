"""The pure half of each driver: what is different between kinds of instances.

Planner, ledger, strategies and status ask a `Family` and never look which one it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from immutable_operator.domain.model import Because, Evidence, Instance

__all__ = ["Family"]


class Family(Protocol):
    """One kind of instances."""

    def name(self, owner: str, uid: str, revision: str, slot: int, incarnation: int) -> str:
        """The name of a birth: the same for the same birth every time."""
        ...

    def deviation(
        self, instance: Instance, template: Mapping[str, Any] | None, evidence: Evidence
    ) -> Because | None:
        """How an instance differs from what was born; None while nothing is known against it."""
        ...

    def available_at(self, instance: Instance, least: float) -> float | None:
        """When it is (or was) ready for ``least`` seconds; None while it is not ready."""
        ...
