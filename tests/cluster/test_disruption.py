"""What stands in the way of a replacement, and what happens to pods without being asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.audit import OperatorRequests
from tests.cluster.history import History
from tests.cluster.services import Service, annotation, condition, is_active, is_ready, names, pin

UNWELL = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
# Pods of such a template are evicted a second after their node is lost, not five minutes.
NERVOUS: dict[str, Any] = {
    "tolerations": [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
        for key in UNWELL
    ]
}


@contextmanager
def budget(web: Service, **spec: object) -> Iterator[str]:
    """A PodDisruptionBudget for the service's pods, known to its controller."""
    document = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "keep-web", "namespace": web.namespace},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec},
    }
    path = f"/apis/policy/v1/namespaces/{web.namespace}/poddisruptionbudgets/keep-web"
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def is_counted() -> bool:
        # For 30 s after a CRD is made its controller does not find the kind, and it asks
        # again ever more rarely: a change of the budget has it ask now.
        note = {"metadata": {"annotations": {"note": str(time.monotonic())}}}
        seen: dict[str, int] = web.plane.api().merge_patch(path, note)["status"]
        return 0 < seen["expectedPods"] == seen["currentHealthy"]

    web.until("the budget is counted", is_counted)
    yield "keep-web"
    web.kubectl("delete", "pdb", "keep-web")


def test_disruption_budget_blocks_and_is_named_as_blocker(web: Service) -> None:
    web.apply(image="a", replicas=3, rollout={"maxSurge": 0, "maxUnavailable": 1})
    web.until_ready()
    before = names(web)
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    with History(web) as history:
        with budget(web, maxUnavailable=0):
            web.apply(image="b")
            web.until("the blocker is told", lambda: web.blocker("PodDisruptionBudget"))
            blocker = web.blocker("PodDisruptionBudget")
            assert blocker is not None
            assert "The disruption budget keep-web" in blocker["message"]
            assert blocker["object"] in before
            ready = condition(web.get(), "Ready")
            assert ready["status"] == "False"
            assert "keep-web" in ready["message"]
            web.always("all old pods stay", lambda: before <= names(web), 3)
            assert len(web.events("Blocked")) == 1
            assert "keep-web" in web.events("Blocked")[0]["message"]
            later = web.blocker("PodDisruptionBudget")
            assert later
            assert later["since"] == blocker["since"]
            tries = asked.codes("create pods/eviction")
            assert set(tries) == {429}
            assert tries[429] <= 4 * len(before), "it asks again with growing pauses"
        web.until_ready()
        history.assert_budget(most=3, fewest=2)
    assert web.images() == [pin("b")] * 3
    assert web.status()["blockers"] == []
    assert asked.count("delete pods") == 0


def test_disruption_budget_of_0_unavailable_is_kept_by_surge(web: Service) -> None:
    """The budget counts the successor: nothing blocks, and no pod is missed."""
    web.apply(image="a", replicas=3, rollout={"maxSurge": 1})
    web.until_ready()
    with History(web) as history, budget(web, maxUnavailable=0):
        web.apply(image="b")
        web.until_ready()
        history.assert_budget(most=4, fewest=3)
    assert web.images() == [pin("b")] * 3


def test_disruption_budget_paces_rollout(web: Service) -> None:
    web.apply(image="a", replicas=4, rollout={"maxSurge": 0, "maxUnavailable": "100%"})
    web.until_ready()
    with History(web) as history, budget(web, minAvailable=3):
        web.apply(image="b")
        web.until_ready()
        history.assert_budget(most=4, fewest=3)
    assert web.images() == [pin("b")] * 4


def test_instances_are_retired_by_eviction(web: Service) -> None:
    web.apply(image="a", replicas=3)
    web.until_ready()
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.apply(image="b")
    web.until_ready()
    assert asked.codes("create pods") == {201: 3}
    assert asked.codes("create pods/eviction") == {201: 3}
    written = {r.target for r in asked.writes()}
    assert written <= {
        *("pods", "pods/eviction", "events", "immutablerevisions", "immutablerevisions/status"),
        *("immutableservices/status", "immutablelineages"),
    }
    assert {r.verb for r in asked.writes() if r.resource == "pods"} == {"create"}


def test_deleted_pod_is_replaced(web: Service) -> None:
    web.apply(image="a", replicas=2, sim={"terminate-delay": "1s"})
    web.until_ready()
    lost = sorted(names(web))[0]
    web.kubectl("delete", "pod", lost, "--wait=false")
    web.until("two again", lambda: sum(map(is_ready, web.pods())) == 2)
    [new] = [p for p in web.active() if annotation(p, "replaces")]
    assert annotation(new, "replaces") == lost
    assert annotation(new, "because") == "Missing: it was deleted"
    assert annotation(new, "incarnation") == "1"
    assert len(web.revisions()) == 1
    web.until_ready()


