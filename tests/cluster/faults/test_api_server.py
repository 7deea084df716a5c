"""An API server in trouble, and late watches: the end is that of an undisturbed run."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from tests.cluster.faults.report import Report
from tests.cluster.faults.stage import ALL, NODE, Stage

Spoil = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def status(code: int, reason: str, **headers: str) -> web.Response:
    """A failure as the API server states it."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": f"{reason}, says the test",
    }
    return web.json_response(body, status=code, headers=headers)


def sometimes(code: int, reason: str) -> Spoil:
    """A third of all requests fail, but for those of leadership."""
    chance = random.Random(4711)

    async def spoil(request: web.Request) -> web.StreamResponse | None:
        if "leases" in request.path or chance.random() > 0.3:
            return None
        return status(code, reason)

    return spoil


def once_each(code: int, reason: str, **headers: str) -> Spoil:
    """The first try of each write fails."""
    seen: set[tuple[str, str]] = set()

    async def spoil(request: web.Request) -> web.StreamResponse | None:
        key = (request.method, request.path)
        if request.method == "GET" or "leases" in request.path or key in seen:
            return None
        seen.add(key)
        return status(code, reason, **headers)

    return spoil


def away(seconds: float) -> Spoil:
    """Every connection is cut for a while."""
    until = time.monotonic() + seconds

    async def spoil(request: web.Request) -> web.StreamResponse | None:
        if time.monotonic() > until:
            return None
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return spoil


TROUBLE: dict[str, Callable[[], Spoil]] = {
    "a third of all requests gets 500": lambda: sometimes(500, "InternalError"),
    "a third of all requests gets 503": lambda: sometimes(503, "ServiceUnavailable"),
    "a third of all requests gets 504": lambda: sometimes(504, "Timeout"),
    "the first try of each write gets 409": lambda: once_each(409, "Conflict"),
    "the first try of each write gets 429": lambda: once_each(
        429, "TooManyRequests", **{"Retry-After": "1"}
    ),
    "the first try of each write gets 401": lambda: once_each(401, "Unauthorized"),
    "the API server is away for 5 s": lambda: away(5.0),
}
LATE = {
    "pods are shown 6 s late": ("/pods", 6.0),
    "records are shown 6 s late": ("/immutablerevisions", 6.0),
    "services are shown 6 s late": ("/immutableservices", 6.0),
    "nodes are shown 6 s late": ("/nodes", 6.0),
}
SOME = ("rollout", "rollback") if not ALL else ("rollout", "rollback", "regeneration", NODE)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("fault", TROUBLE)
def test_trouble_of_the_api_server_ends_as_an_undisturbed_run(
    stage: Stage, report: Report, name: str, fault: str
) -> None:
    def begin() -> None:
        stage.proxy.spoil = TROUBLE[fault]()

    play(stage, report, (name, fault), begin)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("fault", LATE)
def test_late_watch_ends_as_an_undisturbed_run(
    stage: Stage, report: Report, name: str, fault: str
) -> None:
    resource, seconds = LATE[fault]

    stage.quiet += seconds

    def begin() -> None:
        stage.proxy.hold = lambda path: seconds if path.endswith(resource) else 0.0

    play(stage, report, (name, fault), begin)


def play(stage: Stage, report: Report, what: tuple[str, str], begin: Callable[[], None]) -> None:
    """Play a scenario in the trouble that the proxy makes now, and compare its end."""
    name, fault = what
    seconds = None
    reference = stage.reference(name)
    try:
        with stage.scenario(name) as scenario:
            began = time.monotonic()
            begin()
            outcome = stage.play(scenario)
            took = time.monotonic() - began
        assert outcome.end == reference.end
        assert (outcome.born, outcome.retired) == (reference.born, reference.retired)
        seconds = took
    finally:
        report.add(name, fault, seconds)
