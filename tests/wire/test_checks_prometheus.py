"""What Prometheus, or something in its place, answers to the query of a check."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from immutable_operator.checks.asking import Found, NoAnswer
from immutable_operator.checks.prometheus import NOT_PROMETHEUS, judged, measure_prometheus
from immutable_operator.domain.model import Finding, PrometheusQuestion, Threshold
from tests.wire.asked import HIDDEN, Local, answering

PASSED, FAILED, INCONCLUSIVE = Finding
UNDER = Threshold("<", 0.05)
OVER = Threshold(">=", 0.1)
NAMES = {"service": "web", "namespace": "shop", "revision": "0a1b2c3d"}


def asks(**changes: Any) -> PrometheusQuestion:
    known: dict[str, Any] = {"address": "-", "query": "errors", "success": UNDER}
    return PrometheusQuestion(**(known | changes))


def vector(*values: str) -> dict[str, Any]:
    series = [{"metric": {"password": HIDDEN}, "value": [1, value]} for value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": series}}


def measured(body: object, status: int = 200, question: PrometheusQuestion | None = None) -> Found:
    """What is found if this is the response; raises `NoAnswer`."""

    async def answer(request: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text)

    async def work() -> Found:
        async with answering(answer) as url:
            asked = question or asks()
            asked = PrometheusQuestion(url, asked.query, asked.success, asked.failure)
            return await measure_prometheus(asked, NAMES, Local(), {})

    return asyncio.run(work())


BOTH = {"success": UNDER, "failure": OVER}
VALUES: list[tuple[str, dict[str, Any], list[float], Finding]] = [
    ("a success", {}, [0.01], PASSED),
    ("no success is a failure", {}, [0.05], FAILED),
    ("no failure is a success", {"success": None, "failure": OVER}, [0.09], PASSED),
    ("a failure", {"success": None, "failure": OVER}, [0.1], FAILED),
    ("neither", BOTH, [0.07], INCONCLUSIVE),
    ("every value must be a success", {}, [0.01, 0.9], FAILED),
    ("one failure decides", BOTH, [0.01, 0.07, 0.5], FAILED),
    ("no series", {}, [], INCONCLUSIVE),
    ("not a number", {}, [float("nan")], INCONCLUSIVE),
    ("not a number beside a success", {}, [0.01, float("nan")], INCONCLUSIVE),
    ("not a number beside a failure", {}, [float("nan"), 0.9], FAILED),
    ("infinity", {}, [float("inf")], FAILED),
    ("less than everything", {}, [float("-inf")], PASSED),
    ("equal", {"success": Threshold("==", 0)}, [0.0], PASSED),
    ("not equal", {"success": Threshold("!=", 0)}, [0.0], FAILED),
    ("at most", {"success": Threshold("<=", 3)}, [3.0], PASSED),
    ("more than", {"success": Threshold(">", 3)}, [3.0], FAILED),
]


@pytest.mark.parametrize(("rule", "asked", "values", "finding"), VALUES, ids=[v[0] for v in VALUES])
def test_values_are_judged(
    rule: str, asked: dict[str, Any], values: list[float], finding: Finding
) -> None:
    assert judged(asks(**asked), values).finding is finding, rule


def test_result_of_a_query_is_read() -> None:
    assert measured(vector("0.01", "2e-3")).message == "the result is 0.01, 0.002"
    assert measured(vector("NaN")).finding is INCONCLUSIVE
    assert measured(vector("+Inf")).finding is FAILED
    assert measured(vector()).finding is INCONCLUSIVE
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1, "0.2"]}}
    assert measured(scalar).message == "the result 0.2 is not < 0.05"


NO_ANSWERS: list[tuple[str, object, int, str]] = [
    ("not JSON", f"<html>{HIDDEN}</html>", 200, NOT_PROMETHEUS),
    ("JSON of another kind", [HIDDEN], 200, NOT_PROMETHEUS),
    ("nested without end", "[" * 60_000, 200, NOT_PROMETHEUS),
    ("too large", "x" * 70_000, 200, "longer than 64 KiB"),
    ("a gateway", HIDDEN, 502, "status 502"),
    (
        "an error of the query",
        {"status": "error", "errorType": "bad_data", "error": HIDDEN},
        400,
        "the query failed: bad_data",
    ),
    ("an error without a type", {"status": "error", "errorType": HIDDEN * 9}, 422, "unknown"),
    (
        "a matrix",
        {"status": "success", "data": {"resultType": "matrix", "result": []}},
        200,
        "must return a scalar or an instant vector",
    ),
    (
        "a value that is a word",
        {"status": "success", "data": {"resultType": "scalar", "result": [1, HIDDEN]}},
        200,
        "not numbers",
    ),
    (
        "a vector of something else",
        {"status": "success", "data": {"resultType": "vector", "result": [{"value": 3}]}},
        200,
        "not numbers",
    ),
]


@pytest.mark.parametrize(
    ("rule", "body", "status", "said"), NO_ANSWERS, ids=[n[0] for n in NO_ANSWERS]
)
def test_anything_else_is_no_answer(rule: str, body: object, status: int, said: str) -> None:
    with pytest.raises(NoAnswer) as caught:
        measured(body, status)
    assert said in str(caught.value), rule
    assert HIDDEN not in str(caught.value)


def test_query_names_the_revision_and_is_not_evidence() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        asked.append(request.query["query"])
        return web.json_response(vector("0.9"))

    async def work() -> Found:
        async with answering(answer) as url:
            query = 'errors{pod=~"$(service)-im$(revision)-.*", ns="$(namespace)", x="&?#"}'
            question = PrometheusQuestion(f"{url}/prometheus/", query, UNDER)
            return await measure_prometheus(question, NAMES, Local(), {})

    found = asyncio.run(work())
    path, query = asked
    assert path == "/prometheus/api/v1/query"
    assert query == 'errors{pod=~"web-im0a1b2c3d-.*", ns="shop", x="&?#"}'
    assert found == Found(FAILED, "the result 0.9 is not < 0.05")
