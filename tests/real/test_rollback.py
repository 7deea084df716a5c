"""A release that cannot work, and one that a person takes back: clients notice neither.

A client sends 100 requests a second to the Service, from before the change until nothing of the
taken-back revision is left.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.cluster.plugin import ask
from tests.cluster.services import condition
from tests.controlplane.real.nodes import RealNodes
from tests.real.web import SPREAD, WebService, image_ids

REPLICAS = 2


def test_client_loses_no_request_while_a_broken_release_is_rolled_back(
    web: WebService, real: RealNodes, show: Callable[[object], None]
) -> None:
    v1 = real.images.digest("web", "v1")
    web.apply_image(v1, replicas=REPLICAS, pod=SPREAD)
    web.expose()
    web.until_ready()
    before = {pod["metadata"]["uid"] for pod in web.active()}
    with web.history() as history, web.traffic() as traffic:
        web.apply_image(real.images.missing())
        told = web.until_stalled("RolledBack", 120)
        web.until_alone()
        assert (len(history.births()), len(history.retirements())) == (1, 1), history.story()
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
    assert "ImageNotFound" in told["message"]
    assert condition(web.get(), "Available")["status"] == "True"
    assert before == {pod["metadata"]["uid"] for pod in web.active()}


def test_client_loses_no_request_during_an_undo(
    web: WebService, real: RealNodes, show: Callable[[object], None]
) -> None:
    v1, v2 = (real.images.digest("web", version) for version in ("v1", "v2"))
    for image in (v1, v2):
        web.apply_image(image, replicas=REPLICAS, pod=SPREAD)
        if image == v1:
            web.expose()
        web.until_ready()
        web.until_alone()
    with web.history() as history, web.traffic() as traffic:
        undo = ("undo", "web", f"--namespace={web.namespace}", "--reason=too slow", "--wait")
        undone = ask(web.plane, *undo, "--timeout=120")
        assert undone.code == 0, undone.err
        assert "runs" in undone.err
        web.until_alone()
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        assert len(history.births()) == REPLICAS
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
    assert [image_ids(pod) for pod in web.active()] == [[v1]] * REPLICAS
