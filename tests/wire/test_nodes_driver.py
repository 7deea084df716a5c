"""The driver of nodes against an API server's answers: done, refused or unknown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from immutable_operator.api.names import (
    ANNOTATION_BECAUSE,
    ANNOTATION_POOL_UID,
    ANNOTATION_RETIRING,
    ANNOTATION_VERIFIED,
    FINALIZER_POOL,
    LABEL_POOL,
    LABEL_REVISION,
    TAINT_RETIRING,
    TAINT_UNVERIFIED,
)
from immutable_operator.domain.model import (
    Admit,
    Because,
    Cause,
    Create,
    End,
    Evict,
    Probe,
    Protect,
    Reason,
    Retire,
)
from immutable_operator.instances.driver import InstanceMove, Refused, Seen, Unknown
from immutable_operator.instances.nodes.driver import NodeDriver
from immutable_operator.instances.nodes.simulated import SimulatedProvider
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.times import moment
from immutable_operator.wire.owner import OwnerRecord
from tests.unit.node_objects import HOME, NODE, UNVERIFIED, Cluster, node, pod, pool_owner
from tests.wire.scripted import CUT, IMAGE, Answer, Script, refusal

UID = f"uid-{NODE}"
PATH = f"/api/v1/nodes/{NODE}"
OWNER = pool_owner()
WHY = Because(Reason.DRIFTED, "bootID: b0 → b1")
BIRTH = Create("web-new", "0a1b2c3d", 1, 0, NODE, WHY, replaces_uid=UID)
TEMPLATE: dict[str, Any] = {
    "image": {"id": "ami-0abc1234def567890"},
    "template": {
        "labels": {"tier": "web", LABEL_POOL: "another"},
        "annotations": {"note": "x"},
        "taints": [{"key": "only", "value": "web", "effect": "NoSchedule"}],
    },
    "provider": {"simulated": {"capacity": {"cpu": "4"}}},
}
RETIRE, ADMIT, PROBE = Retire(NODE, UID, WHY), Admit(NODE, UID), Probe(NODE, UID)
EVICT = Evict(NODE, "shop", "db", "uid-shop-db")
FORCE = Evict(NODE, "shop", "db", "uid-shop-db", by_force=True)
END, PROTECT, RELEASE = End(NODE, UID), Protect(True), Protect(False)
SMOKED = pool_owner(rollout={"verify": {"smokePod": {"image": IMAGE}}})
DONE: dict[str, Any] = {"kind": "Status", "status": "Success"}
BUDGET = "The disruption budget db needs 1 healthy pods and has 1 currently"
STORE = "etcdserver: request timed out"


def carried_out(
    script: Script,
    move: Create | InstanceMove,
    cluster: Cluster,
    owner: OwnerRecord = OWNER,
    known: dict[str, OwnerRecord] | None = None,
) -> Seen:
    """Carry out a move; ``known`` are the pools that the view shows, by uid."""
    pools = {owner.uid: owner} if known is None else known

    async def story(client: KubeClient) -> Seen:
        provider = SimulatedProvider(client, cluster.observer)
        driver = NodeDriver(client, cluster.nodes, cluster.guests, [provider], HOME, pools.get)
        if isinstance(move, Create):
            return await driver.create(owner, TEMPLATE, move)
        return await driver.write(owner, move)

    return script.run(story)


def a_cluster(**changes: Any) -> Cluster:
    return Cluster(node(**changes)).run(pod("db"))


def refused(script: Script, move: Create | InstanceMove, owner: OwnerRecord = OWNER) -> Refused:
    with pytest.raises(Refused) as caught:
        carried_out(script, move, a_cluster(), owner)
    return caught.value


def merged(script: Script) -> Any:
    """The body of the only request, a merge patch of the known version of the node."""
    [asked] = script.asked
    assert (asked.line, asked.form) == (f"PATCH {PATH}", "application/merge-patch+json")
    meta = asked.body["metadata"]
    assert (meta["uid"], meta["resourceVersion"]) == (UID, "7")
    return asked.body


def test_pool_takes_over_no_node_of_a_deleted_one_with_its_name() -> None:
    own, of_the_deleted = node(), node("web-old", annotations={ANNOTATION_POOL_UID: "deleted"})

    async def story(client: KubeClient) -> list[str]:
        provider = SimulatedProvider(client, Cluster(own, of_the_deleted).observer)
        return [instance.name for instance in provider.observe(OWNER)]

    assert Script().run(story) == [NODE]


# Births.


def test_node_is_created_with_its_certificate_and_the_taint_of_unverified_nodes() -> None:
    script, cluster = Script(node("web-new", version=9)), Cluster()
    seen = carried_out(script, BIRTH, cluster)
    [asked] = script.asked
    assert asked.line == "POST /api/v1/nodes"
    meta, spec = asked.body["metadata"], asked.body["spec"]
    assert meta["name"] == "web-new"
    assert meta["labels"][LABEL_POOL] == "web", "a declared label never replaces the pool's own"
    assert (meta["labels"][LABEL_REVISION], meta["labels"]["tier"]) == ("0a1b2c3d", "web")
    assert meta["annotations"][ANNOTATION_POOL_UID] == OWNER.uid
    assert meta["annotations"][ANNOTATION_BECAUSE] == "Drifted: bootID: b0 → b1"
    assert meta["annotations"]["note"] == "x"
    assert spec["taints"] == [*TEMPLATE["template"]["taints"], UNVERIFIED]
    assert asked.body["status"]["capacity"]["cpu"] == "4"
    assert not seen()
    cluster.see(node("web-new", version=9))
    assert seen()


def test_node_that_exists_already_counts_as_created_if_it_is_the_pools_own() -> None:
    """The first answer was lost."""
    exists = refusal(409, 'nodes "web-new" already exists')
    cluster = Cluster(node("web-new"))
    assert carried_out(Script(exists), BIRTH, cluster)()


def test_foreign_node_has_taken_the_name() -> None:
    exists = refusal(409, 'nodes "web-new" already exists')
    stranger = node("web-new", annotations={ANNOTATION_POOL_UID: "pool-2"})
    with pytest.raises(Refused) as caught:
        carried_out(Script(exists), BIRTH, Cluster(stranger))
    assert caught.value.cause is Cause.NAME_TAKEN
    with pytest.raises(Refused) as caught:
        carried_out(Script(exists), BIRTH, Cluster())
    assert caught.value.cause is Cause.API_SERVER, "the watch has not shown it yet"


def test_provider_that_is_not_enabled_refuses_births() -> None:
    async def story(client: KubeClient) -> Seen:
        cluster = Cluster()
        driver = NodeDriver(client, cluster.nodes, cluster.guests, [], HOME, lambda uid: None)
        return await driver.create(OWNER, TEMPLATE, BIRTH)

    with pytest.raises(Refused) as caught:
        Script().run(story)
    assert caught.value.cause is Cause.DEPENDENCY
    assert "in the values of the chart (nodes.simulated" in caught.value.message


# Admission.


def test_node_is_admitted_with_its_facts_in_the_write_that_removes_the_taint() -> None:
    others = {"key": "only", "value": "web", "effect": "NoSchedule"}
    script = Script(node(version=12))
    cluster = a_cluster(taints=[others, UNVERIFIED])
    seen = carried_out(script, ADMIT, cluster)
    body = merged(script)
    assert body["spec"]["taints"] == [others]
    found = json.loads(body["metadata"]["annotations"][ANNOTATION_VERIFIED])
    assert found["facts"] == dict(cluster.machine.facts)
    assert moment(found["at"])
    assert not seen()
    cluster.nodes.advance(12)
    assert seen()


def test_second_admission_keeps_the_facts_of_the_first() -> None:
    """The taint came back: what was recorded at birth stays."""
    text = '{"at": "2026-11-22T01:02:00Z", "facts": {"bootID": "b0"}}'
    script = Script(node(version=12))
    carried_out(script, ADMIT, a_cluster(annotations={ANNOTATION_VERIFIED: text}))
    assert merged(script)["metadata"]["annotations"] == {ANNOTATION_VERIFIED: text}


def test_taints_keep_the_time_at_which_others_added_them() -> None:
    added = {"key": "x", "effect": "NoExecute", "timeAdded": "2026-11-22T01:00:00Z"}
    script = Script(node(version=12))
    carried_out(script, ADMIT, a_cluster(taints=[added, UNVERIFIED]))
    assert merged(script)["spec"]["taints"] == [added]


# Retirement.


def test_retired_node_is_cordoned_and_annotated_in_one_write() -> None:
    script = Script(node(version=12))
    cluster = a_cluster()
    seen = carried_out(script, RETIRE, cluster)
    body = merged(script)
    assert body["spec"]["unschedulable"] is True
    taint = {"key": TAINT_RETIRING, "value": "Drifted", "effect": "NoSchedule"}
    assert body["spec"]["taints"] == [UNVERIFIED, taint]
    mark = json.loads(body["metadata"]["annotations"][ANNOTATION_RETIRING])
    assert mark["because"] == "Drifted: bootID: b0 → b1"
    assert not seen()
    cluster.see(node(version=13, annotations={ANNOTATION_RETIRING: "{}"}))
    assert seen()


def test_retirement_that_is_repeated_keeps_its_time_and_reason() -> None:
    text = '{"since": "2026-11-22T01:02:00Z", "because": "Outdated: it is old"}'
    script = Script(node(version=12))
    carried_out(script, RETIRE, a_cluster(annotations={ANNOTATION_RETIRING: text}, taints=[]))
    assert merged(script)["metadata"]["annotations"] == {ANNOTATION_RETIRING: text}


def test_reason_of_a_retirement_has_a_limit() -> None:
    script = Script(node(version=12))
    long = Retire(NODE, UID, Because(Reason.DRIFTED, "x" * 5000))
    carried_out(script, long, a_cluster())
    assert len(merged(script)["metadata"]["annotations"][ANNOTATION_RETIRING]) < 1200


# Smoke pod.


def test_smoke_pod_is_bound_to_the_node_and_goes_with_it() -> None:
    script, cluster = Script(DONE), a_cluster()
    seen = carried_out(script, PROBE, cluster, SMOKED)
    [asked] = script.asked
    assert asked.line == f"POST /api/v1/namespaces/{HOME}/pods"
    meta, spec = asked.body["metadata"], asked.body["spec"]
    assert meta["name"] == f"{NODE}-smoke"
    owner = {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": UID}
    assert meta["ownerReferences"] == [owner]
    assert (spec["nodeName"], spec["restartPolicy"]) == (NODE, "Never")
    assert spec["automountServiceAccountToken"] is False
    assert not seen()
    cluster.run(pod(f"{NODE}-smoke", namespace=HOME))
    assert seen()


def test_smoke_pod_that_exists_already_counts_as_started() -> None:
    exists = refusal(409, "already exists")
    seen = carried_out(Script(exists), PROBE, a_cluster(), SMOKED)
    assert not seen()


def test_pool_without_a_smoke_pod_starts_none() -> None:
    script = Script()
    carried_out(script, PROBE, a_cluster())
    assert script.asked == []


# Drains.


def test_pod_is_evicted_with_its_uid() -> None:
    script, cluster = Script(DONE), a_cluster()
    seen = carried_out(script, EVICT, cluster)
    [asked] = script.asked
    assert asked.line == "POST /api/v1/namespaces/shop/pods/db/eviction"
    assert asked.body["deleteOptions"]["preconditions"] == {"uid": "uid-shop-db"}
    assert not seen()
    cluster.run(pod("db", meta={"deletionTimestamp": "2026-11-22T01:00:00Z"}))
    assert seen()


def test_pod_is_deleted_with_its_uid_if_its_drain_lasts_too_long() -> None:
    script = Script(DONE)
    carried_out(script, FORCE, a_cluster())
    [asked] = script.asked
    assert asked.line == "DELETE /api/v1/namespaces/shop/pods/db"
    assert asked.body["preconditions"] == {"uid": "uid-shop-db"}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            refusal(
                429,
                "Cannot evict pod as it would violate the pod's disruption budget.",
                causes=[{"reason": "DisruptionBudget", "message": BUDGET}],
            ),
            id="one that is spent",
        ),
        pytest.param(
            refusal(
                500,
                "This pod has more than one PodDisruptionBudget, which the eviction subresource"
                " does not support.",
            ),
            id="two of them",
        ),
    ],
)
def test_budget_that_refuses_an_eviction_from_a_node_is_named(answer: Answer) -> None:
    assert refused(Script(answer), EVICT).cause is Cause.DISRUPTION_BUDGET


def test_node_is_deleted_with_its_uid() -> None:
    script, cluster = Script(DONE), a_cluster()
    seen = carried_out(script, END, cluster)
    [asked] = script.asked
    assert asked.line == f"DELETE {PATH}"
    assert asked.body["preconditions"]["uid"] == UID
    assert not seen()
    cluster.nodes.replace([], 9)
    assert seen()


# The finalizer.


@pytest.mark.parametrize(
    ("move", "before", "after"),
    [
        (PROTECT, [], [FINALIZER_POOL]),
        (PROTECT, ["x/y"], ["x/y", FINALIZER_POOL]),
        (PROTECT, [FINALIZER_POOL], [FINALIZER_POOL]),
        (RELEASE, ["x/y", FINALIZER_POOL], ["x/y"]),
        (RELEASE, [FINALIZER_POOL], []),
    ],
)
def test_finalizers_of_others_stay(
    move: Protect, before: Sequence[str], after: Sequence[str]
) -> None:
    script, owner = Script(DONE), pool_owner(finalizers=list(before))
    known = {owner.uid: owner}
    seen = carried_out(script, move, a_cluster(), owner, known)
    [asked] = script.asked
    assert asked.line == "PATCH /apis/immutable.dev/v1alpha1/immutablenodepools/web"
    meta = asked.body["metadata"]
    assert (meta["uid"], meta["resourceVersion"]) == (OWNER.uid, "5")
    assert list(meta["finalizers"]) == list(after)
    assert seen() == (list(before) == list(after))
    known[owner.uid] = pool_owner(finalizers=list(after))
    assert seen()
    known.clear()
    assert seen(), "the pool is gone"


# What an answer means, whatever the move.

MOVES: list[Create | InstanceMove] = [
    *(BIRTH, RETIRE, ADMIT, PROBE, EVICT, FORCE, END, PROTECT, RELEASE)
]
each_move = pytest.mark.parametrize(
    "move",
    MOVES,
    ids=["birth", "retire", "admit", "probe", "evict", "delete", "end", "protect", "release"],
)


@each_move
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(CUT, id="none"),
        pytest.param(refusal(500, STORE), id="its store was slow"),
        pytest.param(refusal(504, "Timeout: request did not complete"), id="it was slow"),
    ],
)
def test_node_write_without_an_answer_has_an_unknown_result(
    move: Create | InstanceMove, answer: Answer
) -> None:
    with pytest.raises(Unknown):
        carried_out(Script(answer), move, a_cluster(), SMOKED)


@each_move
def test_retry_after_of_a_node_write_is_kept(move: Create | InstanceMove) -> None:
    busy = refusal(429, "Too many requests, please try again later.", retry_after="17")
    said = refused(Script(busy), move, SMOKED)
    assert (said.cause, said.retry_after) == (Cause.API_SERVER, 17.0)


@each_move
def test_missing_permission_is_reported(move: Create | InstanceMove) -> None:
    no = refusal(403, 'nodes is forbidden: User "x" cannot patch resource "nodes"')
    assert refused(Script(no), move, SMOKED).cause in (Cause.FORBIDDEN, Cause.ADMISSION)


@pytest.mark.parametrize("move", [RETIRE, ADMIT, PROTECT, RELEASE])
def test_object_that_changed_meanwhile_is_not_modified(move: InstanceMove) -> None:
    changed = refusal(409, "the object has been modified; please apply your changes")
    assert refused(Script(changed), move).cause is Cause.API_SERVER


@pytest.mark.parametrize("move", [RETIRE, ADMIT, EVICT, FORCE, END])
def test_object_that_is_gone_needs_no_write(move: InstanceMove) -> None:
    cluster = a_cluster()
    gone = refusal(404, "not found", kind="nodes", name=NODE)
    seen = carried_out(Script(gone), move, cluster)
    assert not seen()
    cluster.nodes.replace([], 9)
    cluster.guests.replace([], 9)
    assert seen()


@pytest.mark.parametrize("move", [RETIRE, ADMIT, END])
def test_node_that_the_view_lacks_is_not_written(move: InstanceMove) -> None:
    script = Script()
    assert carried_out(script, move, Cluster())()
    assert script.asked == []


def test_every_unverified_node_is_marked_by_the_same_taint() -> None:
    assert UNVERIFIED["key"] == TAINT_UNVERIFIED
