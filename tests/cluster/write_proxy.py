"""A proxy between one operator and the API server that can end the operator at any of its writes.

Everything is passed on, watches too, with the operator's own credentials. The write that is counted
out is carried out, but its answer never arrives: the operator is killed first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

from tests.controlplane import ControlPlane

__all__ = ["WriteProxy"]

# Writes that are made by the clock, or that say who the operator is.
UNCOUNTED = ("/leases", "/selfsubjectreviews", "/tokenreviews", "/secrets")
HOP = {"host", "connection", "transfer-encoding", "content-length", "content-encoding"}


class WriteProxy:
    """As a context manager it serves on a loopback port, in a thread of its own.

    ``writes`` are method and path of the counted writes. After ``fatal`` of them ``kill`` is
    called, before the answer to the last one is passed on.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._server = plane.server
        self._context = ssl.create_default_context(cafile=plane.ca_file)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.writes: list[str] = []
        self.fatal = 0
        self.kill: Callable[[], None] = lambda: None
        self.killed = threading.Event()
        self.url = ""

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

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        url = URL(self._server + request.raw_path, encoded=True)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP}
        is_write = request.method not in ("GET", "HEAD") and not any(
            part in request.path for part in UNCOUNTED
        )
        body = await request.read()
        timeout = aiohttp.ClientTimeout(total=None)
        asked = self._session.request(
            request.method, url, headers=headers, data=body or None, timeout=timeout
        )
        response = web.StreamResponse()
        with contextlib.suppress(aiohttp.ClientError, ConnectionError, RuntimeError):
            async with asked as answer:
                if is_write and self._ends(f"{request.method} {request.path}"):
                    await asyncio.Event().wait()
                response.set_status(answer.status)
                for key, value in answer.headers.items():
                    if key.lower() not in HOP - {"content-encoding"}:
                        response.headers[key] = value
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
        return response

    def _ends(self, write: str) -> bool:
        """Count a write that was carried out; return whether it was the operator's last one."""
        self.writes.append(write)
        if self.fatal and len(self.writes) == self.fatal:
            self.kill()
            self.killed.set()
        return self.killed.is_set()
