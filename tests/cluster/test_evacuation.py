"""Nodes that are about to go: the pods on them get successors on other nodes first.

A drain of a node whose pods are protected waits for their successors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from immutable_operator.api.names import LABEL_SERVICE
from immutable_operator.domain.status.tell import prepared
from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.history import Change, History
from tests.cluster.services import Service, annotation, budgets, condition, names

DISRUPTED = "karpenter.sh/disrupted"
REPLICAS = 3


def placed(web: Service) -> dict[str, str]:
    """The node of each pod by the pod's name."""
    return {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in web.active()}


@contextmanager
def tainted(web: Service, node: str, taint: str) -> Iterator[None]:
    web.plane.kubectl("taint", "node", node, f"{taint}:NoSchedule")
    try:
        yield
    finally:
        web.plane.kubectl("taint", "node", node, f"{taint}:NoSchedule-")


@pytest.fixture
def three(web: Service) -> Service:
    web.apply(image="a", replicas=REPLICAS, rollout={"maxSurge": 1})
    web.until_ready()
    return web


@pytest.mark.parametrize(
    "taint", [DISRUPTED, "ToBeDeletedByClusterAutoscaler", "node.kubernetes.io/out-of-service"]
)
def test_pods_leave_a_node_whose_end_is_announced(three: Service, taint: str) -> None:
    before = placed(three)
    node = min(before.values())
    leaving = {name for name, on in before.items() if on == node}
    with History(three) as history:
        with tainted(three, node, taint):
            three.until("nothing is left on it", lambda: node not in placed(three).values())
            three.until_ready()
            assert set(before) - leaving <= names(three), "pods on other nodes stay"
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        births = history.births()
        assert {annotation(birth.pod, "replaces") for birth in births} == leaving
        assert {annotation(birth.pod, "because") for birth in births} == {
            f"Evacuating: node {node} has the taint {taint}"
        }
    three.until_ready()
    assert condition(three.get(), "Ready")["reason"] == "Current"


def test_cordoned_node_keeps_its_pods(three: Service) -> None:
    before = placed(three)
    node = min(before.values())
    three.until_recorded()
    until_quiet(OperatorRequests.from_now(three.plane, three.namespace))
    asked = OperatorRequests.from_now(three.plane, three.namespace)
    three.plane.kubectl("cordon", node)
    try:
        three.always("all pods stay", lambda: placed(three) == before, 3)
    finally:
        three.plane.kubectl("uncordon", node)
    assert asked.writes() == []


def test_removed_taint_ends_the_evacuation(web: Service) -> None:
    web.apply(image="a", replicas=1, rollout={"maxSurge": 1}, sim={"ready-delay": "2s"})
    web.until_ready()
    [node] = placed(web).values()
    with History(web) as history:
        with tainted(web, node, DISRUPTED):
            web.until("its successor exists", lambda: len(web.active()) == 2)
        web.until("one pod is left", lambda: len(web.active()) == 1)
        web.until_ready()
        web.always("nothing moves", lambda: len(web.active()) == 1, 2)
        history.assert_budget(most=2, fewest=1)
        assert len(history.births()) == 1


def test_pod_that_tolerates_the_taint_is_replaced_once(web: Service) -> None:
    """Its successor may be placed on the same node: it stays there."""
    web.apply(
        image="a",
        replicas=2,
        rollout={"maxSurge": 1},
        pod={"tolerations": [{"operator": "Exists"}]},
    )
    web.until_ready()
    before = placed(web)
    node = min(before.values())
    leaving = [name for name, on in before.items() if on == node]
    with History(web) as history, tainted(web, node, DISRUPTED):
        web.until("they are replaced", lambda: not names(web) & set(leaving))
        web.until_ready()
        web.always("nothing moves", lambda: len(history.births()) == len(leaving), 5)


# Drain protection.


@contextmanager
def drained(web: Service, node: str) -> Iterator[None]:
    """A node from which `kubectl drain` has removed the pods of the service."""
    selector = f"--pod-selector={LABEL_SERVICE}={web.name}"
    try:
        web.plane.kubectl("drain", node, selector, "--ignore-daemonsets", "--timeout=100s")
        yield
    finally:
        web.plane.kubectl("uncordon", node)


def assert_prepared(births: list[Change], node: str) -> None:
    """The first successor was there before the drain could evict anything.

    The drain may then evict another pod than the one that has a successor.
    """
    reasons = [annotation(birth.pod, "because") or "" for birth in births]
    assert reasons[0] == f"Evacuating: node {node} is cordoned"
    others = (reasons[0], "Missing: EvictionByEvictionAPI: Eviction API: evicting")
    assert set(reasons) <= {*others}, reasons


@pytest.mark.parametrize("replicas", [1, 3])
def test_drain_waits_for_successors(web: Service, replicas: int) -> None:
    rollout = {"maxSurge": 1, "drainProtection": True}
    web.apply(image="a", replicas=replicas, rollout=rollout, sim={"ready-delay": "1s"})
    web.until_ready()
    web.until("it is protected", lambda: budgets(web) == {"web-drain-protection": replicas})
    node = min(placed(web).values())
    with History(web) as history:
        with drained(web, node):
            web.until_ready()
            assert node not in placed(web).values()
        history.assert_budget(most=replicas + 1, fewest=replicas)
        assert_prepared(history.births(), node)
    assert web.status()["blockers"] == []


