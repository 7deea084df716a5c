"""A plain HTTP proxy in front of the API server that spoils watches and lists as it is told.

Only what goes through it suffers; the test itself speaks to the API server directly.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from kubernetes.aio.client import Configuration
from yarl import URL

from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

__all__ = [
    "Fault",
    "FaultProxy",
    "Watch",
    "close_at_once",
    "cut_in_the_middle",
    "error",
    "html",
    "refused",
    "silence",
]


class Watch:
    """One watch that a client opened: its query, and the stream back to the client."""

    def __init__(self, request: web.Request, proxy: FaultProxy) -> None:
        self.request = request
        self.proxy = proxy
        self.response: web.StreamResponse = web.StreamResponse(
            headers={"Content-Type": "application/json"}
        )
        self.opened = time.monotonic()

    async def follow(self) -> None:
        """Pass on what the API server says, until either side ends."""
        await self.response.prepare(self.request)
        async with self.proxy.ask(self.request) as answer:
            async for chunk in answer.content.iter_any():
                await self.response.write(chunk)

    def abort(self) -> None:
        """End the connection as a crash of the peer does, without a proper end."""
        if self.request.transport is not None:
            self.request.transport.abort()


Fault = Callable[[Watch], Awaitable[None]]


class FaultProxy:
    """As an asynchronous context manager it serves on a loopback port.

    ``faults`` spoil the next watches, one each; further ones are passed on. ``always`` spoils
    every watch while it is set. ``refuse_pages`` spoils as many of the next list pages that
    carry a continue token. ``watches`` are all that were opened.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._server = plane.server
        self._context = ssl.create_default_context(cafile=plane.ca_file)
        api = plane.api()
        self._context.load_cert_chain(api.certificate, api.key)
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.refuse_pages = 0
        self.watches: list[Watch] = []
        self.lists = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._context, limit=0)
        self._session = aiohttp.ClientSession(connector=connector)
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut()
        await self._session.close()
        await self._runner.cleanup()

    def configuration(self) -> Configuration:
        """Connection of a client that goes through this proxy."""
        configuration = Configuration(host=self.url)
        configuration.client_session_kwargs = {"trust_env": False}
        return configuration

    def cut(self) -> None:
        """End all watches that are open now, abruptly."""
        for watch in self.watches:
            watch.abort()

    def ask(
        self, request: web.Request
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The client's request, to the API server."""
        url = URL(self._server + request.path).with_query(request.query)
        timeout = aiohttp.ClientTimeout(total=None)
        return self._session.get(url, timeout=timeout, headers={"Accept": "application/json"})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") != "true":
            return await self._list(request)
        watch = Watch(request, self)
        self.watches.append(watch)
        fault = self.always or (self.faults.popleft() if self.faults else Watch.follow)
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            await fault(watch)
        return watch.response

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self.lists += 1
        if self.refuse_pages and "continue" in request.query:
            self.refuse_pages -= 1
            return web.json_response(status("Expired", 410), status=410)
        async with self.ask(request) as answer:
            body = await answer.read()
        return web.Response(status=answer.status, body=body, content_type="application/json")


def status(reason: str, code: int) -> Json:
    return {"kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": "-"}


def refused(code: int) -> Fault:
    """An answer with an HTTP status, before any stream begins."""

    async def fault(watch: Watch) -> None:
        watch.response = web.json_response(status("Expired", code), status=code)

    return fault


def error(code: int) -> Fault:
    """An ERROR event, as the API server sends it within a watch."""

    async def fault(watch: Watch) -> None:
        await watch.response.prepare(watch.request)
        event = {"type": "ERROR", "object": status("InternalError", code)}
        await watch.response.write(json.dumps(event).encode() + b"\n")

    return fault


async def html(watch: Watch) -> None:
    """What a proxy or a login page answers, with status 200."""
    await watch.response.prepare(watch.request)
    await watch.response.write(b"<html>\n<body>Sign in</body>\n</html>\n")


async def close_at_once(watch: Watch) -> None:
    """A proper stream that ends before it said anything."""
    await watch.response.prepare(watch.request)


async def silence(watch: Watch) -> None:
    """A connection whose other end is gone without a word (half-open)."""
    await watch.response.prepare(watch.request)
    await asyncio.Event().wait()


def cut_in_the_middle(lines: int) -> Fault:
    """Pass on some lines and half of the next one, then crash."""

    async def fault(watch: Watch) -> None:
        await watch.response.prepare(watch.request)
        async with watch.proxy.ask(watch.request) as answer:
            for _ in range(lines):
                await watch.response.write(await answer.content.readline())
            line = await answer.content.readline()
            await watch.response.write(line[: len(line) // 2])
        await asyncio.sleep(0.1)  # let the half line arrive before the connection is gone
        watch.abort()

    return fault
