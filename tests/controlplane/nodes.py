"""Simulated nodes: adding them, and simulating their failures.

The label ``sim/node`` of a node controls KWOK (``stages/nodes.yaml``): ``not-ready`` (the kubelet
runs and reports NotReady), ``lost`` (the kubelet does not respond: nothing on the node starts,
changes or ends), or no label (the node works).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from tests.controlplane.access import Access
from tests.controlplane.api import STRATEGIC_PATCH, ApiError, Json
from tests.controlplane.build import KUBERNETES_VERSION
from tests.controlplane.components import SIMULATED

__all__ = ["Nodes"]

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
SETTLE_SECONDS = 0.2
DISK = {"ephemeral-storage": "500Gi"}
# kwok writes as the kubelets do, so that policies and the audit log see it so.
KUBELET = "kwok"


class Nodes(Access):
    """The nodes of a control plane."""

    def add_nodes(
        self, count: int, cpu: str = "32", memory: str = "256Gi", pods: int = 1000
    ) -> list[str]:
        """Add simulated nodes ``node-0`` …, after the existing ones; wait for Ready."""
        taken = {item["metadata"]["name"] for item in self.api().get("/api/v1/nodes")["items"]}
        free = (name for i in range(len(taken) + count) if (name := f"node-{i}") not in taken)
        names = [next(free) for _ in range(count)]
        for name in names:
            capacity = {"cpu": cpu, "memory": memory, "pods": str(pods), **DISK}
            self.api().request("POST", "/api/v1/nodes", _node(name, capacity))
        self._wait_until(f"{', '.join(names)} are Ready", lambda: all(map(self._is_well, names)))
        return names

    def set_node(self, name: str, word: str | None) -> None:
        """Set the label ``sim/node=<word>`` of a node, or remove it, without waiting."""
        body = {"metadata": {"labels": {"sim/node": word}}}
        self.api().merge_patch(f"/api/v1/nodes/{name}", body)

    def node_ready(self, name: str) -> str:
        """Status of the node's Ready condition: True, False, Unknown, or "" for none."""
        return _condition(self.api().get(f"/api/v1/nodes/{name}"), "Ready")

    def lose_node(self, name: str) -> None:
        """Stop the kubelet of the node, and immediately write what the cluster would write later.

        The controller manager makes these two writes after 50 s: Ready=Unknown for the node, and
        Ready=False for its pods. The controller manager itself adds the taints and evicts pods.
        """
        self.set_node(name, "lost")
        now = _now()
        unknown = {
            "type": "Ready",
            "status": "Unknown",
            "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
            "lastTransitionTime": now,
        }
        self._status_patch(f"/api/v1/nodes/{name}", {"conditions": [unknown]})
        # Again until it lasts: kwok may hear of the pods before it hears of the node.
        while ready := [p for p in self.pods_on(name) if _condition(p, "Ready") == "True"]:
            for pod in ready:
                not_ready = {"type": "Ready", "status": "False", "lastTransitionTime": now}
                self._status_patch(_path(pod), {"conditions": [not_ready]})
            time.sleep(SETTLE_SECONDS)

    def restore_node(self, name: str) -> None:
        """End ``not-ready`` or ``lost``; wait until the node is Ready again."""
        self.set_node(name, None)
        self._wait_until(f"node {name} is Ready again", lambda: self._is_well(name))

    def reboot_node(self, name: str) -> str:
        """Reboot: NotReady, a new bootID, every container restarted, Ready; the new bootID."""
        self.set_node(name, "not-ready")
        self._wait_until(f"node {name} is NotReady", lambda: self.node_ready(name) == "False")
        boot_id = str(uuid.uuid4())
        self._status_patch(f"/api/v1/nodes/{name}", {"nodeInfo": {"bootID": boot_id}})
        for pod in self.pods_on(name):
            self._restart_containers(pod)
        self.restore_node(name)
        return boot_id

    def pods_on(self, name: str) -> list[Json]:
        """The pods that are bound to a node, in all namespaces."""
        path = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{name}"
        items: list[Json] = self.api().get(path)["items"]
        return items

    def _restart_containers(self, pod: Json) -> None:
        """The state after a boot: all containers were restarted, and none is ready."""
        statuses = pod["status"].get("containerStatuses") or []
        if not any("running" in status.get("state", {}) for status in statuses):
            return
        now = _now()
        for status in statuses:
            ended = {"exitCode": 255, "reason": "Unknown", "finishedAt": now}
            ended |= {"startedAt": status["state"].get("running", {}).get("startedAt", now)}
            status["lastState"] = {"terminated": ended | {"containerID": status["containerID"]}}
            status["state"] = {"running": {"startedAt": now}}
            status["containerID"] = f"containerd://{uuid.uuid4().hex}{uuid.uuid4().hex}"
            status["restartCount"] += 1
            status["ready"] = False
        stage = {"type": "sim/stage", "status": "True", "reason": "Started"}
        conditions = [stage | {"message": str(time.time_ns() // 1_000_000)}]
        for kind in ("Ready", "ContainersReady"):
            conditions.append({"type": kind, "status": "False", "lastTransitionTime": now})
        self._status_patch(_path(pod), {"conditions": conditions, "containerStatuses": statuses})

    def _status_patch(self, path: str, status: Json) -> None:
        api = self.api(KUBELET)
        try:
            api.request("PATCH", f"{path}/status", {"status": status}, STRATEGIC_PATCH)
        except ApiError as error:
            if error.status != 404:
                raise

    def _is_well(self, name: str) -> bool:
        """Ready, and the initial taint of the node was removed."""
        node = self.api().get(f"/api/v1/nodes/{name}")
        taints = {taint["key"] for taint in node["spec"].get("taints", ())}
        unwell = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
        return _condition(node, "Ready") == "True" and not taints & unwell

    def _wait_until(self, what: str, check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not check():
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"timeout after {READY_SECONDS:g} s: {what}; see"
                    f" {self._run.folder / 'kwok.log'}"
                )
            time.sleep(POLL_SECONDS)


def _node(name: str, capacity: dict[str, str]) -> Json:
    """A node as its kubelet registers it. Changing unset identifiers would look like a reboot."""
    machine = uuid.uuid4()
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "type": "kwok",
                SIMULATED[0]: SIMULATED[1],
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": str(uuid.uuid4()),
                "containerRuntimeVersion": "containerd://2.4.2",
                "kernelVersion": "6.18.0-simulated",
                "kubeProxyVersion": KUBERNETES_VERSION,
                "kubeletVersion": KUBERNETES_VERSION,
                "machineID": machine.hex,
                "operatingSystem": "linux",
                "osImage": "Simulated node (KWOK)",
                "systemUUID": str(machine),
            },
        },
    }


def _condition(item: Json, kind: str) -> str:
    """Status of a condition; "" if there is none."""
    conditions = item.get("status", {}).get("conditions") or []
    return next((str(c["status"]) for c in conditions if c["type"] == kind), "")


def _path(pod: Json) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
