"""What a pool relies on, for every provider of nodes.

A further provider needs an entry in `PROVIDERS`, no test of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from immutable_operator.api.names import (
    ANNOTATION_BECAUSE,
    ANNOTATION_POOL_UID,
    ANNOTATION_PROVIDER,
    ANNOTATION_REPLACES,
    ANNOTATION_RETIRING,
    ANNOTATION_SLOT,
    ANNOTATION_VERIFIED,
    LABEL_POOL,
    LABEL_REVISION,
    TAINT_RETIRING,
    TAINT_UNVERIFIED,
)
from immutable_operator.domain.model import instance_name
from tests.cluster.audit import OperatorRequests
from tests.cluster.node_pools import (
    OWN_TAINT,
    NodeHistory,
    Pool,
    Workload,
    is_verified,
    taint_keys,
)
from tests.cluster.node_providers import PROVIDERS, Provided, ProvidedPool
from tests.controlplane.api import Json
from tests.controlplane.real.machines import Machines


@pytest.fixture(params=PROVIDERS, ids=lambda provided: provided.title)
def provided(request: pytest.FixtureRequest) -> Provided:
    chosen: Provided = request.param
    found = request.getfixturevalue(chosen.needs) if chosen.needs else None
    return replace(chosen, image=found.image) if isinstance(found, Machines) else chosen


@pytest.fixture
def one(provided: Provided, pool: Pool) -> Iterator[ProvidedPool]:
    """A pool of one node that is not applied yet."""
    made = ProvidedPool(provided, pool)
    yield made
    made.remove()


@pytest.fixture
def running(one: ProvidedPool) -> ProvidedPool:
    """A pool with one verified node."""
    one.apply()
    one.until_ready()
    return one


def marks_of(item: Json) -> Json:
    found: Json = item["metadata"].get("annotations") or {}
    return found


def test_new_node_keeps_workloads_off_until_it_is_verified(one: ProvidedPool) -> None:
    team = {"key": "team", "value": "a", "effect": "NoSchedule"}
    taints = [*one.spec["template"]["taints"], team]
    declared = {
        "labels": {**one.provided.labels, "team": "a"},
        "annotations": {"example.com/note": "b"},
        "taints": taints,
    }
    one.apply(template=declared, rollout={"verify": {"settle": "10m"}})
    node = one.until_node()
    one.until("it is tainted as asked", lambda: {"team"} <= taint_keys(one.until_node()))
    node = one.until_node()
    assert taint_keys(node) >= {TAINT_UNVERIFIED, OWN_TAINT, "team"}
    assert ANNOTATION_VERIFIED not in marks_of(node)
    one.apply(rollout={"verify": {"settle": "1s"}})
    one.until_ready()
    node = one.until_node()
    assert not taint_keys(node) & {TAINT_UNVERIFIED, TAINT_RETIRING}
    assert taint_keys(node) >= {OWN_TAINT, "team"}
    recorded = json.loads(marks_of(node)[ANNOTATION_VERIFIED])["facts"]
    assert recorded["bootID"] == node["status"]["nodeInfo"]["bootID"]
    assert recorded["kernelVersion"] == node["status"]["nodeInfo"]["kernelVersion"]


def test_object_and_node_have_labels_and_certificate(running: ProvidedPool) -> None:
    [item], node = running.objects().values(), running.until_node()
    uid = running.get()["metadata"]["uid"]
    for made in (item, node):
        labels, marks = made["metadata"]["labels"], marks_of(made)
        assert labels[LABEL_POOL] == running.name
        assert marks[ANNOTATION_POOL_UID] == uid
        assert marks[ANNOTATION_PROVIDER] == running.provided.name
        assert marks[ANNOTATION_SLOT] == "0"
        assert marks[ANNOTATION_BECAUSE].startswith("Created: ")
        assert not made["metadata"].get("ownerReferences") or made is node
    revision = item["metadata"]["labels"][LABEL_REVISION]
    assert item["metadata"]["name"] == instance_name(running.name, uid, revision, 0, 0)


def test_node_is_replaced_successor_first_and_its_pods_leave_before_it_goes(
    running: ProvidedPool, namespace: str
) -> None:
    workload = Workload(running, namespace, image=running.provided.image)
    workload.apply()
    [before], [name] = running.nodes(), running.objects()
    with NodeHistory(running) as history:
        running.apply(image={"id": "image-2"})
        running.until_ready()
        running.until("the old object is gone", lambda: name not in running.objects())
        history.assert_successor_first(most=2, fewest=1)
        states = [change.pod for change in history.changes() if change.name == before]
        retired = next(node for node in states if TAINT_RETIRING in taint_keys(node))
    assert retired["spec"]["unschedulable"] is True
    assert json.loads(marks_of(retired)[ANNOTATION_RETIRING])["because"].startswith("Outdated: ")
    [successor] = running.objects().values()
    assert marks_of(successor)[ANNOTATION_REPLACES] == name
    [pod] = workload.pods()
    assert pod["spec"]["nodeName"] in running.nodes()


def test_pods_are_evicted_by_the_operator_before_the_object_is_deleted(
    running: ProvidedPool, namespace: str
) -> None:
    Workload(running, namespace, image=running.provided.image).apply()
    [name] = running.objects()
    asked = OperatorRequests.from_now(running.plane)
    running.apply(image={"id": "image-2"})
    running.until_ready()
    done = [f"{r.verb} {r.target}" for r in asked.writes() if r.code < 300]
    end = f"delete {running.provided.resource}"
    assert done.index("create pods/eviction") < done.index(end)
    assert [r.name for r in asked.writes() if f"{r.verb} {r.target}" == end] == [name]


def test_object_that_was_deleted_by_hand_gets_a_successor(running: ProvidedPool) -> None:
    [victim] = running.objects()
    running.delete_object(victim)

    def replaced() -> bool:
        return bool(running.objects()) and victim not in running.objects()

    running.until("it is replaced", replaced)
    running.until_ready()
    [successor] = running.objects().values()
    assert marks_of(successor)[ANNOTATION_REPLACES] == victim


def test_name_that_is_taken_is_left_alone(one: ProvidedPool) -> None:
    one.apply(replicas=0)
    one.until_ready()
    uid, [revision] = one.get()["metadata"]["uid"], one.revisions()
    taken = instance_name(one.name, uid, revision, 0, 0)
    one.plane.api().request("POST", one.provided.path, one.provided.stranger(taken))
    try:
        one.apply(replicas=1)
        one.until_ready()
        assert taken not in one.objects()
        theirs = one.plane.api().get(f"{one.provided.path}/{taken}")
        assert "deletionTimestamp" not in theirs["metadata"]
        assert LABEL_POOL not in theirs["metadata"].get("labels", {})
    finally:
        one.delete_object(taken)


def test_two_pools_do_not_touch_each_others_nodes(running: ProvidedPool) -> None:
    """The other one has the other provider, and a name that begins alike."""
    [others] = [p for p in PROVIDERS[:2] if p.name != running.provided.name]
    if others.needs:
        others = running.provided
    other = ProvidedPool(others, Pool(running.plane, f"{running.name}-im"))
    other.apply()
    try:
        other.until_ready()
        kept = {*other.objects(), *other.nodes()}
        running.apply(image={"id": "image-2"})
        running.until_ready()
        assert {*other.objects(), *other.nodes()} == kept
        other.apply(replicas=0)
        other.until_ready()
        assert running.objects()
    finally:
        other.remove()


def test_nothing_is_written_while_nothing_changes(running: ProvidedPool) -> None:
    asked = OperatorRequests.from_now(running.plane)
    # Another pool comes and goes through all its states meanwhile.
    other = Pool(running.plane, "zz")
    other.apply(replicas=1)
    try:
        other.until_ready()
    finally:
        other.remove()
    # Its lineage is written some time after it has come to rest.
    own = [r for r in asked.writes() if running.name in r.name]
    assert [r for r in own if r.target != "immutablelineages"] == []


def test_deleted_pool_keeps_its_nodes(running: ProvidedPool) -> None:
    before = {*running.objects(), *running.nodes()}
    asked = OperatorRequests.from_now(running.plane)
    running.plane.kubectl("delete", "imnp", running.name)
    other = Pool(running.plane, "zz")
    other.apply(replicas=1)
    try:
        other.until_ready()
    finally:
        other.remove()
    assert {*running.objects(), *running.nodes()} == before
    assert all(is_verified(node) for node in running.nodes().values())
    assert [r for r in asked.writes() if r.verb == "delete" and running.name in r.name] == []


def test_pool_of_size_zero_has_no_nodes(running: ProvidedPool) -> None:
    running.apply(replicas=0)
    running.until_ready()
    running.until("no object is left", lambda: not running.objects())
