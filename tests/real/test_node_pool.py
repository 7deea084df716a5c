"""An ImmutableNodePool of real nodes: each is a kubelet with containerd on a machine of its own.

The pool has the provider ``simulated``, which creates the Node objects; the test bed boots and ends
the machines behind them.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from immutable_operator.api.names import (
    ANNOTATION_BECAUSE,
    ANNOTATION_REPLACES,
    ANNOTATION_RETIRING,
    ANNOTATION_VERIFIED,
    TAINT_RETIRING,
    TAINT_UNVERIFIED,
)
from tests.cluster.node_pools import NodeHistory, Pool, on_pool, taint_keys
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.build import KUBERNETES_VERSION
from tests.controlplane.real.machines import MACHINE, Machines, replace_kubelet, system_of
from tests.controlplane.real.nodes import RealNodes
from tests.real.release import Release
from tests.real.web import WebService

REPLICAS = 2
# A machine boots in seconds, on a busy computer in half a minute.
BOOT_SECONDS = 120.0


@pytest.fixture(scope="module")
def serving_nodes(installed: Release, builds: tuple[str, str]) -> Iterator[Release]:
    """The operator with node pools; afterwards it is as it was."""
    installed.upgrade(builds[0], **{"nodes.enabled": "true", "nodes.simulated": "true"})
    yield installed
    installed.upgrade(builds[0])


@pytest.fixture
def machines(
    control_plane: ControlPlane, real: RealNodes, serving_nodes: Release
) -> Iterator[Machines]:
    serving_nodes.until_well()
    with Machines(control_plane, real) as running:
        yield running


@pytest.fixture
def pool(control_plane: ControlPlane, machines: Machines) -> Iterator[Pool]:
    """A pool of one machine, verified."""
    made = Pool(control_plane, f"p{uuid.uuid4().hex[:6]}")
    made.spec["template"]["labels"] = MACHINE
    try:
        made.apply(replicas=1)
        made.until_ready(BOOT_SECONDS)
        yield made
    finally:
        made.remove()


def mark(node: Json, key: str) -> str:
    return str(node["metadata"]["annotations"].get(key))


def facts(node: Json) -> Json:
    """The facts that were recorded when a node was verified."""
    found: Json = json.loads(mark(node, ANNOTATION_VERIFIED))["facts"]
    return found


def test_replaced_node_costs_no_request(
    pool: Pool, web: WebService, real: RealNodes, machines: Machines, show: Callable[[object], None]
) -> None:
    """All instances of a service run on the only node of a pool, which gets another image."""
    [(name, node)] = pool.nodes().items()
    assert facts(node)["kubeletVersion"] == KUBERNETES_VERSION
    assert facts(node)["osImage"] == system_of("image-1")
    rollout = {"maxSurge": 1, "maxUnavailable": 0}
    web.apply_image(
        real.images.digest("web"), replicas=REPLICAS, rollout=rollout, pod=on_pool(pool)
    )
    web.expose()
    web.until_ready()
    assert web.nodes() == [name] * REPLICAS
    with NodeHistory(pool) as nodes, web.history() as pods, web.traffic() as traffic:
        began = time.monotonic()
        pool.apply(image={"id": "image-2"})
        pool.until_ready(BOOT_SECONDS)
        show(f"a real node was replaced in {time.monotonic() - began:.1f} s")
        web.until_ready()
        web.until_alone()
        nodes.assert_successor_first(most=2, fewest=1)
        pods.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        assert len(pods.births()) == REPLICAS, pods.story()
        states = [change.pod for change in nodes.changes() if change.name == name]
    report = traffic.report()
    show(report)
    assert not report.failures, report.explain()
    [successor] = pool.nodes().values()
    assert mark(successor, ANNOTATION_REPLACES) == name
    assert facts(successor)["osImage"] == system_of("image-2")
    assert web.nodes() == [successor["metadata"]["name"]] * REPLICAS
    retired = next(state for state in states if TAINT_RETIRING in taint_keys(state))
    assert retired["spec"]["unschedulable"] is True
    assert json.loads(mark(retired, ANNOTATION_RETIRING))["because"].startswith("Outdated: ")
    assert_ended_empty(pool, machines, real, name)


def test_kubelet_replaced_in_place_is_drift(
    pool: Pool, real: RealNodes, machines: Machines, tmp_path: Path
) -> None:
    [(name, node)] = pool.nodes().items()
    with NodeHistory(pool) as history:
        version = replace_kubelet(real, name, tmp_path)
        pool.until("it is replaced", lambda: name not in pool.nodes(), BOOT_SECONDS)
        pool.until_ready(BOOT_SECONDS)
        history.assert_successor_first(most=2, fewest=1)
        [birth] = history.births()
        changed = [change.pod for change in history.changes() if change.name == name]
    reported = {state["status"]["nodeInfo"]["kubeletVersion"] for state in changed}
    assert version in reported, "it is the kubelet that reports it"
    assert mark(birth.pod, ANNOTATION_BECAUSE) == (
        f"Drifted: kubeletVersion: {KUBERNETES_VERSION} → {version}"
    )
    [successor] = pool.nodes().values()
    assert mark(successor, ANNOTATION_REPLACES) == name
    assert facts(successor) | {"bootID": "", "machineID": ""} == (
        facts(node) | {"bootID": "", "machineID": ""}
    )
    assert TAINT_UNVERIFIED not in taint_keys(successor)
    assert_ended_empty(pool, machines, real, name)


def assert_ended_empty(pool: Pool, machines: Machines, real: RealNodes, name: str) -> None:
    """One machine was ended, with no pod on it, and nothing is left of it."""
    pool.until("the machine is ended", lambda: name in {end.name for end in machines.ended})
    assert name not in real.names
    [ended] = machines.ended
    assert ended.name == name
    assert not ended.pods
    assert machines.running == set(pool.nodes())
