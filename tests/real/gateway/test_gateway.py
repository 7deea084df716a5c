"""Weights with a real gateway and real nodes: who answers how many requests, and that none fails.

A client sends 100 requests a second to Envoy from before the first step until the last pod is
gone.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster.http_routes import backend
from tests.cluster.plugin import run
from tests.controlplane.api import Json
from tests.controlplane.real.nodes import RealNodes
from tests.real.gateway.conftest import Gateway
from tests.real.web import SPREAD, WebService

REPLICAS = 3
WAITS = "WaitingForPromotion"
BY_HAND: Json = {"pause": {"until": "Promoted"}}
STEPS = [{"setWeight": 20}, BY_HAND, {"setWeight": 50}, BY_HAND]
SPEC: Json = {
    "traffic": {
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        "route": {"name": "web"},
    }
}
TESTERS: Json = {
    "matches": [{"headers": [{"name": "x-tester", "value": "yes"}]}],
    "backendRefs": [backend("web-preview")],
}
EVERYBODY: Json = {"backendRefs": [backend("web")]}


@pytest.fixture
def versions(real: RealNodes) -> tuple[str, str]:
    return real.images.digest("web", "v1"), real.images.digest("web", "v2")


def begin(web: WebService, gateway: Gateway, image: str, **rollout: object) -> None:
    """All of v1, behind the gateway."""
    gateway.apply(TESTERS, EVERYBODY)
    canary = {"strategy": "Canary", "canary": {"steps": STEPS}, **rollout}
    web.apply_image(image, replicas=REPLICAS, rollout=canary, spec=SPEC, pod=SPREAD)
    web.until_ready(120)
    web.until("it is reached", lambda: gateway.versions(20) == {"v1": 20})


def at_weight(web: WebService, gateway: Gateway, image: str) -> None:
    web.apply_image(image)
    web.until("it waits", lambda: web.reason() == WAITS, 120)
    assert gateway.route.weights(1) == {"web": 80, "web-preview": 20}


def test_weight_of_20_is_a_fifth_of_10000_requests(
    web: WebService, gateway: Gateway, versions: tuple[str, str], show: Callable[[object], None]
) -> None:
    begin(web, gateway, versions[0])
    at_weight(web, gateway, versions[1])
    web.until("v2 is reached", lambda: "v2" in gateway.versions(20))
    found = gateway.versions(10_000)
    show(dict(found))
    assert set(found) == {"v1", "v2"}
    assert 1800 <= found["v2"] <= 2200
    assert gateway.versions(100, **{"x-tester": "yes"}) == {"v2": 100}, "testers get the new one"


@pytest.mark.parametrize("verb", ["promote", "abort"])
def test_client_of_the_gateway_loses_no_request(
    web: WebService,
    gateway: Gateway,
    versions: tuple[str, str],
    show: Callable[[object], None],
    verb: str,
) -> None:
    begin(web, gateway, versions[0])
    with gateway.traffic() as traffic:
        at_weight(web, gateway, versions[1])
        web.kubectl("scale", "imsvc", "web", "--replicas=4")
        web.until("it is scaled", lambda: len(web.active()) == 5)
        if verb == "promote":
            assert run(web, "promote", "web").code == 0
            web.until("half of it", lambda: gateway.route.weights(1)["web-preview"] == 50, 120)
            web.until("it waits", lambda: web.reason() == WAITS, 120)
        assert run(web, verb, "web", "--wait", "--timeout=240").code == 0
        last = "v2" if verb == "promote" else "v1"
        web.until("one is left", lambda: gateway.versions(50) == {last: 50}, 120)
        web.until("the others are gone", lambda: len(web.pods()) == 4, 180)
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
    assert report.versions == {"v1", "v2"}


def test_client_loses_no_request_on_the_way_back_after_the_promotion(
    web: WebService, gateway: Gateway, versions: tuple[str, str], show: Callable[[object], None]
) -> None:
    begin(web, gateway, versions[0], canary={"steps": [{"setWeight": 50}]})
    with gateway.traffic() as traffic:
        web.apply_image(versions[1])
        web.until("v1 is kept", lambda: web.reason() == "KeepingPrevious", 180)
        web.until("v2 answers", lambda: gateway.versions(50) == {"v2": 50})
        assert run(web, "undo", "web", "--wait", "--timeout=120").code == 0
        web.until("v1 answers", lambda: gateway.versions(50) == {"v1": 50})
        web.until("v2 is gone", lambda: len(web.pods()) == REPLICAS, 120)
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()


def test_step_waits_for_the_gateway_and_no_request_is_lost_meanwhile(
    web: WebService, gateway: Gateway, versions: tuple[str, str], show: Callable[[object], None]
) -> None:
    begin(web, gateway, versions[0])
    with gateway.traffic() as traffic:
        gateway.contour.kill()
        web.apply_image(versions[1])
        web.until("it waits", lambda: web.reason() == "RouteNotReady", 120)
        assert set(gateway.versions(200)) == {"v1"}
        gateway.contour.revive()
        web.until("it goes on", lambda: web.reason() == WAITS)
        web.until("v2 is reached", lambda: "v2" in gateway.versions(20))
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
