"""A fleet that lives by ``outlook`` alone, for simulated years: births, swaps, a clock that jumps.

Between two looks nothing happens, so time leaps from event to event. Places (0, 1, …) go from
an instance to its successor. The world's time never jumps; what the clock shows may.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from immutable_operator.domain.calendar.regeneration import Due, Regeneration, outlook

__all__ = ["Swap", "ToyFleet"]


@dataclass(frozen=True, slots=True)
class Swap:
    """One replacement; all times are the world's, but ``clock``, what the clock showed."""

    place: int
    born: float
    started: float
    ended: float
    clock: float
    due: Due

    @property
    def age(self) -> float:
        return self.ended - self.born


@dataclass
class ToyFleet:
    """``size`` instances, born at ``start``; a swap takes up to ``swap_seconds``.

    ``jumps`` are pairs (when, by how much the clock moves), ``down`` is while nobody looks.
    """

    regeneration: Regeneration
    size: int
    swap_seconds: float
    start: float
    seed: int = 0
    jumps: tuple[tuple[float, float], ...] = ()
    down: tuple[float, float] = (0.0, 0.0)
    since: float = 0.0
    uid: str = "service"
    most_in_flight: int = 0
    living: dict[int, tuple[str, float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clock = self.clock(self.start)
        self.living = {p: (f"{p}/{self.seed}", clock, self.start) for p in range(self.size)}

    def clock(self, world: float) -> float:
        return world + sum(by for when, by in self.jumps if when <= world)

    def run(self, seconds: float) -> list[Swap]:
        return list(self._swaps(self.start + seconds))

    def _swaps(self, end: float) -> Iterator[Swap]:
        chance = random.Random(self.seed)
        leaving: dict[str, float] = {}  # predecessors in flight and when they are gone
        now, births = self.start, 0
        while now < end:
            leaving = {uid: gone for uid, gone in leaving.items() if gone > now}
            again: float | None = None
            if not self.down[0] <= now < self.down[1]:
                clock = self.clock(now)
                places = {uid: place for place, (uid, _, _) in self.living.items()}
                born = {uid: shown for uid, shown, _ in self.living.values()}
                wish = replace(self.regeneration, schedule_since=self.since)
                seen = outlook(wish, born, self.uid, clock, self.swap_seconds)
                again = None if seen.again is None else now + seen.again - clock
                ready = [due for due in seen.due if due.may_start]
                for due in ready[: self.regeneration.max_concurrent - len(leaving)]:
                    place, births = places[due.uid], births + 1
                    gone = now + self.swap_seconds * chance.uniform(0.3, 0.85)
                    leaving[due.uid] = gone
                    yield Swap(place, self.living[place][2], now, gone, clock, due)
                    self.living[place] = (f"{self.seed}-{births}", clock, now)
                    again = now  # the newborn are to be looked at, too
                self.most_in_flight = max(self.most_in_flight, len(leaving))
            late = self.swap_seconds * chance.uniform(0.01, 0.1)
            now = self._next(now, again, leaving.values()) + late

    def _next(self, now: float, again: float | None, gone: Iterable[float]) -> float:
        events = [*gone, *(when for when, _ in self.jumps), *self.down]
        later = [t for t in events if t > now]
        if again is not None:
            later.append(max(now, again))
        return min(later, default=float("inf"))
