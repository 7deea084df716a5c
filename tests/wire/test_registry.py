"""Registries that lie, babble or hang, over a real connection: only `RegistryError` comes out."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from immutable_operator.registry import client as client_module
from immutable_operator.registry.client import Registries, RegistryError, Stored
from immutable_operator.runtime import images as images_module
from immutable_operator.runtime.images import ImageProofs
from immutable_operator.runtime.inquiry import AT_ONCE
from immutable_operator.runtime.metrics import Metrics
from tests.wire.api import until

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "sha256:" + "c0" * 32
DEEP = b"[" * 5000 + b"]" * 5000
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


class Registry:
    """What is stored by its digest; or an answer of a test's own."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.answer: Answer | None = None
        self.asked: list[str] = []

    def put(self, document: Any) -> str:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.stored[digest_of(body)] = body
        return digest_of(body)

    def image(self, config: str = CONFIG, **more: Any) -> str:
        return self.put({"mediaType": MANIFEST, "config": {"digest": config}, **more})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        digest = request.path.rpartition("/")[2]
        self.asked.append(digest)
        if self.answer:
            return await self.answer(request)
        body = self.stored.get(digest)
        return web.Response(status=404) if body is None else web.Response(body=body)


@asynccontextmanager
async def serving(registry: Registry) -> AsyncIterator[str]:
    """The host on which it is."""
    app = web.Application()
    app.router.add_get("/{path:.*}", registry.handle)
    async with TestServer(app) as server:
        yield f"127.0.0.1:{server.port}"


def contents(registry: Registry, digest: str) -> tuple[frozenset[str], frozenset[str]]:
    async def run() -> tuple[frozenset[str], frozenset[str]]:
        async with serving(registry) as host:
            image = Stored.of(f"{host}/web@{digest}")
            assert image is not None
            return await Registries(frozenset({host})).contents(image)

    return asyncio.run(run())


def entry(digest: Any, **platform: Any) -> dict[str, Any]:
    return {"digest": digest, "platform": {"os": "linux", **platform}}


def test_null_entry_of_an_index_is_ignored() -> None:
    registry = Registry()
    image = registry.image()
    index = registry.put({"mediaType": INDEX, "manifests": [None, entry(image)]})
    assert contents(registry, index) == (frozenset({index, image}), frozenset({CONFIG}))


def test_large_manifest_in_chunks_is_read_completely() -> None:
    registry = Registry()
    image = registry.image(annotations={"x": "y" * 2**20})

    async def slowly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        body = registry.stored[image]
        for start in range(0, len(body), 2**17):
            await response.write(body[start : start + 2**17])
            await asyncio.sleep(0)
        return response

    registry.answer = slowly
    assert contents(registry, image) == (frozenset({image}), frozenset({CONFIG}))


ODD: list[Any] = [
    [],
    None,
    "text",
    DEEP,
    b"<html>",
    b"\xff\xfe",
    {},
    {"config": None},
    {"config": []},
    {"config": {"digest": None, "x": [1]}, "manifests": 7},
    {"mediaType": INDEX},
    {"mediaType": INDEX, "manifests": {"a": 1}},
    {"mediaType": INDEX, "manifests": "abc"},
    {"mediaType": INDEX, "manifests": [5]},
    {"mediaType": INDEX, "manifests": [[]]},
    {"mediaType": INDEX, "manifests": [{}]},
    {"mediaType": INDEX, "manifests": [{"platform": "linux", "digest": CONFIG}]},
    {"mediaType": INDEX, "manifests": [entry(5)]},
    {"mediaType": INDEX, "manifests": [entry("../../secret")]},
    {"mediaType": INDEX, "manifests": [entry("sha512:" + "0" * 128)]},
    {"mediaType": INDEX, "manifests": [entry(CONFIG)] * 65},
    {"mediaType": ["x"], "manifests": [entry(CONFIG)]},
]


@pytest.mark.parametrize("document", ODD, ids=lambda d: str(d)[:40])
def test_invalid_manifest_is_a_registry_error(document: Any) -> None:
    registry = Registry()
    with pytest.raises(RegistryError):
        contents(registry, registry.put(document))


