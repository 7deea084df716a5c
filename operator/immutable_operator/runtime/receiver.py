"""One attempt to send a notification: the request, its signature, and what its answer means."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from immutable_operator.domain.model import FactType
from immutable_operator.wire.cloud_event import CONTENT_TYPE, keys_of, signature

__all__ = ["Attempt", "Notice", "NotifyOptions", "Receiver"]

AGAIN = (408, 429)
MOST_TEXT = 300


@dataclass(frozen=True)
class NotifyOptions:
    """Where facts are sent, which ones, and how.

    ``key_file`` is read at each attempt and ``ca_file`` when it changed, so that both can be
    rotated. ``source`` says in each event which operator sent it. Raises ValueError if the
    operator cannot send with these options.
    """

    url: str
    key_file: Path
    events: frozenset[FactType] = frozenset(FactType)
    source: str = "/immutable-operator"
    timeout: float = 10.0
    ca_file: Path | None = None
    allow_http: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("--notify-url is not a URL such as https://receiver.example/events")
        if parts.scheme == "http" and not self.allow_http:
            raise ValueError(
                "--notify-url is an http:// URL, which is not encrypted; use https,"
                " or set --notify-allow-http"
            )
        if self.timeout <= 0:
            raise ValueError("--notify-timeout-seconds must be more than 0")

    @property
    def host(self) -> str:
        """The part of the address that is logged; the rest of it can be a secret."""
        return urlsplit(self.url).hostname or ""


@dataclass(frozen=True)
class Notice:
    """One event to send: its id, its body, and since when it waits, in monotonic seconds."""

    id: str
    body: bytes
    since: float


@dataclass(frozen=True)
class Attempt:
    """The result of an attempt: no ``problem``, or what it was and whether to try again.

    ``pause`` is how long the receiver asked to wait, in seconds.
    """

    problem: str = ""
    again: bool = False
    pause: float = 0.0


class Receiver:
    """Sends events to one address; a new connection each time, since events are rare."""

    def __init__(self, options: NotifyOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._trust: tuple[float, ssl.SSLContext] | None = None

    async def send(self, notice: Notice) -> Attempt:
        """Try once. Never raises: whatever happens, the next attempt may work."""
        try:
            headers = self._headers(notice)
            async with asyncio.timeout(self._options.timeout):
                return await self._post(notice, headers)
        except TimeoutError:
            return Attempt(f"no answer within {self._options.timeout:g} s", again=True)
        except Exception as error:
            text = f"{type(error).__name__}: {error}".replace(self._options.url, self._options.host)
            return Attempt(text[:MOST_TEXT], again=True)

    def _headers(self, notice: Notice) -> dict[str, str]:
        keys = keys_of(self._options.key_file.read_bytes().decode(errors="replace"))
        signed = signature(keys, notice.id, int(self._clock()), notice.body)
        return {"Content-Type": CONTENT_TYPE, **signed}

    async def _post(self, notice: Notice, headers: dict[str, str]) -> Attempt:
        trust = await self._context()
        async with (
            aiohttp.ClientSession(trust_env=False) as session,
            session.post(
                self._options.url,
                data=notice.body,
                headers=headers,
                ssl=trust,
                allow_redirects=False,
            ) as answer,
        ):
            return self._read(answer.status, answer.headers.get("Retry-After", ""))

    def _read(self, status: int, retry_after: str) -> Attempt:
        if 200 <= status < 300:
            return Attempt()
        again = status >= 500 or status in AGAIN
        pause = self._seconds(retry_after) if again else 0.0
        return Attempt(f"the receiver answered {status}", again, pause)

    def _seconds(self, text: str) -> float:
        """Return a Retry-After in seconds: a number or a date; 0 if it is neither."""
        try:
            if text.isdecimal():
                return float(text[:9])
            return max(0.0, parsedate_to_datetime(text).timestamp() - self._clock())
        except (ValueError, TypeError, OverflowError):
            return 0.0

    async def _context(self) -> ssl.SSLContext | bool:
        """Return what is trusted; reading it takes long, so that it is done in a thread."""
        if self._options.url.startswith("http:"):
            return True  # nothing is encrypted
        file = self._options.ca_file
        changed = file.stat().st_mtime if file else 0.0
        if self._trust is None or self._trust[0] != changed:
            made = await asyncio.to_thread(ssl.create_default_context, cafile=file)
            self._trust = changed, made
        return self._trust[1]
