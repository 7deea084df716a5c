"""Notifications: facts wait in a bounded queue, and one task sends them in their order.

Whatever the receiver does, nobody who notes a fact waits for it. The queue is in memory; a leader
that takes over sends the facts of the last minutes again, under their ids.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable

import structlog

from immutable_operator.domain.model import Backoff, Fact
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.receiver import Attempt, Notice, NotifyOptions, Receiver
from immutable_operator.wire.cloud_event import cloud_event, event_id
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["Notifications"]

log = structlog.get_logger()
MOST_WAITING = 1000
RETRY = Backoff(1.0, 120.0)
GIVE_UP_SECONDS = 3600.0
AGAIN_SECONDS = 600.0  # facts of this age are sent again after a start
FORGET_SECONDS = 3600.0


class Notifications:
    """Takes facts from the loop and sends them; without options it does nothing.

    Only the leader notes facts and runs it. ``clock`` returns seconds since the epoch.
    """

    def __init__(
        self,
        options: NotifyOptions | None,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        *,
        retry: Backoff = RETRY,
        give_up: float = GIVE_UP_SECONDS,
        most: int = MOST_WAITING,
    ) -> None:
        self._options, self._metrics, self._clock = options, metrics, clock
        self._receiver = Receiver(options, clock) if options else None
        self._retry, self._give_up, self._most = retry, give_up, most
        self._waiting: deque[Notice] = deque()
        self._filled = asyncio.Event()
        self._noted: dict[str, dict[str, float]] = {}
        self._sending: Notice | None = None
        self._failures = 0
        self._problem = ""

    @property
    def enabled(self) -> bool:
        """Whether facts are sent at all."""
        return self._options is not None

    def note(self, owner: OwnerRecord, facts: Iterable[Fact]) -> None:
        """Send the facts of an owner that were not noted before.

        When an owner is first noted, older facts were sent by a former leader.
        """
        if self._options is None:
            return
        now = time.monotonic()
        is_first = owner.uid not in self._noted
        noted = self._noted.setdefault(owner.uid, {})
        oldest = self._clock() - AGAIN_SECONDS if is_first else float("-inf")
        for fact in facts:
            known = event_id(fact)
            is_new = known not in noted and fact.at >= oldest
            noted[known] = now
            if is_new and fact.type in self._options.events:
                self._add(Notice(known, cloud_event(owner, fact, self._options.source), now))
        for known in [k for k, at in noted.items() if now - at > FORGET_SECONDS]:
            del noted[known]

    def forget(self, uid: str) -> None:
        """Drop what was noted of an owner that is gone; what waits is sent."""
        self._noted.pop(uid, None)

    async def run(self) -> None:
        """Send what waits, forever."""
        while True:
            await self._filled.wait()
            self._sending = self._waiting.popleft()
            await self._deliver(self._sending)
            self._sending = None
            self._measure()

    def _add(self, notice: Notice) -> None:
        self._waiting.append(notice)
        while len(self._waiting) > self._most:
            self._waiting.popleft()
            self._count("dropped")
        self._measure()

    def _measure(self) -> None:
        if self._waiting:
            self._filled.set()
        else:
            self._filled.clear()
        self._metrics.notifications_waiting.set(len(self._waiting) + bool(self._sending))

    def _count(self, result: str) -> None:
        self._metrics.notifications.labels(result).inc()

    async def _deliver(self, notice: Notice) -> None:
        assert self._receiver is not None  # noqa: S101
        while True:
            answer = await self._receiver.send(notice)
            self._say(answer)
            if not answer.again:
                self._failures = 0
                self._count("failed" if answer.problem else "sent")
                return
            self._failures += 1
            pause = self._pause(answer)
            is_late = time.monotonic() + pause - notice.since > self._give_up
            if is_late:
                self._count("failed")
            await asyncio.sleep(pause)  # before the next one, too: the receiver may be down
            if is_late:
                return

    def _pause(self, answer: Attempt) -> float:
        usual = self._retry.after(self._failures) * random.uniform(0.5, 1.0)  # noqa: S311
        return max(usual, min(answer.pause, self._give_up))

    def _say(self, answer: Attempt) -> None:
        """Log the first problem, and the end of all problems since."""
        host = self._options.host if self._options else ""
        if answer.problem and not self._problem:
            log.warning("notifications cannot be sent", receiver=host, error=answer.problem)
        elif self._problem and not answer.problem:
            log.info("notifications can be sent again", receiver=host)
        self._problem = answer.problem
