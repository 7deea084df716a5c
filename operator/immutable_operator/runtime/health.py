"""``/metrics``, ``/livez`` and ``/readyz`` over HTTP, for Prometheus and the kubelet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from immutable_operator.runtime.metrics import Metrics

__all__ = ["Health", "heartbeat"]

log = structlog.get_logger()
STALL_SECONDS = 30.0


class Health:
    """Liveness is a running event loop; readiness is a synced view of the cluster.

    A standby replica is ready: it serves, and takes over at once.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._beat = time.monotonic()
        self._runner: web.AppRunner | None = None
        self.waits_for: Callable[[], str | None] = lambda: "start"

    def beat(self) -> None:
        self._beat = time.monotonic()

    async def start(self, listen: str) -> int:
        """Serve on ``host:port`` (port 0: any free one); return the port."""
        host, _, port = listen.rpartition(":")
        app = web.Application()
        app.router.add_get("/metrics", make_aiohttp_handler(registry=self._metrics.registry))
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host or "0.0.0.0", int(port))  # noqa: S104
        await site.start()
        bound: int = self._runner.addresses[0][1]
        log.info("listening", port=bound)
        return bound

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        late = time.monotonic() - self._beat
        if late > STALL_SECONDS:
            return web.Response(status=500, text=f"the event loop stalled for {late:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        waits_for = self.waits_for()
        if waits_for:
            return web.Response(status=503, text=f"waiting for {waits_for}\n")
        return web.Response(text="ok\n")


async def heartbeat(health: Health) -> None:
    """Beat every second."""
    while True:
        health.beat()
        await asyncio.sleep(1)
