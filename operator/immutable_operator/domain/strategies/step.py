"""What one step of a strategy wants done, and what a strategy is."""

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
    """Moves, why in words for people, and when the strategy wants to be asked again."""

    creates: list[Create] = field(default_factory=list)
    retires: list[Retire] = field(default_factory=list)
    quarantines: list[Quarantine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    due: list[float] = field(default_factory=list)


class Strategy(Protocol):
    """A way from the instances that are to those that are wanted."""

    def step(self, turn: Turn, fleet: Fleet, ledger: Ledger) -> Step:
        """What to do now, as far as the ledger allows."""
        ...


def tally(moves: Iterable[Because]) -> str:
    """``3 Outdated, 1 Unhealthy``."""
    counts = Counter(because.reason for because in moves)
    return ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))
