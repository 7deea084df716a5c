"""What is deleted while the operator does not know of it yet: a service, and a pod just born."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from aiohttp import web as http

from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.faults.stage import Stage
from tests.cluster.history import History
from tests.cluster.services import Service, annotation, names


def test_nothing_is_created_while_the_watch_of_a_deleted_service_is_late(
    stage: Stage, web: Service
) -> None:
    web.apply(image="a", replicas=3)
    web.until_ready()
    until_quiet(OperatorRequests.from_now(stage.plane))
    asked = OperatorRequests.from_now(stage.plane, web.namespace)
    stage.proxy.hold = lambda path: 6.0 if path.endswith("/immutableservices") else 0.0
    web.kubectl("delete", "imsvc", web.name)
    web.until("its pods are gone", lambda: not web.pods())
    until_quiet(asked)
    made = [r.target for r in asked.writes() if r.verb == "create"]
    assert [target for target in made if target != "events"] == []


def force_delete(web: Service, name: str) -> None:
    path = f"/api/v1/namespaces/{web.namespace}/pods/{name}"
    web.plane.api().request("DELETE", path, {"gracePeriodSeconds": 0})


@pytest.mark.parametrize(
    ("begin", "count"),
    [
        pytest.param(lambda web: force_delete(web, *names(web)), 1, id="successor"),
        pytest.param(lambda web: web.apply(replicas=2), 2, id="additional"),
    ],
)
def test_pod_that_vanishes_before_any_plan_knows_it_has_a_successor_of_another_name(
    stage: Stage, web: Service, begin: Callable[[Service], None], count: int
) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    before, vanished = names(web), threading.Event()

    async def late(request: http.Request) -> None:
        if request.method == "POST" and request.path.endswith(f"{web.namespace}/pods"):
            await asyncio.to_thread(vanished.wait)

    with History(web) as history:
        stage.proxy.late = late
        begin(web)
        web.until("a pod is born", lambda: names(web) - before)
        [young] = names(web) - before
        force_delete(web, young)
        web.until("it is gone", lambda: young not in names(web))
        vanished.set()
        web.until("as many as wanted", lambda: len(web.active()) == count)
        born = [birth.name for birth in history.births()]
    assert len(born) == 2
    assert born[0] == young != born[1]
    [last] = [pod for pod in web.active() if pod["metadata"]["name"] == born[1]]
    assert annotation(last, "replaces") == young
