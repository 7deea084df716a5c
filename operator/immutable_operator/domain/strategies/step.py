"""The result of one step of a strategy, and the interface of a strategy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.ledger import Ledger
from immutable_operator.domain.model import Because, Create, Quarantine, Retire
from immutable_operator.domain.turn import Turn

__all__ = ["Step", "Strategy", "tally"]


@dataclass
class Step:
    """Moves, their explanation for people, and when the strategy is to be called again."""

    creates: list[Create] = field(default_factory=list)
    retires: list[Retire] = field(default_factory=list)
    quarantines: list[Quarantine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    due: list[float] = field(default_factory=list)


class Strategy(Protocol):
    """A way from the existing instances to the wanted ones."""

    def step(self, turn: Turn, fleet: Fleet, ledger: Ledger) -> Step:
        """Return what to do now, as far as the ledger allows."""
        ...


def tally(moves: Iterable[Because]) -> str:
    """Return a summary: ``3 Outdated, 1 Unhealthy``."""
    counts = Counter(because.reason for because in moves)
    return ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))
