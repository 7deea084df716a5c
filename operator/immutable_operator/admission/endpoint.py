"""The HTTPS endpoint of the break-glass webhook, which the API server calls before each access.

The instance is marked before access is allowed. Only a well-formed denial prevents access: the
failurePolicy of the webhook is Ignore, so that a broken operator never blocks access in an
emergency.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable

import aiohttp
import structlog
from aiohttp import web

from immutable_operator.admission.review import (
    MOST_BYTES,
    READ_BYTES,
    BadReview,
    Connect,
    allow,
    clean,
    deny,
    read_review,
    status,
)
from immutable_operator.kube.errors import ApiError

__all__ = ["PATH", "Endpoint", "load_certificate", "new_context"]

log = structlog.get_logger()
PATH = "/break-glass"
MARK_SECONDS = 1.5
"""The timeout of the webhook is 2 s: a denial must be sent before the API server stops waiting."""
READ_SECONDS = 2.0
LARGE_AT_ONCE = 4
LINGER_SECONDS = 2.0

Mark = Callable[[Connect], Awaitable[str]]
Count = Callable[[str], None]


class Endpoint:
    """Answers AdmissionReviews on ``/break-glass``.

    Parameters
    ----------
    mark
        Marks the instance and returns the outcome in one word; raises `ApiError`.
    count
        Called after each request with the outcome, ``denied`` or ``refused``.
    """

    def __init__(self, mark: Mark, count: Count) -> None:
        self._mark = mark
        self._count = count
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._runner: web.AppRunner | None = None

    async def start(self, listen: str, context: ssl.SSLContext) -> int:
        """Serve on ``host:port`` (no host: all addresses; port 0: any free); returns the port."""
        host, _, port = listen.rpartition(":")
        app = web.Application(client_max_size=READ_BYTES + 1)
        app.router.add_post(PATH, self._answer)
        # Compressed bodies are not decompressed: the API server sends none, and it prevents zip
        # bombs.
        self._runner = web.AppRunner(
            app, access_log=None, auto_decompress=False, shutdown_timeout=LINGER_SECONDS
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host.strip("[]") or None, int(port), ssl_context=context)
        await site.start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            connect = read_review(await self._read(request))
        except BadReview as bad:
            self._count("refused")
            log.warning("admission review refused", code=bad.code, message=bad.message)
            if bad.uid:
                return _json(200, deny(bad.uid, bad.code, bad.message))
            response = _json(bad.code, status(bad.code, bad.message))
            response.force_close()
            return response
        return _json(200, await self._decide(connect))

    async def _decide(self, connect: Connect) -> bytes:
        who = log.bind(
            namespace=connect.namespace, pod=connect.instance, what=connect.what, by=connect.by
        )
        try:
            async with asyncio.timeout(MARK_SECONDS):
                outcome = await self._mark(connect)
        except Exception as error:
            cause = "the API server was too slow" if isinstance(error, TimeoutError) else str(error)
            self._count("denied")
            level = who.warning if isinstance(error, (ApiError, TimeoutError)) else who.exception
            level("access denied: the instance could not be marked", error=clean(cause))
            return deny(
                connect.uid,
                503,
                f"instance {connect.instance} could not be marked as tainted"
                f" ({clean(cause)}), which is required for access; try again",
            )
        self._count(outcome)
        who.info("access allowed", outcome=outcome)
        marked = outcome in ("tainted", "already-tainted")
        warning = f"instance {connect.instance} is now marked as tainted and will be replaced"
        return allow(connect.uid, outcome, warning if marked else "")

    async def _read(self, request: web.Request) -> bytes:
        """The body. Raises `BadReview` if it is too large, too slow or incomplete."""
        length = request.content_length
        if length is None:
            raise BadReview(411, "the request has no Content-Length header")
        if length > READ_BYTES:
            raise BadReview(413, f"the request is larger than {READ_BYTES} bytes")
        try:
            async with asyncio.timeout(READ_SECONDS):
                if length <= MOST_BYTES:
                    return await request.read()
                async with self._large:
                    return await request.read()
        except TimeoutError:
            raise BadReview(408, "the request was not received in time") from None
        except (aiohttp.ClientError, web.RequestPayloadError, ConnectionError):
            raise BadReview(400, "the request is incomplete") from None


def _json(code: int, body: bytes) -> web.Response:
    return web.Response(status=code, body=body, content_type="application/json")


def new_context() -> ssl.SSLContext:
    """TLS settings of the server, without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Use this certificate for new connections; existing connections are not affected.

    ssl can only read files. The file is anonymous and in memory, so that the key is never written
    to disk and the root file system can be read-only.
    """
    file = os.memfd_create("webhook-certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(file), "wb") as writer:
            writer.write(f"{certificate}\n{key}".encode())
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
