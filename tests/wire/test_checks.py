"""Servers that answer as expected, otherwise, late, too much or not at all: a real connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from immutable_operator.checks import asking as asking_module
from immutable_operator.checks.addresses import AddressRefused, Judge, resolve
from immutable_operator.checks.asking import Found, NoAnswer, fetch, shown
from immutable_operator.checks.http import measure_http
from immutable_operator.domain.model import Finding, HttpQuestion
from tests.wire.asked import HIDDEN, Answer, Local, answering


@asynccontextmanager
async def sending(raw: bytes, *, hangs: bool = False) -> AsyncIterator[str]:
    """A server that sends these bytes, whatever it is asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        if hangs:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def says(status: int = 200, body: str = "", **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers=headers)

    return answer


def measured(answer: Answer, question: HttpQuestion, path: str = "/healthz") -> Found:
    async def work() -> Found:
        async with answering(answer) as url:
            return await measure_http(question, url + path, Local(), {})

    return asyncio.run(work())


OK = HttpQuestion(url="-", status=200)
BODY = HttpQuestion(url="-", body="ready: yes")
RESPONSES = [
    ("the expected status", says(200), OK, Finding.PASSED, "status 200"),
    ("another status", says(503), OK, Finding.FAILED, "status 503, expected 200"),
    ("an error that is expected", says(503), HttpQuestion(status=503), Finding.PASSED, ""),
    ("the expected text", says(body="it is ready: yes."), BODY, Finding.PASSED, "status 200"),
    ("another text", says(body="ready: no"), BODY, Finding.FAILED, "does not contain"),
    ("the text of an error", says(500, "ready: yes"), BODY, Finding.PASSED, "status 500"),
    ("a redirect is not followed", says(302, Location="/"), OK, Finding.FAILED, "status 302"),
    ("no body", says(204), BODY, Finding.FAILED, "does not contain"),
]


@pytest.mark.parametrize(
    ("rule", "answer", "question", "finding", "said"), RESPONSES, ids=[r[0] for r in RESPONSES]
)
def test_response_is_judged(
    rule: str, answer: Answer, question: HttpQuestion, finding: Finding, said: str
) -> None:
    found = measured(answer, question)
    assert found.finding is finding, rule
    assert said in found.message


def test_redirect_is_not_requested() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    assert measured(answer, HttpQuestion(status=307)).finding is Finding.PASSED
    assert asked == ["/healthz"]


def test_evidence_has_nothing_that_was_sent_or_received() -> None:
    """The query of the URL, the header and the response can each have a secret in them."""

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == HIDDEN
        return web.Response(status=500, text=HIDDEN, reason=HIDDEN, headers={"X-Said": HIDDEN})

    async def work() -> Found:
        async with answering(answer) as url:
            headers = {"Authorization": HIDDEN}
            question = HttpQuestion(status=200, body="ok")
            return await measure_http(question, f"{url}/x?token={HIDDEN}", Local(), headers)

    found = asyncio.run(work())
    assert found.finding is Finding.FAILED
    assert "/x: status 500" in found.message
    assert HIDDEN not in found.message
    assert shown(f"http://jane:{HIDDEN}@web/x?y={HIDDEN}#z") == "http://web/x"


def refused(url: str, seconds: float = 5.0, judge: Judge | None = None) -> str:
    """Why there is no answer."""

    async def work() -> str:
        with pytest.raises(NoAnswer) as caught:
            await fetch(url, judge or Local(), {}, reads=True, seconds=seconds)
        return str(caught.value)

    return asyncio.run(work())


def test_server_that_does_not_listen_has_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "Connection refused" in refused(f"http://127.0.0.1:{port}/")


def test_name_that_does_not_exist_has_no_answer() -> None:
    assert refused("http://does-not-exist.invalid/")


@pytest.mark.parametrize("part", ["headers", "body"])
def test_slow_server_has_no_answer_in_time(part: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"

    async def work() -> str:
        async with sending(b"" if part == "headers" else head + b"a few", hangs=True) as url:
            with pytest.raises(NoAnswer) as caught:
                await fetch(url, Local(), {}, reads=True, seconds=0.3)
            return str(caught.value)

    assert asyncio.run(work()) == "no response within 0.3 s"


def test_limit_of_time_is_ten_seconds() -> None:
    assert asking_module.SECONDS == 10.0


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-" + HIDDEN.encode() + b"\r\n\r\n",
        b"HTTP/1.1 abc " + HIDDEN.encode() + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + HIDDEN.encode() * 20_000 + b"\r\n\r\n",
        b"",
    ],
    ids=["another protocol", "a status that is no number", "an endless header", "nothing"],
)
def test_response_that_is_not_http_is_no_answer_and_is_not_repeated(raw: bytes) -> None:
    async def work() -> str:
        async with sending(raw) as url:
            with pytest.raises(NoAnswer) as caught:
                await fetch(url, Local(), {}, reads=True)
            return str(caught.value)

    said = asyncio.run(work())
    assert said
    assert HIDDEN not in said


