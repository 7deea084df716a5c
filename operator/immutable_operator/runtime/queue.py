"""The work queue: keys, each once, now or when due; never one key by two workers at a time."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["KeyQueue"]


K = TypeVar("K", bound=Hashable)


class KeyQueue(Generic[K]):
    """Keys of pending work: of owners that need a new plan, or of questions.

    A key that is added while a worker has it comes up again afterwards. At least ``pace`` seconds
    pass between two times that a key comes up, so that a burst of changes of one service is planned
    once, not once per change; without a pace the queue remembers nothing about keys.
    """

    def __init__(self, clock: Callable[[], float], *, pace: float = 0.05) -> None:
        self._clock = clock
        self._pace = pace
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()
        self._busy: set[K] = set()
        self._again: set[K] = set()
        self._due: list[tuple[float, int, K]] = []
        self._due_at: dict[K, float] = {}
        self._last: dict[K, float] = {}
        self._pushed = 0  # keys of any type have no order
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready) + len(self._again)

    def add(self, key: K) -> None:
        """Let a key come up as soon as its pace allows."""
        earliest = self._last.get(key, float("-inf")) + self._pace
        if earliest > self._clock():
            self.add_at(key, earliest)
        else:
            self._enqueue(key)

    def add_at(self, key: K, when: float) -> None:
        """Let a key come up at ``when`` (by the queue's clock) at the latest."""
        if when >= self._due_at.get(key, float("inf")):
            return
        self._due_at[key] = when
        self._pushed += 1
        heapq.heappush(self._due, (when, self._pushed, key))
        self._news.set()

    async def get(self) -> K:
        """Return the next key; call `done` when its work is done."""
        while True:
            pause = self._promote()
            if self._ready:
                key = self._ready.popleft()
                self._waiting.discard(key)
                self._busy.add(key)
                if self._pace:
                    self._last[key] = self._clock()
                return key
            self._news.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._news.wait()
            except TimeoutError:
                continue

    def done(self, key: K) -> None:
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def forget(self, key: K) -> None:
        """Drop what is remembered of a key whose owner is gone."""
        self._last.pop(key, None)
        self._due_at.pop(key, None)

    def _enqueue(self, key: K) -> None:
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._news.set()

    def _promote(self) -> float | None:
        """Move due keys to the ready line; return seconds until the next, None if there is none."""
        while self._due:
            when, _, key = self._due[0]
            if self._due_at.get(key) != when:
                heapq.heappop(self._due)
                continue
            if (pause := when - self._clock()) > 0:
                return pause
            heapq.heappop(self._due)
            del self._due_at[key]
            self._enqueue(key)
        return None
