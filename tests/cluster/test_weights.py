"""Weights of an HTTPRoute on a real API server: what is written of it, when, and what is left."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from tests.cluster.actions import freeze_of
from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.http_routes import (
    GATEWAY_API,
    HttpRoute,
    backend,
    gateway_granted,
    grant,
    install_definitions,
    remove_definitions,
    stand_in_gateway,
)
from tests.cluster.operator_process import ACCOUNT, Operators
from tests.cluster.plugin import run
from tests.cluster.services import Service, condition, pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.namespaces import fresh_namespace

UNUSABLE = "RouteNotReady"
WAITS = "WaitingForPromotion"
BY_HAND: Json = {"pause": {"until": "Promoted"}}
STEPS = ({"setWeight": 20}, BY_HAND, {"setWeight": 50}, BY_HAND)
SERVICES: Json = {"group": "immutable.dev", "kind": "ImmutableService"}
ROUTES: Json = {"group": GATEWAY_API, "kind": "HTTPRoute"}


def test_without_the_value_of_the_chart_the_blocker_names_it(web: Service) -> None:
    begin(web)
    web.until("it is told", lambda: web.blocker(UNUSABLE))
    assert "gateway.enabled" in str(web.blocker(UNUSABLE))
    assert condition(web.get(), "Ready")["status"] == "True", "nothing is rolled out"


@pytest.fixture(scope="module")
def granted(running_operators: Operators) -> Iterator[None]:
    with gateway_granted(running_operators):
        yield


def test_canary_goes_on_once_the_gateway_api_is_installed(granted: None, web: Service) -> None:
    remove_definitions(web.plane)
    begin(web)
    web.apply(image="b")
    web.until("it is told", lambda: "has no HTTPRoutes" in str(web.blocker(UNUSABLE)))
    web.until("the share is there", lambda: of_a_and_b(web) == (5, 1))
    install_definitions(web.plane)
    web.until("it exists no more", lambda: "does not exist" in str(web.blocker(UNUSABLE)), 120)
    assert web.reason() == UNUSABLE
    with stand_in_gateway(web.plane):
        HttpRoute(web.plane, web.namespace).apply()
        web.until("it waits", lambda: web.reason() == WAITS)
        assert web.blocker(UNUSABLE) is None


@pytest.fixture(scope="module")
def gateway(granted: None, control_plane: ControlPlane) -> Iterator[threading.Event]:
    install_definitions(control_plane)
    with stand_in_gateway(control_plane) as away:
        yield away


@pytest.fixture
def route(gateway: threading.Event, web: Service) -> Iterator[HttpRoute]:
    """The HTTPRoute ``web``, in the namespace of the service."""
    given = HttpRoute(web.plane, web.namespace)
    given.apply()
    yield given
    gateway.clear()


def begin(web: Service, *steps: Json, namespace: str | None = None, **rollout: object) -> None:
    given = {"steps": list(steps or STEPS), "keepFor": "5s"}
    canary = {"strategy": "Canary", "canary": given, **rollout}
    ref = {"name": "web"} | ({"namespace": namespace} if namespace else {})
    traffic = {"ports": [{"port": 80, "targetPort": 8080}], "route": ref}
    web.apply(image="a", replicas=5, rollout=canary, spec={"traffic": traffic})
    web.until_ready()


def of_a_and_b(web: Service) -> tuple[int, int]:
    """How many active pods are of image a, and of b."""
    return len(web.of("a")), len(web.of("b"))


def at_weight(web: Service, route: HttpRoute) -> None:
    """At the first pause: 1 pod of image b beside all others gets 20 % of the traffic."""
    begin(web)
    web.apply(image="b")
    web.until("it waits", lambda: web.reason() == WAITS)
    assert of_a_and_b(web) == (5, 1)
    assert route.weights() == {"web": 80, "web-preview": 20}


def patches(asked: OperatorRequests) -> int:
    return asked.count("patch httproutes")


def test_weights_follow_the_steps_and_the_rest_of_the_route_stays(
    web: Service, route: HttpRoute
) -> None:
    testers = {
        "matches": [{"headers": [{"name": "x-tester", "value": "yes"}]}],
        "backendRefs": [backend("web-preview")],
    }
    main = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/shop"}}],
        "backendRefs": [backend("other", weight=7), backend("web", weight=3)],
    }
    route.apply(testers, main)
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    begin(web)
    assert patches(asked) == 0, "who gets all of it already"
    web.apply(image="b")
    web.until("it waits", lambda: web.reason() == WAITS)
    assert route.weights(1) == {"other": 7, "web": 80, "web-preview": 20}
    assert web.get()["status"]["rollout"]["weight"] == 20
    assert "20 % of the traffic" in condition(web.get(), "Reconciling")["message"]
    rules = route.get()["spec"]["rules"]
    assert rules[0]["matches"][0]["headers"][0]["name"] == "x-tester"
    assert rules[0]["backendRefs"][0]["weight"] == 1, "testers get it whatever the weights are"
    assert rules[1]["matches"][0]["path"]["value"] == "/shop"
    before = web.of("b")
    assert run(web, "promote", "web").code == 0
    web.until("half of it", lambda: route.weights(1) == {"other": 7, "web": 50, "web-preview": 50})
    web.until("it waits", lambda: web.reason() == WAITS)
    assert of_a_and_b(web) == (5, 3)
    assert run(web, "promote", "web").code == 0
    web.until("all is new", lambda: web.images() == [pin("b")] * 5, 150)
    assert before <= web.of("b"), "the first ones stay"
    assert route.weights(1) == {"other": 7, "web": 100, "web-preview": 0}
    web.until_ready()
    assert patches(asked) == 3
    until_quiet(asked)
    quiet = OperatorRequests.from_now(web.plane, web.namespace)
    web.always("nothing is written", lambda: not quiet.writes(), 3)


def test_abort_takes_the_traffic_back_before_the_pods(web: Service, route: HttpRoute) -> None:
    at_weight(web, route)
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    assert run(web, "abort", "web", "--reason", "errors").code == 0
    web.until("they are gone", lambda: of_a_and_b(web) == (5, 0))
    assert route.weights() == {"web": 100, "web-preview": 0}
    ends = [r for r in asked.writes() if r.target in ("pods/eviction", "httproutes")]
    assert [r.target for r in ends] == ["httproutes", "pods/eviction"]
    assert asked.count("create pods") == 0


def test_weights_that_others_write_are_set_back_and_told(web: Service, route: HttpRoute) -> None:
    at_weight(web, route)
    route.edit(5)
    web.until("it is set back", lambda: route.weights() == {"web": 80, "web-preview": 20})
    web.until("it is told", lambda: web.events("WeightsRestored"))
    (event,) = web.events("WeightsRestored")
    assert "kubectl" in event["message"]
    assert "20 % of the traffic again" in event["message"]
    route.apply()
    web.until("it is set back", lambda: route.weights().get("web-preview") == 20)


def test_step_waits_for_a_gateway_that_is_away(
    web: Service, route: HttpRoute, gateway: threading.Event
) -> None:
    begin(web, progressDeadlineSeconds=5)
    gateway.set()
    web.apply(image="b")
    web.until("it waits", lambda: web.reason() == UNUSABLE)
    web.always("it waits", lambda: web.reason() == UNUSABLE and of_a_and_b(web) == (5, 1), 8)
    assert "no gateway has accepted" in condition(web.get(), "Reconciling")["message"]
    gateway.clear()
    web.until("it goes on", lambda: web.reason() == WAITS)


def test_newer_spec_takes_the_traffic_back_first(web: Service, route: HttpRoute) -> None:
    at_weight(web, route)
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.apply(image="c")
    web.until("c is alone beside a", lambda: len(web.of("c")) == 1 and of_a_and_b(web) == (5, 0))
    web.until("it gets traffic", lambda: route.weights() == {"web": 80, "web-preview": 20})
    writes = [r.target for r in asked.writes()]
    assert writes.index("httproutes") < writes.index("services") < writes.index("pods/eviction")


def test_services_that_are_deleted_by_hand_come_back(web: Service, route: HttpRoute) -> None:
    at_weight(web, route)
    web.kubectl("delete", "service", "web", "web-preview", "--wait=false")
    web.until(
        "they are back",
        lambda: (
            set(web.kubectl("get", "services", "-o", "name").split())
            == {"service/web", "service/web-preview"}
        ),
    )
    web.until("so are the weights", lambda: route.weights() == {"web": 80, "web-preview": 20})
    assert of_a_and_b(web) == (5, 1)


def test_route_of_another_namespace_needs_a_grant(
    web: Service, gateway: threading.Event, control_plane: ControlPlane
) -> None:
    with fresh_namespace(control_plane) as other:
        route = HttpRoute(web.plane, other)
        route.apply({"backendRefs": [backend("web", namespace=web.namespace)]})
        begin(web, namespace=other)
        web.apply(image="b")
        web.until("it is told", lambda: web.reason() == UNUSABLE)
        assert "ReferenceGrant" in condition(web.get(), "Reconciling")["message"]
        assert route.weights() == {"web": 1}
        grant(control_plane, other, SERVICES | {"namespace": web.namespace}, ROUTES)
        web.until("it goes on", lambda: web.reason() == WAITS)
        assert route.weights() == {"web": 80, "web-preview": 20}
        (_, added) = route.get()["spec"]["rules"][0]["backendRefs"]
        assert added["namespace"] == web.namespace
        # Taken back: it is not written any more, and who gets traffic by it stays.
        control_plane.kubectl("delete", "referencegrants", "--all", namespace=other)
        assert run(web, "abort", "web").code == 0
        web.until("it is told", lambda: "ReferenceGrant" in str(web.blocker(UNUSABLE)))
        web.always("they stay", lambda: of_a_and_b(web) == (5, 1), 3)
        assert route.weights() == {"web": 80, "web-preview": 20}
        grant(control_plane, other, SERVICES | {"namespace": web.namespace}, ROUTES)
        web.until("they are gone", lambda: of_a_and_b(web) == (5, 0))
        assert route.weights() == {"web": 100, "web-preview": 0}


def test_freeze_holds_weights_and_a_scale_keeps_the_share(web: Service, route: HttpRoute) -> None:
    at_weight(web, route)
    freeze = freeze_of(web, "sale")
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(freeze))
    try:
        assert run(web, "promote", "web").code == 0
        web.kubectl("scale", "imsvc", "web", "--replicas=10")
        web.until("the share follows", lambda: of_a_and_b(web) == (10, 2))
        web.always("nothing else", lambda: route.weights()["web-preview"] == 20, 2)
    finally:
        web.plane.kubectl("delete", "imfrz", freeze["metadata"]["name"])
    web.until("it goes on", lambda: route.weights()["web-preview"] == 50)
    assert of_a_and_b(web) == (10, 5)


def test_rights_granted_for_routes_are_the_rights_used(web: Service, route: HttpRoute) -> None:
    at_weight(web, route)
    told = web.plane.kubectl("get", "clusterrole", ACCOUNT, "-o", "json").stdout
    rules = [r for r in json.loads(told)["rules"] if GATEWAY_API in r["apiGroups"]]
    given = {(what, verb) for r in rules for what in r["resources"] for verb in r["verbs"]}
    asked = OperatorRequests(web.plane)
    used = {(r.target, r.verb) for r in asked if r.api_group == GATEWAY_API and r.allowed}
    assert used == given
