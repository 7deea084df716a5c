"""A node that is changed in place is found out, and replaced or reported as its pool says."""

from __future__ import annotations

import json

import pytest

from immutable_operator.api.names import (
    ANNOTATION_BECAUSE,
    ANNOTATION_REPLACES,
    ANNOTATION_TAINTED,
    API_VERSION,
)
from immutable_operator.domain.families.nodes import NODES
from tests.cluster.node_pools import NodeHistory, Pool, on_pool
from tests.cluster.operator_process import NAMESPACE
from tests.controlplane.api import Json


def change(pool: Pool, node: str, **facts: str) -> None:
    """Change facts of a node as its kubelet would report them after a change in place."""
    path = f"/api/v1/nodes/{node}/status"
    pool.plane.api("kwok").merge_patch(path, {"status": {"nodeInfo": facts}})


def annotations_of(pool: Pool, node: str) -> Json:
    """The annotations of a node."""
    found: Json = pool.nodes()[node]["metadata"]["annotations"]
    return found


def events(pool: Pool, reason: str) -> list[str]:
    items = pool.plane.api().get("/api/v1/namespaces/default/events")["items"]
    uid = pool.get()["metadata"]["uid"]
    own = [e for e in items if e["involvedObject"].get("uid") == uid]
    return [e["message"] for e in own if e["reason"] == reason]


@pytest.mark.parametrize(
    "fact",
    [
        "machineID",
        "bootID",
        "osImage",
        "kernelVersion",
        "kubeletVersion",
        "containerRuntimeVersion",
    ],
)
def test_changed_fact_replaces_the_node_and_is_shown_as_a_difference(
    three: Pool, fact: str
) -> None:
    victim = min(three.nodes())
    before = three.nodes()[victim]["status"]["nodeInfo"][fact]
    with NodeHistory(three) as history:
        change(three, victim, **{fact: "other"})
        three.until("it is replaced", lambda: victim not in three.nodes())
        three.until_ready()
        history.assert_successor_first(most=4, fewest=3)
        [birth] = history.births()
    because = birth.pod["metadata"]["annotations"][ANNOTATION_BECAUSE]
    assert because == f"Drifted: {fact}: {before} → other"
    assert events(three, "Drifted") == [f"{victim}: {fact}: {before} → other"]


def test_changed_fact_is_only_reported_with_report(three: Pool) -> None:
    three.apply(drift={"kernelVersion": "Report", "bootID": "Ignore"})
    victim = min(three.nodes())
    change(three, victim, kernelVersion="6.9.9", bootID="other")

    def reported() -> list[Json]:
        found: list[Json] = three.status().get("deviations") or []
        return found

    three.until("it is reported", reported)
    [deviation] = reported()
    assert deviation["instance"] == victim
    assert deviation["reason"] == "Drifted"
    assert "kernelVersion: 6.0.0-simulated → 6.9.9" in deviation["message"]
    assert "bootID" not in deviation["message"]
    assert three.condition("Ready")["status"] == "True"
    assert "drift: Report" in three.condition("Ready")["message"]
    assert victim in three.nodes()


def test_removed_declared_label_is_reported(pool: Pool) -> None:
    template = {**pool.spec["template"], "labels": {"team": "a"}}
    pool.apply(replicas=1, template=template)
    pool.until_ready()
    [node] = pool.nodes()
    pool.plane.kubectl("label", "node", node, "team-")
    pool.until("it is reported", lambda: pool.status().get("deviations"))
    assert "label team: a → removed" in pool.status()["deviations"][0]["message"]


def test_reboot_of_all_nodes_is_paced_and_announced_once(pool: Pool) -> None:
    pool.apply(replicas=6)
    pool.until_ready()
    before = set(pool.nodes())
    with NodeHistory(pool) as history:
        for node in before:
            change(pool, node, bootID=f"second-{node}")
        pool.until("all are replaced", lambda: not before & set(pool.nodes()), 120)
        pool.until_ready()
        history.assert_successor_first(most=7, fewest=6)
        assert len(history.births()) == 6, "each is replaced once"
    assert len(events(pool, "Drifted")) == 1, events(pool, "Drifted")


def test_replacing_stops_when_the_successor_changes_like_its_predecessor(three: Pool) -> None:
    """The cause is not the node; the pool says so, and a request of a person is honoured."""
    victim = min(three.nodes())
    before = set(three.nodes())
    change(three, victim, kernelVersion="other")
    three.until("it is replaced", lambda: victim not in three.nodes())
    three.until_ready()
    [successor] = set(three.nodes()) - before
    # As a tool would do that updates each node, and this one at once.
    with NodeHistory(three) as history:
        change(three, successor, kernelVersion="other")
        three.until("it is told", lambda: three.condition("Stalled").get("status") == "True")
        said = three.condition("Stalled")
        assert said["reason"] == "TaintReturns"
        assert f"{successor}: kernelVersion: 6.0.0-simulated → other" in said["message"]
        assert "1 replacement was modified as well; next attempt at" in said["message"]
        assert NODES.words.relapse in said["message"]
        assert three.status()["deviations"][0]["instance"] == successor
        # Other nodes that change in another way are replaced all the same.
        [other, _] = sorted(before - {victim})
        change(three, other, osImage="other")
        three.until("the other is replaced", lambda: other not in three.nodes())
        [birth] = history.births()
        assert birth.pod["metadata"]["annotations"][ANNOTATION_REPLACES] == other
        assert successor in three.nodes()
    [told] = [e for e in events(three, "Stalled") if "TaintReturns" in e]
    assert successor in told
    three.plane.kubectl("create", "-f", "-", stdin=json.dumps(_request(three)))
    three.until("it is replaced on request", lambda: successor not in three.nodes())
    three.until_ready()
    assert not three.status().get("deviations")


def _request(pool: Pool) -> Json:
    return {
        "apiVersion": API_VERSION,
        "kind": "ImmutableAction",
        "metadata": {"name": f"{pool.name}-again", "namespace": NAMESPACE},
        "spec": {"type": "Regenerate", "pool": pool.name, "actor": "jane"},
    }


@pytest.fixture
def intruder(namespace: str, pool: Pool) -> Json:
    """A pod with access to a node, not bound to one yet."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "intruder", "namespace": namespace},
        "spec": {
            "hostPID": True,
            "containers": [{"name": "shell", "image": "registry.example/shell:1"}],
            **on_pool(pool),
        },
    }


@pytest.mark.parametrize("action", ["Report", "Replace"])
def test_pod_with_access_to_the_node_taints_it(pool: Pool, intruder: Json, action: str) -> None:
    pool.apply(replicas=1, drift={"reachedInto": action})
    pool.until_ready()
    [node] = pool.nodes()
    pool.plane.kubectl("apply", "-f", "-", stdin=json.dumps(intruder))
    if action == "Report":
        pool.until("it is reported", lambda: pool.status().get("deviations"))
        [deviation] = pool.status()["deviations"]
        assert deviation["reason"] == "Tainted"
        assert "intruder uses the process namespace of the node" in deviation["message"]
        assert node in pool.nodes()
        # It is on record: the node stays modified after the pod is gone.
        pool.until("it is recorded", lambda: ANNOTATION_TAINTED in annotations_of(pool, node))
        pool.plane.kubectl("delete", "pod", "intruder", "-n", intruder["metadata"]["namespace"])
        assert pool.status()["deviations"] == [deviation]
    else:
        pool.until("it is replaced", lambda: node not in pool.nodes())
        pool.until_ready()
