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

    Keys that are only looked at again (`add_later`) come up in turn with those that changed: after
    a change of leaders, a lost instance does not wait until all owners are planned.
    """

    def __init__(self, clock: Callable[[], float], *, pace: float = 0.05) -> None:
        self._clock = clock
        self._pace = pace
        self._ready: deque[K] = deque()
        self._later: dict[K, None] = {}
        self._later_is_next = False
        self._waiting: dict[K, float] = {}  # since when
        self._busy: set[K] = set()
        self._again: set[K] = set()
        self._due: list[tuple[float, int, K]] = []
        self._due_at: dict[K, float] = {}
        self._last: dict[K, float] = {}
        self._pushed = 0  # keys of any type have no order
        self._idle: deque[asyncio.Future[None]] = deque()
        self._turn = asyncio.Lock()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = float("inf")

    def __len__(self) -> int:
        return len(self._ready) + len(self._later) + len(self._again)

    @property
    def busy(self) -> int:
        """How many keys the workers have."""
        return len(self._busy)

    def add(self, key: K) -> None:
        """Let a key come up as soon as its pace allows."""
        earliest = self._last.get(key, float("-inf")) + self._pace
        if earliest > self._clock():
            self.add_at(key, earliest)
        else:
            self._enqueue(key)

    def add_later(self, key: K) -> None:
        """Let a key come up although nothing happened to it, in turn with keys that changed."""
        is_paced = self._last.get(key, float("-inf")) + self._pace > self._clock()
        if is_paced or key in self._waiting or key in self._busy:
            self.add(key)
        elif key not in self._later:
            self._later[key] = None
            self._call()

    def postpone(self, seconds: float) -> None:
        """Treat keys of which nothing was heard for so many seconds as if added by `add_later`."""
        latest = self._clock() - seconds
        self._later |= {key: None for key in self._ready if self._waiting[key] < latest}
        self._ready = deque(key for key in self._ready if key not in self._later)
        self._waiting = {key: self._waiting[key] for key in self._ready}

    def add_at(self, key: K, when: float) -> None:
        """Let a key come up at ``when`` (by the queue's clock) at the latest."""
        if when >= self._due_at.get(key, float("inf")):
            return
        self._due_at[key] = when
        self._pushed += 1
        heapq.heappush(self._due, (when, self._pushed, key))
        self._set_alarm()

    async def get(self) -> K:
        """Return the next key; call `done` when its work is done.

        All other tasks run between two keys. Work that needs no response from the API server never
        waits, and the work of thousands of keys takes longer than a lease is valid.
        """
        while True:
            async with self._turn:  # of all workers one: otherwise each would go on at once
                await asyncio.sleep(0)
            self._promote()
            if self._ready or self._later:
                key = self._next()
                self._busy.add(key)
                if self._pace:
                    self._last[key] = self._clock()
                return key
            await self._called()

    def _next(self) -> K:
        if self._later and (self._later_is_next or not self._ready):
            self._later_is_next = False
            key = next(iter(self._later))
            del self._later[key]
        else:
            self._later_is_next = True
            key = self._ready.popleft()
            del self._waiting[key]
        return key

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
            self._later.pop(key, None)
            self._waiting[key] = self._clock()
            self._ready.append(key)
            self._call()
        else:
            self._waiting[key] = self._clock()

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
