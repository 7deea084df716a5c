"""A pool replaces its nodes successor first, for each reason, on the real API server."""

from __future__ import annotations

import json

import pytest

from immutable_operator.api.names import (
    ANNOTATION_BECAUSE,
    ANNOTATION_REPLACES,
    ANNOTATION_SLOT,
    ANNOTATION_VERIFIED,
)
from tests.cluster import kstatus
from tests.cluster.audit import OperatorRequests
from tests.cluster.node_pools import NodeHistory, Pool, is_verified
from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.people import BREAK_GLASS
from tests.controlplane.api import Json


def because(node: Json) -> str:
    return str(node["metadata"]["annotations"].get(ANNOTATION_BECAUSE))


def replaced(node: Json) -> str | None:
    found: str | None = node["metadata"]["annotations"].get(ANNOTATION_REPLACES)
    return found


def test_new_pool_gets_verified_nodes_with_recorded_facts(three: Pool) -> None:
    nodes = three.nodes()
    assert all(is_verified(node) for node in nodes.values())
    for node in nodes.values():
        recorded = json.loads(node["metadata"]["annotations"][ANNOTATION_VERIFIED])["facts"]
        assert recorded["bootID"] == node["status"]["nodeInfo"]["bootID"]
    row = three.plane.kubectl("get", "imnp", three.name).stdout.splitlines()
    assert row[0].split() == [
        "NAME",
        "DESIRED",
        "CURRENT",
        "READY",
        "STALE",
        "REVISION",
        "OLDEST",
        "STATUS",
        "AGE",
    ]
    assert row[1].split()[1:5] == ["3", "3", "3", "0"]


def test_changed_image_replaces_one_node_at_a_time_successor_first(three: Pool) -> None:
    before = set(three.nodes())
    with NodeHistory(three) as history:
        three.apply(image={"id": "image-2"})
        three.until_ready()
        history.assert_successor_first(most=4, fewest=3)
        births = [change.pod for change in history.births()]
    assert {replaced(node) for node in births} == before, "one successor for each, on record"
    assert all(because(node).startswith("Outdated: ") for node in births)
    records = three.plane.kubectl("get", "imrev", namespace="immutable-system").stdout
    assert len([row for row in records.splitlines() if row.startswith(f"{three.name}-")]) == 2


def test_pool_has_metrics_of_its_own_until_it_is_removed(three: Pool, operators: Operators) -> None:
    labels = f'kind="ImmutableNodePool",name="{three.name}",namespace=""'

    def served(series: str) -> bool:
        return f"immutable_owner_{series}\n" in operators.main.get("/metrics")[1]

    three.until(
        "its nodes are counted", lambda: served(f'instances{{{labels},state="available"}} 3.0')
    )
    ready = f'condition{{{labels},reason="Current",status="True",type="Ready"}} 1.0'
    three.until("it is Ready there, too", lambda: served(ready))
    three.remove()
    three.until("they end", lambda: labels not in operators.main.get("/metrics")[1])


def test_nothing_is_written_while_nothing_changes(three: Pool) -> None:
    asked = OperatorRequests.from_now(three.plane)
    # Another pool comes and goes through all its states meanwhile.
    other = Pool(three.plane, f"{three.name}x")
    other.apply(replicas=1)
    other.until_ready()
    other.remove()
    own = [r for r in asked.writes() if r.name.startswith(f"{three.name}-") or r.name == three.name]
    assert own == []


def test_kstatus_follows_a_replacement(pool: Pool) -> None:
    def reads(state: str) -> bool:
        return kstatus.compute(pool.get()) == state

    held, goes_on = ({"verify": {"settle": settle}} for settle in ("10m", "1s"))
    pool.apply(replicas=1, rollout=held)
    assert reads("InProgress")
    pool.apply(rollout=goes_on)
    pool.until_ready()
    assert reads("Current")
    pool.apply(image={"id": "image-2"}, rollout=held)
    pool.until("its node is replaced", lambda: pool.condition("Ready")["reason"] == "Replacing")
    assert reads("InProgress")
    pool.apply(rollout=goes_on)
    pool.until_ready()
    assert reads("Current")


