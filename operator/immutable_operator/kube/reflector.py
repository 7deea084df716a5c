"""Keeps a sink equal to one collection of the API server: list, replace, watch, resume.

The socket is drained by one task and parsed by another, because the API server ends a watch
whose client reads slowly. The end of a stream is ordinary: the watch resumes from the last
resource version without a list. Only 410 (too old) lists again, and a list *replaces*: what
vanished meanwhile is told as deleted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import aiohttp
import msgspec
import structlog

from immutable_operator.kube.client import JSON, METADATA, METADATA_LIST, KubeClient
from immutable_operator.kube.errors import ApiError, Gone, error_from

__all__ = ["Reflector", "Sink"]

log = structlog.get_logger()
T = TypeVar("T")

PAGE = 500
SLICE = 100  # events parsed before other tasks get their turn
BUFFER_LIMIT = 64 * 2**20
SERVER_SECONDS = 290
SILENCE_SECONDS = 70.0  # bookmarks come every minute; less than that is a dead stream
GOOD_SECONDS = 5.0  # a stream that lived that long was no failure, news or none
BACKOFF_BASE, BACKOFF_MOST = 0.2, 30.0


class Sink(Protocol[T]):
    """Where objects go. ``version`` is the resource version up to which the sink is told."""

    def replace(self, items: list[T], version: int) -> None: ...
    def upsert(self, item: T, version: int) -> None: ...
    def remove(self, item: T, version: int) -> None: ...
    def advance(self, version: int) -> None: ...


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = "0"
    continue_: str = msgspec.field(default="", name="continue")


class _Meta(msgspec.Struct):
    metadata: _ListMeta


class _Page(msgspec.Struct):
    metadata: _ListMeta
    # A list of metadata that is empty says null.
    items: list[msgspec.Raw] | None = None


class Reflector(Generic[T]):
    """One collection, mirrored into a sink.

    Parameters
    ----------
    path, resource
        URL of the collection, and its name for metrics and logs.
    decode
        Bytes of one object to what the sink keeps.
    selector
        A label selector that the API server applies, or "".
    metadata_only
        Ask for the metadata of each object and nothing else.
    resumed
        Called with the resource each time a watch is opened again.
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
        metadata_only: bool = False,
        resumed: Callable[[str], None] = lambda resource: None,
    ) -> None:
        self._client = client
        self._path = path
        self.resource = resource
        self._decode = decode
        self._sink = sink
        self._selector = {"labelSelector": selector} if selector else {}
        self._accept = METADATA_LIST if metadata_only else JSON
        self._accept_watch = METADATA if metadata_only else JSON
        self._resumed = resumed
        self._version = 0
        self._failures = 0
        self._told = 0
        self._relist = True
        self.synced = asyncio.Event()

    def relist(self) -> None:
        """List again before the next watch; used when a write stays unseen."""
        self._relist = True

    async def run(self) -> None:
        """Mirror for ever. API trouble is retried with full jitter, never raised.

        Whether a stream was a failure depends on what it gave, not on how it ended: one that
        brought news or lasted is resumed at once, one that ended at once is backed off from.
        """
        while True:
            began, told = time.monotonic(), self._told
            try:
                await self.step()
            except Gone:
                log.info("watch too old, listing again", resource=self.resource)
                self._relist = True
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("watch interrupted", resource=self.resource, error=str(error))
            except msgspec.DecodeError as error:
                # A line cut in the middle or HTML from a proxy: what was read so far holds.
                log.warning("watch unreadable", resource=self.resource, error=str(error))
            lasted = time.monotonic() - began > GOOD_SECONDS
            good = lasted or self._told > told
            self._failures = 0 if good else self._failures + 1
            await asyncio.sleep(self._pause())
            self._resumed(self.resource)

    async def step(self) -> None:
        """List if need be, then watch until the stream ends."""
        if self._relist:
            await self._list()
        async with self._client.watch(
            self._path,
            resource=self.resource,
            silence=SILENCE_SECONDS,
            resourceVersion=self._version,
            timeoutSeconds=SERVER_SECONDS,
            accept=self._accept_watch,
            **self._selector,
        ) as stream:
            await self._follow(stream)

    def _pause(self) -> float:
        if not self._failures:
            return random.uniform(0, 0.05)  # noqa: S311
        most = min(BACKOFF_MOST, BACKOFF_BASE * 2.0 ** min(self._failures, 10))
        return random.uniform(0, most)  # noqa: S311

    async def _list(self) -> None:
        items: list[T] = []
        token, version = "", 0
        while True:
            query: dict[str, str | int] = {"limit": PAGE, **self._selector}
            if token:
                query["continue"] = token
            body = await self._client.list(
                self._path, resource=self.resource, accept=self._accept, **query
            )
            page = msgspec.json.decode(body, type=_Page)
            found = page.items or []
            for start in range(0, len(found), SLICE):
                items += [self._decode(raw) for raw in found[start : start + SLICE]]
                await asyncio.sleep(0)
            version = version or int(page.metadata.resource_version)
            token = page.metadata.continue_
            if not token:
                break
        self._version = version
        self._relist = False
        self._sink.replace(items, version)
        self.synced.set()

    async def _follow(self, stream: aiohttp.StreamReader) -> None:
        """Drain the socket in one task, parse in this one."""
        buffer: list[bytes] = []
        news = asyncio.Event()

        async def drain() -> None:
            size = 0
            async for chunk in stream.iter_any():
                size = sum(map(len, buffer)) + len(chunk)
                buffer.append(chunk)
                news.set()
                if size > BUFFER_LIMIT:
                    log.warning("watch outran the parser, resuming", resource=self.resource)
                    return

        drainer = asyncio.create_task(drain())
        drainer.add_done_callback(lambda _: news.set())
        rest = b""
        try:
            while not (drainer.done() and not buffer):
                await news.wait()
                news.clear()
                lines = (rest + b"".join(buffer)).split(b"\n")
                buffer.clear()
                rest = lines.pop()
                for index, line in enumerate(lines):
                    if line:
                        self._handle(line)
                    if index % SLICE == SLICE - 1:
                        await asyncio.sleep(0)
                if self._relist:
                    return
            drainer.result()
        finally:
            drainer.cancel()

    def _handle(self, line: bytes) -> None:
        event = msgspec.json.decode(line, type=_Event)
        if event.type == "ERROR":
            raise self._error(event.object)
        version = int(msgspec.json.decode(event.object, type=_Meta).metadata.resource_version)
        if event.type == "BOOKMARK":
            self._sink.advance(version)
        elif event.type == "DELETED":
            self._sink.remove(self._decode(event.object), version)
        else:
            self._sink.upsert(self._decode(event.object), version)
        self._version = version
        self._told += 1

    def _error(self, raw: msgspec.Raw) -> ApiError:
        body = bytes(raw)
        code = msgspec.json.decode(body).get("code", 500)
        return error_from(int(code), body)
