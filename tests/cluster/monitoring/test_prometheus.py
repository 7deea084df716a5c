"""Prometheus scrapes the operator, and an alert of the chart fires for a service that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.operator_process import NAMESPACE, OperatorProcess, Operators
from tests.cluster.services import Service
from tests.controlplane import ControlPlane
from tests.controlplane.prometheus import Prometheus, operator_crds, targets_at
from tests.waiting import wait_for

Json = dict[str, Any]


def port_of(operator: OperatorProcess) -> int:
    return int(operator.records("listening")[0]["port"])


@pytest.fixture
def prometheus(
    control_plane: ControlPlane,
    prometheus_program: Path,
    monitoring: list[Json],
    operators: Operators,
) -> Iterator[Prometheus]:
    """Prometheus with the alerts of the chart, which scrapes a leader and a standby."""
    assert prometheus_program.exists()
    standby = operators.start("standby").until_synced()
    targets = [f"127.0.0.1:{port_of(replica)}" for replica in (operators.main, standby)]
    [rule] = [d for d in monitoring if d["kind"] == "PrometheusRule"]
    # As a ServiceMonitor does: the label of the metrics must win.
    job = targets_at(targets, {"namespace": NAMESPACE})
    with Prometheus(control_plane, job, rule["spec"]["groups"]) as running:
        yield running


def until(prometheus: Prometheus, what: str, check: Any) -> Any:
    return wait_for(what, check, 60, lambda: f"{prometheus.targets()}\n{prometheus.log_tail()}")


def test_failed_revision_fires_an_alert_that_ends_when_it_is_corrected(
    prometheus: Prometheus, web: Service
) -> None:
    until(
        prometheus,
        "both replicas are scraped",
        lambda: [t["health"] for t in prometheus.targets()] == ["up", "up"],
    )
    web.apply(image="a", replicas=2)
    web.until_ready()
    own = f'namespace="{web.namespace}", name="web", kind="ImmutableService"'
    available = f'immutable_owner_instances{{{own}, state="available"}} == 2'
    until(prometheus, "its pods are counted", lambda: prometheus.query(available))
    [series] = prometheus.query(f"immutable_owner_info{{{own}}}")
    assert series["metric"]["revision"] == web.revision()
    assert not prometheus.alerts("ImmutableServiceRolledBack")

    web.apply(image="b", sim={"fault": "crash-loop"})
    web.until_stalled("RolledBack")
    [alert] = until(
        prometheus, "the alert fires", lambda: prometheus.alerts("ImmutableServiceRolledBack")
    )
    assert alert["state"] == "firing"
    assert (alert["labels"]["namespace"], alert["labels"]["name"]) == (web.namespace, "web")
    assert alert["annotations"]["summary"] == (f"A revision of service {web.namespace}/web failed.")
    assert alert["annotations"]["runbook_url"] == "docs/runbook.md#immutableservicerolledback"
    failed = f'immutable_owner_last_rollout_seconds{{{own}, result="Failed"}}'
    assert prometheus.query(failed)

    web.apply(image="a", sim={})
    until(prometheus, "the alert ends", lambda: not prometheus.alerts("ImmutableServiceRolledBack"))
    assert [rule["lastError"] for rule in prometheus.rules() if "lastError" in rule] == []
    assert {rule["health"] for rule in prometheus.rules()} == {"ok"}
    assert not prometheus.alerts("ImmutableOperatorNotOneLeader")


def test_operator_that_is_gone_is_noticed(prometheus: Prometheus, operators: Operators) -> None:
    """Pending, because it fires after five minutes only."""
    until(
        prometheus, "both lead or stand by", lambda: len(prometheus.query("immutable_leading")) == 2
    )
    assert [sample["value"][1] for sample in prometheus.query("sum(immutable_leading)")] == ["1"]
    for replica in operators.all():
        replica.stop()
    [alert] = until(prometheus, "it is missed", lambda: prometheus.alerts("ImmutableOperatorDown"))
    assert alert["state"] == "pending"


def test_monitoring_objects_are_accepted_by_the_crds_of_the_prometheus_operator(
    control_plane: ControlPlane, monitoring: list[Json]
) -> None:
    crds = [f"--filename={path}" for path in operator_crds("servicemonitors", "prometheusrules")]
    control_plane.kubectl("apply", "--server-side", *crds)
    try:
        control_plane.kubectl("wait", "--for=condition=Established", *crds)
        control_plane.kubectl("create", "namespace", "monitored")
        for document in monitoring:
            document["metadata"]["namespace"] = "monitored"
        strict = ("--dry-run=server", "--validate=strict", "--server-side")
        said = control_plane.kubectl(
            "apply", *strict, "-f", "-", stdin=yaml.safe_dump_all(monitoring)
        )
        assert said.stderr == ""
        assert len(said.stdout.splitlines()) == 3
    finally:
        control_plane.kubectl("delete", "--ignore-not-found", *crds)
        control_plane.kubectl(
            "delete", "--ignore-not-found", "namespace", "monitored", "--wait=false"
        )