def test_cordoned_node_is_not_replaced(three: Pool) -> None:
    before, cordoned = set(three.nodes()), min(three.nodes())
    asked = OperatorRequests.from_now(three.plane)
    three.plane.kubectl("cordon", cordoned)
    # Another pool comes and goes through all its states meanwhile.
    other = Pool(three.plane, f"{three.name}x")
    other.apply(replicas=1)
    other.until_ready()
    other.remove()
    assert [r for r in asked.writes() if r.name in before] == []
    assert set(three.nodes()) == before
    # A rollout replaces it like the others.
    three.apply(image={"id": "image-2"})
    three.until_ready()
    assert not before & set(three.nodes())


def test_scaled_pool_creates_and_drains_nodes(three: Pool) -> None:
    kept = set(three.nodes())
    three.plane.kubectl("scale", "imnp", three.name, "--replicas=5")
    three.until_ready()
    assert kept <= set(three.nodes())
    three.plane.kubectl("scale", "imnp", three.name, "--replicas=0")
    three.until_ready()
    assert not three.nodes()


def test_node_that_was_deleted_by_hand_gets_a_successor(three: Pool) -> None:
    victim = min(three.nodes())
    three.plane.kubectl("delete", "node", victim)
    three.until("it is replaced", lambda: len(set(three.nodes()) - {victim}) == 3)
    three.until_ready()
    assert any(replaced(node) == victim for node in three.nodes().values())


def test_node_that_is_not_like_its_name_says_is_replaced(three: Pool) -> None:
    """Somebody edits the certificate of a node; policies refuse it to all but break-glass."""
    victim = min(three.nodes())
    with NodeHistory(three) as history:
        three.plane.kubectl(
            *(*BREAK_GLASS, "annotate", "node", victim, "immutable.dev/slot=7", "--overwrite")
        )
        three.until("it is replaced", lambda: victim not in three.nodes())
        three.until_ready()
        history.assert_successor_first(most=4, fewest=2)


def test_requested_regeneration_replaces_all_nodes(three: Pool) -> None:
    before = set(three.nodes())
    action = {
        "apiVersion": "immutable.dev/v1alpha1",
        "kind": "ImmutableAction",
        "metadata": {"name": f"{three.name}-again", "namespace": "immutable-system"},
        "spec": {"type": "Regenerate", "pool": three.name},
    }
    with NodeHistory(three) as history:
        three.plane.kubectl("apply", "-f", "-", stdin=json.dumps(action))
        path = "/apis/immutable.dev/v1alpha1/namespaces/immutable-system/immutableactions"
        three.until(
            "the action succeeded",
            lambda: (
                three.plane.api().get(f"{path}/{three.name}-again").get("status", {}).get("phase")
                == "Succeeded"
            ),
        )
        three.until_ready()
        history.assert_successor_first(most=4, fewest=3)
    assert not before & set(three.nodes())
    assert all(because(node).startswith("Requested: ") for node in three.nodes().values())


def test_old_nodes_are_replaced_before_they_reach_their_maximum_age(pool: Pool) -> None:
    pool.apply(replicas=2)
    pool.until_ready()
    before = set(pool.nodes())
    with NodeHistory(pool) as history:
        pool.apply(regeneration={"maxAge": "30s", "jitter": "0%"})
        pool.until("all are replaced", lambda: not before & set(pool.nodes()))
        pool.apply(regeneration={"maxAge": "14d"})
        pool.until_ready()
        history.assert_successor_first(most=3, fewest=2)
    assert all(because(node).startswith("Expired: ") for node in pool.nodes().values())


@pytest.mark.parametrize("slot", ["0", "2"])
def test_node_of_the_operator_is_replaced_last(
    three: Pool, operators: Operators, slot: str
) -> None:
    home = next(
        name
        for name, node in three.nodes().items()
        if node["metadata"]["annotations"][ANNOTATION_SLOT] == slot
    )
    operators.restart("--node-name", home).until_leading()
    before = set(three.nodes())
    with NodeHistory(three) as history:
        three.apply(image={"id": "image-2"})
        three.until_ready()
        ended = [change.name for change in history.changes() if change.kind == "DELETED"]
    assert set(ended) == before
    assert ended[-1] == home, ended


