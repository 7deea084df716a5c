"""A proxy between one operator and the API server that disturbs one of the operator's writes.

Everything is passed on, watches too, with the operator's own credentials, until the write that
`WriteProxy.arm` names.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

from tests.controlplane import ControlPlane

__all__ = ["WriteFault", "WriteProxy"]

# Writes that are made by the clock, or that say who the operator is.
UNCOUNTED = ("/leases", "/selfsubjectreviews", "/tokenreviews", "/secrets")
HOP = {"host", "connection", "transfer-encoding", "content-length", "content-encoding"}


async def _passed(request: web.Request) -> web.StreamResponse | None:
    """Leave every request to the API server."""
    return None


async def _at_once(request: web.Request) -> None:
    """Pass every answer on as soon as it is there."""


class WriteFault(StrEnum):
    """What happens at one write of the operator."""

    BEFORE = "killed before the write"
    AFTER = "killed after the write"
    LOST = "answer lost after the write"


class WriteProxy:
    """As a context manager it serves on a loopback port, in a thread of its own.

    ``writes`` are method and path of the writes since `arm`, and ``last`` is when the last one was
    (monotonic seconds). ``happened`` is set once the fault
    happened. ``spoil`` answers a request in place of the API server, or gives None; ``hold`` gives
    the seconds for which what a watch (by its path) shows is held back. ``late`` is awaited before
    the answer to a request is passed on.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._server = plane.server
        self._context = ssl.create_default_context(cafile=plane.ca_file)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._number, self._fault = 0, WriteFault.AFTER
        self._kill: Callable[[], None] = lambda: None
        self.spoil: Callable[[web.Request], Awaitable[web.StreamResponse | None]] = _passed
        self.hold: Callable[[str], float] = lambda path: 0.0
        self.late: Callable[[web.Request], Awaitable[None]] = _at_once
        self.writes: list[str] = []
        self.last = 0.0
        self.happened = threading.Event()
        self.url = ""

    def arm(self, number: int, fault: WriteFault, kill: Callable[[], None]) -> None:
        """Disturb the write with this number, counted from 1 and from now on; with 0, none.

        ``kill`` ends the operator, from another thread.
        """
        self.happened.clear()
        self.writes.clear()
        self._number, self._fault, self._kill = number, fault, kill

    def calm(self) -> None:
        """Disturb nothing from now on."""
        self._number, self.spoil, self.hold = 0, _passed, lambda path: 0.0
        self.late = _at_once

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(20)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)

    async def _start(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._context, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._session.close()
        await self._runner.cleanup()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:  # requests of operators that were killed
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if (spoilt := await self.spoil(request)) is not None:
            return spoilt
        url = URL(self._server + request.raw_path, encoded=True)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP}
        fault = self._fault if self._is_counted_out(request) else None
        response = web.StreamResponse()
        with contextlib.suppress(aiohttp.ClientError, ConnectionError, RuntimeError):
            if fault is WriteFault.BEFORE:
                await self._end(request, kill=True)
            asked = self._session.request(
                request.method,
                url,
                headers=headers,
                data=body or None,
                timeout=aiohttp.ClientTimeout(total=None),
            )
            async with asked as answer:
                if fault is not None:
                    await answer.read()
                    await self._end(request, kill=fault is WriteFault.AFTER)
                await self.late(request)
                response.set_status(answer.status)
                for key, value in answer.headers.items():
                    if key.lower() not in HOP - {"content-encoding"}:
                        response.headers[key] = value
                await response.prepare(request)
                watches = "watch" in request.query
                async for chunk in answer.content.iter_any():
                    if watches and (seconds := self.hold(request.path)):
                        await asyncio.sleep(seconds)
                    await response.write(chunk)
        return response

    def _is_counted_out(self, request: web.Request) -> bool:
        """Count a write, and return whether it is the one to disturb."""
        if request.method in ("GET", "HEAD") or any(part in request.path for part in UNCOUNTED):
            return False
        self.writes.append(f"{request.method} {request.path}")
        self.last = time.monotonic()
        return len(self.writes) == self._number

    async def _end(self, request: web.Request, *, kill: bool) -> None:
        """Kill the operator or not, and cut the connection: no answer arrives."""
        if kill:
            await asyncio.to_thread(self._kill)
        if request.transport is not None:
            request.transport.abort()
        self.happened.set()
        raise ConnectionAbortedError(request.path)
