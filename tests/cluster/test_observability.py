"""Probes, metrics and logs of the operator."""

from __future__ import annotations

import json
import re
from functools import partial

from immutable_operator.api.names import API_VERSION
from tests.cluster.measures import metrics, sample
from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.services import Service
from tests.waiting import wait_for

# Names that dashboards and alerts build on: a rename is a break.
METRICS = {
    "immutable_api_requests": "counter",
    "immutable_actions": "counter",
    "immutable_refusals": "counter",
    "immutable_unknown_outcomes": "counter",
    "immutable_unreadable_objects": "counter",
    "immutable_plan_seconds": "histogram",
    "immutable_watch_resumptions": "counter",
    "immutable_barrier_timeouts": "counter",
    "immutable_objects": "gauge",
    "immutable_queue_depth": "gauge",
    "immutable_leading": "gauge",
    "immutable_step_failures": "counter",
    "immutable_notifications": "counter",
    "immutable_notifications_waiting": "gauge",
    "immutable_revision_outcomes": "counter",
    "immutable_check_measurements": "counter",
    "immutable_check_seconds": "histogram",
    "immutable_sweep_corrections": "counter",
    "immutable_claims": "counter",
    "immutable_stale_seconds": "histogram",
    "immutable_blocked_seconds": "counter",
    "immutable_instance_age_seconds": "histogram",
    "immutable_guarded": "gauge",
    "immutable_guard_faults": "gauge",
    "immutable_image_verdicts": "counter",
    "immutable_webhook_reviews": "counter",
    "immutable_webhook_certificate_expiry_timestamp_seconds": "gauge",
    "immutable_owner_info": "gauge",
    "immutable_owner_condition": "gauge",
    "immutable_owner_instances": "gauge",
    "immutable_owner_oldest_instance_age_seconds": "gauge",
    "immutable_owner_max_age_seconds": "gauge",
    "immutable_owner_rollout_seconds": "gauge",
    "immutable_owner_last_rollout_seconds": "gauge",
    "immutable_owner_blocked_seconds": "gauge",
    "immutable_owner_replacements": "counter",
    "immutable_owner_series_omitted": "gauge",
}
SECRET = "s3cr3t-value-of-a-user"  # noqa: S105


def test_probe_endpoints_answer(operator: OperatorProcess) -> None:
    assert operator.get("/livez") == (200, "ok\n")
    assert operator.get("/readyz") == (200, "ok\n")
    assert operator.get("/anything")[0] == 404


def test_metrics_have_stable_names_and_help(
    operator: OperatorProcess,
) -> None:
    text = metrics(operator)
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    found = {
        name.removesuffix("_total"): kind
        for name, kind in kinds.items()
        if not name.endswith("_created")
    }
    assert found == METRICS
    assert all(len(helps[name]) > 10 for name in kinds)


def test_metrics_count_what_is_done(web: Service, operator: OperatorProcess) -> None:
    web.until("it leads", lambda: sample(metrics(operator), "immutable_leading") == 1)
    before = metrics(operator)
    web.apply(image="a", replicas=3)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
    web.until("it is idle", lambda: sample(metrics(operator), "immutable_queue_depth") == 0)
    after = metrics(operator)

    def rise(series: str) -> float:
        return sample(after, series) - sample(before, series)

    assert (
        rise('immutable_actions_total{action="Create",kind="ImmutableService",reason="Created"}')
        == 3
    )
    assert (
        rise('immutable_actions_total{action="Create",kind="ImmutableService",reason="Outdated"}')
        == 3
    )
    assert (
        rise('immutable_actions_total{action="Retire",kind="ImmutableService",reason="Outdated"}')
        == 3
    )
    posted = 'immutable_api_requests_total{code="201",resource="pods",verb="create"}'
    assert rise(posted) == 6
    assert rise("immutable_plan_seconds_count") >= 6
    assert rise("immutable_barrier_timeouts_total") == 0
    assert rise("immutable_step_failures_total") == 0
    # Gauges are refreshed once a second.
    for kind, least in (("services", 1), ("pods", 3), ("revisions", 2)):
        series = f'immutable_objects{{kind="{kind}"}}'
        at_least = partial(counted, operator, series, least)
        web.until(f"{series} is at least {least}", at_least)


