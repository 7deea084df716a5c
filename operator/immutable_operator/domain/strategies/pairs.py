"""Pairs: where each instance waits for its own successor, and not for that of another one.

The ledger counts, which suffices for instances that are alike. A node is more than a number: its
successor was created, and verified, for it.
"""

from __future__ import annotations

from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.model import Instance

__all__ = ["Pairs"]


class Pairs:
    """The available instances that one plan leaves; one and its successor hold one place."""

    def __init__(self, fleet: Fleet) -> None:
        turn = fleet.turn
        self._turn = turn
        self._counts = turn.family.is_one_to_one
        self._works = [i for i in fleet.active if turn.available(i)] if self._counts else []

    def may_go(self, instance: Instance) -> bool:
        """Return whether it takes no place away that the budget demands."""
        if not self._counts or instance not in self._works:
            return True
        least = min(self._places(self._works), self._turn.budget.fewest_available)
        return self._places([i for i in self._works if i is not instance]) >= least

    def take(self, instance: Instance) -> None:
        """Note that it is retired."""
        self._works = [i for i in self._works if i is not instance]

    def _places(self, works: list[Instance]) -> int:
        """Count pairs once, unless the predecessor cannot go: then its successor is free."""
        succeeded = {i.predecessor for i in works}
        turn = self._turn
        pairs = (i for i in works if i.is_among(succeeded))
        return len(works) - sum(turn.family.obstacle(i, turn.spec) is None for i in pairs)