CHALLENGES = [
    'Bearer realm="http://127.0.0.1/token"',
    'Bearer realm="https://[::1/token"',
    'Bearer realm="https://127.0.0.1:1/token",scope="x"',
    "Bearer",
    "Bearer realm=",
    "Basic x",
]


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_malformed_challenge_is_a_registry_error(challenge: str) -> None:
    registry = Registry()

    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    registry.answer = refuse
    with pytest.raises(RegistryError):
        contents(registry, CONFIG)


def test_oversized_manifest_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MOST_BYTES", 1000)
    registry = Registry()
    with pytest.raises(RegistryError, match="more than 1000 bytes"):
        contents(registry, registry.put(b" " * 2000))


def test_index_of_slow_images_takes_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SECONDS_IN_ALL", 0.1)
    registry = Registry()

    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    registry.answer = never
    with pytest.raises(RegistryError, match="TimeoutError"):
        contents(registry, CONFIG)


class Known:
    """Registries that answer when a test lets them, and how many were asked at once."""

    def __init__(self) -> None:
        self.asked: list[Stored] = []
        self.open: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.slow: dict[str, asyncio.Event] = {}

    async def contents(self, image: Stored) -> tuple[frozenset[str], frozenset[str]]:
        host = image.host
        self.asked.append(image)
        self.open[host] = self.open.get(host, 0) + 1
        self.most[host] = max(self.most.get(host, 0), self.open[host])
        try:
            if host in self.slow:
                await self.slow[host].wait()
            else:
                await asyncio.sleep(0)
            return frozenset({image.digest}), frozenset({CONFIG})
        finally:
            self.open[host] -= 1


def pair(host: str, number: int) -> tuple[str, str]:
    digest = f"sha256:{number:064x}"
    return f"{host}:1/web@{digest}", f"{host}:1/web@{digest}"


@asynccontextmanager
async def proofs(known: Known, told: list[str]) -> AsyncIterator[ImageProofs]:
    made = ImageProofs(cast(Registries, known), told.append, Metrics(), again=0.0)
    running = asyncio.create_task(made.run())
    try:
        yield made
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])


def test_slow_registry_delays_no_other_and_gets_one_request_at_a_time() -> None:
    async def run() -> None:
        known, told = Known(), list[str]()
        known.slow["slow:1"] = asyncio.Event()
        async with proofs(known, told) as made:
            made.different(frozenset(pair("slow", n) for n in range(50)), "a")
            made.different(frozenset(pair("quick", n) for n in range(50)), "b")
            await until(lambda: len(told) == 50)
            assert set(told) == {"b"}
            known.slow["slow:1"].set()
            await until(lambda: len(told) == 100)
        assert known.most == {"slow:1": 1, "quick:1": 1}

    asyncio.run(run())


def test_slow_registries_leave_turns_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        known, told = Known(), list[str]()
        hosts = [f"h{n}" for n in range(AT_ONCE * 2)]
        known.slow = {f"{host}:1": asyncio.Event() for host in hosts}
        async with proofs(known, told) as made:
            made.different(frozenset(pair(host, 1) for host in hosts), "a")
            await until(lambda: sum(known.open.values()) == AT_ONCE)
            made.different(frozenset({pair("late", 1)}), "late")
            for host in [h for h, n in known.open.items() if n]:
                known.slow[host].set()
            await until(lambda: sum(known.open.values()) == AT_ONCE)
            for event in known.slow.values():
                event.set()
            await until(lambda: len(told) == len(hosts) + 1)

    asyncio.run(run())


def test_verdict_cache_is_bounded_and_keeps_the_recently_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(images_module, "MOST_PAIRS", 3)

    async def run() -> None:
        known, told = Known(), list[str]()
        async with proofs(known, told) as made:
            for number in range(6):
                made.different(frozenset({pair("quick", 0)}), "a")
                made.different(frozenset({pair("quick", number)}), "a")
                await until(lambda: not made._asked_by)
            assert len(made._verdicts) == 3
            assert pair("quick", 0) in made._verdicts
            asked = [image.digest for image in known.asked]
            assert len(asked) == len(set(asked)), "nothing that is in use is asked twice"
        assert not made._inquiry._open

    asyncio.run(run())