def test_metrics_report_age_staleness_and_blocked_time(
    web: Service, operator: OperatorProcess
) -> None:
    before = metrics(operator)
    web.apply(image="a", replicas=2)
    web.until_ready()
    age_count = 'immutable_instance_age_seconds_count{kind="ImmutableService"}'
    ages = partial(counted, operator, age_count, 2)
    web.until("their ages are told", ages)
    freeze = {
        "apiVersion": API_VERSION,
        "kind": "ImmutableFreeze",
        "metadata": {"name": f"freeze-{web.namespace}"},
        "spec": {
            "namespaces": [web.namespace],
            "until": "2099-01-01T00:00:00Z",
            "reason": "closing",
        },
    }
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(freeze))
    try:
        web.apply(image="b")
        web.until("it is held back", lambda: web.blocker("Frozen"))
    finally:
        web.plane.kubectl("delete", "imfrz", f"freeze-{web.namespace}")
    web.until_ready()
    series = 'immutable_stale_seconds_count{kind="ImmutableService",reason="Outdated"}'
    gone = partial(counted, operator, series, sample(before, series) + 2)
    web.until("the time of both until they were gone is told", gone)
    blocked = 'immutable_blocked_seconds_total{cause="Frozen",kind="ImmutableService"}'
    assert sample(metrics(operator), blocked) > sample(before, blocked)


def test_each_service_has_series_of_its_own_until_it_is_deleted(
    web: Service, operator: OperatorProcess, operators: Operators
) -> None:
    labels = f'kind="ImmutableService",name="web",namespace="{web.namespace}"'

    def own(name: str, more: str = "", text: str = "") -> float:
        return sample(text or metrics(operator), f"immutable_owner_{name}{{{labels}{more}}}")

    web.apply(image="a", replicas=2)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
    replaced = partial(own, "replacements_total", ',reason="Outdated"')
    web.until("both replacements are counted", lambda: replaced() == 2)
    ready = partial(own, "condition", ',reason="Current",status="True",type="Ready"')
    web.until("it is Ready there, too", lambda: ready() == 1)
    text = metrics(operator)
    assert own("info", f',revision="{web.revision()}",strategy="Rolling"', text) == 1
    assert own("instances", ',state="available"', text) == 2
    assert own("instances", ',state="stale"', text) == 0
    assert own("oldest_instance_age_seconds", text=text) > 0
    assert own("last_rollout_seconds", ',result="Completed"', text) > 0
    standby = operators.start("standby").until_synced()
    assert "immutable_owner_" not in metrics(standby)
    web.kubectl("delete", "imsvc", "web")
    gone = f'namespace="{web.namespace}"'
    web.until("its series are gone", lambda: gone not in metrics(operator))


def test_series_of_services_can_be_limited_and_disabled(web: Service, operators: Operators) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    limited = operators.restart("--owner-metrics=0").until_leading()
    web.until("it is planned", lambda: sample(metrics(limited), "immutable_plan_seconds_count"))
    assert "immutable_owner_" not in metrics(limited)


def counted(operator: OperatorProcess, series: str, least: float) -> bool:
    return sample(metrics(operator), series) >= least


def test_a_standby_is_ready_and_does_not_lead(operators: Operators) -> None:
    standby = operators.start("standby").until_synced()
    assert standby.get("/livez") == (200, "ok\n")
    assert standby.get("/readyz") == (200, "ok\n")
    assert sample(metrics(standby), "immutable_leading") == 0


def test_logs_are_json_lines_with_user_and_reason(web: Service, operator: OperatorProcess) -> None:
    """And nothing that a user wrote into a pod, and no trace of a program error."""
    secret = {"env": [{"name": "PASSWORD", "value": SECRET}]}
    web.apply(image="a", replicas=1, container=secret)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
    refused = {**secret, "volumeMounts": [{"name": "none", "mountPath": "/x"}]}
    web.apply(image="b", container=refused)
    web.until_stalled("TemplateRefused")
    records = operator.records()
    assert all({"event", "level", "timestamp", "logger"} <= set(record) for record in records)
    own = [r for r in records if r.get("namespace") == web.namespace]
    told = [(r["event"], r["because"]) for r in own if "because" in r]
    verdicts = [because for event, because in told if event == "verdict"]
    assert verdicts[:4] == ["Verdict: Progressing", "Verdict: Good (Completed)"] * 2
    done = [(event, why.partition(":")[0]) for event, why in told if event != "verdict"]
    assert done == [
        *[("record", "Created"), ("create", "Created")],
        *[("record", "TemplateChanged"), ("create", "Outdated"), ("retire", "Outdated")],
        ("record", "TemplateChanged"),
    ]
    assert {r["service"] for r in own} == {"web"}
    [refusal] = [r for r in own if r["event"] == "refused"][:1]
    assert refusal["cause"] == "TemplateRefused"
    assert 'Not found: "none"' in refusal["message"]
    text = operator.text()
    assert "Traceback" not in text
    assert not [r for r in records if r["level"] in ("error", "critical")]
    assert SECRET not in text
    shown = json.dumps([web.status(), web.events()]) + metrics(operator)
    assert SECRET not in shown


def test_console_log_format_is_readable(operators: Operators) -> None:
    reader = operators.start("console", "--log-format=console", "--log-level=INFO")
    wait_for("it says what it does", lambda: "synced" in reader.text(), 30, reader.text)
    line = next(line for line in reader.text().splitlines() if "synced" in line)
    assert re.match(r"\S+Z \[info +\] synced .*pods=\d+ services=\d+", line), line
