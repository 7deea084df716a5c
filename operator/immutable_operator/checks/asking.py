"""One request of a check: limited in time and size, without redirects, cookies and proxies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from immutable_operator.checks.addresses import AddressRefused, Judge, connector, resolve
from immutable_operator.domain.model import Finding
from immutable_operator.kube.transport import LOST, no_answer

__all__ = ["MOST_BYTES", "Found", "NoAnswer", "Reply", "fetch", "shown"]

SECONDS = 10.0
MOST_BYTES = 64 * 1024
AGENT = "immutable-operator-check"
PORTS = {"http": 80, "https": 443}


class NoAnswer(Exception):
    """There is no answer; the message says why, without anything that the server sent."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a measurement found, with its evidence."""

    finding: Finding
    message: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: its status, and the start of its body if that was read."""

    status: int
    body: bytes = b""
    is_whole: bool = True


def shown(url: str) -> str:
    """Return a URL as it may be shown: without its query, which can contain a secret."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


async def fetch(
    url: str, judge: Judge, headers: Mapping[str, str], *, reads: bool, seconds: float = SECONDS
) -> Reply:
    """Send a GET request; with ``reads`` the start of the body is read, too.

    Raises `NoAnswer`, and nothing else, whatever the server does.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _fetched(url, judge, headers, reads)
    except NoAnswer:
        raise
    except TimeoutError as error:
        raise NoAnswer(f"no response within {seconds:g} s") from error
    except AddressRefused as error:
        raise NoAnswer(str(error)) from error
    except LOST as error:
        # What the server sent is not repeated: it may be anything.
        is_other = isinstance(error, aiohttp.ClientResponseError)
        raise NoAnswer("the response is not HTTP" if is_other else no_answer(error)) from error
    except Exception as error:
        raise NoAnswer(f"the request failed ({type(error).__name__})") from error


async def _fetched(url: str, judge: Judge, headers: Mapping[str, str], reads: bool) -> Reply:
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise NoAnswer("the URL is not an http or https URL")
    addresses = await resolve(parts.hostname, parts.port or PORTS[parts.scheme], judge)
    sent = {"User-Agent": AGENT, "Accept-Encoding": "identity", **headers}
    async with (
        aiohttp.ClientSession(
            connector=connector(addresses, judge),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        ) as session,
        session.get(url, headers=sent, allow_redirects=False) as response,
    ):
        if not reads:
            return Reply(response.status)
        body = b""
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MOST_BYTES:
                return Reply(response.status, body[:MOST_BYTES], is_whole=False)
        return Reply(response.status, body)
