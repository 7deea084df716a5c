"""Keeps a sink equal to one collection of the API server: list, replace, watch, resume.

The end of a stream is normal: the watch resumes from the last resource version without a list. Only
410 (too old) leads to a new list, and a list *replaces*: objects that vanished meanwhile are
reported as deleted. An object that cannot be read is ignored and does not delay others; if it was
known, its last state is kept.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Generic, Protocol, TypeVar

import aiohttp
import msgspec
import structlog

from immutable_operator.domain.model import Backoff
from immutable_operator.kube.client import JSON, METADATA, METADATA_LIST, KubeClient
from immutable_operator.kube.errors import ApiError, Forbidden, Gone, NotFound
from immutable_operator.kube.messages import Event, Page, Unreadable, error_in, read
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reader import Reader
from immutable_operator.kube.reading import Identity
from immutable_operator.kube.stream import lines_of

__all__ = ["Reflector", "Sink", "Source"]

log = structlog.get_logger()
T = TypeVar("T")

PAGE = 500
SLICE = 100  # objects read before other tasks get their turn
SERVER_SECONDS = 290
# Two seconds before the end of a watch comes a bookmark: the shortest watch that gets one soon.
BRIEF_SECONDS = 3
NO_NAME = "metadata.name=-"  # selects nothing: the answer is only a version
SILENCE_SECONDS = 70.0  # bookmarks come every minute; without one the stream is dead
GOOD_SECONDS = 5.0  # a stream that lasted this long was no failure, even without events
RETRY = Backoff(0.4, 30.0)
ABSENT = Backoff(0.4, 10.0)  # while the API server does not have the collection
UNREADABLE_STREAMS = 3  # in a row and at one version; then a list skips what cannot be read
TOO_LARGE = "ResourceVersionTooLarge"


class Sink(Protocol[T]):
    """Where objects go. ``version`` is the resource version up to which the sink is current."""

    def replace(self, items: list[T], version: int) -> None: ...
    def upsert(self, item: T, version: int) -> None: ...
    def remove(self, item: T, version: int) -> None: ...
    def advance(self, version: int) -> None: ...
    def known(self, which: Identity) -> T | None:
        """Return the object in its last known state."""


# A collection, how its objects are read, where they go, and options of its reflector.
Source = tuple[ApiPath, Any, Sink[Any], dict[str, Any]]


class Reflector(Generic[T]):
    """One collection, mirrored into a sink.

    Parameters
    ----------
    path, resource
        URL of the collection, and its name for metrics and logs.
    decode
        Decodes the bytes of one object to what the sink keeps.
    selector, fields
        A label selector and a field selector that the API server applies, or "".
    metadata_only
        Request only the metadata of each object.
    resumed
        Called with the resource each time a watch is opened again.
    unreadable
        Called with the resource for each version of an object that cannot be read.
    served
        For a collection that may not exist, because its definition is installed by others: called
        with whether the API server has it, after each try. As long as it has not, no list is
        awaited; objects that are known stay known, since the answer says nothing about them.
    optional
        For a collection that an earlier chart does not have, or does not let the operator read: if
        the first try says so, no list is awaited, and the tries go on.
    """

    def __init__(
        self,
        client: KubeClient,
        path: str,
        resource: str,
        decode: Callable[[bytes | msgspec.Raw], T],
        sink: Sink[T],
        *,
        selector: str = "",
        fields: str = "",
        metadata_only: bool = False,
        resumed: Callable[[str], None] = lambda resource: None,
        unreadable: Callable[[str], None] = lambda resource: None,
        served: Callable[[bool], None] | None = None,
        optional: bool = False,
    ) -> None:
        self._client = client
        self._path = path
        self.resource = resource
        self._reader = Reader(resource, decode, unreadable)
        self._sink = sink
        selectors = {"labelSelector": selector, "fieldSelector": fields}
        self._selector = {key: text for key, text in selectors.items() if text}
        self._accept = METADATA_LIST if metadata_only else JSON
        self._accept_watch = METADATA if metadata_only else JSON
        self._resumed, self._served = resumed, served
        self._optional = optional or served is not None
        self._retry = RETRY
        self._version = 0
        self.changed = 0
        self._failures = 0
        self._unreadable = 0
        self._told = 0
        self._wanted = asyncio.Event()  # a list is wanted before any further event
        self._wanted.set()
        self._watching: asyncio.Task[None] | None = None
        self._seconds = SERVER_SECONDS  # of the next watch
        self._is_brief = False  # until the bookmark of a brief watch
        self._goal = 0  # the version for which bookmarks are asked for
        self._begun = self._completed = 0
        self.lists = 0
        self.synced = asyncio.Event()

    @property
    def name(self) -> str:
        """The collection and what is selected of it: the same in each replica."""
        return " ".join([self.resource, *self._selector.values()])

    @property
    def shown(self) -> int:
        """The version up to which the sink shows all changes; -1 while it is to be listed again."""
        is_listing = self._wanted.is_set() or self._completed < self._begun
        return -1 if self.lists and is_listing else self._version

    def relist(self) -> None:
        """List now, whatever the watch is doing; used if a write does not become visible."""
        self._wanted.set()

    def mark(self) -> Callable[[], bool]:
        """Return a check whether a list that began after this call has reached the sink."""
        begun = self._begun
        return lambda: self._completed > begun

    async def newest(self) -> int | None:
        """Return the present version of the collection; None if the API server does not tell it.

        No object is sent, and the API server waits until its own cache is as far.
        """
        query = {**self._selector, "fieldSelector": NO_NAME}
        try:
            body = await self._client.list(
                self._path, resource=self.resource, accept=self._accept, **query
            )
            return read(body, Page).version
        except (ApiError, Unreadable) as error:
            log.warning("version cannot be read", resource=self.resource, error=str(error))
            return None

    def hurry(self, goal: int = 0) -> None:
        """Learn soon how far the watch is, and again until it is at version ``goal``; no list.

        The watch is opened again for a few seconds, before whose end the API server sends a
        bookmark, at the earliest after one second; usually that comes once a minute. A caller that
        will know its goal only later can call without one first, so that the second passes already.
        """
        self._goal = goal
        if self._is_brief:
            return
        self._is_brief, self._seconds = True, BRIEF_SECONDS
        if self._watching is not None:
            self._watching.cancel()

    async def run(self) -> None:
        """Mirror forever. Errors of the API server are retried with full jitter, never raised.

        Whether a stream counts as a failure depends on what it delivered, not on how it ended: a
        stream that delivered events, lasted long enough or was asked to end is resumed at once;
        after one that ended at once the reflector backs off.
        """
        while True:
            began, told, lists = time.monotonic(), self._told, self.lists
            try:
                asked = await self.step()
            except Gone:
                log.info("resource version too old, listing again", resource=self.resource)
                self._wanted.set()
                asked = False
            except NotFound as error:
                self._missing(error)
                asked = False
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("watch interrupted", resource=self.resource, error=str(error))
                if isinstance(error, Forbidden) and self._optional and not self.synced.is_set():
                    self._synced_without()
                if isinstance(error, ApiError) and TOO_LARGE in error.causes:
                    # The resource version is in the future: a backup was restored.
                    self._wanted.set()
                asked = False
            except Unreadable as error:
                # An incomplete line or HTML from a proxy: the events before it are valid.
                log.warning(
                    "event of a watch cannot be read", resource=self.resource, error=str(error)
                )
                self._stumbled(progress=self._told > told or self.lists > lists)
                asked = False
            lasted = time.monotonic() - began > GOOD_SECONDS
            good = asked or lasted or self._told > told
            self._failures = 0 if good else self._failures + 1
            await asyncio.sleep(self._pause())
            self._resumed(self.resource)

    def _missing(self, error: NotFound) -> None:
        """Note that the API server does not have the collection; the next try is a list."""
        if not self._optional or not self.synced.is_set():
            log.warning("watch interrupted", resource=self.resource, error=str(error))
        if not self._optional:
            return
        self._retry = ABSENT
        self._wanted.set()
        self._synced_without()
        if self._served is not None:
            self._served(False)

    def _synced_without(self) -> None:
        """Stop waiting for a list that is not available now."""
        self._completed = self._begun
        self.synced.set()

    async def step(self) -> bool:
        """List if needed, then watch until the stream ends; True if it was asked to end."""
        if self._wanted.is_set():
            await self._list()
        self._watching = watching = asyncio.create_task(self._watch())
        wanted = asyncio.create_task(self._wanted.wait())
        try:
            await asyncio.wait([watching, wanted], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watching = None
            wanted.cancel()
            if not watching.done():
                watching.cancel()
                await asyncio.wait([watching])
        if watching.cancelled():
            return True
        watching.result()
        return self._wanted.is_set()

    async def _watch(self) -> None:
        seconds, self._seconds = self._seconds, SERVER_SECONDS
        self._is_brief = seconds == BRIEF_SECONDS
        opened = self._client.watch(
            self._path,
            resource=self.resource,
            silence=SILENCE_SECONDS,
            resourceVersion=self._version,
            timeoutSeconds=seconds,
            accept=self._accept_watch,
            **self._selector,
        )
        # The lines are closed at once, whatever one of them says.
        try:
            async with opened as stream, aclosing(lines_of(stream, self.resource)) as lines:
                async for line in lines:
                    self._handle(line)
        finally:
            self._is_brief = False

    def _stumbled(self, *, progress: bool) -> None:
        """Count unreadable lines: each new watch from before such a line receives it again."""
        self._unreadable = 0 if progress else self._unreadable + 1
        if self._unreadable >= UNREADABLE_STREAMS:
            self._unreadable = 0
            self._wanted.set()

    def _pause(self) -> float:
        if not self._failures:
            return random.uniform(0, 0.05)  # noqa: S311
        return random.uniform(0, self._retry.after(self._failures))  # noqa: S311

    async def _list(self) -> None:
        self._begun += 1
        began = self._begun
        # A list that is requested from here on must be a new one.
        self._wanted.clear()
        try:
            items, version = await self._pages()
        except BaseException:
            self._wanted.set()
            raise
        self._version = self.changed = version
        self._goal = 0  # a list may be of a backup, with lower versions
        self._sink.replace(items, version)
        self._completed = began
        self.lists += 1
        self._retry = RETRY
        self.synced.set()
        if self._served is not None:
            self._served(True)

    async def _pages(self) -> tuple[list[T], int]:
        """Return all objects that can be read or are known, and the version of the list."""
        items: list[T] = []
        token, version = "", 0
        followed: set[str] = set()
        while True:
            query: dict[str, str | int] = {"limit": PAGE, **self._selector}
            if token:
                query["continue"] = token
            body = await self._client.list(
                self._path, resource=self.resource, accept=self._accept, **query
            )
            page = read(body, Page)
            found = page.items or []
            for start in range(0, len(found), SLICE):
                mirrored = (self._read(raw) for raw in found[start : start + SLICE])
                items += [item for item in mirrored if item is not None]
                await asyncio.sleep(0)
            version = version or page.version
            token = page.successor
            if not token:
                return items, version
            if token in followed:
                raise Unreadable("the list never ends: two pages have the same continue token")
            followed.add(token)

    def _read(self, raw: msgspec.Raw) -> T | None:
        """Return the object; its last known state if it cannot be read."""
        item = self._reader.read(raw)
        return self._sink.known(Identity.of(raw)) if item is None else item

    def _handle(self, line: bytes) -> None:
        event = read(line, Event)
        if event.type == "ERROR":
            raise error_in(event.object)
        try:
            version = event.version
        except ValueError as error:
            # The event itself is still valid.
            self._reader.tell(Identity.of(event.object), error)
            version = self._version
        if event.type == "BOOKMARK":
            self._sink.advance(version)
            self._version = version
            self._told += 1
            self._is_brief = False
            if version < self._goal:
                self.hurry(self._goal)
            return
        if event.type == "DELETED":
            # Even if its last state cannot be read, the known object is gone.
            item = self._read(event.object)
            if item is not None:
                self._sink.remove(item, version)
            else:
                self._sink.advance(version)
                self._wanted.set()  # only a list can show which object it was
        else:
            item = self._reader.read(event.object)
            if item is None:
                self._sink.advance(version)
            else:
                self._sink.upsert(item, version)
        self._version = self.changed = version
        self._told += 1
