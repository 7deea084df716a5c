"""The server of `kubectl immutable dashboard`: whom it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import aiohttp
import pytest
from kubernetes.aio.client import Configuration

from immutable_operator.cli import dashboard_server
from immutable_operator.cli.dashboard_server import Server, Shown
from immutable_operator.cli.dashboard_world import World
from immutable_operator.cli.problem import CannotRun
from immutable_operator.kube.client import KubeClient

T = TypeVar("T")


def served(work: Callable[[Server, aiohttp.ClientSession], Awaitable[T]], port: int = 0) -> T:
    """Run ``work`` with a server whose API server never answers."""

    async def run() -> T:
        client = KubeClient(Configuration(host="http://127.0.0.1:1"))
        server = Server(World(client, "shop"), Shown("kind", "shop"), port)
        try:
            await server.start()
            async with aiohttp.ClientSession() as session:
                return await work(server, session)
        finally:
            await server.stop()
            await client.close()

    return asyncio.run(run())


def answer(
    path: Callable[[Server], str],
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, str, Mapping[str, str]]:
    """Return status, text and headers of the answer to one request."""

    async def work(
        server: Server, session: aiohttp.ClientSession
    ) -> tuple[int, str, dict[str, str]]:
        given = {k: v.format(port=server.port) for k, v in (headers or {}).items()}
        url = f"http://127.0.0.1:{server.port}{path(server)}"
        async with session.request(method, url, headers=given, allow_redirects=False) as said:
            return said.status, await said.text(), dict(said.headers)

    return served(work)


def own(server: Server) -> str:
    return f"/{server.token}/"


def test_page_is_served_to_the_person_with_the_token() -> None:
    code, text, headers = answer(own)
    assert (code, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<title>Immutable dashboard</title>" in text


@pytest.mark.parametrize(
    "path",
    [
        lambda s: "/",
        lambda s: f"/{s.token}",
        lambda s: f"/{s.token[:-1]}x/",
        lambda s: f"/{s.token}/other",
        lambda s: f"//{s.token}/",
        lambda s: "/stream",
        lambda s: "/x/stream",
        lambda s: "/open/",
        lambda s: "/open/stream",
        lambda s: f"/open/{s.token}",
        lambda s: "/%ff%fe/",
        lambda s: "/ä/",
    ],
)
def test_address_without_the_token_is_refused(path: Callable[[Server], str]) -> None:
    code, text, headers = answer(path)
    assert code == 403
    assert text == dashboard_server.WRONG
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND"]
)
def test_nothing_but_get_is_answered(method: str) -> None:
    code, _, headers = answer(own, method)
    assert (code, headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}"]
)
def test_name_that_was_rebound_to_this_machine_is_refused(host: str) -> None:
    assert answer(own, headers={"Host": host})[0] == 403


def test_localhost_is_this_machine() -> None:
    assert answer(own, headers={"Host": "localhost:{port}"})[0] == 200


def test_other_pages_may_neither_read_nor_embed_it() -> None:
    _, text, headers = answer(own, headers={"Origin": "https://evil.example"})
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert (headers["X-Frame-Options"], headers["Referrer-Policy"]) == ("DENY", "no-referrer")
    assert headers["Cache-Control"] == "no-store"
    policy = headers["Content-Security-Policy"]
    [nonce] = set(re.findall(r"'nonce-([^']+)'", policy))
    assert set(re.findall(r'nonce="([^"]+)"', text)) == {nonce}
    assert "unsafe" not in policy
    assert f"'nonce-{nonce}'" not in answer(own)[2]["Content-Security-Policy"]


def test_page_needs_nothing_from_elsewhere() -> None:
    _, text, _ = answer(own)
    assert set(re.findall(r"https?://[^\s\"'<>)]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_address_for_the_browser_works_once() -> None:
    """Other users can read it among the arguments of the browser."""

    async def work(server: Server, session: aiohttp.ClientSession) -> list[tuple[int, str]]:
        found = []
        for _ in range(2):
            async with session.get(server.ticket_url, allow_redirects=False) as said:
                found.append((said.status, said.headers.get("Location", "")))
        assert server.token not in server.ticket_url
        return [*found, (0, server.token)]

    first, second, (_, token) = served(work)
    assert first == (303, f"/{token}/")
    assert second == (403, "")


def test_stream_says_that_the_api_server_does_not_answer() -> None:
    async def work(server: Server, session: aiohttp.ClientSession) -> str:
        mirroring = asyncio.create_task(server.world.run())
        try:
            async with session.get(server.url("stream")) as said:
                assert said.headers["Content-Type"] == "text/event-stream"
                async for line in said.content:
                    if b"does not answer" in line:
                        return line.decode()
        finally:
            mirroring.cancel()
        raise AssertionError("the stream ended")

    assert '"trouble":{"since":' in served(work)


def test_port_that_is_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        async def work(server: Server, session: aiohttp.ClientSession) -> None:
            raise AssertionError("it listens")

        with pytest.raises(CannotRun, match=rf"port {port} on 127\.0\.0\.1 is in use; choose"):
            served(work, port)
