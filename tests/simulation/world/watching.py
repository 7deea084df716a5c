"""Watches: streams of lines, each delivered in order, perhaps late; they may be cut or go mute."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from tests.simulation.world.clock import VirtualLoop
from tests.simulation.world.storage import Commit, Obj, encode

if TYPE_CHECKING:
    from tests.simulation.world.api import Request

__all__ = ["Lag", "Stream", "matches"]

Lag = Callable[[], float]
BOOKMARKS = 60.0
LAST_BOOKMARK = 2.0  # seconds before the server ends a watch


def matches(selector: str, obj: Obj) -> bool:
    """Whether a label selector of the forms ``key``, ``!key`` and ``key=value`` selects it."""
    labels = obj["metadata"].get("labels") or {}
    for term in filter(None, selector.split(",")):
        key, equals, value = term.partition("=")
        if term.startswith("!"):
            if term[1:] in labels:
                return False
        elif key not in labels or (equals and labels[key] != value):
            return False
    return True


class Stream:
    """One open watch of one client.

    ``lag`` gives the seconds until the client has the next line. A mute stream gives nothing more
    and does not end; after ``silence`` seconds without a byte the client gives it up.
    """

    def __init__(
        self, loop: VirtualLoop, request: Request, resource: str, silence: float, lag: Lag
    ) -> None:
        self._loop, self._lag = loop, lag
        self.who, self.resource = request.who, resource
        self._selector = request.query.get("labelSelector", "")
        self._meta_only = request.meta_only
        self._seconds = float(request.query.get("timeoutSeconds", "290"))
        self._silence = silence
        self._on_the_way: deque[bytes | None] = deque()
        self._chunks: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._watched = False  # somebody looks whether it is silent
        self._heard_at = 0.0
        self._last_at = 0.0
        self._version: Callable[[], int] = lambda: 0
        self._over: BaseException | None = None
        self._ended = False
        self.mute = False
        self.closed = False

    def begin(self, version: Callable[[], int]) -> None:
        """Send bookmarks and end when the server's patience does."""
        self._version = version
        self._loop.after(BOOKMARKS, self._bookmark)
        if self._seconds < BOOKMARKS:
            self._loop.after(self._seconds - LAST_BOOKMARK, self._bookmark)
        self._loop.after(self._seconds, self.end_soon)

    def tell(self, commit: Commit) -> None:
        """A commit of this resource, as far as the selector selects it."""
        old, new = commit.before, commit.after
        was = old is not None and matches(self._selector, old)
        if new is not None and matches(self._selector, new):
            self.send(commit.line("MODIFIED" if was else "ADDED", new, meta_only=self._meta_only))
        elif was and old is not None:
            gone = commit.restamped(old)
            self.send(commit.line("DELETED", gone, meta_only=self._meta_only))

    def send(self, line: bytes) -> None:
        at = max(self._last_at, self._loop.time() + self._lag())
        self._last_at = at
        self._on_the_way.append(line)
        self._loop.after(at - self._loop.time(), self._arrive)

    def end_soon(self) -> None:
        """End after what is on the way."""
        self._on_the_way.append(None)
        self._loop.after(max(0.0, self._last_at - self._loop.time()), self._arrive)

    def _arrive(self) -> None:
        """The next line is there: timers of one moment come in any order, lines do not."""
        line = self._on_the_way.popleft()
        if line is None:
            self._end()
        else:
            self._deliver(line)

    def cut(self, rest: bytes = b"") -> None:
        """Break off, perhaps with something that is no line."""
        if rest and not self.mute:
            self._deliver(rest)
        self._over = ConnectionResetError("the stream was cut")
        self._wake()

    def close(self) -> None:
        self.closed = True

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Chunks as they come."""
        while True:
            if self._chunks:
                data = b"".join(self._chunks)
                self._chunks.clear()
                yield data
                continue
            if self._over is not None:
                raise self._over
            if self._ended:
                return
            self._waiter = self._loop.create_future()
            self._heard_at = self._loop.time()
            if not self._watched:
                self._watched = True
                self._loop.after(self._silence, self._is_silent)
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _is_silent(self) -> None:
        """Give up whoever waits for too long; one timer for all chunks, which are many."""
        self._watched = False
        if self._waiter is None or self._waiter.done():
            return
        left = self._heard_at + self._silence - self._loop.time()
        if left > 0.001:
            self._watched = True
            self._loop.after(left, self._is_silent)
        else:
            self._waiter.set_exception(TimeoutError())

    def _deliver(self, line: bytes) -> None:
        if self.closed or self.mute or self._over is not None:
            return
        self._chunks.append(line)
        self._wake()

    def _end(self) -> None:
        if not self.mute:
            self._ended = True
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _bookmark(self) -> None:
        if self.closed:
            return
        meta = {"resourceVersion": str(self._version())}
        line = encode({"type": "BOOKMARK", "object": {"metadata": meta}}) + b"\n"
        if self._on_the_way:
            self.send(line)
        else:
            self._deliver(line)
        self._loop.after(BOOKMARKS, self._bookmark)
