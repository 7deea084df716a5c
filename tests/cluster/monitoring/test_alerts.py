"""The alerts and the metrics as promtool, Prometheus' own checker, sees them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from tests.cluster.operator_process import CHART, OperatorProcess
from tests.cluster.services import Service

MONITORING = CHART / "files" / "monitoring"
ALERTS = MONITORING / "alerts.yaml"
CASES = Path(__file__).with_name("alerts_test.yaml")


def run(promtool: Path, *arguments: str | Path, stdin: str | None = None) -> str:
    """Everything that promtool prints; fails the test if promtool does."""
    done = subprocess.run(
        [promtool, *arguments],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def names() -> list[str]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def test_alerts_are_valid_rules(promtool: Path) -> None:
    said = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", ALERTS)
    assert f"SUCCESS: {len(names())} rules found" in said


def test_each_alert_fires_after_its_time_and_not_before(promtool: Path) -> None:
    said = run(promtool, "test", "rules", CASES)
    assert "SUCCESS" in said


def test_each_alert_has_a_case_in_which_it_fires() -> None:
    cases = [
        case
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    assert [case["alertname"] for case in cases if case.get("exp_alerts")] == names()
    silent = {case["alertname"] for case in cases if not case.get("exp_alerts")}
    assert silent == set(names())


def test_queries_of_the_dashboard_are_valid(promtool: Path, tmp_path: Path) -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    targets = [t for panel in dashboard["panels"] for t in panel.get("targets", ())]
    expressions = [t["expr"].replace("$__rate_interval", "5m") for t in targets]
    rules = [{"record": f"panel:{n}", "expr": e} for n, e in enumerate(expressions)]
    file = tmp_path / "dashboard.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in run(promtool, "check", "rules", file)


def test_served_metrics_follow_the_conventions_of_prometheus(
    promtool: Path, web: Service, operator: OperatorProcess
) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    status, text = operator.get("/metrics")
    assert status == 200
    assert f'namespace="{web.namespace}"' in text
    run(promtool, "check", "metrics", stdin=text)