def test_cordoned_node_of_protected_pods_has_successors_prepared(web: Service) -> None:
    web.apply(image="a", replicas=2, rollout={"maxSurge": 2, "drainProtection": True})
    web.until_ready()
    before = placed(web)
    node = min(before.values())
    there = [*before.values()].count(node)
    web.plane.kubectl("cordon", node)
    try:
        web.until("successors are there", lambda: len(web.active()) == 2 + there)
        said = prepared(there)
        web.until(said, lambda: said in condition(web.get(), "Ready")["message"])
        web.always("no instance is retired", lambda: set(before) <= names(web), 3)
    finally:
        web.plane.kubectl("uncordon", node)
    web.until("the surplus goes", lambda: len(web.active()) == 2)
    web.until_ready()


def test_step_of_a_canary_goes_on_beside_a_cordoned_node_without_a_surge(web: Service) -> None:
    """What the step leaves no place for is retired; the others wait for the drain."""
    steps = {"steps": [{"setReplicas": 1}, {"pause": {"until": "Promoted"}}]}
    way = {"strategy": "Canary", "canary": steps, "maxSurge": 0, "maxUnavailable": 1}
    web.apply(image="a", replicas=REPLICAS, rollout={**way, "drainProtection": True})
    web.until_ready()
    node = min(placed(web).values())
    web.plane.kubectl("cordon", node)
    try:
        web.apply(image="b")
        web.until("step 1 is done", lambda: web.reason() == "WaitingForPromotion")
        assert (len(web.of("a")), len(web.of("b"))) == (REPLICAS - 1, 1)
    finally:
        web.plane.kubectl("uncordon", node)


def test_protection_follows_the_spec_and_leaves_no_budget(web: Service) -> None:
    web.apply(image="a", replicas=4, rollout={"maxUnavailable": 1, "drainProtection": True})
    web.until("4 - 1", lambda: budgets(web) == {"web-drain-protection": 3})
    web.apply(replicas=5)
    web.until("5 - 1", lambda: budgets(web) == {"web-drain-protection": 4})
    change = json.dumps({"spec": {"minAvailable": 1}})
    web.kubectl("patch", "pdb", "web-drain-protection", "--type=merge", "-p", change)
    web.until("it is put right", lambda: budgets(web) == {"web-drain-protection": 4})
    web.until_ready()
    web.until_recorded()
    until_quiet(OperatorRequests.from_now(web.plane, web.namespace))
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.always("it stays", lambda: budgets(web) == {"web-drain-protection": 4}, 2)
    assert asked.writes() == []
    web.apply(rollout={"maxUnavailable": 1})
    web.until("it is gone", lambda: budgets(web) == {})


def test_other_budget_is_a_blocker_and_no_second_one_is_created(web: Service) -> None:
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "mine", "namespace": web.namespace},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    web.apply(image="a", replicas=2, rollout={"maxSurge": 1, "drainProtection": True})
    web.until("it is protected", lambda: "web-drain-protection" in budgets(web))
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(budget))
    web.until("only the other one is left", lambda: budgets(web) == {"mine": 1})
    web.until("it is a blocker", lambda: web.blocker("DisruptionBudgetConflict"))
    blocker = web.blocker("DisruptionBudgetConflict")
    assert blocker is not None
    assert "PodDisruptionBudget mine covers the pods" in blocker["message"]
    web.kubectl("delete", "pdb", "mine")
    web.until("it is protected again", lambda: budgets(web) == {"web-drain-protection": 2})
    web.until("nothing is in the way", lambda: not web.blocker("DisruptionBudgetConflict"))


def test_budget_of_the_same_name_is_left_alone_and_reported(web: Service) -> None:
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web-drain-protection", "namespace": web.namespace},
        "spec": {"minAvailable": 7, "selector": {"matchLabels": {"app": "other"}}},
    }
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(budget))
    web.apply(image="a", replicas=1, rollout={"maxSurge": 1, "drainProtection": True})
    web.until("it is a blocker", lambda: web.blocker("DisruptionBudgetConflict"))
    assert budgets(web) == {"web-drain-protection": 7}
    web.until(
        "the service is ready all the same",
        lambda: condition(web.get(), "Ready")["status"] == "True",
    )
    web.kubectl("delete", "pdb", "web-drain-protection")
    web.until("it is protected", lambda: budgets(web) == {"web-drain-protection": 1})
    web.until("nothing is in the way", lambda: not web.blocker("DisruptionBudgetConflict"))


def test_drain_during_a_stuck_release_waits_for_successors_of_what_works(web: Service) -> None:
    rollout = {"maxSurge": 1, "drainProtection": True}
    web.apply(image="a", replicas=3, rollout=rollout)
    web.until_ready()
    works = web.revision()
    web.apply(image="b", sim={"fault": "image-pull"})
    web.until_stalled("ImagePull")
    node = min(on for name, on in placed(web).items() if works in name)
    with History(web) as history:
        with drained(web, node):
            web.until("the release is tried again", lambda: web.blocker("ImagePull"))
        history.assert_budget(most=4, fewest=3)
        assert_prepared([b for b in history.births() if b.revision == works], node)
