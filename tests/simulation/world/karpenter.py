"""Karpenter: it starts and ends a machine for each NodeClaim, drains its node, or gives it up.

A machine registers as a node under a name of its own, without anything of the pool; Karpenter then
gives the node the labels, annotations and taints of its claim. Claims and nodes are deleted only
when Karpenter takes its finalizer off. What becomes of a machine follows from the letter of its
image, as for other nodes; F is started from another image, G cannot be started, and H never
registers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from immutable_operator.kube.errors import ApiError
from tests.simulation.world.admission import is_ready
from tests.simulation.world.api import ModelApi
from tests.simulation.world.cluster import Node
from tests.simulation.world.families import CLAIMS, IMAGE, NODES, uid_of
from tests.simulation.world.machines import SYSTEM, Machines, is_of_pool
from tests.simulation.world.storage import Commit, Obj

__all__ = ["KARPENTER", "PROVIDER", "Karpenter"]

KARPENTER = "karpenter"
GROUP, KIND, CLASSES, CLASS = "cloud.example", "CloudNodeClass", "cloudnodeclasses", "default"
REF = {"group": GROUP, "kind": KIND, "name": CLASS}
# What a pool asks for.
PROVIDER: Obj = {KARPENTER: {"nodeClassRef": REF, "requirements": [], "resources": {}}}
FINALIZER = "karpenter.sh/termination"
UNREGISTERED = {"key": "karpenter.sh/unregistered", "effect": "NoExecute"}
DISRUPTED = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
# How long a machine may take to register.
PATIENCE = 900.0
WRONG = "img-other"


class Karpenter(Machines):
    """``away`` says that it does nothing now; what it missed it does when it is back."""

    def __init__(self, api: ModelApi, rng: random.Random, tell: Callable[[str, str], None]) -> None:
        super().__init__(api, rng, tell)
        self.away = False
        self._machines: dict[str, str] = {}  # by the uid of a claim the name of its node to be
        self._started = 0
        api.kinds[GROUP] = (KIND, CLASSES)
        self.serve_class(ready=True)

    def serve_class(self, *, ready: bool | None) -> None:
        """Let the node class be ready or not, or be missing."""
        self.tell(KARPENTER, f"the node class is ready: {ready}")
        before = self.api.storage.get(CLASSES, ("", CLASS))
        if ready is None:
            if before is not None:
                self.api.storage.commit("admin", CLASSES, before, None)
            return
        meta = {"name": CLASS, "uid": self.api.storage.new_uid()}
        status = {"conditions": [self._condition("Ready", str(ready), "Subnet", "no subnet")]}
        body = {"metadata": meta, "spec": {}, "status": status}
        self.api.storage.commit("admin", CLASSES, before, body)

    def leave(self, seconds: float) -> None:
        """Its process is away for a while."""
        self.tell(KARPENTER, f"is away for {seconds:g} s")
        self.away = True
        self.loop.after(seconds, self.come_back)

    def come_back(self) -> None:
        self.away = False
        for claim in self.api.storage.all(CLAIMS):
            self._soon(claim["metadata"]["uid"])
        for node in self.api.storage.all("nodes"):
            self._soon(uid_of(node))

    # What it hears of.

    def _heard(self, commit: Commit) -> None:
        super()._heard(commit)
        if commit.resource == CLAIMS:
            self._soon(commit.obj["metadata"]["uid"])
        elif commit.resource == "nodes":
            name = commit.obj["metadata"]["name"]
            if commit.after is None and not is_of_pool(commit.obj):
                self.nodes.pop(name, None)
                self._after(3.0, self._bury, name)
            uids = [uid for uid, machine in self._machines.items() if machine == name]
            for uid in uids or [uid_of(commit.obj)]:
                self._soon(uid)

    def _soon(self, uid: str) -> None:
        self._after(0.2, self._reconcile, uid)

    def claim(self, uid: str) -> Obj | None:
        found = (c for c in self.api.storage.all(CLAIMS) if c["metadata"]["uid"] == uid)
        return next(found, None)

    def node_of(self, uid: str) -> Obj | None:
        """The node of a claim, registered or not."""
        nodes = self.api.storage.all("nodes")
        named = self.node(self._machines.get(uid, ""))
        return named or next((node for node in nodes if uid_of(node) == uid), None)

    def _reconcile(self, uid: str) -> None:
        claim, node = self.claim(uid), self.node_of(uid)
        if self.away:
            return
        if claim is None:
            if node is not None and "deletionTimestamp" in node["metadata"]:
                self._drain(uid, node)
            return
        launched = self._says(claim, "Launched")
        if "deletionTimestamp" in claim["metadata"]:
            self._terminate(claim, node)
        elif FINALIZER not in (claim["metadata"].get("finalizers") or ()):
            self._write(CLAIMS, claim, finalizers=[FINALIZER])
        elif node is not None and "deletionTimestamp" in node["metadata"]:
            self.api.remove(KARPENTER, CLAIMS, claim, {})
        elif not launched:
            self._launch(claim)
        elif node is not None and not is_of_pool(node):
            self._register(claim, node)
        elif node is not None and not self._says(claim, "Registered"):
            self._say_claim(claim, "Registered", nodeName=node["metadata"]["name"])
        elif node is None and self._says(claim, "Registered"):
            self._give_back(claim, "its node is gone")

    # Starting machines.

    def _launch(self, claim: Obj) -> None:
        letter = NODES.letter(claim)
        meta = claim["metadata"]
        node_class = self.api.storage.get(CLASSES, ("", CLASS))
        if letter == "G":
            if "status" not in claim:
                said = self._condition("Launched", "Unknown", "LaunchFailed", "no such type")
                self._write(CLAIMS, claim, status={"conditions": [said]})
        elif node_class is None:
            self._after(1.0, self._tell_why, meta, f'{KIND} "{CLASS}" not found')
            self._give_back(claim, "there is no node class")
        elif not is_ready(node_class):
            self._give_back(claim, "its node class is not ready")
        elif self.api.machines is not None and self.api.machines <= 0:
            self._after(1.0, self._tell_why, meta, "no machine of this type is left")
            self._give_back(claim, "there is no capacity")
        else:
            image = WRONG if letter == "F" else meta["annotations"][IMAGE]
            self._say_claim(claim, "Launched", imageID=image)
            self._started += 1
            self._machines[meta["uid"]] = f"ip-{self._started}"
            if letter != "H":
                self._after(self.start_seconds, self._boot_machine, meta["uid"], image)
            self.loop.after(PATIENCE, self._lose_patience, meta["uid"])

    def _give_back(self, claim: Obj, why: str) -> None:
        self.tell(KARPENTER, f"gives up {claim['metadata']['name']}: {why}")
        self.api.remove(KARPENTER, CLAIMS, claim, {})

    def _tell_why(self, meta: Obj, message: str) -> None:
        """An event may come after the end of the claim."""
        uid = self.api.storage.new_uid()
        body = {
            "metadata": {"name": f"{meta['name']}.{uid}", "namespace": "default", "uid": uid},
            "involvedObject": {"kind": "NodeClaim", "name": meta["name"], "uid": meta["uid"]},
            "reason": "InsufficientCapacityError",
            "message": message,
        }
        self.api.storage.commit(KARPENTER, "events", None, body)

    def _lose_patience(self, uid: str) -> None:
        claim = self.claim(uid)
        if self.away or claim is None or "deletionTimestamp" in claim["metadata"]:
            return
        if not self._says(claim, "Registered"):
            self._give_back(claim, "its machine did not register")

    def _boot_machine(self, uid: str, image: str) -> None:
        """The kubelet of a new machine registers; it knows nothing of the pool."""
        name = self._machines.get(uid)
        if name is None or self.node(name) is not None:
            return
        self.nodes[name] = Node(name, cordoned=True)
        known = {"creationTimestamp": self.api.now, "generation": 1}
        meta = {"name": name, "uid": self.api.storage.new_uid(), **known}
        facts = {"osImage": f"Linux ({image})", "kernelVersion": "6.1", "kubeletVersion": "v1"}
        facts["containerRuntimeVersion"] = "containerd://2"
        status = {"conditions": [], "nodeInfo": {"machineID": "", "bootID": "", **facts}}
        body = {"metadata": meta, "spec": {"taints": [UNREGISTERED]}, "status": status}
        self.api.storage.commit("kubelet", "nodes", None, body)
        self._after(1.0, self._boot, name, meta["uid"])

    def _register(self, claim: Obj, node: Obj) -> None:
        meta = claim["metadata"]
        owner = {"kind": "NodeClaim", "name": meta["name"], "uid": meta["uid"]}
        taints = [*claim["spec"].get("taints", ()), *claim["spec"]["startupTaints"]]
        self._write(
            "nodes",
            node,
            spec={"taints": taints},
            labels=meta["labels"],
            annotations=meta["annotations"],
            ownerReferences=[owner],
            finalizers=[FINALIZER],
        )

    # Ending them.

    def _terminate(self, claim: Obj, node: Obj | None) -> None:
        uid = claim["metadata"]["uid"]
        if node is None:
            self._machines.pop(uid, None)
            self._write(CLAIMS, claim, finalizers=[])
        elif "deletionTimestamp" not in node["metadata"]:
            self.api.remove(KARPENTER, "nodes", node, {})
        else:
            self._drain(uid, node)

    def _drain(self, uid: str, node: Obj) -> None:
        """Evict what is left on a node, unless its machine does not answer; then end it."""
        name, taints = node["metadata"]["name"], node["spec"].get("taints") or []
        if DISRUPTED not in taints:
            self._write("nodes", node, spec={**node["spec"], "taints": [*taints, DISRUPTED]})
            return
        left = [pod for pod in self.pods_on(name) if self._is_in_the_way(pod)]
        if not left or not any(c["status"] == "True" for c in node["status"]["conditions"]):
            self._machines.pop(uid, None)
            self._write("nodes", node, finalizers=[])
            return
        for pod in left:
            meta = pod["metadata"]
            path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/eviction"
            try:
                self.api.ask(KARPENTER, "POST", path, {"metadata": {}})
            except ApiError:
                continue
        self._after(5.0, self._reconcile, uid)

    @staticmethod
    def _is_in_the_way(pod: Obj) -> bool:
        ended = pod["status"]["phase"] in ("Failed", "Succeeded")
        return pod["metadata"]["namespace"] != SYSTEM and not ended

    # Writing.

    @staticmethod
    def _says(claim: Obj, kind: str) -> bool:
        conditions = (claim.get("status") or {}).get("conditions") or ()
        return any((c["type"], c["status"]) == (kind, "True") for c in conditions)

    def _say_claim(self, claim: Obj, kind: str, **status: str) -> None:
        before = claim.get("status") or {}
        kept = [c for c in before.get("conditions") or () if c["type"] != kind]
        conditions = [*kept, self._condition(kind, "True", "", "")]
        self._write(CLAIMS, claim, status={**before, **status, "conditions": conditions})

    def _write(
        self,
        resource: str,
        obj: Obj,
        spec: Obj | None = None,
        status: Obj | None = None,
        **meta: Any,
    ) -> None:
        """Store an object with these parts and this metadata; without finalizers it may go."""
        after = {**obj, "metadata": {**obj["metadata"], **meta}}
        after |= {k: v for k, v in (("spec", spec), ("status", status)) if v is not None}
        kept = "deletionTimestamp" not in after["metadata"] or after["metadata"].get("finalizers")
        self.api.storage.commit(KARPENTER, resource, obj, after if kept else None)

    def _show(self, name: str, taint: str = "") -> None:
        """Cordon or uncordon a node, if it is registered and not being deleted."""
        found = self.node(name)
        new = found is not None and UNREGISTERED in (found["spec"].get("taints") or ())
        if found is None or not (new or "deletionTimestamp" in found["metadata"]):
            super()._show(name, taint)
