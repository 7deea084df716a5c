"""`kubectl immutable migrate` under traffic: clients see nothing of it, there and back.

A client sends 100 requests a second to the Service of a user, which selects the pods of the
Deployment and those of the ImmutableService by the same label.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.cluster.deployments import Deployment
from tests.cluster.plugin import run, start, told
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import PORT, SECURITY, ready_at
from tests.real.web import SPREAD, WebService, image_ids

REPLICAS = 4


def test_client_loses_no_request_during_a_migration_there_and_back(
    web: WebService, real: RealNodes, show: Callable[[object], None]
) -> None:
    """The template has a tag, and the first run is interrupted halfway."""
    live = Deployment(web)
    container = {
        "image": real.images.tag("web"),
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": ready_at("/readyz"),
        "securityContext": SECURITY,
    }
    live.apply(container, replicas=REPLICAS, minReadySeconds=2, pod=SPREAD)
    web.expose()
    web.protect()
    live.until_available()
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
