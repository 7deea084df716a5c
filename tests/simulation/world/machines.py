"""Nodes of pools, the machines behind them, and the pods on them: all that is not the operator.

A pool's nodes are born by the operator. Their kubelets register, become Ready, run a pod of each
DaemonSet and the smoke pod. Pods of a workload that nobody else moves run on whatever admits them,
and are created again elsewhere when they leave. What becomes of a node follows from the letter of
its image, as it does for pods: A and B work, C never becomes Ready, on D no pod of a DaemonSet
does, on E the smoke pod fails, F is refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.simulation.world.api import NAMESPACE, ModelApi
from tests.simulation.world.cluster import Cluster, Node
from tests.simulation.world.families import NODES
from tests.simulation.world.storage import Commit, Key, Obj

__all__ = ["Machines", "is_of_pool"]

POOL_UID = "immutable.dev/pool-uid"
SYSTEM = "kube-system"
AGENT = "agent"
GUEST = {"app": "guest"}
TOLERATES_ALL = [{"operator": "Exists"}]


def is_of_pool(node: Obj) -> bool:
    return POOL_UID in (node["metadata"].get("annotations") or {})


def pod_spec(node: str = "", **more: Any) -> Obj:
    """The spec of a pod that works, bound to a node or not."""
    image = f"registry.example/web@sha256:{'a' * 64}"
    container = {"name": "web", "image": image}
    bound = {"nodeName": node} if node else {}
    return {"containers": [container], "terminationGracePeriodSeconds": 2, **bound, **more}


class Machines(Cluster):
    """``guests`` is how many pods the workload has; ``daemons_work`` whether DaemonSets' pods do.

    One node is nobody's: the operator must not touch it.
    """

    sizes = (1,)

    def __init__(self, api: ModelApi, rng: random.Random, tell: Callable[[str, str], None]) -> None:
        super().__init__(api, rng, tell)
        self.guests = rng.choice([0, 2, 4])
        self.daemons_work = True
        self._boots = self._guests_made = 0
        meta = {"name": AGENT, "namespace": SYSTEM, "uid": api.storage.new_uid()}
        template = {"spec": {"tolerations": TOLERATES_ALL}}
        body = {"metadata": meta, "spec": {"template": template}}
        self._agent = api.storage.commit("jane", "daemonsets", None, body).obj
        self._after(0.5, self.tend)

    def pool_nodes(self) -> list[Obj]:
        return [n for n in self.api.storage.all("nodes") if is_of_pool(n)]

    # What follows from a commit.

    def _heard(self, commit: Commit) -> None:
        super()._heard(commit)
        obj, name = commit.obj, commit.obj["metadata"]["name"]
        if commit.resource == "nodes" and is_of_pool(obj):
            self._node_changed(commit, name)
        elif commit.resource == "pods":
            if commit.before is None and obj["spec"].get("nodeName"):
                self._after(0.3, self._start_bound, (obj["metadata"]["namespace"], name))
            if commit.after is None and (obj["metadata"].get("labels") or {}) == GUEST:
                self._after(0.5, self.tend)

    def _node_changed(self, commit: Commit, name: str) -> None:
        if commit.after is None:
            self.nodes.pop(name, None)
            self._after(3.0, self._bury, name)
            return
        if commit.before is None:
            self.nodes[name] = Node(name, cordoned=True)
            self._after(self.start_seconds, self._boot, name, commit.obj["metadata"]["uid"])
        spec = commit.after["spec"]
        closed = bool(spec.get("unschedulable") or spec.get("taints"))
        if self.nodes[name].cordoned and not closed:
            self._after(0.1, self._schedule_all)
        self.nodes[name].cordoned = closed

    # Life of a node.

    def node(self, name: str, uid: str = "") -> Obj | None:
        found = self.api.storage.get("nodes", ("", name))
        return found if found is not None and uid in ("", found["metadata"]["uid"]) else None

    def _boot(self, name: str, uid: str) -> None:
        """Its kubelet registers: it is Ready, or says that it is not."""
        node = self.node(name, uid)
        if node is not None:
            letter = NODES.letter(node)
            self._say_node(name, ready=letter != "C", machineID=f"m-{uid[-4:]}", bootID="boot-0")
            if letter != "C":
                self._run_agent(name, uid)

    def _say_node(self, name: str, *, ready: bool, **facts: str) -> None:
        """What the kubelet of a node, or the node controller in its place, says of it."""
        node = self.node(name)
        if node is None:
            return
        before = {c["type"]: c for c in node["status"]["conditions"]}.get("Ready")
        condition = self._condition("Ready", str(ready), "", "")
        if before is not None and before["status"] == str(ready):
            condition = before
        info = {**node["status"]["nodeInfo"], **facts}
        status = {**node["status"], "conditions": [condition], "nodeInfo": info}
        if status != node["status"]:
            self.api.storage.commit("kubelet", "nodes", node, {**node, "status": status})

    def _run_agent(self, name: str, uid: str) -> None:
        """The controller of DaemonSets: one pod a node, as long as there is the node."""
        if self.node(name, uid) is None:
            return
        key = (SYSTEM, f"{AGENT}-{name}")
        if self.api.storage.get("pods", key) is None:
            meta = self._agent["metadata"]
            owner = {"kind": "DaemonSet", "name": AGENT, "uid": meta["uid"], "controller": True}
            self._create(key, {}, pod_spec(name, tolerations=TOLERATES_ALL), owner)
        self._after(20.0, self._run_agent, name, uid)

    def _create(self, key: Key, labels: Obj, spec: Obj, owner: Obj | None = None) -> None:
        meta = {"name": key[1], "labels": labels, **({"ownerReferences": [owner]} if owner else {})}
        body = {"metadata": meta, "spec": spec}
        self.api.ask("controller", "POST", f"/api/v1/namespaces/{key[0]}/pods", body)

    # Pods on nodes.

    def _start_bound(self, key: Key) -> None:
        """The kubelet starts a pod that was bound from the beginning."""
        pod = self.api.storage.get("pods", key)
        node = self.node(pod["spec"]["nodeName"]) if pod is not None else None
        if pod is None or node is None:
            return
        uid, letter = pod["metadata"]["uid"], NODES.letter(node)
        if key[1].endswith("-smoke"):
            self._after(2.0, self._finish, key, uid, letter != "E")
        elif key[0] == SYSTEM and (letter == "D" or not self.daemons_work):
            self._after(2.0, self._start_bound, key)
        else:
            self._after(1.0, self.become_ready, key, uid)

    def _finish(self, key: Key, uid: str, succeeds: bool) -> None:
        if self._same(key, uid) is not None:
            phase = "Succeeded" if succeeds else "Failed"
            over = {"terminated": {"exitCode": int(not succeeds)}}
            self._say(key, uid, phase, {"state": over})

    def tend(self) -> None:
        """The controller of the workload: as many pods as there are to be."""
        pods = self.api.storage.all("pods")
        there = [p for p in pods if (p["metadata"].get("labels") or {}) == GUEST]
        for _ in range(self.guests - len(there)):
            self._guests_made += 1
            self._create((NAMESPACE, f"guest-{self._guests_made}"), GUEST, pod_spec())
        for pod in there[self.guests :]:
            self.api.remove("controller", "pods", pod, {})

    def _bury(self, name: str) -> None:
        """The pod garbage collector takes the pods of a node that is gone."""
        if self.node(name) is None:
            for pod in self.pods_on(name):
                self.api.remove("pod gc", "pods", pod, {"gracePeriodSeconds": 0})

    # What befalls nodes.

    def change(self, name: str, **facts: str) -> None:
        """Something changes a node in place."""
        self.tell("node", f"{name} is changed in place: {', '.join(facts)}")
        node = self.node(name)
        if node is not None and node["status"]["conditions"]:
            ready = any(c["status"] == "True" for c in node["status"]["conditions"])
            self._say_node(name, ready=ready, **facts)

    def reboot(self, name: str, seconds: float) -> None:
        if self._is_silent(name):
            return
        self.tell("node", f"{name} reboots")
        self._say_node(name, ready=False)
        self.loop.after(seconds, self._back, name)

    def _back(self, name: str) -> None:
        if not self._is_silent(name):
            self._booted(name)

    def _is_silent(self, name: str) -> bool:
        """Whether its kubelet died: nothing that happens to it is seen until it is renewed."""
        node = self.nodes.get(name)
        return node is not None and node.silent

    def _booted(self, name: str) -> None:
        self._boots += 1
        self._say_node(name, ready=True, bootID=f"boot-{self._boots}")

    def lose_node(self, name: str) -> None:
        """Its kubelet dies; it comes back as another boot, or its machine is gone for good."""
        node = self.nodes.get(name)
        found = self.node(name)
        if node is None or node.silent or found is None or not is_of_pool(found):
            return
        node.silent = True
        self.tell("node", f"{name} is silent")
        self.loop.after(5.0, self._lost, name)
        self.loop.after(60.0, self._renew_node, name)

    def _lost(self, name: str) -> None:
        self._say_node(name, ready=False)
        self._give_up(name)
        self._after(10.0, self._evict_lost, name)

    def _renew_node(self, name: str) -> None:
        found, node = self.node(name), self.nodes.get(name)
        if found is None or node is None:
            return
        node.silent = False
        if self.rng.random() < 0.5:
            self._booted(name)
            for pod in self.pods_on(name):
                if "deletionTimestamp" in pod["metadata"]:
                    self.api.remove("kubelet", "pods", pod, {"gracePeriodSeconds": 0})
        else:
            self.api.remove("cloud controller", "nodes", found, {})

    def _show(self, name: str, taint: str = "") -> None:
        """Cordon or uncordon a node of a pool; nothing else of it is known here."""
        found = self.node(name)
        if found is None or not is_of_pool(found):
            super()._show(name, taint)
            return
        spec = {k: v for k, v in found["spec"].items() if k != "unschedulable"}
        spec["taints"] = [t for t in spec.get("taints") or () if t["key"].startswith("immutable")]
        if self.nodes[name].cordoned:
            spec["unschedulable"] = True
        if taint:
            spec["taints"].append({"key": taint, "effect": "NoSchedule"})
        self.api.storage.commit("kubectl", "nodes", found, {**found, "spec": spec})

    def uncordon(self, name: str) -> None:
        """Undo a cordon, also that of a node that is being drained."""
        if name in self.nodes:
            super().uncordon(name)

    def drain(self, name: str, tries: int = 12) -> None:
        if name in self.nodes:
            super().drain(name, tries)
