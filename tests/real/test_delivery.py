"""BlueGreen and Canary under traffic: a client of the operator's Service loses no request.

A client sends 100 requests a second from before the first step until the last pod is gone.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster.plugin import run
from tests.controlplane.api import Json
from tests.controlplane.real.nodes import RealNodes
from tests.real.traffic import Traffic
from tests.real.web import SPREAD, WebService, image_ids

REPLICAS = 2
EXPOSED: Json = {"traffic": {"ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}
WAITS = "WaitingForPromotion"


def lately(traffic: Traffic) -> set[str]:
    """The versions that answered the last requests with a connection of their own.

    A connection that a client keeps stays with its pod as long as that lives.
    """
    return {answer.version for answer in traffic.report().answers[-100:] if not answer.kept}


def test_client_loses_no_request_during_a_promotion_and_the_way_back(
    web: WebService, real: RealNodes, show: Callable[[object], None]
) -> None:
    v1, v2 = (real.images.digest("web", version) for version in ("v1", "v2"))
    rollout = {"strategy": "BlueGreen", "blueGreen": {"keepFor": "10m"}}
    web.apply_image(v1, replicas=REPLICAS, rollout=rollout, spec=EXPOSED, pod=SPREAD)
    web.until_ready()
    before = {pod["metadata"]["uid"] for pod in web.active()}
    with web.history() as history, web.traffic() as traffic:
        web.apply_image(v2)
        web.until("it waits", lambda: web.reason() == WAITS)
        promoted = run(web, "promote", "web", "--wait", "--timeout=100")
        assert promoted.code == 0, promoted.err
        web.until("v1 is kept", lambda: web.reason() == "KeepingPrevious")
        web.until("v2 answers", lambda: lately(traffic) == {"v2"})
        undone = run(web, "undo", "web", "--reason=too slow", "--wait", "--timeout=100")
        assert undone.code == 0, undone.err
        web.until_alone()
        web.until("v1 answers", lambda: lately(traffic) == {"v1"})
        history.assert_budget(most=2 * REPLICAS + 1, fewest=REPLICAS)
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
    assert report.versions == {"v1", "v2"}
    assert {pod["metadata"]["uid"] for pod in web.active()} == before, "no pod was created for it"


@pytest.mark.parametrize("verb", ["promote", "abort"])
def test_client_loses_no_request_during_a_canary(
    web: WebService, real: RealNodes, show: Callable[[object], None], verb: str
) -> None:
    v1, v2 = (real.images.digest("web", version) for version in ("v1", "v2"))
    steps = [{"setReplicas": 1}, {"pause": {"until": "Promoted"}}]
    rollout = {"strategy": "Canary", "canary": {"steps": steps}}
    web.apply_image(v1, replicas=REPLICAS, rollout=rollout, spec=EXPOSED, pod=SPREAD)
    web.until_ready()
    with web.history() as history, web.traffic() as traffic:
        web.apply_image(v2)
        web.until("it is at the pause", lambda: web.reason() == WAITS)
        web.until("both answer", lambda: lately(traffic) == {"v1", "v2"})
        done = run(web, verb, "web", "--wait", "--timeout=100")
        assert done.code == 0, done.err
        last = v2 if verb == "promote" else v1
        web.until("one is left", lambda: [image_ids(p) for p in web.active()] == [[last]] * 2)
        web.until_alone()
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
