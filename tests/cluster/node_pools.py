"""ImmutableNodePools in tests: writing manifests, applying them, reading what came of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from immutable_operator.api.names import (
    ANNOTATION_VERIFIED,
    API_VERSION,
    LABEL_POOL,
    TAINT_RETIRING,
    TAINT_UNVERIFIED,
)
from tests.cluster.history import Change, Recording
from tests.cluster.services import CHEAPLY, condition, is_active, pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json
from tests.waiting import WAIT_SECONDS, wait_for

__all__ = ["OWN_TAINT", "NodeHistory", "Pool", "Workload", "is_verified", "on_pool", "taint_keys"]

# Keeps pods of other tests off the nodes of pools.
OWN_TAINT = "test.example/pool"
PATH = f"/apis/{API_VERSION}/immutablenodepools"


class Pool:
    """One ImmutableNodePool of a test, and what belongs to it."""

    def __init__(self, plane: ControlPlane, name: str) -> None:
        self.plane, self.name = plane, name
        self.spec: Json = {
            "replicas": 3,
            "image": {"id": "image-1"},
            "template": {"taints": [{"key": OWN_TAINT, "value": name, "effect": "NoSchedule"}]},
            "provider": {"simulated": {"capacity": {"cpu": "4", "memory": "8Gi", "pods": "50"}}},
            "rollout": {"verify": {"settle": "1s"}},
        }

    def manifest(self) -> Json:
        return {
            "apiVersion": API_VERSION,
            "kind": "ImmutableNodePool",
            "metadata": {"name": self.name},
            "spec": self.spec,
        }

    def apply(self, **changes: Any) -> None:
        """``kubectl apply`` of the manifest so far, with these fields of the spec."""
        self.spec |= changes
        self.plane.kubectl("apply", *CHEAPLY, "-f", "-", stdin=json.dumps(self.manifest()))

    def get(self) -> Json:
        return self.plane.api().get(f"{PATH}/{self.name}")

    def status(self) -> Json:
        found: Json = self.get().get("status", {})
        return found

    def condition(self, kind: str) -> Json:
        conditions = self.status().get("conditions") or []
        return next((c for c in conditions if c["type"] == kind), {})

    def blockers(self) -> dict[str, str]:
        """By reason what progress waits for."""
        return {b["reason"]: b["message"] for b in self.status().get("blockers") or []}

    def nodes(self) -> dict[str, Json]:
        """Its nodes by name."""
        found = self.plane.api().get(f"/api/v1/nodes?labelSelector={LABEL_POOL}%3D{self.name}")
        return {item["metadata"]["name"]: item for item in found["items"]}

    def until(self, what: str, check: Callable[[], object], timeout: float = WAIT_SECONDS) -> None:
        wait_for(f"pool {self.name}: {what}", check, timeout, self._told)

    def until_ready(self, timeout: float = WAIT_SECONDS) -> None:
        """Until the condition Ready is True for the present spec, and no node is left over."""
        self.until("it is ready", self.is_ready, timeout)

    def is_ready(self) -> bool:
        """Whether `until_ready` has nothing to wait for."""
        there = self.get()
        status = there.get("status") or {}
        ready = condition(there, "Ready")
        return (
            status.get("observedGeneration") == there["metadata"]["generation"]
            and ready.get("status") == "True"
            and len(self.nodes()) == there["spec"].get("replicas", 1)
            and not status.get("staleReplicas")
        )

    def delete(self) -> None:
        self.plane.kubectl("delete", "imnp", self.name, "--wait=false")

    def remove(self) -> None:
        """Delete the pool and its nodes, without ceremony."""
        self.remove_pool()
        for name in self.nodes():
            self.plane.kubectl("delete", "node", name, "--ignore-not-found", "--wait=false")

    def remove_pool(self) -> None:
        try:
            self.plane.api().merge_patch(f"{PATH}/{self.name}", {"metadata": {"finalizers": None}})
            self.plane.api().request("DELETE", f"{PATH}/{self.name}")
        except ApiError as error:
            if error.status != 404:
                raise

    def _told(self) -> str:
        rows = [
            f"{name}: {taint_keys(node)} {node['metadata'].get('annotations', {})}"
            for name, node in self.nodes().items()
        ]
        return "\n".join([json.dumps(self.status(), indent=1), *rows])


class NodeHistory(Recording):
    """The nodes of one pool."""

    def __init__(self, pool: Pool) -> None:
        selector = f"labelSelector={LABEL_POOL}%3D{pool.name}"
        super().__init__(pool.plane, f"/api/v1/nodes?{selector}")

    def assert_successor_first(self, *, most: int, fewest: int) -> None:
        """Never more than ``most`` nodes, and never fewer than ``fewest`` that take workloads."""
        for change, nodes in self.states():
            verified = sum(map(is_verified, nodes))
            told = f"after {change.kind} of {change.name}"
            assert len(nodes) <= most, f"{len(nodes)} nodes, at most {most} allowed, {told}"
            assert verified >= fewest, f"{verified} verified nodes, not {fewest}, {told}"

    def births(self) -> list[Change]:
        return [change for change in self.changes() if change.kind == "ADDED"]


@dataclass(frozen=True)
class Workload:
    """A Deployment of one pod on the nodes of a pool, and what belongs to it."""

    pool: Pool
    namespace: str
    name: str = "app"
    image: str = pin("app")

    def apply(
        self, replicas: int = 1, annotations: Mapping[str, str] | None = None, **pod: Any
    ) -> None:
        """Create it, and wait until it is available. ``pod`` are fields of the pod's spec."""
        labels = {"app": self.name}
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": dict(annotations or {})},
                    "spec": {
                        "containers": [{"name": "app", "image": self.image}],
                        **on_pool(self.pool),
                        **pod,
                    },
                },
            },
        }
        plane = self.pool.plane
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        plane.kubectl(
            *("rollout", "status", f"deployment/{self.name}", "--timeout=100s"),
            namespace=self.namespace,
        )

    def pods(self) -> list[Json]:
        path = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=app%3D{self.name}"
        items: list[Json] = self.pool.plane.api().get(path)["items"]
        return [pod for pod in items if is_active(pod)]

    def protect(self, least: int) -> None:
        """Add a PodDisruptionBudget named after the workload."""
        self.pool.plane.kubectl(
            *("create", "pdb", self.name, f"--selector=app={self.name}"),
            f"--min-available={least}",
            namespace=self.namespace,
        )

    def unprotect(self) -> None:
        self.pool.plane.kubectl("delete", "pdb", self.name, namespace=self.namespace)


def on_pool(pool: Pool) -> Json:
    """The fields of a pod's spec that place it on the nodes of a pool."""
    return {
        "nodeSelector": {LABEL_POOL: pool.name},
        "tolerations": [{"key": OWN_TAINT, "operator": "Exists"}],
    }


def taint_keys(node: Mapping[str, Any]) -> set[str]:
    """The keys of a node's taints."""
    return {taint["key"] for taint in node["spec"].get("taints") or ()}


def is_verified(node: Mapping[str, Any]) -> bool:
    """Whether workloads may run on a node, and its facts are recorded."""
    recorded = ANNOTATION_VERIFIED in node["metadata"].get("annotations", {})
    return recorded and not taint_keys(node) & {TAINT_UNVERIFIED, TAINT_RETIRING}
