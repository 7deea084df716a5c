"""A server that checks ask in tests, on the loopback interface, and who lets them through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

from immutable_operator.checks.addresses import Judge

__all__ = ["HIDDEN", "Answer", "Local", "answering"]

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
HIDDEN = "s3cr3t-token"


class Local(Judge):
    """The servers of these tests are on the loopback interface."""

    def why_not(self, text: str) -> str | None:
        return None if text == "127.0.0.1" else super().why_not(text)


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.port}"
