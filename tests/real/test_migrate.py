"""`kubectl immutable migrate` under traffic: clients see nothing of it, there and back.

A client sends 100 requests a second to the Service of a user, which selects the pods of the
Deployment and those of the ImmutableService by the same label.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.cluster.autoscaling import DEPLOYMENT, autoscale, scaled_kind
from tests.cluster.deployments import Deployment
from tests.cluster.history import Recording
from tests.cluster.plugin import run, start, told
from tests.controlplane.api import ApiError
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import PORT, SECURITY, ready_at
from tests.real.web import SPREAD, WebService, image_ids

REPLICAS = 4


def deployed(web: WebService, image: str) -> Deployment:
    """A Deployment of four available pods of an image, and a Service."""
    deployment = Deployment(web)
    container = {
        "image": image,
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": ready_at("/readyz"),
        "securityContext": SECURITY,
    }
    deployment.apply(container, replicas=REPLICAS, minReadySeconds=2, pod=SPREAD)
    web.expose()
    deployment.until_available()
    return deployment


def test_client_loses_no_request_during_a_migration_there_and_back(
    web: WebService, real: RealNodes, show: Callable[[object], None]
) -> None:
    """The template has a tag, and the first run is interrupted halfway."""
    live = deployed(web, real.images.tag("web"))
    web.protect()
    place = f"--namespace={web.namespace}"
    with web.history() as history, web.traffic() as traffic:
        process = start(web.plane, place, "migrate", "deployment/web")
        web.until("some pods are moved", lambda: 0 < live.wanted() < REPLICAS, 120)
        process.send_signal(signal.SIGINT)
        assert told(process).code == 130
        done = run(web, "migrate", "deployment/web")
        assert done.code == 0, done.err
        assert (live.wanted(), len(web.active())) == (0, REPLICAS)
        done = run(web, "migrate", "deployment/web", "--back")
        assert done.code == 0, done.err
        assert live.wanted() == REPLICAS
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
    images = {name for change in history.changes() for name in image_ids(change.pod) if name}
    assert len({name.rpartition("@")[2] for name in images}) == 1, "all run the same image"


def test_autoscaler_and_budget_are_brought_along_without_a_lost_request(
    web: WebService, real: RealNodes, show: Callable[[object], None]
) -> None:
    """The budget counts the pods of both at every moment, and the autoscaler scales the service."""
    live = deployed(web, real.images.digest("web", "v1"))
    web.protect(minAvailable=REPLICAS)
    autoscale(web, REPLICAS, 2 * REPLICAS, DEPLOYMENT)
    web.until("the budget counts", lambda: _counted(web) >= REPLICAS)
    budget = Recording(web.plane, _budgets(web))
    with web.history() as history, budget, web.traffic() as traffic:
        assert_evictions_are_refused(web)
        done = run(web, "migrate", "deployment/web")
        assert done.code == 0, done.err
        assert "HorizontalPodAutoscaler web scales ImmutableService web" in done.out
        assert (live.wanted(), scaled_kind(web)) == (0, "ImmutableService")
        web.until("all pods are of the service", lambda: len(web.pods()) == REPLICAS)
        assert_evictions_are_refused(web)
        autoscale(web, REPLICAS + 1, 2 * REPLICAS)
        web.until("it is scaled", lambda: len(web.active()) == REPLICAS + 1)
        web.until_ready()
        # The service and its autoscaler can each have as many as the autoscaler wants at least.
        history.assert_budget(most=2 * REPLICAS + 1, fewest=REPLICAS)
    healthy = [change.pod["status"]["currentHealthy"] for change in budget.changes()]
    assert min(healthy) >= REPLICAS, healthy
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()


def assert_evictions_are_refused(web: WebService) -> None:
    """Assert that the budget allows no eviction of any pod of the namespace."""
    pods = web.plane.api().get(f"/api/v1/namespaces/{web.namespace}/pods")["items"]
    web.until("the budget allows none", lambda: _allowed(web) == 0)
    for metadata in (pod["metadata"] for pod in pods if "deletionTimestamp" not in pod["metadata"]):
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": metadata["name"], "namespace": web.namespace},
        }
        path = f"/api/v1/namespaces/{web.namespace}/pods/{metadata['name']}/eviction?dryRun=All"
        with pytest.raises(ApiError) as refused:
            web.plane.api().request("POST", path, eviction)
        assert refused.value.status == 429
        assert "disruption budget" in str(refused.value)


def _budgets(web: WebService) -> str:
    return f"/apis/policy/v1/namespaces/{web.namespace}/poddisruptionbudgets"


def _counted(web: WebService) -> int:
    found = web.plane.api().get(f"{_budgets(web)}/{web.name}")
    return int(found.get("status", {}).get("currentHealthy", 0))


def _allowed(web: WebService) -> int:
    return int(web.plane.api().get(f"{_budgets(web)}/{web.name}")["status"]["disruptionsAllowed"])
