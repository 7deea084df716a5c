"""Checks on the wire: what users wrote, and what is on the record of a revision."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.domain.model import (
    Check,
    CheckPhase,
    CheckRecord,
    CheckResult,
    Finding,
    HttpQuestion,
    JobQuestion,
    OnInconclusive,
    Phase,
    PrometheusQuestion,
    SecretKey,
    Threshold,
    Unanswerable,
    Verdict,
)
from immutable_operator.wire.check import Checks, decode_check
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import decode_revision, verdict_body
from tests.unit.given import REVISIONS
from tests.unit.service_specs import spec

HTTP = {"url": "http://web/healthz", "expect": {"status": 200}}
IMAGE = "registry.example/smoke@sha256:" + "a" * 64


def of_service(*checks: dict[str, Any]) -> tuple[Check, ...]:
    meta = {"name": "web", "namespace": "shop", "uid": "s1", "resourceVersion": "1"}
    body = spec() | {"rollout": {"checks": list(checks)}}
    record = OwnerRecord.of({"metadata": meta, "spec": body})
    assert record.invalid is None
    return record.spec.checks


def named(name: str, **content: Any) -> Any:
    meta = {"name": name, "namespace": "shop", "uid": "c1"}
    return decode_check(json.dumps({"metadata": meta, "spec": content}).encode())


def test_defaults_are_those_that_the_fields_describe() -> None:
    question = HttpQuestion(url="http://web/healthz", status=200)
    assert of_service({"name": "up", "http": HTTP}) == (
        Check("up", question, interval=5.0, within=30.0),
    )
    query = {"address": "http://p", "query": "up", "success": "< 0.05"}
    asked = PrometheusQuestion("http://p", "up", Threshold("<", 0.05))
    assert of_service({"name": "errors", "prometheus": query}) == (
        Check("errors", asked, interval=30.0, delay=30.0),
    )
    pod = {"spec": {"containers": [{"name": "smoke", "image": IMAGE, "args": ["-v"]}]}}
    [check] = of_service({"name": "smoke", "job": {"template": pod}})
    assert isinstance(check.question, JobQuestion)
    assert json.loads(check.question.template) == pod, "fields that are not named here are kept"
    assert check.question.within == 600.0


def test_every_field_is_read() -> None:
    http = {
        "path": "/x",
        "port": 80,
        "expect": {"status": 204, "body": "ok"},
        "within": "2m",
        "interval": "10s",
        "authorization": {"name": "token", "key": "value"},
    }
    given = {"name": "up", "http": http, "inconclusive": "Wait", "inconclusiveLimit": 7}
    question = HttpQuestion("", "/x", 80, 204, "ok", SecretKey("token", "value"))
    assert of_service(given) == (
        Check(
            "up",
            question,
            interval=10.0,
            within=120.0,
            inconclusive_limit=7,
            on_inconclusive=OnInconclusive.WAIT,
        ),
    )


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ("< 0.05", Threshold("<", 0.05)),
        (">=-3", Threshold(">=", -3.0)),
        ("== 0", Threshold("==", 0.0)),
        ("!= 12.5", Threshold("!=", 12.5)),
        ("<= 7", Threshold("<=", 7.0)),
        (">1", Threshold(">", 1.0)),
    ],
)
def test_threshold_is_read(text: str, threshold: Threshold) -> None:
    query = {"address": "http://p", "query": "up", "failure": text}
    [check] = of_service({"name": "x", "prometheus": query})
    assert isinstance(check.question, PrometheusQuestion)
    assert (check.question.success, check.question.failure) == (None, threshold)


def test_reference_is_resolved_in_the_namespace_of_the_service() -> None:
    changed: list[str] = []
    checks = Checks(changed.append)
    asked = of_service({"name": "up", "ref": {"name": "alive"}})
    [missing] = checks.resolved("shop", asked)
    assert missing.question == Unanswerable(
        "ImmutableCheck alive does not exist in this namespace; create it"
    )
    alive = named("alive", http=HTTP, inconclusive="Wait")
    checks.upsert(alive, 1)
    [found] = checks.resolved("shop", asked)
    assert (found.name, found.question) == ("up", alive.content.question)
    assert found.on_inconclusive is OnInconclusive.WAIT
    assert isinstance(checks.resolved("other", asked)[0].question, Unanswerable)
    checks.replace([], 2)
    assert isinstance(checks.resolved("shop", asked)[0].question, Unanswerable)
    assert changed == ["shop", "shop"]


@pytest.mark.parametrize("content", [{}, {"later": {"x": 1}}, {"http": {"url": 3}}])
def test_check_that_cannot_be_read_has_no_result(content: dict[str, Any]) -> None:
    assert isinstance(named("alive", **content).content.question, Unanswerable)


def test_results_are_the_same_after_they_were_stored() -> None:
    results = tuple(CheckResult(1_800_000_000.25 + n, Finding.FAILED, "so") for n in range(10))
    record = CheckRecord(
        "up", CheckPhase.WAITING, 1_800_000_000.25, 12, 1, 2, 3, results, "1a2b3c4d"
    )
    verdict = Verdict(Phase.PROGRESSING, started=1_800_000_000.0, checks=(record,))
    body = verdict_body("shop", REVISIONS["A"], verdict)
    body["metadata"]["ownerReferences"] = []
    stored = decode_revision(json.dumps(body).encode()).content.verdict
    assert stored == verdict
