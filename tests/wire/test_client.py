"""The client over a real connection: answers that are none, and how long a write may last."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import formatdate
from typing import Any

import pytest
import yaml
from aiohttp import web

from immutable_operator.cli.person import Person, Request
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Unreachable
from immutable_operator.kube.lease import Lease, LeaseTimes, NotLeader
from tests.wire.api import PATH, Api, serving


@pytest.mark.parametrize("body", [b"<html>not now</html>", b"", b"[]", b"ok", b"null"])
def test_successful_answer_that_is_no_object_is_an_error(body: bytes) -> None:
    async def run() -> None:
        api = Api()
        api.pages.append(body)
        async with serving(api) as client:
            with pytest.raises(Unreachable, match="the response is not an object"):
                await client.list(PATH, resource="things")

    asyncio.run(run())


def test_client_reads_the_api_server_s_clock_from_answers_and_refusals() -> None:
    async def run() -> None:
        api = Api()

        async def refused(request: web.Request) -> web.StreamResponse:
            date = formatdate(time.time() + 90.0, usegmt=True)
            return web.Response(status=403, text="{}", headers={"Date": date})

        api.writes = refused
        async with serving(api) as client:
            with pytest.raises(ApiError):
                await client.create(PATH, {}, resource="things")
            assert client.clock.offset == pytest.approx(90.0, abs=1.0)

    asyncio.run(run())


@pytest.mark.parametrize(
    "text", ["release 🚀 and 🏳️‍🌈", "a\\ud83d\\ude80", "\x85\x00\u2028\ufeffÿ", '"\\']
)
def test_server_side_apply_is_valid_yaml_with_the_same_content(text: str) -> None:
    """The API server reads it as YAML, which refuses the escapes of JSON for an emoji."""
    bodies: list[bytes] = []

    async def run() -> None:
        api = Api()

        async def keep(request: web.Request) -> web.StreamResponse:
            bodies.append(await request.read())
            assert request.content_type == "application/apply-patch+yaml"
            return web.json_response({"metadata": {}})

        api.writes = keep
        async with serving(api) as client:
            await client.apply(PATH, {"message": text}, resource="things", manager="me")

    asyncio.run(run())
    [body] = bodies
    assert json.loads(body) == yaml.safe_load(body) == {"message": text}


def test_malformed_503_of_a_proxy_is_an_ordinary_error() -> None:
    async def run() -> None:
        api = Api()

        async def busy(request: web.Request) -> web.StreamResponse:
            body = json.dumps({"message": "busy", "details": [{"causes": 5}], "code": "x"})
            return web.Response(status=503, text=body, headers={"Retry-After": "²"})

        api.writes = busy
        async with serving(api) as client:
            with pytest.raises(ApiError, match="busy") as caught:
                await client.create(PATH, {}, resource="things")
        assert caught.value.retry_after is None

    asyncio.run(run())


class Held:
    """An API server that keeps every write waiting; and how long the client waited."""

    def __init__(self) -> None:
        self.api = Api()
        self.api.writes = self._wait
        self.writes = 0

    async def _wait(self, request: web.Request) -> web.StreamResponse:
        self.writes += 1
        await asyncio.Event().wait()
        raise AssertionError


def test_write_lasts_no_longer_than_the_fence() -> None:
    """Otherwise the write could be carried out after another replica has begun to lead."""

    async def run() -> None:
        held = Held()
        async with serving(held.api, timeout=3600) as client:
            client.fence = lambda: 1.0  # enough to connect on a busy machine
            with pytest.raises(Unreachable, match="no response in time"):
                await client.create(PATH, {}, resource="things")
            assert held.writes == 1

    asyncio.run(run())


def test_fenced_write_is_never_sent() -> None:
    async def run() -> None:
        held = Held()
        async with serving(held.api) as client:
            lease = Lease(client, "ns", "lease", "me", LeaseTimes())
            client.fence = lease.fence
            with pytest.raises(NotLeader):
                await client.create(PATH, {}, resource="things")
        assert held.writes == 0

    asyncio.run(run())


class Leases:
    """One lease, with optimistic locking as the API server does it."""

    def __init__(self, stored: dict[str, Any] | None = None) -> None:
        self.api = Api()
        self.api.pages.append(self._get)
        self.api.writes = self._write
        self.stored = stored
        self.answers: list[bytes] = []
        self._version = 100

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if self.stored is None:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response(self.stored)

    async def _write(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if self.stored is not None:
            now = (self.stored.get("metadata") or {}).get("resourceVersion")
            if body["metadata"].get("resourceVersion") != now:
                return web.json_response({"reason": "Conflict"}, status=409)
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self.stored = body
        answer = self.answers.pop(0) if self.answers else json.dumps(body).encode()
        return web.Response(body=answer)


TIMES = LeaseTimes(duration=15.0, renew=10.0, retry=2.0)
META = {"name": "lease", "namespace": "ns", "resourceVersion": "7"}


def lease_of(client: KubeClient) -> Lease:
    return Lease(client, "ns", "lease", "me", TIMES)


def acquired(leases: Leases) -> bool:
    async def run() -> bool:
        async with serving(leases.api) as client:
            lease = lease_of(client)
            return await lease.try_acquire()

    return asyncio.run(run())


FREE: list[dict[str, Any]] = [
    {"metadata": META},
    {"metadata": META, "spec": None},
    {"metadata": META, "spec": {}},
    {"metadata": META, "spec": {"holderIdentity": None, "leaseTransitions": None}},
    {"metadata": META, "spec": {"holderIdentity": "", "leaseDurationSeconds": -5}},
    {"metadata": META, "spec": {"holderIdentity": "", "leaseTransitions": 2**31 - 1}},
    {"metadata": META, "spec": {"holderIdentity": "me", "leaseTransitions": -3}},
]


@pytest.mark.parametrize("stored", FREE)
def test_malformed_lease_without_a_holder_is_acquired(stored: dict[str, Any]) -> None:
    leases = Leases(stored)
    assert acquired(leases)
    assert leases.stored is not None
    assert 0 <= leases.stored["spec"]["leaseTransitions"] < 2**31


UNREADABLE: list[dict[str, Any]] = [
    {},
    {"metadata": None},
    {"metadata": {"resourceVersion": 5}},
    {"metadata": META, "spec": []},
    {"metadata": META, "spec": {"holderIdentity": ["x"]}},
]


@pytest.mark.parametrize("stored", UNREADABLE)
def test_unreadable_lease_is_retried(stored: dict[str, Any]) -> None:
    assert not acquired(Leases(stored))


def test_lease_duration_of_a_holder_is_limited() -> None:
    """A hand-written duration of 68 years is valid for at most ten minutes without a renewal."""
    spec = {"holderIdentity": "other", "leaseDurationSeconds": 2**31 - 1}

    async def run() -> None:
        leases = Leases({"metadata": META, "spec": spec})
        async with serving(leases.api) as client:
            lease = lease_of(client)
            assert not await lease.try_acquire()
            lease._seen_at = time.monotonic() - 601
            assert await lease.try_acquire()

    asyncio.run(run())


def test_unreadable_answer_to_a_renewal_is_verified_by_a_read() -> None:
    async def run() -> None:
        leases = Leases()
        async with serving(leases.api) as client:
            lease = lease_of(client)
            assert await lease.try_acquire()
            leases.answers = [b'{"metadata":[]}', b"<html>"]
            assert not await lease.try_renew()
            assert not await lease.try_renew()
            assert lease.leading, "what it had holds"
            assert await lease.try_renew() or await lease.try_renew()

    asyncio.run(run())


def test_fence_is_the_remaining_time_of_the_lease() -> None:
    async def run() -> None:
        leases = Leases()
        async with serving(leases.api) as client:
            lease = lease_of(client)
            with pytest.raises(NotLeader):
                lease.fence()
            assert await lease.try_acquire()
            assert TIMES.retry < lease.fence() <= TIMES.duration
            lease._valid_until = time.monotonic() + TIMES.retry / 2
            with pytest.raises(NotLeader):
                lease.fence()
            assert lease.leading, "too little to begin with, and not lost yet"

    asyncio.run(run())


def test_single_request_accepts_any_answer() -> None:
    """`verify` looks for a log or a proxied page: either proves that the access succeeded."""

    async def run() -> None:
        api = Api()
        api.pages.append(b"plain words of a container")
        async with serving(api) as client:
            person = Person(client._transport._api.configuration)
            try:
                assert await person.send(Request("GET", f"{PATH}/log")) == api.pages[0]
            finally:
                await person.close()

    asyncio.run(run())
