"""The HTTP side of the dashboard: one page and one stream, for the person who started it only.

It listens on 127.0.0.1. Each path begins with a random token, which other users of the machine and
other web pages do not know; a name that was rebound to 127.0.0.1 has the wrong Host header. There
is nothing to write to: all methods but GET are refused.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import msgspec
from aiohttp import web

from immutable_operator.cli.dashboard_view import one, overview
from immutable_operator.cli.dashboard_world import World
from immutable_operator.cli.problem import CannotRun

__all__ = ["Server", "Shown"]

HERE = "127.0.0.1"
BEAT_SECONDS = 5.0
# Changes that come together are sent together.
QUIET_SECONDS = 0.3
MOST_STREAMS = 64
WRONG = "This address is not valid. Use the one that kubectl immutable dashboard printed."
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)


@dataclass(frozen=True)
class Shown:
    """What the page says of where it looks: the context, and the namespace ("": all)."""

    context: str
    namespace: str


@dataclass
class Server:
    """Serves a world until it is stopped. ``port`` 0: any free one."""

    world: World
    shown: Shown
    port: int = 0
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    _ticket: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    _streams: int = 0
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises `CannotRun` if the port cannot be used."""
        app = web.Application()
        app.on_response_prepare.append(_protected)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HERE, self.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise CannotRun(_port_problem(self.port, error)) from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    def url(self, path: str = "") -> str:
        """Return the address for the person."""
        return f"http://{HERE}:{self.port}/{self.token}/{path}"

    @property
    def ticket_url(self) -> str:
        """Return an address that works once: other users can read the arguments of a browser."""
        return f"http://{HERE}:{self.port}/open/{self._ticket}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Host") not in (f"{HERE}:{self.port}", f"localhost:{self.port}"):
            return web.Response(status=403, text=WRONG)
        if request.method != "GET":
            allowed = {"Allow": "GET"}
            return web.Response(
                status=405, text="The dashboard only accepts GET requests.", headers=allowed
            )
        match request.path.split("/"):
            case ["", "open", ticket] if self._ticket and _same(ticket, self._ticket):
                self._ticket = ""
                return web.Response(status=303, headers={"Location": f"/{self.token}/"})
            case ["", token, ""] if _same(token, self.token):
                return self._page()
            case ["", token, "stream"] if _same(token, self.token):
                return await self._stream(request)
        return web.Response(status=403, text=WRONG)

    def _page(self) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        page = resources.files("immutable_operator.cli").joinpath("dashboard.html")
        text = page.read_text(encoding="utf-8").replace("__NONCE__", nonce)
        headers = {"Content-Security-Policy": POLICY.format(nonce)}
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self._streams >= MOST_STREAMS:
            return web.Response(status=503, text="Too many pages are open. Close some.")
        self._streams += 1
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            with suppress(ConnectionError):
                await self._feed(response, request.query.get("of", ""))
            return response
        finally:
            self._streams -= 1

    async def _feed(self, response: web.StreamResponse, of: str) -> None:
        """Send what changed since it was sent last, and a beat while nothing changes."""
        sent: dict[str, bytes] = {}
        while True:
            version = self.world.version
            for name, content in self._events(of).items():
                encoded = msgspec.json.encode(content)
                if sent.get(name) != encoded:
                    sent[name] = encoded
                    await _send(response, name, encoded)
            await _send(response, "beat", msgspec.json.encode({"now": self.world.now()}))
            await asyncio.sleep(QUIET_SECONDS)
            await self.world.until_changed(version, BEAT_SECONDS)

    def _events(self, of: str) -> dict[str, Any]:
        events: dict[str, Any] = {"link": self._link()}
        if not self.world.listed:
            return events
        events["list"] = overview(self.world.owners())
        kind, _, rest = of.partition("/")
        namespace, _, name = rest.partition("/")
        if of:
            owner = self.world.owner(kind, namespace, name)
            found = one(owner, self.world.belongings(owner), self.world.now()) if owner else None
            events["one"] = {"of": of, "view": found}
        return events

    def _link(self) -> dict[str, Any]:
        trouble = self.world.link.trouble
        return {
            "context": self.shown.context,
            "namespace": self.shown.namespace,
            "trouble": {"since": trouble[0], "message": trouble[1]} if trouble else None,
            "refused": self.world.link.refused,
            "listed": self.world.listed,
        }


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), secret.encode())


async def _protected(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Content-Security-Policy", POLICY.format(secrets.token_hex(8)))
    response.headers["Server"] = "immutable-dashboard"


async def _send(response: web.StreamResponse, name: str, data: bytes) -> None:
    await response.write(b"event: %s\ndata: %s\n\n" % (name.encode(), data))


def _port_problem(port: int, error: OSError) -> str:
    why = {
        errno.EADDRINUSE: "is in use",
        errno.EACCES: "requires more permissions of the operating system",
    }.get(error.errno or 0, f"cannot be used ({error.strerror})")
    return (
        f"port {port} on {HERE} {why}; choose another one with --port, or leave it out for a free"
        " one"
    )
