"""From nodes and the pods on them to instances."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.api.names import (
    ANNOTATION_RETIRING,
    ANNOTATION_SLOT,
    ANNOTATION_VERIFIED,
    LABEL_POOL,
    LABEL_REVISION,
    TAINT_RETIRING,
)
from immutable_operator.domain.model import Because, GuestKind, Reason, TroubleKind
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.times import moment
from tests.unit.node_objects import (
    HOME,
    HOST,
    NODE,
    UNVERIFIED,
    Cluster,
    daemon,
    node,
    owned_by,
    pod,
    pool_owner,
)

AT = "2026-11-22T01:02:00Z"
VERIFIED = {ANNOTATION_VERIFIED: json.dumps({"at": AT, "facts": {"bootID": "b0"}})}
MARK = {"since": AT, "because": "Drifted: bootID: b0 → b1"}
RETIRING = {ANNOTATION_RETIRING: json.dumps(MARK)}
RETIRING_TAINT = {"key": TAINT_RETIRING, "value": "Drifted", "effect": "NoSchedule"}
UNREADY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


# The node.


def test_verified_node_is_a_ready_instance_with_its_certificate() -> None:
    found = Cluster(node(taints=[], annotations=VERIFIED)).instance()
    assert (found.name, found.node, found.slot, found.replaces) == (NODE, NODE, 0, "web-before")
    assert found.ready_since == moment(AT)
    assert (found.taint, found.trouble) == (None, None)
    assert (found.terminating, found.ended) == (False, False)
    assert found.machine is not None
    assert found.machine.birth_facts == (("bootID", "b0"),)
    assert dict(found.machine.facts)["bootID"] == "b1"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(node(), id="not verified"),
        pytest.param(node(annotations=VERIFIED), id="its taint is still there"),
        pytest.param(node(annotations=VERIFIED, taints=[], ready=False), id="not Ready"),
        pytest.param(node(annotations={ANNOTATION_VERIFIED: "x"}, taints=[]), id="no JSON"),
        pytest.param(node(annotations={ANNOTATION_VERIFIED: "[]"}, taints=[]), id="no object"),
        pytest.param(node(annotations={ANNOTATION_VERIFIED: "{}"}, taints=[]), id="no time"),
    ],
)
def test_node_is_not_ready_as_an_instance(body: dict[str, Any]) -> None:
    assert Cluster(body).instance().ready_since is None


def test_verified_node_that_is_not_ready_is_in_trouble() -> None:
    found = Cluster(node(annotations=VERIFIED, taints=[], ready=False)).instance()
    assert found.trouble is not None
    assert found.trouble.kind is TroubleKind.NODE_NOT_READY
    assert not found.trouble.settled


@pytest.mark.parametrize("at", ["never", "", "2026-13-45T00:00:00Z"])
def test_record_with_an_unreadable_time_counts_as_none(at: str) -> None:
    """Anybody can write annotations of a node; the pool is planned nevertheless."""
    verified = {ANNOTATION_VERIFIED: json.dumps({"at": at, "facts": {}})}
    retiring = {ANNOTATION_RETIRING: json.dumps({"since": at})}
    found = Cluster(node(annotations={**verified, **retiring}, taints=[])).instance()
    assert (found.ready_since, found.terminating) == (None, False)


def test_retired_node_terminates_and_knows_why() -> None:
    body = node(annotations={**VERIFIED, **RETIRING}, taints=[RETIRING_TAINT])
    found = Cluster(body).instance()
    assert found.terminating
    assert found.machine is not None
    assert found.machine.retiring == moment(AT)
    assert found.machine.because == Because(Reason.DRIFTED, "bootID: b0 → b1")
    assert not found.machine.is_open
    opened = Cluster(node(annotations={**VERIFIED, **RETIRING}, taints=[])).machine
    assert opened.is_open


def test_node_that_a_user_deletes_terminates() -> None:
    meta = {"deletionTimestamp": AT, "finalizers": ["x/y"]}
    found = Cluster(node(annotations=VERIFIED, taints=[], meta=meta)).instance()
    assert found.terminating
    assert found.machine is not None
    assert found.machine.deleted == moment(AT)
    assert "x/y" in found.machine.kept_by


def test_instance_without_a_node_waits_for_one() -> None:
    cluster = Cluster()
    meta = ObjectMeta(name=NODE, uid="u1", creation_timestamp=AT, finalizers=["x/y"])
    found = cluster.observer.instance(pool_owner(), meta, None)
    assert (found.node, found.ready_since) == (None, None)
    assert found.machine is not None
    assert (found.machine.lacks, found.machine.kept_by) == (("it has no node yet",), ("x/y",))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": {LABEL_REVISION: "ffffffff"}}, "its birth certificate"),
        ({"annotations": {ANNOTATION_SLOT: "3"}}, "its birth certificate"),
        ({"labels": {LABEL_POOL: "db"}}, f"its label {LABEL_POOL} was edited"),
    ],
)
def test_edited_certificate_is_reported(change: dict[str, Any], said: str) -> None:
    found = Cluster(node(**change)).instance()
    assert found.taint is not None
    assert found.taint.startswith(said)


def test_facts_are_steady_since_they_changed() -> None:
    cluster = Cluster(node())
    assert cluster.machine.steady_since == 0.0, "as far as it was watched"
    cluster.now += 50
    cluster.see(node(version=8))
    assert cluster.machine.steady_since == 0.0, "a heartbeat changes no fact"
    cluster.see(node(version=9, info={"bootID": "b2"}))
    assert cluster.machine.steady_since == cluster.now


def test_node_that_gets_into_a_pool_after_it_registered_stays_known_by_its_name() -> None:
    """Karpenter annotates a node when its kubelet has registered it."""
    cluster = Cluster(node(annotations={"immutable.dev/pool-uid": ""}))
    cluster.now += 50
    cluster.see(node(version=8, info={"bootID": "b2"}, annotations={"immutable.dev/pool-uid": ""}))
    changed = cluster.now
    cluster.now += 50
    cluster.see(node(version=9, info={"bootID": "b2"}))
    assert [n.name for n in cluster.nodes.of("pool-1")] == [NODE]
    assert cluster.nodes.all[NODE].owner == "pool-1"
    assert cluster.machine.steady_since == changed


def test_two_pools_do_not_see_the_nodes_of_each_other() -> None:
    other = node("other", annotations={"immutable.dev/pool-uid": "pool-2"})
    cluster = Cluster(node(), other)
    assert [n.name for n in cluster.nodes.of("pool-1")] == [NODE]
    assert [n.name for n in cluster.nodes.of("pool-2")] == ["other"]


# What it lacks.

CNI: dict[str, Any] = {"namespace": "kube-system", "meta": owned_by("DaemonSet", "uid-cni")}
NO_CNI = f"DaemonSet kube-system/cni has no ready pod on node {NODE}"


def test_node_that_is_not_ready_lacks_just_that() -> None:
    cluster = Cluster(node(ready=False)).apply(daemon("cni"))
    assert cluster.machine.lacks == (f"node {NODE} is not Ready",)


@pytest.mark.parametrize(
    ("pods", "lacks"),
    [
        ([], (NO_CNI,)),
        ([pod("cni-x", **CNI)], ()),
        ([pod("cni-x", **CNI, ready=False)], (NO_CNI,)),
        ([pod("cni-x", **CNI, on="other")], (NO_CNI,)),
        ([pod("cni-x", namespace="kube-system")], (NO_CNI,)),
        (
            [pod("cni-x", namespace="kube-system", meta=owned_by("DaemonSet", "uid-old"))],
            (NO_CNI,),
        ),
        (
            [
                pod(
                    "cni-x",
                    namespace="kube-system",
                    meta={**owned_by("DaemonSet", "uid-cni"), "deletionTimestamp": AT},
                )
            ],
            (NO_CNI,),
        ),
    ],
    ids=["none", "ready", "not ready", "elsewhere", "not its own", "of a former one", "leaving"],
)
def test_node_needs_a_ready_pod_of_each_daemon_set(
    pods: list[dict[str, Any]], lacks: tuple[str, ...]
) -> None:
    tolerates = daemon("cni", tolerations=[{"operator": "Exists"}])
    assert Cluster(node()).apply(tolerates).run(*pods).machine.lacks == lacks


def test_second_pod_of_a_daemon_set_does_not_hide_the_ready_one() -> None:
    """While one is replaced, the one that ended and its successor are both there."""
    old = pod("cni-a", namespace="kube-system", ready=False, phase="Failed", meta=CNI["meta"])
    new = pod("cni-b", **CNI)
    tolerates = daemon("cni", tolerations=[{"operator": "Exists"}])
    for order in ([old, new], [new, old]):
        assert Cluster(node()).apply(tolerates).run(*order).machine.lacks == ()


ANYWHERE = {"tolerations": [{"operator": "Exists"}]}


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        (ANYWHERE, True),
        ({**ANYWHERE, "nodeSelector": {"gpu": "yes"}}, False),
        ({**ANYWHERE, "nodeSelector": {HOST: NODE}}, True),
        ({"tolerations": [{"key": UNVERIFIED["key"], "operator": "Exists"}]}, True),
        ({}, False),
        ({"tolerations": [{"key": "other", "operator": "Exists"}]}, False),
    ],
    ids=["everywhere", "gpu", "by name", "tolerates", "does not tolerate", "another taint"],
)
def test_daemon_set_counts_where_its_pods_may_run(spec: dict[str, Any], counts: bool) -> None:
    lacks = Cluster(node()).apply(daemon("cni", **spec)).machine.lacks
    assert lacks == ((NO_CNI,) if counts else ())


def test_taints_that_pods_of_daemon_sets_tolerate_anyway_do_not_count() -> None:
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoExecute"}
    body = node(taints=[UNREADY, cordon])
    assert Cluster(body).apply(daemon("cni")).machine.lacks == (NO_CNI,)


def test_daemon_set_that_does_not_tolerate_the_taint_of_the_pool_is_not_needed() -> None:
    declared = {"key": "only", "value": "web", "effect": "NoSchedule"}
    body = node(taints=[declared])
    assert Cluster(body).apply(daemon("cni")).machine.lacks == ()


def test_verified_node_lacks_nothing_more() -> None:
    """A DaemonSet that comes later does not take a node back."""
    cluster = Cluster(node(annotations=VERIFIED, taints=[])).apply(daemon("cni"))
    assert cluster.machine.lacks == ()


# Its pods.


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (pod("a"), GuestKind.EVICTED),
        (pod("a", meta=owned_by("ReplicaSet", "r")), GuestKind.EVICTED),
        (pod("a", meta=owned_by("DaemonSet", "d")), GuestKind.STAYS),
        (pod("a", meta={"annotations": {"kubernetes.io/config.mirror": "x"}}), GuestKind.STAYS),
        (pod("a", phase="Succeeded"), GuestKind.STAYS),
        (pod("a", phase="Failed"), GuestKind.STAYS),
        (pod("a", phase="Succeeded", meta={"deletionTimestamp": AT}), GuestKind.EVICTED),
        (pod("a", phase="Failed", meta={"deletionTimestamp": AT}), GuestKind.EVICTED),
        (
            pod(
                "a",
                meta={
                    **owned_by("ImmutableService", "s"),
                    "labels": {"immutable.dev/service": "web"},
                },
            ),
            GuestKind.INSTANCE,
        ),
        (pod("a", meta={"labels": {"immutable.dev/service": "web"}}), GuestKind.EVICTED),
    ],
)
def test_kind_of_a_pod_says_what_a_drain_does(body: dict[str, Any], kind: GuestKind) -> None:
    assert Cluster(node()).run(body).guest("a").kind is kind


def test_smoke_pod_is_known_and_stays() -> None:
    name = f"{NODE}-smoke"
    cluster = Cluster(node()).run(pod(name, namespace=HOME, phase="Running"))
    assert cluster.machine.smoke == "Running"
    assert cluster.guest(name).kind is GuestKind.STAYS
    assert Cluster(node()).run(pod(name, namespace="shop")).machine.smoke == ""
    assert Cluster(node()).run(pod(name, namespace=HOME, phase="")).machine.smoke == "Pending"


DEBUG: dict[str, Any] = {"hostPID": True}


@pytest.mark.parametrize(
    ("body", "reached"),
    [
        (pod("debug", **DEBUG), True),
        (pod("debug"), False),
        (pod("debug", namespace="kube-system", **DEBUG), False),
        (pod("debug", meta=owned_by("DaemonSet", "d"), **DEBUG), False),
        (
            pod("debug", meta={"annotations": {"kubernetes.io/config.mirror": "x"}}, **DEBUG),
            False,
        ),
        (pod("debug", phase="Succeeded", **DEBUG), True),
        (pod("debug", on="other", **DEBUG), False),
    ],
    ids=["debug", "ordinary", "exempt", "DaemonSet", "mirror", "ended", "elsewhere"],
)
def test_pod_with_access_reached_into_the_node(body: dict[str, Any], reached: bool) -> None:
    found = Cluster(node()).run(body).machine.reached
    said = "pod shop/debug uses the process namespace of the node (hostPID)"
    assert found == (said if reached else "")


# Pods that could run nowhere else.


def _claims(name: str) -> list[dict[str, Any]]:
    return [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]


def test_pod_with_a_volume_of_this_node_only_can_run_nowhere_else() -> None:
    cluster = Cluster(node()).run(pod("db", volumes=_claims("data"))).provision("shop/data", NODE)
    assert "uses PersistentVolumeClaim data, whose volume" in cluster.guest("db").homeless


@pytest.mark.parametrize("claim", ["shop/other", "bar/data"])
def test_volume_of_another_claim_keeps_no_pod(claim: str) -> None:
    cluster = Cluster(node()).run(pod("db", volumes=_claims("data"))).provision(claim, NODE)
    assert cluster.guest("db").homeless == ""


def test_volume_of_another_node_keeps_no_pod_here() -> None:
    cluster = Cluster(node()).run(pod("db", volumes=_claims("data"))).provision("shop/data", "n2")
    assert cluster.guest("db").homeless == ""


FREE = node("free", annotations={**VERIFIED, "immutable.dev/pool-uid": ""}, taints=[])
PORTS = [{"containerPort": 80, "hostPort": 8080}]
PORT: dict[str, Any] = {"containers": [{"name": "a", "ports": PORTS}]}
APART: dict[str, Any] = {
    "affinity": {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": HOST}
            ]
        }
    }
}
LABELED = {"labels": {"app": "db"}}


@pytest.mark.parametrize("spec", [PORT, APART], ids=["host port", "anti-affinity"])
def test_pod_that_needs_a_node_of_its_own_needs_another_one(spec: dict[str, Any]) -> None:
    mine = pod("db", meta=LABELED, **spec)
    alone = Cluster(node()).run(mine)
    assert alone.guest("db").homeless.startswith("needs a node without pods")
    assert Cluster(node(), FREE).run(mine).guest("db").homeless == ""
    taken = pod("db-2", meta=LABELED, on="free", **spec)
    assert Cluster(node(), FREE).run(mine, taken).guest("db").homeless
    over = pod("db-2", meta=LABELED, on="free", phase="Succeeded", **spec)
    assert Cluster(node(), FREE).run(mine, over).guest("db").homeless == ""


@pytest.mark.parametrize(
    "change",
    [
        {"unschedulable": True},
        {"taints": [{"key": "only", "effect": "NoSchedule"}]},
        {"ready": False},
        {"meta": {"deletionTimestamp": AT}},
    ],
    ids=["cordoned", "tainted", "not Ready", "being deleted"],
)
def test_node_that_takes_no_pods_is_no_other_place(change: dict[str, Any]) -> None:
    other = node("free", **{"annotations": VERIFIED, "taints": [], **change})
    cluster = Cluster(node(), other).run(pod("db", **PORT))
    assert cluster.guest("db").homeless


def test_node_whose_taint_the_pod_tolerates_is_another_place() -> None:
    other = node("free", annotations=VERIFIED, taints=[{"key": "only", "effect": "NoSchedule"}])
    mine = pod("db", **PORT, tolerations=[{"key": "only", "operator": "Exists"}])
    assert Cluster(node(), other).run(mine).guest("db").homeless == ""


def test_node_that_a_pod_does_not_select_is_no_other_place() -> None:
    mine = pod("db", **PORT, nodeSelector={"disk": "ssd"})
    assert Cluster(node(), FREE).run(mine).guest("db").homeless
    fast = node("fast", labels={"disk": "ssd"}, annotations=VERIFIED, taints=[])
    assert Cluster(node(), FREE, fast).run(mine).guest("db").homeless == ""


def test_anti_affinity_across_namespaces_and_other_topologies_counts_as_written() -> None:
    there = pod("db-2", namespace="bar", meta=LABELED, on="free")
    mine = pod("db", meta=LABELED, **APART)
    assert Cluster(node(), FREE).run(mine, there).guest("db").homeless == ""
