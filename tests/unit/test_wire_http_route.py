"""HTTPRoutes and ReferenceGrants on the wire: what they say, and what is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.domain.model import HttpRoute
from immutable_operator.wire.http_route import (
    HttpRouteRecord,
    decode_grant,
    decode_http_route,
    is_granted,
    observed,
    weights_change,
)
from immutable_operator.wire.owner import OwnerRecord

META = {"name": "web", "namespace": "shop", "uid": "s1", "resourceVersion": "1"}
SERVICE = OwnerRecord.of({"metadata": META, "spec": {}})
LOCK = ["/metadata/uid", "/metadata/resourceVersion"]


def ref(name: str = "web", **fields: Any) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": name, "port": 80, "weight": 1, **fields}


def route(*rules: list[dict[str, Any]], namespace: str = "shop", **more: Any) -> HttpRouteRecord:
    body = {
        "metadata": {
            "name": "web",
            "namespace": namespace,
            "uid": "r1",
            "resourceVersion": "7",
            "generation": 3,
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": {"rules": [{"backendRefs": rule} for rule in rules]},
        **more,
    }
    return decode_http_route(json.dumps(body).encode())


def seen(*rules: list[dict[str, Any]], **more: Any) -> HttpRoute:
    return observed(SERVICE, route(*rules, **more))


PREVIEW = "web-preview"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param([[ref()]], (1, 0, False), id="all of it"),
        pytest.param([[ref(weight=80), ref(PREVIEW, weight=20)]], (1, 20, True), id="fifth"),
        pytest.param([[ref(weight=4), ref(PREVIEW, weight=1)]], (1, 20, True), id="other"),
        pytest.param([[ref(weight=2), ref(PREVIEW, weight=1)]], (1, None, True), id="no percent"),
        pytest.param([[ref(weight=0), ref(PREVIEW, weight=0)]], (1, None, False), id="nothing"),
        pytest.param([[ref(weight=0), ref(PREVIEW, weight=5)]], (1, 100, True), id="alone"),
        pytest.param(
            [[ref(weight=8), ref(PREVIEW, weight=2)], [ref()]], (2, None, True), id="rules differ"
        ),
        pytest.param([[ref(PREVIEW)], [ref()]], (1, 0, False), id="a rule of testers"),
        pytest.param([[ref("other")]], (0, None, False), id="of another service"),
        pytest.param([[ref(namespace="bank")]], (0, None, False), id="of another namespace"),
        pytest.param([[ref(kind="Bucket", group="x.io")]], (0, None, False), id="no Service"),
        pytest.param([[ref("other", weight=9), ref()]], (1, 0, False), id="beside others"),
        pytest.param([], (0, None, False), id="no rule"),
    ],
)
def test_share_of_the_preview_is_read(rules: Any, expected: tuple[int, int | None, bool]) -> None:
    found = seen(*rules)
    assert (found.rules, found.percent, found.sends) == expected


def conditions(status: str = "True", generation: int = 3, kind: str = "Accepted") -> dict[str, Any]:
    told = {
        "type": kind,
        "status": status,
        "reason": "Because",
        "message": "so it is",
        "observedGeneration": generation,
    }
    return {"conditions": [told]}


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        pytest.param([], (False, ""), id="no gateway"),
        pytest.param([conditions()], (True, ""), id="accepted"),
        pytest.param([conditions(generation=2)], (False, ""), id="an earlier version"),
        pytest.param([conditions(), conditions(generation=2)], (False, ""), id="one of two"),
        pytest.param(
            [conditions("False")], (True, "Accepted is False: Because: so it is"), id="refused"
        ),
        pytest.param(
            [conditions(), conditions("False", kind="ResolvedRefs")],
            (False, "ResolvedRefs is False: Because: so it is"),
            id="a backend is missing",
        ),
        pytest.param([conditions("False", kind="Programmed")], (False, ""), id="another condition"),
        pytest.param([{}], (False, ""), id="no conditions"),
    ],
)
def test_gateway_says_whether_it_uses_the_rules(
    parents: list[dict[str, Any]], expected: tuple[bool, str]
) -> None:
    found = seen([ref()], status={"parents": parents})
    assert (found.is_observed, found.refused) == expected


def written(record: HttpRouteRecord, percent: int) -> dict[str, Any]:
    """The paths below the rules that are written, and the values."""
    change = weights_change(SERVICE, record, percent)
    assert [part["path"] for part in change[:2]] == LOCK
    assert [part["value"] for part in change[:2]] == ["r1", "7"]
    return {part["path"].removeprefix("/spec/rules/"): part["value"] for part in change[2:]}


def test_weights_are_written_at_their_positions_only() -> None:
    given = route([ref(PREVIEW)], [ref("other"), ref(), ref(PREVIEW)])
    assert written(given, 20) == {"1/backendRefs/1/weight": 80, "1/backendRefs/2/weight": 20}
    assert written(given, 0) == {"1/backendRefs/1/weight": 100, "1/backendRefs/2/weight": 0}


def test_backend_of_the_preview_is_added_like_that_of_the_service() -> None:
    given = route([ref(filters=[{"type": "X"}], namespace="shop")], namespace="infra")
    found = written(given, 5)
    assert found["0/backendRefs/0/weight"] == 95
    assert found["0/backendRefs/-"] == ref(
        PREVIEW, filters=[{"type": "X"}], namespace="shop", weight=5
    )


def test_no_backend_is_added_without_a_weight() -> None:
    assert written(route([ref()]), 0) == {"0/backendRefs/0/weight": 100}


def test_service_that_is_named_twice_gets_its_weight_once() -> None:
    given = route([ref(), ref(), ref(PREVIEW), ref(PREVIEW)])
    assert list(written(given, 30).values()) == [70, 0, 30, 0]


def grant(source: dict[str, Any] | None = None, target: dict[str, Any] | None = None) -> bool:
    service = {"group": "immutable.dev", "kind": "ImmutableService", "namespace": "shop"}
    to = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}
    body = {
        "metadata": {"name": "g", "namespace": "infra", "uid": "g1"},
        "spec": {"from": [service | (source or {})], "to": [to | (target or {})]},
    }
    return is_granted([decode_grant(json.dumps(body).encode())], "shop", "web")


def test_grant_permits_the_namespace_and_the_kind_that_it_names() -> None:
    assert grant()
    assert grant(target={"name": "web"})
    assert not grant(target={"name": "other"})
    assert not grant(source={"namespace": "bank"})
    assert not grant(source={"kind": "HTTPRoute", "group": "gateway.networking.k8s.io"})
    assert not grant(target={"kind": "Secret", "group": ""})
    assert not is_granted([], "shop", "web")


@pytest.mark.parametrize("body", [{"spec": {"rules": "x"}}, {"spec": {}}, {"status": None}])
def test_route_that_others_wrote_badly_is_read_or_refused(body: dict[str, Any]) -> None:
    """What cannot be read ends in one of READ_ERRORS, which the reflector counts."""
    meta = {"name": "web", "namespace": "shop", "uid": "r1", "resourceVersion": "7"}
    try:
        record = decode_http_route(json.dumps({"metadata": meta, **body}).encode())
    except ValueError:
        return
    assert observed(SERVICE, record).rules == 0
