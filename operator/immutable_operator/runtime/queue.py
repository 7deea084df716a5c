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
        self._idle: deque[asyncio.Future[None]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")

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
        self._set_alarm()

    async def get(self) -> K:
        """Return the next key; call `done` when its work is done."""
        while True:
            self._promote()
            if self._ready:
                key = self._ready.popleft()
                self._waiting.discard(key)
                self._busy.add(key)
                if self._pace:
                    self._last[key] = self._clock()
                return key
            await self._called()

    async def _called(self) -> None:
        """Wait as one of the idle workers; each key calls one of them."""
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(call)
        self._set_alarm()
        try:
            await call
        except asyncio.CancelledError:
            if not call.cancelled():
                self._call()  # the key is for another worker
            raise

    def _call(self) -> None:
        while self._idle:
            call = self._idle.popleft()
            if not call.done():
                call.set_result(None)
                return

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
            self._call()

    def _set_alarm(self) -> None:
        """Have the next due key enqueued in time, if a worker waits for it."""
        if not (self._due and self._idle) or self._due[0][0] >= self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = self._due[0][0]
        pause = max(0.0, self._alarm_at - self._clock())
        self._alarm = self._idle[0].get_loop().call_later(pause, self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, float("inf")
        self._promote()
        self._set_alarm()

    def _promote(self) -> None:
        """Move due keys to the ready line."""
        while self._due:
            when, _, key = self._due[0]
            if self._due_at.get(key) != when:
                heapq.heappop(self._due)
                continue
            if when > self._clock():
                return
            heapq.heappop(self._due)
            del self._due_at[key]
            self._enqueue(key)
