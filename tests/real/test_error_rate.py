"""A check asks a real Prometheus for the errors of the canary, which decide about the release.

A client sends 100 requests a second to the Service of four pods. One pod of the new version gets a
quarter of them, and Prometheus scrapes what it answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.measures import sample
from tests.cluster.rollbacks import record
from tests.cluster.services import is_ready
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.build import binaries
from tests.controlplane.prometheus import Prometheus
from tests.controlplane.real.nodes import RealNodes
from tests.real.release import Release
from tests.real.scraped import scraping
from tests.real.web import SPREAD, WebService, image_ids

REPLICAS = 4
ERRORS = 0.05  # of version v3
EXPOSED: Json = {"traffic": {"ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}
OWN = 'namespace="$(namespace)", pod=~"$(service)-im$(revision)-.*"'
# Prometheus needs up to 6 s until it scrapes a new pod.
INTERVAL = "16s"
# As in docs/how-to/check-releases.md, with shorter times.
QUERY = f"""
(sum(rate(http_requests_total{{{OWN}, code=~"5.."}}[10s])) or vector(0))
/ sum(rate(http_requests_total{{{OWN}}}[10s]))
"""
ROLLOUT: Json = {
    "strategy": "Canary",
    "canary": {"steps": [{"setWeight": 25}, {"check": "errors"}]},
    "checks": [{"name": "errors", "ref": {"name": "error-rate"}}],
}
COUNTERS = (
    'immutable_check_measurements_total{check="prometheus",found="Passed"}',
    'immutable_check_measurements_total{check="prometheus",found="Failed"}',
    'immutable_revision_outcomes_total{kind="ImmutableService",outcome="RolledBack",strategy="Canary"}',
)


@pytest.fixture(scope="session")
def prometheus_program() -> Path:
    """Built before the first test, if one asks for this fixture (conftest.py)."""
    return binaries(["prometheus"])["prometheus"]


@pytest.fixture
def prometheus(
    control_plane: ControlPlane, real: RealNodes, web: WebService, prometheus_program: Path
) -> Iterator[Prometheus]:
    """Prometheus that scrapes the pods of the service."""
    assert prometheus_program.exists()
    with scraping(control_plane, real, web.namespace) as running:
        yield running


def declare(web: WebService, prometheus: Prometheus) -> None:
    """The check ``error-rate``: at most 1 % of the requests may fail."""
    question = {
        "address": prometheus.address,
        "query": QUERY,
        "success": "< 0.01",
        "interval": INTERVAL,
        "count": 2,
        "failureLimit": 0,
    }
    body = {
        "apiVersion": "immutable.dev/v1alpha1",
        "kind": "ImmutableCheck",
        "metadata": {"name": "error-rate", "namespace": web.namespace},
        "spec": {"prometheus": question, "inconclusive": "Wait"},
    }
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def findings(web: WebService, number: int) -> list[str]:
    """What the measurements with a result found, of the revision with this number."""
    [check] = record(web, number)["status"]["checks"]
    return [r["found"] for r in check["results"] if r["found"] != "Inconclusive"]


def counted(release: Release) -> list[float]:
    """The values of `COUNTERS` on the leader; 0 where there is no series yet."""
    _, text = release.says(release.leader(), "/metrics")
    return [sample(text, series) for series in COUNTERS]


def rises(release: Release, before: list[float]) -> list[float]:
    return [after - value for after, value in zip(counted(release), before, strict=True)]


def begin(web: WebService, real: RealNodes, prometheus: Prometheus) -> set[str]:
    """Until version v1 runs, with the check of what comes next; gives its pods."""
    declare(web, prometheus)
    v1 = real.images.digest("web", "v1")
    web.apply_image(v1, replicas=REPLICAS, spec=EXPOSED, pod=SPREAD)
    web.until_ready()
    return {pod["metadata"]["uid"] for pod in web.active()}


def runs(web: WebService, image: str) -> bool:
    """Whether all pods run an image and are Ready."""
    pods = web.active()
    return [image_ids(pod) for pod in pods] == [[image]] * REPLICAS and all(map(is_ready, pods))


def test_version_without_errors_passes(
    web: WebService,
    release: Release,
    real: RealNodes,
    prometheus: Prometheus,
    show: Callable[[object], None],
) -> None:
    begin(web, real, prometheus)
    before = counted(release)
    v2 = real.images.digest("web", "v2")
    with web.traffic() as traffic:
        web.apply_image(v2, rollout=ROLLOUT)
        web.until_ready(180)
        web.until_alone()
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
    assert report.versions == {"v1", "v2"}
    assert record(web, 2)["status"]["phase"] == "Good"
    assert findings(web, 2) == ["Passed", "Passed"]
    assert runs(web, v2)
    assert rises(release, before) == [2, 0, 0]


def test_version_that_answers_five_percent_errors_fails_and_is_rolled_back(
    web: WebService,
    release: Release,
    real: RealNodes,
    prometheus: Prometheus,
    show: Callable[[object], None],
) -> None:
    kept = begin(web, real, prometheus)
    before = counted(release)
    with web.traffic() as traffic, web.history() as history:
        web.apply_image(real.images.digest("failing", "v3"), rollout=ROLLOUT)
        told = web.until_stalled("RolledBack", 180)
        web.until("v1 runs", lambda: runs(web, real.images.digest("web", "v1")))
        web.until_alone()
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
    report = traffic.report()
    assert {a.error for a in report.failures} == {"ValueError: answer 500: v3"}, report.explain()
    answers = len(report.failures) + sum(a.version == "v3" for a in report.answers)
    share = len(report.failures) / answers
    assert share == pytest.approx(ERRORS, abs=0.01)
    assert findings(web, 2) == ["Failed"], "the first measurement with a result decides"
    status = record(web, 2)["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "CheckFailed")
    evidence = re.search(r"check errors: failed: the result (\S+) is not < 0.01", told["message"])
    assert evidence, told["message"]
    assert float(evidence[1]) == pytest.approx(ERRORS, abs=0.025)
    assert len(kept & {pod["metadata"]["uid"] for pod in web.active()}) == REPLICAS - 1
    assert rises(release, before) == [0, 1, 1]
    show(f"{report}; {len(report.failures)} of {answers} answers of v3; {evidence[0]}")
