"""An API server of a few lines: it says what a test has it say, over a real connection.

One collection: lists are answered in the order in which they were put, the last one for ever;
watches bring what a test pushes, to all that are open.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from immutable_operator.kube.client import KubeClient

PATH = "/api/v1/things"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
PATIENCE = 20.0


def thing(name: str, version: int | str = 1, **more: Any) -> dict[str, Any]:
    meta = {
        "namespace": "shop",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": f"{version}",
    }
    return {"metadata": meta, **more}


def page(*items: Any, version: int | str = 10, successor: str | None = None) -> bytes:
    """A page of a list; an item that is bytes is put in as it is."""
    texts = [item.decode() if isinstance(item, bytes) else json.dumps(item) for item in items]
    meta = json.dumps(
        {"resourceVersion": f"{version}", **({"continue": successor} if successor else {})}
    )
    return f'{{"kind":"List","metadata":{meta},"items":[{",".join(texts)}]}}'.encode()


def event(kind: str, item: Any) -> bytes:
    text = item.decode() if isinstance(item, bytes) else json.dumps(item)
    return f'{{"type":"{kind}","object":{text}}}\n'.encode()


class Api:
    """What the tests talk to, and what was asked of it."""

    def __init__(self) -> None:
        self.pages: list[bytes | Answer] = []
        self.lists: list[dict[str, str]] = []
        self.watches: list[dict[str, str]] = []
        self.first_words: list[bytes] = []
        self.writes: Answer | None = None
        self.refused: list[tuple[int, bytes]] = []
        self._streams: list[asyncio.Queue[bytes | None]] = []

    async def push(self, line: bytes) -> None:
        """Say it on the watch, once there is one."""
        async with asyncio.timeout(PATIENCE):
            while not self._streams:
                await asyncio.sleep(0)
        for stream in self._streams:
            stream.put_nowait(line)

    def close(self) -> None:
        """End all watches."""
        for stream in self._streams:
            stream.put_nowait(None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            assert self.writes is not None
            return await self.writes(request)
        if request.query.get("watch"):
            return await self._watch(request)
        self.lists.append(dict(request.query))
        said = self.pages[0] if len(self.pages) == 1 else self.pages.pop(0)
        if not isinstance(said, bytes):
            return await said(request)
        return web.Response(body=said, content_type="application/json")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.watches.append(dict(request.query))
        if self.refused:
            status, body = self.refused.pop(0)
            return web.Response(status=status, body=body)
        response = web.StreamResponse()
        await response.prepare(request)
        stream: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._streams.append(stream)
        try:
            for line in self.first_words:
                await response.write(line)
            while (line_or_end := await stream.get()) is not None:
                await response.write(line_or_end)
        finally:
            self._streams.remove(stream)
        return response


@asynccontextmanager
async def serving(api: Api, **options: Any) -> AsyncIterator[KubeClient]:
    """The operator's own client, connected to this API server."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    async with TestServer(app) as server:
        # In the clear no authority is asked, and to read all of them takes most of a test's time.
        with patch.dict(os.environ, SSL_CERT_FILE=os.devnull):
            client = KubeClient(Configuration(host=str(server.make_url("")).rstrip("/")), **options)
        try:
            yield client
        finally:
            api.close()
            await client.close()


async def until(check: Callable[[], Any]) -> None:
    """Let the others go on until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not check():
            await asyncio.sleep(0)