def test_freeze_holds_back_a_rollout_of_selected_pools(three: Pool) -> None:
    before = set(three.nodes())
    freeze = {
        "apiVersion": "immutable.dev/v1alpha1",
        "kind": "ImmutableFreeze",
        "metadata": {"name": three.name},
        "spec": {
            "matchLabels": {"pool": three.name},
            "until": "2999-01-01T00:00:00Z",
            "reason": "audit",
        },
    }
    three.plane.kubectl("label", "imnp", three.name, f"pool={three.name}")
    three.plane.kubectl("apply", "-f", "-", stdin=json.dumps(freeze))
    try:
        three.apply(image={"id": "image-2"})
        three.until("it is frozen", lambda: three.condition("Ready").get("reason") == "Frozen")
        assert set(three.nodes()) == before
    finally:
        three.plane.kubectl("delete", "imfrz", three.name)
    three.until_ready()
    assert not before & set(three.nodes())


def test_stuck_image_keeps_what_works_and_repairs_it(three: Pool) -> None:
    """New nodes never get ready: a lost node is created again from the image that works."""
    before = set(three.nodes())
    three.apply(
        image={"id": "image-2"},
        template={**three.spec["template"], "labels": {"sim/node": "not-ready"}},
    )
    three.until("a successor exists", lambda: set(three.nodes()) - before)
    victim = min(before)
    three.plane.kubectl("delete", "node", victim)

    def repaired() -> bool:
        return sum(is_verified(node) for node in three.nodes().values()) == 3

    three.until("three work again", repaired)
    assert before - {victim} <= set(three.nodes())


def test_moves_of_a_pool_are_counted_with_its_kind(pool: Pool, operator: OperatorProcess) -> None:
    pool.apply(replicas=1)
    pool.until_ready()
    pool.apply(image={"id": "image-2"})
    pool.until_ready()
    metrics = operator.get("/metrics")[1]
    for series in (
        'immutable_actions_total{action="Create",kind="ImmutableNodePool",reason="Created"}',
        'immutable_actions_total{action="Create",kind="ImmutableNodePool",reason="Outdated"}',
        'immutable_actions_total{action="Retire",kind="ImmutableNodePool",reason="Outdated"}',
        'immutable_stale_seconds_count{kind="ImmutableNodePool",reason="Outdated"}',
        'immutable_instance_age_seconds_count{kind="ImmutableNodePool"}',
        'immutable_objects{kind="pools"}',
    ):
        [line] = [text for text in metrics.splitlines() if text.startswith(f"{series} ")]
        assert float(line.removeprefix(series)) >= 1, line


def test_two_pools_do_not_touch_each_others_nodes(three: Pool) -> None:
    other = Pool(three.plane, f"{three.name}-im")
    other.apply(replicas=1)
    try:
        other.until_ready()
        kept = set(other.nodes())
        three.apply(replicas=1, image={"id": "image-2"})
        three.until_ready()
        assert set(other.nodes()) == kept
    finally:
        other.remove()


def test_deleted_pool_leaves_its_nodes_and_announces_it(three: Pool) -> None:
    before = set(three.nodes())
    three.delete()
    three.until("the pool is gone", lambda: three.name not in names_of_pools(three))

    def told() -> list[Json]:
        items = three.plane.api().get("/api/v1/namespaces/default/events")["items"]
        about = [e for e in items if e["involvedObject"].get("name") == three.name]
        return [e for e in about if e["reason"] == "NodesOrphaned"]

    three.until("an event names the nodes that stay", told)
    assert set(three.nodes()) == before
    assert all(is_verified(node) for node in three.nodes().values())


def test_deleted_pool_drains_its_nodes_if_that_is_wanted(three: Pool) -> None:
    three.apply(deletionPolicy="Drain")
    three.until("the deletion waits", lambda: three.get()["metadata"].get("finalizers"))
    three.delete()
    three.until("the pool is gone", lambda: three.name not in names_of_pools(three))
    assert not three.nodes()


def names_of_pools(pool: Pool) -> set[str]:
    path = "/apis/immutable.dev/v1alpha1/immutablenodepools"
    return {item["metadata"]["name"] for item in pool.plane.api().get(path)["items"]}
