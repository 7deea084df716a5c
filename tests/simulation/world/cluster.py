"""Everything around pods that is not the operator: scheduler, kubelets, node controller, GC.

What becomes of a pod follows from the letter of its image (`KINDS`), as in the toy cluster.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from immutable_operator.kube.errors import ApiError
from tests.simulation.world.api import NAMESPACE, ModelApi
from tests.simulation.world.families import letter_of
from tests.simulation.world.storage import Commit, Key, Obj

__all__ = ["GOOD", "KINDS", "Cluster", "Kind"]


@dataclass(frozen=True)
class Kind:
    """What becomes of pods of one image; times are seconds after their start."""

    about: str
    ready: bool = True
    waiting: str = ""
    crashes: bool = False
    ends: bool = False
    refused: str = ""


KINDS = {
    "A": Kind("works"),
    "B": Kind("works"),
    "C": Kind("crashes", ready=False, crashes=True),
    "D": Kind("cannot be pulled", ready=False, waiting="ImagePullBackOff"),
    "E": Kind("ends at once", ready=False, ends=True),
    "F": Kind("is refused", refused="spec.containers[0].image: a policy forbids it"),
}
GOOD = "AB"


@dataclass
class Node:
    """One node: ``silent`` since its kubelet died, ``cordoned`` against new pods."""

    name: str
    silent: bool = False
    cordoned: bool = False


class Cluster:
    """Pods live here. ``start_seconds`` is how long one takes to become ready."""

    sizes: Sequence[int] = (2, 3, 5)

    def __init__(self, api: ModelApi, rng: random.Random, tell: Callable[[str, str], None]) -> None:
        self.api, self.loop, self.rng, self.tell = api, api.loop, rng, tell
        self.start_seconds = rng.choice([1.0, 3.0, 8.0])
        self.room = 10
        self.nodes = {n: Node(n) for n in (f"n{i}" for i in range(rng.choice(self.sizes)))}
        for name in self.nodes:
            self._show(name)
        api.storage.listeners.append(self._heard)
        api.unwanted = lambda pod: KINDS[letter_of(pod)].refused or None

    # Scheduling.

    def _heard(self, commit: Commit) -> None:
        after, meta = commit.after, commit.obj["metadata"]
        if commit.resource == "pods":
            key = (meta["namespace"], meta["name"])
            if commit.before is None:
                self._after(0.05, self._schedule, key, meta["uid"])
            elif after is not None and "deletionTimestamp" in meta:
                if "deletionTimestamp" not in commit.before["metadata"]:
                    grace = after["spec"].get("terminationGracePeriodSeconds", 30)
                    self._after(grace, self._stopped, key, meta["uid"])
            elif after is None:
                self._after(0.3, self._schedule_all)
        if after is None:
            self._after(0.4, self._collect)
        elif commit.before is None and meta.get("ownerReferences"):
            self._after(2.0, self._collect)

    def _after(self, seconds: float, what: Callable[..., None], *args: Any) -> None:
        self.loop.after(seconds * self.rng.uniform(0.5, 1.5), what, *args)

    def _same(self, key: Key, uid: str) -> Obj | None:
        pod = self.api.storage.get("pods", key)
        return pod if pod is not None and pod["metadata"]["uid"] == uid else None

    def _schedule_all(self) -> None:
        for pod in self.api.storage.all("pods"):
            if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]:
                self._schedule((NAMESPACE, pod["metadata"]["name"]), pod["metadata"]["uid"])

    def _schedule(self, key: Key, uid: str) -> None:
        pod = self._same(key, uid)
        if pod is None or pod["spec"].get("nodeName"):
            return
        node = self._fitting(pod)
        if node is None:
            told = self._condition(
                "PodScheduled", "False", "Unschedulable", "0 nodes are available"
            )
            if not any(c["type"] == "PodScheduled" for c in pod["status"]["conditions"]):
                self.api.put_status("scheduler", key, {"conditions": [told]})
            return
        bound = self._condition("PodScheduled", "True", "", "")
        self.api.put_status("scheduler", key, {"conditions": [bound]}, {"nodeName": node})
        kind = KINDS.get(letter_of(pod), KINDS["A"])
        start = self.start_seconds
        if kind.ready:
            self._after(start, self.become_ready, key, uid)
        elif kind.ends:
            self._after(1.0, self._end, key, uid, "ended: exit code 1")
        elif kind.waiting:
            self._after(2.0, self._wait, key, uid, "ErrImagePull")
            self._after(12.0, self._wait, key, uid, kind.waiting)
        elif kind.crashes:
            for count, at in enumerate((2.0, 12.0, 32.0, 72.0), 1):
                self._after(at, self._crash, key, uid, count)

    def _fitting(self, pod: Obj) -> str | None:
        """The emptiest node that has room, and the port free that the pod asks for."""
        port = any(p.get("hostPort") for p in pod["spec"]["containers"][0].get("ports") or ())
        counts = {n.name: 0 for n in self.nodes.values() if not n.silent and not n.cordoned}
        taken = set()
        for other in self.api.storage.all("pods"):
            node = other["spec"].get("nodeName")
            if node in counts and other["status"]["phase"] not in ("Failed", "Succeeded"):
                counts[node] += 1
                ports = other["spec"]["containers"][0].get("ports") or ()
                if any(p.get("hostPort") for p in ports):
                    taken.add(node)
        fit = [(c, n) for n, c in counts.items() if c < self.room and not (port and n in taken)]
        return min(fit)[1] if fit else None

    # Kubelets.

    def _condition(self, kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
        words = {"reason": reason, "message": message} if reason else {}
        at = self.api.now
        return {"type": kind, "status": status, "lastTransitionTime": at, **words}

    def _say(self, key: Key, uid: str, phase: str, container: Obj, *, ready: bool = False) -> None:
        pod = self._same(key, uid)
        if pod is None or pod["status"]["phase"] in ("Failed", "Succeeded"):
            return
        node = self.nodes.get(pod["spec"]["nodeName"])
        if node is None or node.silent:
            return
        conditions = [
            c for c in pod["status"]["conditions"] if c["type"] not in ("Ready", "ContainersReady")
        ]
        for kind in ("Ready", "ContainersReady"):
            reason = "" if ready else "ContainersNotReady"
            conditions.append(self._condition(kind, str(ready), reason, "it says so"))
        image = pod["spec"]["containers"][0]["image"]
        status = {"name": "web", "image": image, "imageID": image, "ready": ready, **container}
        told = {"phase": phase, "conditions": conditions, "containerStatuses": [status]}
        self.api.put_status("kubelet", key, told)

    def become_ready(self, key: Key, uid: str) -> None:
        pod = self._same(key, uid)
        if pod is not None and "deletionTimestamp" not in pod["metadata"]:
            state = {"state": {"running": {"startedAt": self.api.now}}}
            self._say(key, uid, "Running", state, ready=True)

    def unready(self, key: Key, uid: str, seconds: float) -> None:
        """A probe fails for a while."""
        state = {"state": {"running": {"startedAt": self.api.now}}}
        self._say(key, uid, "Running", state)
        self.loop.after(seconds, self.become_ready, key, uid)

    def _wait(self, key: Key, uid: str, reason: str) -> None:
        waiting = {"reason": reason, "message": "no such image"}
        self._say(key, uid, "Pending", {"state": {"waiting": waiting}})

    def _crash(self, key: Key, uid: str, count: int) -> None:
        over = {"terminated": {"exitCode": 1, "reason": "Error"}}
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off"}
        state = {"restartCount": count, "state": {"waiting": waiting}, "lastState": over}
        self._say(key, uid, "Running", state)

    def _end(self, key: Key, uid: str, message: str) -> None:
        pod = self._same(key, uid)
        if pod is not None and pod["spec"].get("nodeName"):
            self._say(key, uid, "Failed", {"state": {"terminated": {"exitCode": 1}}})

    def end(self, pod: Obj) -> None:
        """Its node evicts it: it ends for good and stays as an object."""
        self._end((NAMESPACE, pod["metadata"]["name"]), pod["metadata"]["uid"], "Evicted")

    def _stopped(self, key: Key, uid: str) -> None:
        pod = self._same(key, uid)
        node = self.nodes.get(pod["spec"].get("nodeName", "")) if pod is not None else None
        if pod is not None and not (node and node.silent):
            self.api.remove("kubelet", "pods", pod, {"gracePeriodSeconds": 0})

    # Nodes.

    def _show(self, name: str, taint: str = "") -> None:
        """Write the object of a node: is it cordoned, and is its end announced by a taint?"""
        node = self.nodes[name]
        spec: Obj = {"unschedulable": True} if node.cordoned else {}
        if taint:
            spec["taints"] = [{"key": taint, "effect": "NoSchedule"}]
        before = self.api.storage.get("nodes", ("", name))
        uid = before["metadata"]["uid"] if before else self.api.storage.new_uid()
        after = {"metadata": {"name": name, "uid": uid}, "spec": spec}
        self.api.storage.commit("node controller", "nodes", before, after)

    def announce_end(self, name: str, *, happens: bool) -> None:
        """An autoscaler says that a node goes: it drains it, or it changes its mind."""
        node = self.nodes[name]
        if node.silent or node.cordoned:
            return
        self.tell("node", f"{name} is to go{'' if happens else ', or not'}")
        node.cordoned = True
        self._show(name, "karpenter.sh/disrupted")
        wait = self.rng.choice([1.0, 15.0, 40.0])
        if happens:
            self.loop.after(wait, self.drain, name)
        else:
            self.loop.after(wait, self.uncordon, name)

    def lose_node(self, name: str) -> None:
        """Its kubelet dies; its pods are given up, then deleted, then the node is recreated."""
        node = self.nodes[name]
        if node.silent:
            return
        node.silent = True
        self.tell("node", f"{name} is silent")
        self.loop.after(5.0, self._give_up, name)
        self.loop.after(20.0, self._evict_lost, name)
        self.loop.after(60.0, self._renew_node, name)

    def pods_on(self, node: str) -> list[Obj]:
        return [p for p in self.api.storage.all("pods") if p["spec"].get("nodeName") == node]

    def _give_up(self, name: str) -> None:
        for pod in self.pods_on(name):
            conditions = [
                self._condition("Ready", "False", "", "") if c["type"] == "Ready" else c
                for c in pod["status"]["conditions"]
            ]
            key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
            self.api.put_status("node controller", key, {"conditions": conditions})

    def _evict_lost(self, name: str) -> None:
        for pod in self.pods_on(name):
            why = self._condition("DisruptionTarget", "True", "DeletionByTaintManager", "deleting")
            self.api.remove("node controller", "pods", pod, {}, why)

    def _renew_node(self, name: str) -> None:
        """The pod garbage collector takes what is left, and a new node has the old name."""
        for pod in self.pods_on(name):
            self.api.remove("pod gc", "pods", pod, {"gracePeriodSeconds": 0})
        self.nodes[name] = Node(name)
        self._show(name)
        self._after(1.0, self._schedule_all)

    def drain(self, name: str, tries: int = 12) -> None:
        """Cordon a node and evict its pods, as kubectl drain does; uncordon it in the end."""
        node = self.nodes[name]
        if not node.cordoned:
            self.tell("node", f"{name} is drained")
        if not node.cordoned:
            node.cordoned = True
            self._show(name)
        left = [p for p in self.pods_on(name) if "deletionTimestamp" not in p["metadata"]]
        left = [p for p in left if p["metadata"]["namespace"] == NAMESPACE]
        for pod in left:
            path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/eviction"
            try:
                self.api.ask("kubectl drain", "POST", path, {"metadata": {}})
            except ApiError:
                continue
        if left and tries:
            self.loop.after(5.0, self.drain, name, tries - 1)
        else:
            self.loop.after(20.0, self.uncordon, name)

    def uncordon(self, name: str) -> None:
        self.nodes[name].cordoned = False
        self._show(name)
        self._schedule_all()

    # Garbage collection by owner.

    def _collect(self) -> None:
        """Take what belongs to nobody any more."""
        everything = list(self.api.storage.everything())
        living = {obj["metadata"]["uid"] for _, obj in everything}
        for resource, obj in everything:
            owners = obj["metadata"].get("ownerReferences") or ()
            if owners and not any(owner["uid"] in living for owner in owners):
                self.api.remove("garbage collector", resource, obj, {})
