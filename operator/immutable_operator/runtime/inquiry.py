"""Asks what the watches do not show: each question once at a time, and again after failures.

The content of a ConfigMap, whether two images are the same, which service a pod without labels
belongs to, whether the service of an action exists: one mechanism asks them all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

from immutable_operator.domain.model import Backoff
from immutable_operator.kube.errors import ApiError
from immutable_operator.kube.lease import NotLeader
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.runtime.gate import FairGate
from immutable_operator.runtime.queue import KeyQueue

__all__ = ["Inquiry"]

log = structlog.get_logger()
AT_ONCE = 8

K = TypeVar("K", bound=Hashable)


class Inquiry(Generic[K]):
    """Questions about keys. Only the leader runs it.

    ``ask`` finds the answer and notifies the owners concerned; it returns the seconds after which
    to ask again, or None once that is answered. Errors that it raises are logged as ``trouble``,
    and the question is asked again with back-off; only a lost lease ends the inquiry. ``lane``
    names who is asked: one question at a time in each lane, and `AT_ONCE` lanes take turns. Without
    it each key has a lane of its own.
    """

    def __init__(
        self,
        trouble: str,
        ask: Callable[[K], Awaitable[float | None]],
        *,
        lane: Callable[[K], Hashable] = lambda key: key,
        retry: Backoff,
    ) -> None:
        self._trouble = trouble
        self._ask = ask
        self._lane = lane
        self._retry = retry
        self._queue: KeyQueue[K] = KeyQueue(time.monotonic, pace=0.0)
        self._gate = FairGate(AT_ONCE, each=1)
        self._open: set[K] = set()
        self._failures: dict[K, int] = {}

    def want(self, key: K) -> None:
        """Ask a question, unless it is open already or scheduled for later."""
        if key not in self._open:
            self.renew(key)

    def renew(self, key: K) -> None:
        """Ask a question now because of news, even if it is scheduled for later."""
        self._open.add(key)
        self._queue.add(key)

    def renew_all(self) -> None:
        """Ask all open questions now."""
        for key in list(self._open):
            self._queue.add(key)

    async def run(self) -> None:
        """Ask questions forever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                key = await self._queue.get()
                tasks.create_task(self._put(key))

    async def _put(self, key: K) -> None:
        try:
            async with self._gate.turn(self._lane(key)):
                again = await self._ask(key)
            self._failures.pop(key, None)
        except NotLeader:
            raise
        except Exception as error:
            # A failed question does not end the operator.
            expected = isinstance(error, (ApiError, *READ_ERRORS))
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            again = self._retry.after(failures)
            log.warning(
                self._trouble,
                about=key,
                error=str(error),
                retry_in=again,
                exc_info=None if expected else error,
            )
        finally:
            self._queue.done(key)
        if again is None:
            self._open.discard(key)
        else:
            self._queue.add_at(key, time.monotonic() + again)
