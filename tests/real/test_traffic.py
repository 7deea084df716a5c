"""A rollout under traffic: what a client sees of it is nothing at all.

A client sends 100 requests a second to the Service of four instances, from before the digest
changes until the last predecessor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from tests.cluster.history import History
from tests.cluster.services import annotation, is_ready
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.real.nodes import RealNodes
from tests.real.traffic import PER_SECOND, Endpoint, Traffic, endpoints_of, receivers
from tests.real.web import SPREAD, WebService, at_once, image_ids, sleeping_before_stop

REPLICAS = 4


def test_client_loses_no_request_during_rollout(
    web: WebService, real: RealNodes, show: Callable[[object], None]
) -> None:
    v1, v2 = (real.images.digest("web", version) for version in ("v1", "v2"))
    web.apply_image(v1, replicas=REPLICAS, pod=SPREAD)
    web.expose()
    web.until_ready()
    assert [image_ids(pod) for pod in web.active()] == [[v1]] * REPLICAS
    before = {pod["metadata"]["name"] for pod in web.active()}
    with web.history() as history, web.traffic() as traffic:
        web.apply_image(v2)
        web.until_ready()
        web.until_alone()
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        assert len(history.births()) == REPLICAS
        _assert_successors_came_first(history, v2)
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
    assert report.versions == {"v1", "v2"}
    assert len(report.addresses) == 2 * REPLICAS
    assert [image_ids(pod) for pod in web.active()] == [[v2]] * REPLICAS
    assert {annotation(pod, "replaces") for pod in web.active()} == before


def test_pre_stop_helps_image_that_does_not_drain(
    web: WebService, real: RealNodes, show: Callable[[object], None]
) -> None:
    v1 = real.images.digest("web")
    web.apply_image(v1, sleeping_before_stop("v1"), replicas=2)
    web.expose()
    web.until_ready()
    with web.traffic() as traffic:
        web.apply_image(v1, at_once("v2"))
        web.until_ready()
        web.until_alone()
    report = traffic.report()
    show(report)
    # Its end falls between two requests of a connection that a client keeps: only the image
    # could have closed that one in time.
    assert all(answer.kept for answer in report.failures), report.explain()
    assert report.versions == {"v1", "v2"}
    # And without any help clients do lose requests: this client would have seen it above.
    with web.traffic() as traffic:
        web.apply_image(v1, sleeping_before_stop("v3"))
        web.until_ready()
        web.until_alone()
    control = traffic.report()
    show(control)
    assert any(not answer.kept for answer in control.failures)


def test_requests_go_where_kube_proxy_sends_them() -> None:
    conditions = {
        "new": {"ready": True, "serving": True, "terminating": False},
        "unset": {},
        "unready": {"ready": False, "serving": False, "terminating": False},
        "ending": {"ready": False, "serving": True, "terminating": True},
        "ended": {"ready": False, "serving": False, "terminating": True},
    }

    def chosen(*names: str) -> list[str]:
        entries = [{"addresses": [name], "conditions": conditions[name]} for name in names]
        slices: list[Json] = [{"ports": [{"port": 80}], "endpoints": entries}, {"endpoints": None}]
        return [endpoint.address for endpoint in receivers(endpoints_of(slices))]

    assert chosen(*conditions) == ["new", "unset"]
    assert chosen("unready", "ending", "ended") == ["ending"]
    assert chosen("unready", "ended") == []


def test_answers_later_than_the_next_request_are_no_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The requests of a kept connection do not wait in a line, which would grow without an end."""
    monkeypatch.setattr("tests.real.traffic.TIMEOUT_SECONDS", 1.0)
    nowhere = cast(ControlPlane, SimpleNamespace(api=lambda: None))
    client = Traffic(nowhere, "shop", "web")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(0.4)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nv1")
        writer.close()

    async def story() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1") as server:
            port = server.sockets[0].getsockname()[1]
            client._receivers = [Endpoint("127.0.0.1", port, True, True, False)]
            sending = asyncio.create_task(client._send())
            while len(client._answers) < 4 * PER_SECOND:
                await asyncio.sleep(0.01)
            client._stopping.set()
            await sending

    asyncio.run(story())
    report = client.report()
    assert not report.failures, report.explain()
    assert any(answer.kept for answer in report.answers)
    assert report.not_sent > 0


def _assert_successors_came_first(history: History, image: str) -> None:
    """Nobody was told to end before one more of the new image had become ready."""
    ready: set[str] = set()
    ended = 0
    retired = {change.pod["metadata"]["uid"]: change for change in history.retirements()}
    for change in history.changes():
        if is_ready(change.pod) and image_ids(change.pod) == [image]:
            ready.add(change.name)
        if retired.get(change.pod["metadata"]["uid"]) is change:
            ended += 1
            assert ended <= len(ready), history.story()
