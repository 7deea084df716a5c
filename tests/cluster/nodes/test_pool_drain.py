"""A retired node is drained through the eviction API; what it waits for stands in the status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from immutable_operator.api.names import TAINT_RETIRING, TAINT_UNVERIFIED
from immutable_operator.domain.families.draining import DO_NOT_DISRUPT, DRAIN_TIMEOUT
from immutable_operator.domain.families.nodes import NO_OTHER_NODE
from immutable_operator.domain.families.verifying import NOT_VERIFIED
from tests.cluster.audit import OperatorRequests
from tests.cluster.history import History
from tests.cluster.node_pools import (
    NodeHistory,
    Pool,
    Workload,
    is_verified,
    on_pool,
    taint_keys,
)
from tests.cluster.services import Service, is_ready
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

SMOKE = {"smokePod": {"image": f"registry.example/smoke@sha256:{'5' * 64}"}}


@pytest.fixture
def one(pool: Pool) -> Pool:
    pool.apply(replicas=1)
    pool.until_ready()
    return pool


@pytest.fixture
def app(one: Pool, namespace: str) -> Workload:
    return Workload(one, namespace)


def node_of(app: Workload) -> str:
    [pod] = app.pods()
    return str(pod["spec"]["nodeName"])


def test_pods_are_evicted_after_the_successor_is_verified(one: Pool, app: Workload) -> None:
    app.apply()
    with NodeHistory(one) as history:
        one.apply(image={"id": "image-2"})
        one.until_ready()
        history.assert_successor_first(most=2, fewest=1)
    one.until("the pod runs on the successor", lambda: node_of(app) in one.nodes())


def test_budget_that_does_not_let_go_is_named_and_waited_for(one: Pool, app: Workload) -> None:
    app.apply()
    app.protect(1)
    [before] = one.nodes()
    one.apply(image={"id": "image-2"})
    one.until("it is blocked", lambda: "PodDisruptionBudget" in one.blockers())
    [pod] = app.pods()
    message = one.blockers()["PodDisruptionBudget"]
    assert f"{app.namespace}/{pod['metadata']['name']}" in message
    assert f"disruption budget {app.name} " in message
    assert one.condition("Ready")["reason"] == "Draining"
    assert before in one.nodes(), "it stays as long as the budget forbids the eviction"
    assert taint_keys(one.nodes()[before]) >= {TAINT_RETIRING}
    app.unprotect()
    one.until_ready()
    assert before not in one.nodes()


def test_drain_that_lasts_too_long_is_reported_and_ended_with_delete_after(
    one: Pool, app: Workload
) -> None:
    app.apply()
    app.protect(1)
    one.apply(image={"id": "image-2"}, drain={"timeout": "3s", "onBlocked": "Wait"})
    one.until("the time-out is told", lambda: DRAIN_TIMEOUT in one.blockers())
    assert app.namespace in one.blockers()[DRAIN_TIMEOUT]
    one.apply(drain={"timeout": "3s", "onBlocked": "DeleteAfter"})
    one.until_ready()


def test_pod_that_must_not_be_disrupted_is_waited_for(one: Pool, app: Workload) -> None:
    app.apply(annotations={"karpenter.sh/do-not-disrupt": "true"})
    one.apply(image={"id": "image-2"})
    one.until("it is told", lambda: DO_NOT_DISRUPT in one.blockers())
    [pod] = app.pods()
    one.plane.kubectl(
        *("annotate", "pod", pod["metadata"]["name"], "karpenter.sh/do-not-disrupt-"),
        namespace=app.namespace,
    )
    one.until_ready()


def test_instances_of_a_service_get_their_successors_first(
    one: Pool, operators: object, namespace: str
) -> None:
    web = Service(one.plane, namespace, "web")
    web.apply(replicas=2, rollout={"maxSurge": 1}, pod=on_pool(one))
    web.until_ready()
    with History(web) as history:
        one.apply(image={"id": "image-2"})
        one.until_ready()
        web.until_ready()
        history.assert_budget(most=3, fewest=2)
    web.until("all run on the successor", lambda: _places(web) == set(one.nodes()))


def _places(web: Service) -> set[str]:
    return {pod["spec"].get("nodeName", "") for pod in web.active()}


def test_volume_that_exists_on_one_node_only_is_found_before_the_drain(
    one: Pool, app: Workload
) -> None:
    [node] = one.nodes()
    objects = local_volume(app.namespace, node)
    one.plane.kubectl("apply", "-f", "-", stdin=json.dumps(objects))
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    app.apply(volumes=[volume])
    try:
        one.apply(image={"id": "image-2"})
        one.until("it is told", lambda: NO_OTHER_NODE in one.blockers())
        assert "PersistentVolumeClaim data" in one.blockers()[NO_OTHER_NODE]
        assert is_verified(one.nodes()[node]), "the node is not even cordoned"
        one.plane.kubectl("delete", "deployment", app.name, namespace=app.namespace)
        one.until_ready()
    finally:
        one.plane.kubectl("delete", "pv", f"{app.namespace}-data", "--wait=false", check=False)


def local_volume(namespace: str, node: str) -> Json:
    """A PersistentVolume on one node and the claim that is bound to it."""
    name = f"{namespace}-data"
    on = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local",
            "local": {"path": "/data"},
            "claimRef": {"namespace": namespace, "name": "data"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on]}]}},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local",
            "volumeName": name,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [volume, claim]}


def test_anti_affinity_without_another_node_is_found_before_the_drain(
    one: Pool, app: Workload
) -> None:
    """Without a surge there is no other node for the pod."""
    term = {
        "labelSelector": {"matchLabels": {"app": app.name}},
        "topologyKey": "kubernetes.io/hostname",
    }
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    app.apply(affinity=apart)
    rollout = {**one.spec["rollout"], "maxSurge": 0, "maxUnavailable": 1}
    one.apply(rollout=rollout, image={"id": "image-2"})
    one.until("it is told", lambda: NO_OTHER_NODE in one.blockers())
    one.apply(rollout={**one.spec["rollout"], "maxSurge": 1, "maxUnavailable": 0})
    one.until_ready()


@contextmanager
def daemons(pool: Pool, namespace: str, fault: str | None) -> Iterator[None]:
    """A DaemonSet on the nodes of a pool that tolerates every taint."""
    labels = {"app": "agent"}
    annotations = {"sim/fault": fault} if fault else {}
    body = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {
                    "containers": [{"name": "agent", "image": "registry.example/agent:1"}],
                    **on_pool(pool),
                    "tolerations": [{"operator": "Exists"}],
                },
            },
        },
    }
    pool.plane.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    try:
        yield
    finally:
        pool.plane.kubectl("delete", "daemonset", "agent", namespace=namespace)


def static_pod(pool: Pool, namespace: str) -> str:
    """Report a static pod, as the kubelet of the only node of a pool does; return its name."""
    [node] = pool.nodes().values()
    name, uid = node["metadata"]["name"], node["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid, "controller": True}
    annotations = {"kubernetes.io/config.mirror": "1", "kubernetes.io/config.source": "file"}
    body = {
        "metadata": {
            "name": f"proxy-{name}",
            "annotations": annotations,
            "ownerReferences": [owner],
        },
        "spec": {
            "nodeName": name,
            "containers": [{"name": "proxy", "image": "registry.example/proxy:1"}],
            "tolerations": [{"operator": "Exists"}],
        },
    }
    kubelet = pool.plane.api(f"system:node:{name}")
    kubelet.request("POST", f"/api/v1/namespaces/{namespace}/pods", body)
    return f"proxy-{name}"


def test_pods_of_daemonsets_and_static_pods_are_not_evicted(
    one: Pool, app: Workload, namespace: str
) -> None:
    app.apply()
    static = static_pod(one, namespace)
    with daemons(one, namespace, None):
        one.plane.kubectl(
            *("rollout", "status", "daemonset/agent", "--timeout=100s"), namespace=namespace
        )
        path = f"/api/v1/namespaces/{namespace}/pods"
        there = {pod["metadata"]["name"] for pod in one.plane.api().get(path)["items"]}
        [pod] = app.pods()
        assert len(there) == 3
        assert static in there
        asked = OperatorRequests.from_now(one.plane)
        one.apply(image={"id": "image-2"})
        one.until_ready()
        left = [r.name for r in asked.writes() if r.resource == "pods" and r.name in there]
    assert set(left) == {pod["metadata"]["name"]}


def test_node_is_verified_after_the_pods_of_daemonsets_are_ready(
    pool: Pool, namespace: str
) -> None:
    with daemons(pool, namespace, "not-ready"):
        pool.apply(replicas=1)
        pool.until("the node exists", pool.nodes)
        plane = pool.plane

        def agents() -> list[Json]:
            path = f"/api/v1/namespaces/{namespace}/pods?labelSelector=app%3Dagent"
            found: list[Json] = plane.api().get(path)["items"]
            return found

        pool.until("its pod runs", agents)
        [node] = pool.nodes().values()
        assert taint_keys(node) >= {TAINT_UNVERIFIED}
        [agent] = agents()
        path = f"/api/v1/namespaces/{namespace}/pods/{agent['metadata']['name']}"
        removed = {"metadata": {"annotations": {"sim/fault": None}}}
        plane.api("kwok").merge_patch(path, removed)
        pool.until_ready()
        [agent] = agents()
        assert is_ready(agent)
        pool.apply(image={"id": "image-2"})
        # The new node's pod is not ready, either: the predecessor stays.
        pool.until("the successor exists", lambda: len(pool.nodes()) == 2)
        pool.until("its pod runs as well", lambda: len(agents()) == 2)
        assert sum(is_verified(node) for node in pool.nodes().values()) == 1
        for agent in agents():
            path = f"/api/v1/namespaces/{namespace}/pods/{agent['metadata']['name']}"
            plane.api("kwok").merge_patch(path, removed)
        pool.until_ready()


def test_daemonset_that_never_gets_ready_on_the_successor_keeps_the_predecessor(
    pool: Pool, namespace: str
) -> None:
    """It is named after a minute; at the deadline the revision has failed, for this reason."""
    pool.apply(replicas=1)
    pool.until_ready()
    [before] = pool.nodes()
    missing = f"DaemonSet {namespace}/agent has no ready pod on node"
    with daemons(pool, namespace, "not-ready"):
        pool.apply(image={"id": "image-2"})
        pool.until("it is named", lambda: NOT_VERIFIED in pool.blockers(), 120)
        assert missing in pool.blockers()[NOT_VERIFIED]
        assert is_verified(pool.nodes()[before])
        # The deadline is no part of a revision: a shorter one has passed at once.
        pool.apply(rollout={"progressDeadlineSeconds": 30, "verify": {"settle": "1s"}})
        pool.until("it went back", lambda: pool.condition("Stalled")["reason"] == "RolledBack")
        assert missing in pool.condition("Stalled")["message"]
        pool.until("the successor is gone", lambda: set(pool.nodes()) == {before})
        assert is_verified(pool.nodes()[before])


def smoke_pods(plane: ControlPlane, pool: Pool) -> list[Json]:
    path = (
        f"/api/v1/namespaces/immutable-system/pods?labelSelector=immutable.dev/pool%3D{pool.name}"
    )
    items: list[Json] = plane.api().get(path)["items"]
    return items


def end_smoke_pod(pool: Pool, phase: str) -> str:
    """Let the newest smoke pod end; give the name of its node."""
    plane = pool.plane
    pod = max(smoke_pods(plane, pool), key=lambda p: int(p["metadata"]["resourceVersion"]))
    path = f"/api/v1/namespaces/immutable-system/pods/{pod['metadata']['name']}/status"
    plane.api("kwok").merge_patch(path, {"status": {"phase": phase}})
    return str(pod["spec"]["nodeName"])


def test_node_is_verified_after_its_smoke_pod_succeeded(pool: Pool) -> None:
    pool.apply(replicas=1, rollout={"verify": {"settle": "1s", **SMOKE}})
    pool.until("its smoke pod runs", lambda: smoke_pods(pool.plane, pool))
    [node] = pool.nodes().values()
    assert taint_keys(node) >= {TAINT_UNVERIFIED}
    failed = end_smoke_pod(pool, "Failed")
    pool.until("another node is tried", lambda: set(pool.nodes()) - {failed})

    def has_its_own() -> bool:
        places = {pod["spec"]["nodeName"] for pod in smoke_pods(pool.plane, pool)}
        return bool(places - {failed})

    pool.until("with a smoke pod of its own", has_its_own)
    end_smoke_pod(pool, "Succeeded")
    pool.until_ready()
    assert failed not in pool.nodes()


def test_smoke_pod_that_never_ends_fails_the_revision_and_is_named(pool: Pool) -> None:
    pool.apply(replicas=1)
    pool.until_ready()
    [before] = pool.nodes()
    verify = {"verify": {"settle": "1s", **SMOKE}}
    pool.apply(image={"id": "image-2"}, rollout={"progressDeadlineSeconds": 15, **verify})
    pool.until("it went back", lambda: pool.condition("Stalled")["reason"] == "RolledBack")
    assert "its smoke pod has not ended" in pool.condition("Stalled")["message"]
    assert is_verified(pool.nodes()[before])


def test_node_that_never_gets_ready_blocks_its_successors_only(pool: Pool) -> None:
    """Its deadline passes: its revision failed, and the predecessor stays."""
    pool.apply(replicas=1)
    pool.until_ready()
    [before] = pool.nodes()
    pool.apply(
        image={"id": "image-2"},
        template={**pool.spec["template"], "labels": {"sim/node": "not-ready"}},
        rollout={"progressDeadlineSeconds": 4, "verify": {"settle": "1s"}},
    )
    pool.until("it went back", lambda: pool.condition("Stalled")["reason"] == "RolledBack")
    assert is_verified(pool.nodes()[before])
    assert "ProgressDeadlineExceeded" in pool.condition("Stalled")["message"]
    pool.until("the node that never got Ready is gone", lambda: set(pool.nodes()) == {before})
