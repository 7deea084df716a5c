"""A cloud reboot is a non-event: a third of the nodes goes at once, each in another way.

One node falls silent, one reports NotReady, one is deleted, one boots anew. The nodes are the
test's own, so that no other test's pods are on them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster.audit import OperatorRequests
from tests.cluster.history import History
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.services import Service, annotation, condition, is_active, is_ready
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.waiting import wait_for

NODES = 12
SIZES = {"one": 1, "two": 2, "six": 6, "dozen": 12}
UNWELL = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
# Longer than a reboot here takes, and much shorter than the five minutes that pods have else.
# kube-controller-manager taints one lost node every ten seconds, and asks 40 s after a node was
# deleted what became of its pods.
PATIENCE = 30
RECOVERY = 150.0


@dataclass
class Pool:
    """The nodes of this test."""

    plane: ControlPlane
    label: str
    names: list[str]

    def template(self) -> dict[str, Any]:
        """What binds a pod to them, and makes it leave a lost one soon."""
        tolerations = [
            {"key": k, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": PATIENCE}
            for k in UNWELL
        ]
        return {"nodeSelector": {"test/pool": self.label}, "tolerations": tolerations}

    def delete(self, name: str) -> None:
        self.plane.api().request("DELETE", f"/api/v1/nodes/{name}")
        self.names.remove(name)


@pytest.fixture
def pool(control_plane: ControlPlane, namespace: str) -> Iterator[Pool]:
    names = control_plane.add_nodes(NODES)
    for name in names:
        body = {"metadata": {"labels": {"test/pool": namespace}}}
        control_plane.api().merge_patch(f"/api/v1/nodes/{name}", body)
    pool = Pool(control_plane, namespace, list(names))
    yield pool
    control_plane.kubectl("delete", "imsvc", "--all", namespace=namespace)
    for name in pool.names:
        control_plane.set_node(name, None)
    wait_for(
        "the test's nodes are empty",
        lambda: not any(control_plane.pods_on(name) for name in names),
        90,
    )
    for name in list(pool.names):
        pool.delete(name)


def services(plane: ControlPlane, namespace: str, pool: Pool) -> list[Service]:
    """One of each size, with a PodDisruptionBudget that allows one to be missing."""
    found = []
    for name, replicas in SIZES.items():
        service = Service(plane, namespace, name)
        service.apply(
            image="a", replicas=replicas, rollout={"maxSurge": 1}, pod=pool.template(),
            sim={"ready-delay": "500ms"},
        )  # fmt: skip
        budget = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}},
        }
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(budget))
        found.append(service)
    for service in found:
        service.until_ready()
    return found


def until_replaced(service: Service, gone: set[str]) -> None:
    """Until all that were lost have a successor that works."""

    def is_done() -> bool:
        active = service.active()
        lost = gone & {p["metadata"]["name"] for p in active}
        return not lost and sum(map(is_ready, active)) == SIZES[service.name]

    service.until("its pods on lost nodes have successors that work", is_done, RECOVERY)


def assert_never_below(history: History, service: Service, lost: int) -> None:
    """Available: all but what the lost nodes took; existing: never beyond the surge."""
    wanted = SIZES[service.name]
    for change, pods in history.states():
        mine = [p for p in pods if p["metadata"]["labels"]["app"] == service.name]
        active, ready = sum(map(is_active, mine)), sum(map(is_ready, mine))
        told = f"{service.name} after {change.kind} of {change.name}:\n{history.story()}"
        assert active <= wanted + 1, told
        assert ready >= wanted - lost, told


def test_loss_of_a_third_of_the_nodes_is_recovered_without_help(
    control_plane: ControlPlane, operator: OperatorProcess, namespace: str, pool: Pool
) -> None:
    fleet = services(control_plane, namespace, pool)
    # Nodes that matter: the busiest ones.
    busy = Counter({name: len(control_plane.pods_on(name)) for name in pool.names}).most_common(4)
    silent, unready, deleted, rebooted = hit = [name for name, _ in busy]
    before = {p["metadata"]["name"]: p for s in fleet for p in s.pods()}
    on = {name: p["spec"]["nodeName"] for name, p in before.items()}
    lost = {s.name: sum(on[p["metadata"]["name"]] in hit for p in s.pods()) for s in fleet}
    assert all(node in on.values() for node in hit), on
    asked = OperatorRequests.from_now(control_plane, namespace)
    with History(fleet[0]) as history:
        control_plane.set_node(unready, "not-ready")
        pool.delete(deleted)
        control_plane.lose_node(silent)
        boot = control_plane.reboot_node(rebooted)
        gone = {name for name, node in on.items() if node in (silent, unready, deleted)}
        for service in fleet:
            until_replaced(service, gone)
            service.until_ready()
        for service in fleet:
            assert_never_below(history, service, lost[service.name])
        # Nobody elsewhere was touched: not by the operator, and not by the cluster.
        told_to_end = {c.name for c in history.retirements()}
        assert told_to_end & set(before) == gone, history.story()
        assert told_to_end <= gone, history.story()
        assert_successors_say_why(fleet, gone)
    # What a node takes away is not evicted; what ended with its node may be cleared away.
    evicted = {r.name for r in asked.writes() if r.target == "pods/eviction" and r.code < 300}
    assert evicted <= {name for name, node in on.items() if node == deleted}
    assert asked.count("delete pods") == 0
    assert_rebooted_ones_go_on(fleet, boot, on, rebooted)
    assert_told(fleet, on, gone)
    restarts = [e["message"] for s in fleet for e in s.events("Blocked")]
    assert any(f"was restarted because node {rebooted} rebooted" in text for text in restarts), (
        restarts
    )


def assert_successors_say_why(fleet: list[Service], gone: set[str]) -> None:
    born = [p for s in fleet for p in s.active() if annotation(p, "replaces")]
    assert {annotation(p, "replaces") for p in born} == gone
    for pod in born:
        because = annotation(pod, "because") or ""
        assert "DeletionByTaintManager" in because or "DeletionByPodGC" in because, because


def assert_rebooted_ones_go_on(
    fleet: list[Service], boot: str, on: dict[str, str], node: str
) -> None:
    """A reboot ends containers, not pods: they are the same pods, started again."""
    plane = fleet[0].plane
    assert plane.api().get(f"/api/v1/nodes/{node}")["status"]["nodeInfo"]["bootID"] == boot
    stayed = {name for name, where in on.items() if where == node}
    now: dict[str, Json] = {p["metadata"]["name"]: p for s in fleet for p in s.active()}
    for name in stayed:
        [status] = now[name]["status"]["containerStatuses"]
        assert status["restartCount"] == 1
        assert is_ready(now[name])


def assert_told(fleet: list[Service], on: dict[str, str], gone: set[str]) -> None:
    """Whoever lost pods says which, and from which node; nobody was ever Stalled.

    Also whose pods were started anew by their node says so.
    """
    for service in fleet:
        assert not service.events("Stalled"), service.describe()
        assert not [e for e in service.events() if "keeps exiting" in e["message"]]
        assert condition(service.get(), "Ready")["reason"] == "Current"
        assert service.status()["blockers"] == []
        told = " ".join(e["message"] for e in service.events("Disrupted"))
        prefix = f"{service.name}-im"
        nodes = {on[name] for name in gone if name.startswith(prefix)}
        for node in nodes:
            assert f"from node {node} (" in told, f"{node}: {told}\n{service.describe()}"
