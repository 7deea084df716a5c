"""What befalls a cluster in the middle of a rollout, on real nodes.

The operator loses its leader, a node is drained or loses its cable, the registry goes away:
the service keeps its budget where the cluster allows it, ends where it was wanted, with as
many instances as it was wanted, and says meanwhile what it waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.history import Recording
from tests.cluster.operator_process import NAMESPACE
from tests.cluster.services import KIND_PATH, annotation, condition
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.real.nodes import RealNodes
from tests.real.release import Release
from tests.real.web import SPREAD, WebService, forget
from tests.waiting import wait_for

REPLICAS = 4
FEWER = 2
Show = Callable[[object], None]
# Instances go from a lost node after 4 s instead of 300 s: long enough to see the blocker.
SHORT_PATIENCE = [
    {
        "key": f"node.kubernetes.io/{what}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 4,
    }
    for what in ("unreachable", "not-ready")
]


@pytest.fixture
def running(web: WebService, real: RealNodes) -> WebService:
    """Four instances of v1, reachable; replacing them takes long enough to be disturbed."""
    return started(web, real)


@pytest.fixture
def draining(web: WebService, real: RealNodes) -> WebService:
    """The same; they take so long to end that it must be told meanwhile."""
    command = ["/web", "serve", "-version=v1", "-drain=12s"]
    return started(web, real, {"command": command})


def started(web: WebService, real: RealNodes, container: Json | None = None) -> WebService:
    web.apply_image(real.images.digest("web"), container, replicas=REPLICAS)
    web.expose()
    web.until_ready()
    return web


@pytest.mark.parametrize("how", ["its pod is deleted by force", "its process is killed"])
def test_leader_that_dies_during_rollout_is_succeeded(
    running: WebService, release: Release, real: RealNodes, show: Show, how: str
) -> None:
    leader = release.leader()
    v2 = real.images.digest("web", "v2")
    with running.history() as history, running.traffic() as traffic:
        running.apply_image(v2)
        # Not by the status: where only its counts move it is written every 5 s.
        running.until("the rollout is under way", lambda: running.images().count(v2) >= 2)
        holder, began = release.holder(), time.monotonic()
        if how == "its process is killed":
            release.signal(real, leader, "SIGKILL")
        else:
            release.plane.kubectl(
                *("delete", "pod", leader["metadata"]["name"], "--grace-period=0", "--force"),
                namespace=NAMESPACE,
            )
        release.until("another leads", lambda: release.holder() not in ("", holder))
        show(f"{how}: succeeded after {time.monotonic() - began:.1f} s")
        running.until_ready()
        running.until_alone()
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        assert len(history.births()) == REPLICAS, history.story()
    running.assert_runs(v2)
    report = traffic.report()
    show(f"{how}: {report}")
    assert not report.failures, report.explain()
    release.until_well()


def test_drained_node_loses_instances_within_their_budget(
    draining: WebService, release: Release, control_plane: ControlPlane, show: Show
) -> None:
    draining.protect()
    node = "real-1"
    taken = f"from node {node} (EvictionByEvictionAPI"
    there = draining.nodes().count(node)
    assert there > 0
    statuses = Recording(draining.plane, f"{KIND_PATH}/{draining.namespace}/immutableservices")
    with draining.history() as history, draining.traffic() as traffic, statuses:
        began = time.monotonic()
        try:
            control_plane.kubectl(
                *("drain", node, "--ignore-daemonsets", "--timeout=100s"),
                *("--pod-selector", "app=web"),
            )
            show(f"{there} instances were drained in {time.monotonic() - began:.1f} s")
            draining.until_ready()
            assert draining.nodes() == ["real-0"] * REPLICAS
            draining.until_alone()
        finally:
            control_plane.kubectl("uncordon", node)
        reasons = [annotation(change.pod, "because") for change in history.births()]
        assert all("EvictionByEvictionAPI" in (reason or "") for reason in reasons), reasons
        assert any(tells(change.pod, taken) for change in statuses.changes())
        history.assert_budget(most=REPLICAS, fewest=REPLICAS - 1)
        assert len(history.births()) == there, history.story()
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
    told = [event["message"] for event in draining.events("Disrupted")]
    assert told
    assert all(taken in message for message in told), told
    # They are of the same revision as before: a drain is no change of what is wanted.
    assert len(draining.revisions()) == 1


@pytest.mark.parametrize("replicas", [1, 3])
def test_drain_of_protected_service_loses_no_request(
    web: WebService, release: Release, real: RealNodes, show: Show, replicas: int
) -> None:
    """A drain ends by itself, and at no moment is a pod less available."""
    rollout = {"maxSurge": 1, "maxUnavailable": 0, "drainProtection": True}
    web.apply_image(real.images.digest("web"), replicas=replicas, rollout=rollout)
    web.expose()
    web.until_ready()
    node = web.nodes()[0]
    with web.history() as history, web.traffic() as traffic:
        began = time.monotonic()
        try:
            release.plane.kubectl(
                *("drain", node, "--ignore-daemonsets", "--timeout=100s"),
                *("--pod-selector", "app=web"),
            )
            show(f"{node} was drained in {time.monotonic() - began:.1f} s")
            web.until_ready()
            web.until_alone()
            assert node not in web.nodes()
        finally:
            release.plane.kubectl("uncordon", node)
        history.assert_budget(most=replicas + 1, fewest=replicas)
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()


def test_disconnected_node_loses_instances_and_leader(
    web: WebService, release: Release, real: RealNodes, show: Show
) -> None:
    web.apply_image(
        real.images.digest("web"), replicas=REPLICAS, pod={**SPREAD, "tolerations": SHORT_PATIENCE}
    )
    web.until_ready()
    holder = release.holder()
    node = real.node(release.leader()["spec"]["nodeName"])
    lost = {p["metadata"]["name"] for p in web.active() if p["spec"]["nodeName"] == node.name}
    assert lost
    wanted = f"from node {node.name} (DeletionByTaintManager"
    with web.history() as history:
        began = time.monotonic()
        node.link_down()
        try:
            release.until("another leads", lambda: release.holder() not in ("", holder))
            show(f"a leader that was cut off is succeeded after {time.monotonic() - began:.1f} s")
            # The controller manager waits 50 s for a sign of life.
            web.until(
                "a blocker names the node",
                lambda: f"node {node.name} " in (web.blocker("NodeNotReady") or {})["message"],
                120,
            )
            assert condition(web.get(), "Ready")["status"] == "False"
            web.until("the node is given up", lambda: not node.is_ready(), 120)
            web.until(f"its status says: {wanted}", lambda: tells(web.get(), wanted))
            web.until(
                "all instances are elsewhere",
                lambda: lost.isdisjoint(p["metadata"]["name"] for p in web.active()),
            )
            web.until_ready()
            show(f"its instances were elsewhere after {time.monotonic() - began:.1f} s")
            assert node.name not in web.nodes()
            # Nobody knows whether those on the lost node still run: they are not forced away.
            assert {p["metadata"]["name"] for p in web.pods()} > lost
        finally:
            node.link_up()
        web.until("the lost ones are gone", lambda: len(web.pods()) == REPLICAS, 120)
        web.until("the node is back", node.is_ready, 120)
        release.until_well()
        # Nothing flaps: those that were born meanwhile are the ones that stay.
        web.always("it is Ready", lambda: condition(web.get(), "Ready")["status"] == "True", 5)
        assert len(history.births()) == len(lost), history.story()
        history.assert_budget(most=REPLICAS, fewest=REPLICAS - len(lost))
    assert any(wanted in event["message"] for event in web.events("Disrupted"))
    for pod in web.active():
        if annotation(pod, "replaces") in lost:
            assert "DeletionByTaintManager" in (annotation(pod, "because") or "")
    assert {annotation(pod, "replaces") for pod in web.active()} >= lost


def tells(service: Json, taken: str) -> bool:
    """Whether the status says, while it happens, which pods the cluster removes, where and why."""
    found = condition(service, "Reconciling")
    is_taken = (found.get("status"), found.get("reason")) == ("True", "Disrupted")
    return is_taken and taken in found["message"]


@pytest.fixture
def registry_down(real: RealNodes) -> Iterator[Callable[[], None]]:
    """Stops the registry, which is there again after the test."""
    forget(real, real.images.index("v2"))
    yield real.registry.stop
    if not real.registry.bed.is_running(real.registry.name):
        real.registry.start()


def test_rollout_waits_for_registry_and_resumes(
    running: WebService, real: RealNodes, registry_down: Callable[[], None], show: Show
) -> None:
    image = real.images.index("v2")
    running.apply(replicas=FEWER)
    running.until_ready()
    running.until_alone()
    with running.history() as history, running.traffic() as traffic:
        registry_down()
        running.apply_image(image)
        stalled = running.until_stalled("ImagePull")
        assert image in stalled["message"]
        assert "connection refused" in stalled["message"]
        assert "connection refused" in (running.blocker("ImagePull") or {})["message"]
        real.registry.start()
        began = time.monotonic()
        running.until_ready(150)
        show(f"Ready {time.monotonic() - began:.1f} s after the registry was back")
        running.until_alone()
        history.assert_budget(most=FEWER + 1, fewest=FEWER)
        assert len(history.births()) == FEWER, history.story()
    running.assert_runs(image)
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
    wait_for("the stall was told", lambda: running.events("Stalled"))
