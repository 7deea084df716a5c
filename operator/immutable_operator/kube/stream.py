"""The stream of a watch as lines: one task drains the socket, another reads the lines.

The API server ends a watch whose client reads slowly.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import aiohttp
import structlog

from immutable_operator.kube.messages import Unreadable

__all__ = ["lines_of"]

log = structlog.get_logger()
SLICE = 100  # lines before other tasks get their turn
BUFFER_LIMIT = 64 * 2**20


async def lines_of(stream: aiohttp.StreamReader, resource: str) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a stream that are not empty, until it ends or too much has not been read.

    Raises `Unreadable` for a line that is too long, and what the stream raises.
    """
    buffer: list[bytes] = []
    news = asyncio.Event()

    async def drain() -> None:
        async for chunk in stream.iter_any():
            size = sum(map(len, buffer)) + len(chunk)
            buffer.append(chunk)
            news.set()
            if size > BUFFER_LIMIT:
                log.warning("watch buffer is full, resuming", resource=resource)
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
            if len(rest) > BUFFER_LIMIT:
                raise Unreadable(f"a line of more than {BUFFER_LIMIT} bytes")
            for index, line in enumerate(lines):
                if line:
                    yield line
                if index % SLICE == SLICE - 1:
                    await asyncio.sleep(0)
        drainer.result()
    finally:
        drainer.cancel()
