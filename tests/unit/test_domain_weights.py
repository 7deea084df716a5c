"""Weights: what keeps the traffic from being divided is told, with what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from immutable_operator.domain.model import (
    Canary,
    Cause,
    HttpRoute,
    Move,
    Pause,
    Port,
    RouteRef,
    SetWeight,
    Traffic,
    View,
)
from immutable_operator.domain.planner import plan
from tests.unit.given import NOW, REVISIONS, begun, proven, refusal, view, with_verdict

HTTP = Traffic((Port(80, 8080),))
WITHOUT_RULES = HttpRoute("web", "shop", "uid-route", 1)


def weighted(route: HttpRoute) -> View:
    """A service that divides its traffic by this HTTPRoute."""
    canary = Canary((SetWeight(20), Pause()))
    spec: dict[str, Any] = {
        "strategy": "Canary",
        "canary": canary,
        "traffic": HTTP,
        "http_route": RouteRef("web"),
    }
    return replace(view("A ###", **spec), http_route=route)


def prevented(given: View) -> list[str]:
    """What is told about the route."""
    status = plan(given, NOW).status
    assert status is not None
    return [b.message for b in status.blockers if b.reason == "RouteNotReady"]


def test_route_without_a_rule_for_the_service_is_told_with_what_to_do() -> None:
    assert prevented(weighted(WITHOUT_RULES)) == [
        "HTTPRoute web has no rule with a backendRef to Service web; add one, or correct"
        " spec.traffic.route"
    ]


def test_nothing_is_told_of_a_route_while_the_spec_cannot_be_read() -> None:
    given = weighted(WITHOUT_RULES)
    unread = replace(given.spec, template=None)
    assert prevented(replace(given, spec=unread, invalid="spec.replicas: -1")) == []


def test_write_of_weights_that_is_refused_is_told_with_the_route() -> None:
    given = weighted(replace(WITHOUT_RULES, rules=1, percent=50, is_observed=True))
    denied = refusal(Move.WEIGHTS, "web", Cause.FORBIDDEN, message="it may not be written")
    assert prevented(replace(given, refusals=(denied,))) == ["HTTPRoute web: it may not be written"]


def canary(route: HttpRoute) -> View:
    """One instance of B beside three of A, at a step that sends it 20 % of the traffic."""
    beside = view("A ### B #", wanted="B")
    spec = replace(weighted(route).spec, template=beside.spec.template)
    live = replace(proven("A").verdict, promoted=NOW - 1000)
    new = replace(begun("B").verdict, takes_over_from=REVISIONS["A"].id)
    given = with_verdict(with_verdict(beside, "A", live), "B", new)
    return replace(given, spec=spec, http_route=route)


def test_refusal_of_a_gateway_is_told_with_the_route() -> None:
    refused = replace(WITHOUT_RULES, rules=1, refused="Accepted=False: NoMatchingParent")
    assert prevented(canary(refused)) == [
        "a gateway refuses HTTPRoute web: Accepted=False: NoMatchingParent"
    ]


def test_first_plan_of_a_canary_tells_its_steps() -> None:
    given = canary(replace(WITHOUT_RULES, rules=1, is_observed=True))
    status = plan(given, NOW).status
    assert status is not None
    assert status.rollout is not None
    assert (status.rollout.step, status.rollout.steps) == (1, 2)
    assert status.rollout.progressed_at == NOW
