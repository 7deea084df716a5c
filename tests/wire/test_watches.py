"""A new leader's view: lists that began after it took over, of all that instances depend on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from immutable_operator.api.names import REVISION_PLURAL
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.queue import KeyQueue
from immutable_operator.runtime.watches import Watches
from tests.wire.api import Api, page, serving, until


class Held:
    """Lists that are answered when the test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.begun.append(request.path.rpartition("/")[2])
        await self.go_on.wait()
        return web.Response(body=page(version=10), content_type="application/json")


def test_refresh_ends_when_pods_and_revisions_were_listed_again() -> None:
    async def run() -> None:
        api, held = Api(), Held()
        api.pages.append(held)
        async with serving(api) as client:
            watches = Watches(client, Metrics(), KeyQueue(time.monotonic))
            wanted = ("pods", REVISION_PLURAL)
            mirrors = [r for r in watches.reflectors if r.resource in wanted]
            running = [asyncio.create_task(mirror.run()) for mirror in mirrors]
            try:
                await until(_all_synced(watches, wanted))
                held.go_on.clear()
                held.begun.clear()
                refresh = asyncio.create_task(watches.refresh())
                await until(lambda: sorted(held.begun) == sorted(wanted))
                assert not refresh.done()
                held.go_on.set()
                await refresh
                assert [mirror.lists for mirror in mirrors] == [2, 2]
            finally:
                for task in running:
                    task.cancel()
                await asyncio.wait(running)

    asyncio.run(run())


def _all_synced(watches: Watches, wanted: tuple[str, ...]) -> Callable[[], bool]:
    return lambda: not set(watches.late) & set(wanted)
