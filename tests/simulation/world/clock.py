"""Time that is made, not waited for: an event loop that jumps to the next timer.

Everything in a world runs on one `VirtualLoop`. Callbacks of a process that is frozen are kept
back and run when it is thawed: that is what a SIGSTOP does to a process. ``WallClock`` is what
the operator's modules read as ``time``; a process's wall clock may be wrong, its monotonic is not.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from datetime import UTC, datetime, tzinfo
from typing import Any

__all__ = ["EPOCH", "PROCESS", "Running", "VirtualDatetime", "VirtualLoop", "WallClock"]

EPOCH = 1_800_000_000.0
BOOT = 10_000.0
# A moment in which more than that happens is an endless loop without a pause.
MOST_AT_ONCE = 20_000


class Running:
    """The part of a process that its clock and its loop know."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.wall_offset = 0.0
        self.kept_back: list[asyncio.Handle] = []


PROCESS: ContextVar[Running | None] = ContextVar("PROCESS", default=None)


class StandsStill(Exception):
    """Too much happens without any time passing."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop on which time passes only when nothing else is to be done.

    ``shuffle`` gives the order of what is ready at one time; without it, it is as it came.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self, shuffle: random.Random | None = None) -> None:
        super().__init__()
        self.epoch = EPOCH
        self._now = BOOT
        self._shuffle = shuffle
        self._at_once = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = itertools.count()
        self._cancelled = 0
        self._nobody = Context()
        self.frozen: set[Running] = set()
        self.troubles: list[str] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._now

    @property
    def passed(self) -> float:
        """Seconds since the world began."""
        return self._now - BOOT

    @property
    def wall(self) -> float:
        """Seconds since the epoch, by a clock that is right."""
        return self.epoch + self.passed

    def after(self, seconds: float, what: Callable[..., object], *args: Any) -> None:
        """Let something happen that belongs to no process."""
        self.call_at(self._now + seconds, what, *args, context=self._nobody)

    def thaw(self, process: Running) -> None:
        """Let a frozen process go on where it was."""
        process.frozen = False
        self.frozen.discard(process)
        self._ready.extend(process.kept_back)
        process.kept_back.clear()

    def freeze(self, process: Running) -> None:
        process.frozen = True
        self.frozen.add(process)

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, asyncio.CancelledError):
            self.troubles.append(f"{context.get('message')}: {error!r}")

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._count), handle))
        return handle

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._cancelled += 1

    def _run_once(self) -> None:
        """Run what is ready now, and what becomes ready by that, until somebody ends the loop."""
        while not self._stopping:
            self._run_batch()

    def _run_batch(self) -> None:
        if self._cancelled:
            self._forget_cancelled()
        timers, ready = self._timers, self._ready
        if not ready and timers and timers[0][0] > self._now:
            self._now, self._at_once = timers[0][0], 0
        while timers and timers[0][0] <= self._now:
            ready.append(heapq.heappop(timers)[2])
        if not ready:
            raise StandsStill("nothing will ever happen again")
        batch = list(ready)
        ready.clear()
        if self._shuffle is not None and len(batch) > 1:
            self._shuffle.shuffle(batch)
        self._at_once += len(batch)
        if self._at_once > MOST_AT_ONCE:
            raise StandsStill(f"{self._at_once} callbacks and no time passed")
        for handle in batch:
            if not handle._cancelled and not (self.frozen and self._keeps_back(handle)):
                handle._run()

    def _keeps_back(self, handle: asyncio.Handle) -> bool:
        context: Context = handle._context  # type: ignore[attr-defined]
        process = context.get(PROCESS)
        if process is None or not process.frozen:
            return False
        process.kept_back.append(handle)
        return True

    def _forget_cancelled(self) -> None:
        """Drop cancelled timers from the head, and all of them where they are the most."""
        if self._cancelled > 200:
            self._timers[:] = [timer for timer in self._timers if not timer[2]._cancelled]
            heapq.heapify(self._timers)
            self._cancelled = 0
        while self._timers and self._timers[0][2]._cancelled:
            heapq.heappop(self._timers)
            self._cancelled -= 1

    def _write_to_self(self) -> None:
        """Nobody sleeps, so nobody is woken."""

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no sockets."""


class WallClock:
    """Stands in for the module ``time`` in the operator's modules."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def time(self) -> float:
        process = PROCESS.get()
        return self._loop.wall + (process.wall_offset if process else 0.0)

    def monotonic(self) -> float:
        return self._loop.time()

    perf_counter = monotonic


class VirtualDatetime:
    """Stands in for ``datetime`` where only the present is asked for."""

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock

    def now(self, zone: tzinfo | None = UTC) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), zone)
