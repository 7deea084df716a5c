"""Knocking at the webhook as an API server would: over real connections, on this machine."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from immutable_operator.admission.certificates import Pair, issue
from immutable_operator.admission.endpoint import load_certificate, new_context
from immutable_operator.admission.fault import Door, Found, Trouble
from immutable_operator.admission.knock import Knocker, knock
from immutable_operator.admission.policies import bindings, policies
from immutable_operator.admission.selfcheck import (
    BREAK_GLASS,
    LEFT_OPEN,
    UNREACHABLE,
    WATCHED,
    door_of,
    faults,
    guard_of,
)

HERE = "127.0.0.1"
DAY = timedelta(days=1)
OPERATOR = "system:serviceaccount:here:me"


def pair(name: str = HERE, age: timedelta = timedelta(0)) -> Pair:
    return issue((name,), datetime.now(UTC) - age, DAY)


@asynccontextmanager
async def listening(shown: Pair | None) -> AsyncIterator[int]:
    """A port on which this certificate is shown; None: a server that never answers."""
    context: ssl.SSLContext | None = None
    if shown:
        context = new_context()
        load_certificate(context, shown.certificate, shown.key)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, HERE, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


MINE, OTHER = pair(), pair()
CASES: dict[str, tuple[Pair | None, str, str]] = {
    "the one that is published": (MINE, MINE.authority, ""),
    "one of those that are published": (MINE, OTHER.authority + MINE.authority, ""),
    "another than is published": (OTHER, MINE.authority, "WebhookCertificate"),
    "for another name": ((away := pair("else.svc")), away.authority, "WebhookCertificate"),
    "one that is over": ((old := pair(age=3 * DAY)), old.authority, "WebhookCertificate"),
    "none": (None, MINE.authority, "WebhookUnreachable"),
    "a bundle that is none": (MINE, "nonsense", "WebhookCertificate"),
}


@pytest.mark.parametrize(("shown", "trusted", "reason"), CASES.values(), ids=CASES)
def test_probe_finds_the_faults_that_an_api_server_would_find(
    shown: Pair | None, trusted: str, reason: str
) -> None:
    async def found() -> Trouble | None:
        async with listening(shown) as port:
            return await knock(Door(HERE, port, trusted), patience=0.5)

    trouble = asyncio.run(found())
    assert (trouble.reason if trouble else "") == reason
    assert trouble is None or trouble.said


@pytest.mark.parametrize("host", [HERE, "nobody.invalid", "", "a..b"])
def test_closed_port_is_unreachable(host: str) -> None:
    trouble = asyncio.run(knock(Door(host, 1, MINE.authority)))
    assert trouble
    assert trouble.reason == "WebhookUnreachable"


def trouble_of(knocker: Knocker) -> str:
    return knocker.trouble.reason if knocker.trouble else ""


class Story:
    """A knocker whose probes are ten seconds apart, unless a test says otherwise."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.news: list[str] = []
        self.now = 100.0
        self.knocker = Knocker(lambda: self.door, self._heard, lambda: self.now)

    def _heard(self) -> None:
        self.news.append(trouble_of(self.knocker))

    async def step(self, seconds: float = 10.0) -> str:
        self.now += seconds
        await self.knocker.step()
        return trouble_of(self.knocker)


def test_two_failures_in_a_row_are_a_fault() -> None:
    async def story() -> None:
        closed = Door(HERE, 1, MINE.authority)
        told = Story(closed)
        assert await told.step() == ""
        assert not told.knocker.known, "it may be starting"
        assert await told.step(1.0) == "", "the next one comes ten seconds later"
        assert told.news == []
        assert await told.step(9.0) == "WebhookUnreachable"
        assert told.knocker.known
        await told.step()
        assert told.news == ["WebhookUnreachable"], "it is told once"
        async with listening(MINE) as port:
            told.door = Door(HERE, port, MINE.authority)
            assert await told.step() == ""
        assert told.news == ["WebhookUnreachable", ""]
        told.door = closed
        assert await told.step() == "", "it counts from 0 again"
        assert told.knocker.known, "one failure is no fault"

    asyncio.run(story())


def test_success_is_told_once_it_is_known() -> None:
    async def story() -> None:
        told = Story(Door(HERE, 1, MINE.authority))
        await told.step()
        async with listening(MINE) as port:
            told.door = Door(HERE, port, MINE.authority)
            await told.step(1.0)
            assert told.knocker.known
            await told.step()
        assert told.news == [""]

    asyncio.run(story())


def test_one_failure_of_each_of_two_endpoints_is_no_fault() -> None:
    async def story() -> None:
        told = Story(Door(HERE, 1, MINE.authority))
        for port in (1, 2, 1, 2):
            told.door = Door(HERE, port, MINE.authority)
            assert await told.step() == ""

    asyncio.run(story())


def test_two_different_failures_in_a_row_are_a_fault() -> None:
    async def story() -> None:
        async with listening(OTHER) as port:
            told = Story(Door(HERE, port, MINE.authority))
            await told.step()
        assert await told.step() == "WebhookUnreachable"

    asyncio.run(story())


def hook(**client: Any) -> list[dict[str, Any]]:
    bundle = base64.b64encode(MINE.authority.encode()).decode()
    rules = [{"resources": sorted(WATCHED)}]
    return [{"clientConfig": {"caBundle": bundle, **client}, "rules": rules}]


SERVICE = {"name": "op-webhook", "namespace": "here", "path": "/x"}
DOORS: dict[str, tuple[Any, tuple[str, int] | None]] = {
    "a service": (hook(service=SERVICE), ("op-webhook.here.svc", 443)),
    "its port": (hook(service={**SERVICE, "port": 8443}), ("op-webhook.here.svc", 8443)),
    "a URL": (hook(url="https://op.example/x"), ("op.example", 443)),
    "its port, too": (hook(url="https://[::1]:9443/x"), ("::1", 9443)),
    "no bundle": (hook(service=SERVICE, caBundle=None), None),
    "a bundle that is none": (hook(service=SERVICE, caBundle="?"), None),
    "a port that is none": (hook(url="https://op.example:x/"), None),
    "no client": ([{}], None),
    "no webhook": ([], None),
    "nothing": (None, None),
}


@pytest.mark.parametrize(("webhooks", "where"), DOORS.values(), ids=DOORS)
def test_probed_endpoint_is_that_of_the_webhook_configuration(
    webhooks: Any, where: tuple[str, int] | None
) -> None:
    door = door_of(webhooks)
    assert (door and (door.host, door.port)) == where
    assert door is None or door.authorities == MINE.authority


@pytest.mark.parametrize("reason", ["WebhookUnreachable", "WebhookCertificate"])
def test_fault_has_a_remedy_and_concerns_the_configured_endpoint(reason: str) -> None:
    webhooks = hook(service=SERVICE)
    found = Found(policies(OPERATOR), bindings("here"), {BREAK_GLASS: webhooks})

    def told(door: Door | None) -> str:
        assert door
        trouble = Trouble(door, reason, "said so")
        guard = guard_of(faults(found, OPERATOR, break_glass=True, trouble=trouble), "shop")
        return f"{guard.reason}: {guard.message}" if not guard.holds else ""

    said = told(door_of(webhooks))
    assert said.startswith(f"{reason}: {UNREACHABLE}")
    assert "op-webhook.here.svc:443 (said so); make sure that " in said
    assert LEFT_OPEN in said
    assert told(door_of(hook(url="https://old.example/"))) == ""