def test_force_deleted_pod_is_replaced(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    lost = sorted(names(web))[0]
    web.kubectl("delete", "pod", lost, "--grace-period=0", "--force")
    web.until("two again", lambda: sum(map(is_ready, web.pods())) == 2)
    web.until_ready()


def test_pods_of_lost_node_are_replaced_elsewhere(web: Service) -> None:
    web.apply(image="a", replicas=3, pod=NERVOUS)
    web.until_ready()
    node = web.pods()[0]["spec"]["nodeName"]
    doomed = {p["metadata"]["name"] for p in web.pods() if p["spec"]["nodeName"] == node}
    web.plane.lose_node(node)
    try:
        web.until("three again", lambda: sum(map(is_ready, web.pods())) == 3)
        assert not doomed & names(web)
        assert node not in {p["spec"]["nodeName"] for p in web.active()}
        successors = {annotation(p, "replaces") for p in web.active()} - {None}
        assert successors == doomed
        # Nobody can know whether they still run: they are neither forced nor forgotten.
        assert doomed < {p["metadata"]["name"] for p in web.pods()}
        web.until_ready()
    finally:
        web.plane.restore_node(node)
    web.until("the node ends them", lambda: len(web.pods()) == 3)


def test_slow_termination_does_not_stop_rollout(web: Service) -> None:
    """What is on its way out holds no place: successors come, the stuck pod stays visible."""
    web.apply(image="a", replicas=3, sim={"terminate-delay": "4s"})
    web.until_ready()
    stuck = sorted(names(web))[0]
    web.mark_pod(stuck, fault="stuck-terminating")
    with History(web) as history:
        web.apply(image="b")
        web.until_ready()
        web.until("only the stuck one is left", lambda: len(web.pods()) == 4)
        history.assert_budget(most=4, fewest=3)
    assert [p["metadata"]["name"] for p in web.pods() if not is_active(p)] == [stuck]
    web.mark_pod(stuck, fault=None)
    web.until("it is gone", lambda: len(web.pods()) == 3)


def test_failed_pod_is_deleted_and_replaced(web: Service) -> None:
    """Phase Failed, as the kubelet's own eviction leaves it: it never runs again."""
    web.apply(image="a", replicas=2)
    web.until_ready()
    ended = sorted(names(web))[0]
    path = f"/api/v1/namespaces/{web.namespace}/pods/{ended}/status"
    body = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
    web.plane.api("kwok").merge_patch(path, {"status": body})
    web.until("two again", lambda: sum(map(is_ready, web.pods())) == 2)
    [new] = [p for p in web.active() if annotation(p, "replaces")]
    assert annotation(new, "replaces") == ended
    assert annotation(new, "because") == "Unhealthy: Evicted: The node was low on memory."
    web.until("it is cleared away", lambda: len(web.pods()) == 2)
    web.until_ready()


def test_crash_after_ready_ends_rollout(web: Service) -> None:
    """The rest of the last good revision goes on serving."""
    web.apply(image="a", replicas=4)
    web.until_ready()
    web.apply(
        image="b",
        sim={"fault": "crash-after-ready", "crash-after": "200ms"},
        rollout={"minReadySeconds": 20},
    )
    stalled = web.until_stalled("RolledBack")
    assert "keeps exiting with code 1 (Error)" in stalled["message"]
    assert [p["spec"]["containers"][0]["image"] for p in web.active()].count(pin("a")) == 4
    web.apply(image="a", sim={}, rollout={})
    web.until_ready()
    web.until("the crashing one is gone", lambda: len(web.pods()) == 4)
    assert web.images() == [pin("a")] * 4


def test_history_limit_prunes_old_revisions(web: Service) -> None:
    web.apply(image="a", replicas=1, spec={"historyLimit": 1})
    web.until_ready()
    for image in ("b", "c", "d"):
        web.apply(image=image)
        web.until_ready()
    web.until("one old one is kept", lambda: len(web.revisions()) == 2)
    assert [r["spec"]["number"] for r in web.revisions()] == [3, 4]
    web.apply(image="a")
    web.until_ready()
    web.until("one old one is kept", lambda: len(web.revisions()) == 2)
    assert [r["spec"]["number"] for r in web.revisions()] == [4, 5], "numbers are not reused"
