"""Nodes, the pods on them, DaemonSets and volumes as the API server returns them, and the stores
that an `Observer` reads them from."""

from __future__ import annotations

import json
from typing import Any

from immutable_operator.api.names import (
    ANNOTATION_INCARNATION,
    ANNOTATION_POOL_UID,
    ANNOTATION_REPLACES,
    ANNOTATION_SLOT,
    LABEL_POOL,
    LABEL_REVISION,
    TAINT_UNVERIFIED,
)
from immutable_operator.domain.model import Guest, Instance, Machine, instance_name
from immutable_operator.instances.nodes.observe import Observer
from immutable_operator.instances.nodes.watched import Daemons, Guests, Nodes, Volumes
from immutable_operator.wire.daemon import decode_daemon, decode_volume
from immutable_operator.wire.guest import decode_guest
from immutable_operator.wire.node import NodeRecord, decode_node
from immutable_operator.wire.owner import POOL, OwnerRecord
from tests.unit.pool_specs import pool

__all__ = [
    "HOME",
    "HOST",
    "NODE",
    "POOL_UID",
    "READY_AT",
    "UNVERIFIED",
    "Cluster",
    "daemon",
    "node",
    "owned_by",
    "pod",
    "pool_owner",
]

POOL_UID, REVISION, HOME = "pool-1", "0a1b2c3d", "immutable-system"
HOST = "kubernetes.io/hostname"
NODE = instance_name("web", POOL_UID, REVISION, 0, 0)
READY_AT = "2026-11-22T01:00:00Z"
UNVERIFIED = {"key": TAINT_UNVERIFIED, "effect": "NoSchedule"}
Json = dict[str, Any]


def pool_owner(**spec: Any) -> OwnerRecord:
    meta = {"name": "web", "uid": POOL_UID, "resourceVersion": "5", "generation": 1}
    finalizers = spec.pop("finalizers", [])
    body = {"metadata": {**meta, "finalizers": finalizers}, "spec": {**pool(), **spec}}
    return OwnerRecord.of(body, POOL, HOME)


def node(
    name: str = NODE,
    *,
    ready: bool = True,
    version: int = 7,
    taints: list[Json] | None = None,
    labels: Json | None = None,
    annotations: Json | None = None,
    meta: Json | None = None,
    info: Json | None = None,
    **spec: Any,
) -> Json:
    """A node of the pool, verified or not as its taints and annotations say."""
    own = {LABEL_POOL: "web", LABEL_REVISION: REVISION, HOST: name}
    certificate = {
        ANNOTATION_POOL_UID: POOL_UID,
        ANNOTATION_SLOT: "0",
        ANNOTATION_INCARNATION: "0",
        ANNOTATION_REPLACES: "web-before",
        "kwok.x-k8s.io/node": "fake",
    }
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": READY_AT}]
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
            "creationTimestamp": "2026-11-22T00:00:00Z",
            "labels": {**own, **(labels or {})},
            "annotations": {**certificate, **(annotations or {})},
            **(meta or {}),
        },
        "spec": {"taints": [UNVERIFIED] if taints is None else taints, **spec},
        "status": {
            "conditions": conditions,
            "nodeInfo": {"machineID": "m1", "bootID": "b1", "kernelVersion": "6.8", **(info or {})},
        },
    }


def owned_by(kind: str, uid: str) -> Json:
    reference = {"kind": kind, "name": "its-owner", "uid": uid, "controller": True}
    return {"ownerReferences": [reference]}


def pod(
    name: str,
    *,
    namespace: str = "shop",
    on: str = NODE,
    meta: Json | None = None,
    ready: bool = True,
    phase: str = "Running",
    **spec: Any,
) -> Json:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{namespace}-{name}",
            "resourceVersion": "7",
            **(meta or {}),
        },
        "spec": {"nodeName": on, "containers": [{"name": "app"}], **spec},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def daemon(name: str, **spec: Any) -> Json:
    meta = {"name": name, "namespace": "kube-system", "uid": f"uid-{name}"}
    return {"metadata": meta, "spec": {"template": {"spec": spec}}}


class Cluster:
    """The stores, filled with bodies of objects; ``now`` is what the clock shows."""

    def __init__(self, *nodes: Json, exempt: tuple[str, ...] = ("kube-system",)) -> None:
        self.now = 1_800_000_000.0
        self.nodes = Nodes(lambda owner: None, lambda name: None, lambda: self.now)
        self.guests = Guests(lambda node: None)
        self.daemons, self.volumes = Daemons(lambda: None), Volumes(lambda: None)
        self.observer = Observer(
            self.nodes, self.guests, self.daemons, self.volumes, frozenset(exempt), HOME
        )
        for body in nodes:
            self.see(body)

    def see(self, body: Json) -> NodeRecord:
        """A node as the watch shows it."""
        found = decode_node(json.dumps(body).encode())
        self.nodes.upsert(found, int(body["metadata"]["resourceVersion"]))
        return found

    def run(self, *bodies: Json) -> Cluster:
        """Pods as the watch shows them."""
        for body in bodies:
            self.guests.upsert(decode_guest(json.dumps(body).encode()), 1)
        return self

    def apply(self, *bodies: Json) -> Cluster:
        """DaemonSets as the watch shows them."""
        for body in bodies:
            self.daemons.upsert(decode_daemon(json.dumps(body).encode()), 1)
        return self

    def provision(self, claim: str, host: str) -> Cluster:
        """A volume of a claim (``<namespace>/<name>``) that exists on one host."""
        namespace, _, name = claim.partition("/")
        key = {"key": HOST, "operator": "In", "values": [host]}
        terms = {"required": {"nodeSelectorTerms": [{"matchExpressions": [key]}]}}
        spec = {"claimRef": {"namespace": namespace, "name": name}, "nodeAffinity": terms}
        body = {"metadata": {"name": f"pv-{name}", "uid": f"pv-{name}"}, "spec": spec}
        self.volumes.upsert(decode_volume(json.dumps(body).encode()), 1)
        return self

    def instance(self, name: str = NODE, owner: OwnerRecord | None = None) -> Instance:
        there = self.nodes.all[name]
        return self.observer.instance(owner or pool_owner(), there.meta, there)

    @property
    def machine(self) -> Machine:
        found = self.instance().machine
        assert found is not None
        return found

    def guest(self, name: str) -> Guest:
        return next(g for g in self.machine.guests if g.name == name)
