"""The oracle for storms: moves and writes are bounded by what the events explain.

Each service has credit: what others do to it brings some, time brings a little, each move costs 1.
It can be saved only up to a few times the size of the service: a quiet day pays for no storm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.world.storage import Commit
from tests.simulation.world.truth import Service

__all__ = ["Storm"]

FACTOR = 4.0
CONSTANT = 20.0
PER_SECOND = 4.0 / 60.0
WRITES, WRITES_PER_SECOND = 10.0, 1.0


@dataclass
class Account:
    """What may still be done for one service. ``swap`` is the shortest time of a regeneration."""

    at: float
    moves: float = CONSTANT
    writes: float = CONSTANT * WRITES
    size: int = 1
    aged_every: float | None = None
    short_lives: float = 8.0

    def earn(self, events: float, *, now: float) -> None:
        seconds, self.at = now - self.at, now
        aged = seconds * self.size / self.aged_every if self.aged_every else 0.0
        gained = FACTOR * (events + aged) + PER_SECOND * seconds
        self.short_lives = min(8.0, self.short_lives + seconds / 60.0)
        most = CONSTANT + 2 * FACTOR * self.size
        self.moves = min(most, self.moves + gained)
        writes = self.writes + WRITES * FACTOR * (events + aged) + WRITES_PER_SECOND * seconds
        self.writes = min(WRITES * most, writes)


class Storm:
    """Calls ``broken`` when the credit of a service is used up."""

    def __init__(self, broken: Callable[[str, str], None]) -> None:
        self._broken = broken
        self._accounts: dict[str, Account] = {}
        self.enabled = True

    def explain(self, service: Service, events: float, now: float) -> None:
        """Something befell a service that explains so many moves and as many in return."""
        account = self._accounts.setdefault(service.uid, Account(now))
        account.size = max(1, len(service.pods), *(k.replicas for k in service.of_late(now - 60)))
        account.earn(events, now=now)

    def ended_young(self, service: Service, now: float) -> None:
        """An instance did not get far: that explains ever fewer tries, as a back-off would."""
        self.explain(service, 0, now)
        account = self._accounts[service.uid]
        if account.short_lives > 0:
            account.short_lives -= 1.0 / account.size
            account.earn(1, now=now)

    def ages(self, service: Service, seconds: float | None, now: float) -> None:
        """Every instance falls due each so many seconds."""
        self.explain(service, 0, now)
        self._accounts[service.uid].aged_every = seconds

    def moved(self, service: Service, commit: Commit) -> None:
        """The operator created or retired an instance."""
        self.explain(service, 0, commit.at)
        account = self._accounts[service.uid]
        account.moves -= 1
        if account.moves < 0 and self.enabled:
            account.moves = account.size
            self._broken("storm", f"more moves for {service.name} than anything explains")

    def wrote(self, service: Service, now: float) -> None:
        """The operator asked for a write, whatever came of it."""
        self.explain(service, 0, now)
        account = self._accounts[service.uid]
        account.writes -= 1
        if account.writes < 0 and self.enabled:
            account.writes = account.size * WRITES
            self._broken("storm", f"more writes for {service.name} than anything explains")