def test_only_the_start_of_a_large_body_is_read() -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with_limit = 64 * 1024 * 1024
        while sent < with_limit:
            await response.write(b"x" * 65536)
            sent += 65536
        return response

    async def work() -> tuple[int, bool]:
        async with answering(answer) as url:
            reply = await fetch(url, Local(), {}, reads=True)
            return len(reply.body), reply.is_whole

    assert asyncio.run(work()) == (asking_module.MOST_BYTES, False)
    assert sent < 32 * 1024 * 1024


FORBIDDEN = [
    ("loopback", "127.0.0.1"),
    ("loopback", "127.9.8.7"),
    ("loopback", "::1"),
    ("loopback", "::ffff:127.0.0.1"),
    ("loopback", "64:ff9b::7f00:1"),
    ("loopback", "2002:7f00:1::"),
    ("loopback", "::127.0.0.1"),
    ("link-local", "169.254.169.254"),
    ("link-local", "169.254.0.7"),
    ("link-local", "fe80::1"),
    ("link-local", "fe80::1%lo"),
    ("link-local", "::ffff:169.254.169.254"),
    ("unspecified", "0.0.0.0"),  # noqa: S104
    ("unspecified", "0.1.2.3"),
    ("unspecified", "::"),
    ("multicast", "224.0.0.1"),
    ("multicast", "ff02::1"),
    ("reserved", "255.255.255.255"),
    ("metadata", "fd00:ec2::254"),
    ("metadata", "100.100.100.200"),
    ("metadata", "168.63.129.16"),
    ("metadata", "fd00:ec2::23"),
    ("metadata", "fd00:42::42"),
    ("translated", "64:ff9b:1::a9fe:a9fe"),
    ("link-local", "::ffff:0:169.254.169.254"),
    ("link-local", "2001:db8::5efe:169.254.169.254"),
    ("link-local", "2001:db8::200:5efe:a9fe:a9fe"),
    ("the API server", "64:ff9b::10.96.0.1"),
    ("the API server", "10.96.0.1"),
    ("the API server", "::ffff:10.96.0.1"),
]


def own() -> Judge:
    from ipaddress import ip_address

    return Judge([ip_address("10.96.0.1")])


@pytest.mark.parametrize(("kind", "address"), FORBIDDEN, ids=lambda v: v)
def test_no_check_may_connect_to(kind: str, address: str) -> None:
    assert kind in (own().why_not(address) or ""), address


@pytest.mark.parametrize(
    "address", ["10.96.0.2", "192.168.1.5", "203.0.113.9", "fd00::9", "2001:db8::1"]
)
def test_check_may_connect_to(address: str) -> None:
    assert own().why_not(address) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:{port}/",
        "http://127.0.0.1:{port}/",
        "http://127.1:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://jane@127.0.0.1:{port}/",
    ],
)
def test_spelling_of_an_address_does_not_reach_the_server(url: str) -> None:
    reached: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.Response()

    async def work() -> None:
        async with answering(answer) as base:
            with pytest.raises(NoAnswer):
                await fetch(url.format(port=base.rpartition(":")[2]), Judge(), {}, reads=False)

    asyncio.run(work())
    assert reached == []


def test_name_with_one_forbidden_address_is_refused() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()

        async def both(
            *_: object, **__: object
        ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
                for address in ("203.0.113.9", "127.0.0.1")
            ]

        loop.getaddrinfo = both  # type: ignore[method-assign, assignment]
        with pytest.raises(AddressRefused, match=r"\(127\.0\.0\.1\): it is a loopback"):
            await resolve("web.example", 80, Judge())

    asyncio.run(work())


def test_name_that_resolves_to_another_address_later_is_not_resolved_again() -> None:
    """DNS rebinding: the second answer would be the address of somebody else."""
    asked: list[str] = []

    async def work(base: str) -> int:
        loop = asyncio.get_running_loop()
        port = int(base.rpartition(":")[2])

        async def once(
            host: str, *_: object, **__: object
        ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
            asked.append(host)
            address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        loop.getaddrinfo = once  # type: ignore[method-assign, assignment]
        reply = await fetch(f"http://web.example:{port}/", Local(), {}, reads=False)
        return reply.status

    async def all_of_it() -> int:
        async with answering(says(200)) as base:
            return await work(base)

    assert asyncio.run(all_of_it()) == 200
    assert asked == ["web.example"]


@pytest.mark.parametrize("url", ["ftp://web/", "file:///etc/passwd", "http:///x", "gopher://web/"])
def test_other_schemes_are_refused(url: str) -> None:
    assert "not an http or https URL" in refused(url)
