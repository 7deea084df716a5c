"""What must hold for nodes beyond what holds for every instance.

A node is let into work only when it has what it needs; its pods are evicted, never deleted before
their time; it is deleted only when they have left; nobody else's node or pod is written; of a node
only what is the operator's is written. That enough others work when one is retired is said once,
for both families.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor, inf
from typing import TYPE_CHECKING

from tests.simulation.world.families import CLAIMS, IMAGE, RETIRING, is_held, uid_of
from tests.simulation.world.storage import Commit, Obj
from tests.simulation.world.truth import SWEEP, Pod, Service, Truth

if TYPE_CHECKING:
    from tests.simulation.world.api import Request
    from tests.simulation.world.world import World

__all__ = ["NodeWatcher"]

PREFIX = "immutable.dev/"
EVACUATING = "Evacuating"
PROMPT = 5.0
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass
class Health:
    """What a node lacks, "" if nothing, and since when it is so."""

    lacks: str
    since: float


class NodeWatcher:
    """Calls ``broken`` with the number of an invariant and a sentence."""

    def __init__(self, world: World, truth: Truth, broken: Callable[[str, str], None]) -> None:
        self._world, self._truth, self._broken = world, truth, broken
        self._bound: dict[str, float] = {}
        self._retired: dict[str, float] = {}
        self._health: dict[str, Health] = {}
        self._streaks: dict[str, list[tuple[float, float]]] = {}
        self._named: dict[str, float] = {}  # since when a claim names its node

    def hear(self, commit: Commit) -> None:
        """Take in what anybody did: pods that were bound, nodes that were retired, or got fit."""
        if commit.resource not in ("pods", "nodes", "daemonsets", CLAIMS):
            return
        obj = commit.obj
        if commit.resource == "pods" and obj["spec"].get("nodeName"):
            self._bound.setdefault(obj["metadata"]["uid"], commit.at)
        if commit.resource == CLAIMS and (obj.get("status") or {}).get("nodeName"):
            self._named.setdefault(obj["metadata"]["uid"], commit.at)
        for node in self._world.api.storage.all("nodes"):
            uid = uid_of(node)
            if RETIRING in (node["metadata"].get("annotations") or {}):
                self._retired.setdefault(uid, commit.at)
            if "status" in node:
                self._note_ready(node["metadata"]["uid"], commit.at, ready=_ready(node))
            if not is_held(node):
                continue
            lacks, known = self._lacks(node), self._health.get(uid)
            if known is None or bool(known.lacks) != bool(lacks):
                self._health[uid] = Health(lacks, commit.at)

    def _note_ready(self, uid: str, at: float, *, ready: bool) -> None:
        streaks = self._streaks.setdefault(uid, [])
        is_open = bool(streaks) and streaks[-1][1] == inf
        if ready and not is_open:
            streaks.append((at, inf))
        elif is_open and not ready:
            streaks[-1] = (streaks[-1][0], at)

    def _lacks(self, node: Obj) -> str:
        """What a node lacks now to be let into work, "" if nothing."""
        name = node["metadata"]["name"]
        if not _ready(node):
            return "it is not Ready"
        pods = [p for p in self._world.api.storage.all("pods") if _node_of(p) == name]
        for daemon in self._world.api.storage.all("daemonsets"):
            own = [p for p in pods if _controller(p).get("uid") == daemon["metadata"]["uid"]]
            if not any(_ready(p) and not _leaves(p) for p in own):
                return f"no pod of {daemon['metadata']['name']} is ready on it"
        return ""

    # Births and admissions.

    def born(self, service: Service, commit: Commit, late: set[str]) -> None:
        """26: at most one living successor a predecessor; a lost one may have one of each revision.

        What works is repaired while another revision tries to take its place. If the end of a node
        is taken back, its successor has a place of its own.
        """
        annotations = commit.obj["metadata"].get("annotations") or {}
        replaces = annotations.get(PREFIX + "replaces-uid")
        evacuates = annotations.get(PREFIX + "because", "").startswith(EVACUATING)
        deadline = min(
            float((known.spec.get("rollout") or {}).get("progressDeadlineSeconds", 1800))
            for known in service.of_late(self._world.behind)
        )
        for other in service.pods.values():
            fails = not other.verified and other.born + deadline - 1 <= self._world.now
            lives = not other.terminating and not fails and other.uid not in late
            labels = commit.obj["metadata"].get("labels") or {}
            same = other.revision == labels.get(PREFIX + "revision")
            apart = other.because == EVACUATING and not evacuates
            if replaces and other.replaces == replaces and lives and same and not apart:
                self._broken("26", f"{commit.name} and {other.name} succeed the same node")

    def committed(self, service: Service, known: Pod, commit: Commit) -> None:
        """An operator wrote, or deleted, a node of a pool, or its claim."""
        before, after = commit.before, commit.after
        assert before is not None
        if commit.resource == CLAIMS and after is not None:
            self._only_deleted(before, after)
        if commit.resource == CLAIMS or after is None:
            self._ended(service, known)
            return
        self._written(before, after)
        gone, late = service.gone_at, self._world.staleness > PROMPT
        if gone is not None and gone < self._world.now - (SWEEP if late else PROMPT):
            self._broken("11", f"{known.name} was written, and its pool is gone")
        if is_held(before) and not is_held(after):
            self._admitted(service, known)

    def _admitted(self, service: Service, known: Pod) -> None:
        """26: it had, a moment ago, all that it needs; it settled; its smoke pod succeeded."""
        behind, now = self._world.behind, self._world.now
        health = self._health[known.uid]
        if health.lacks and health.since < behind:
            self._broken("26", f"{known.name} was let into work, and {health.lacks}")
        verify = [
            (limits.spec.get("rollout") or {}).get("verify") or {}
            for limits in service.of_late(behind)
        ]
        settle = min(_seconds(one.get("settle", "60s")) for one in verify)
        node = self._place(known.uid)
        streaks = self._streaks[node["metadata"]["uid"]] if node is not None else ()
        seen = [start for start, end in streaks if end > behind]
        # The clock of the API server is known to a second.
        early = 0.0 if self._world.clocks_right else 1.0
        if not any(floor(start) + settle - early <= now for start in seen):
            self._broken("26", f"{known.name} was let into work before it settled, {settle:g} s")
        smoke = self._world.api.storage.get("pods", ("immutable-system", f"{known.name}-smoke"))
        done = smoke is not None and smoke["status"]["phase"] == "Succeeded"
        if not done and all("smokePod" in one for one in verify):
            self._broken("26", f"{known.name} was let into work before its smoke pod was done")
        for claim in self._world.api.storage.all(CLAIMS):
            started = (claim.get("status") or {}).get("imageID", "")
            asked = (claim["metadata"].get("annotations") or {}).get(IMAGE)
            if claim["metadata"]["uid"] == known.uid and started not in ("", asked):
                self._broken("26", f"{known.name} was let into work from the image {started}")

    # Retirements and ends.

    def retired(self, service: Service, known: Pod) -> None:
        """26, by pair: a working node goes when its own successor works, not that of another one.

        A node and its successor, if both work, hold one place. A retirement may only take a place
        away that is more than the spec demands.
        """
        works = [p for p in service.active if p.ready_since is not None]
        before, after = (_places([p for p in works if p is not gone]) for gone in (None, known))
        behind = self._world.behind
        fewest = min(limits.fewest for limits in service.of_late(behind))
        if after < min(before, fewest - len(service.lost_since(behind))):
            text = f"{known.name} was retired, whose successor does not work"
            self._broken("26", f"{text}: {after} places are held, {fewest} are demanded")

    def _ended(self, service: Service, known: Pod) -> None:
        """15: with no pod on it. What has no node yet, or none any more, needs no retirement."""
        behind = self._world.behind
        node = self._place(known.uid)
        if CLAIMS in known.parts and (node is None or self._named.get(known.uid, inf) >= behind):
            return
        if known.uid not in self._retired:
            self._broken("26", f"{known.name} was deleted without having been retired")
            return
        if self._gives_up(service, known.uid):
            return
        name = node["metadata"]["name"] if node is not None else known.name
        for pod in self._world.api.storage.all("pods"):
            if _node_of(pod) != name or not _is_guest(pod):
                continue
            if self._bound[pod["metadata"]["uid"]] < behind:
                guest = pod["metadata"]["name"]
                self._broken("15", f"{known.name} was deleted, and pod {guest} was still on it")

    def _place(self, uid: str) -> Obj | None:
        """The node of an instance."""
        return next((n for n in self._world.api.storage.all("nodes") if uid_of(n) == uid), None)

    def _gives_up(self, service: Service, uid: str) -> bool:
        """Whether a drain of this node may have lasted too long, by the spec."""
        since = self._retired.get(uid, self._world.now)
        for limits in service.of_late(self._world.behind):
            drain = limits.spec.get("drain") or {}
            over = floor(since) + _seconds(drain.get("timeout", "1h"))
            if drain.get("onBlocked") == "DeleteAfter" and over <= self._world.now:
                return True
        return False

    def _only_deleted(self, before: Obj, after: Obj) -> None:
        """7: Karpenter's claims are created and deleted, never written."""
        marks = {"deletionTimestamp": "", "resourceVersion": ""}
        if {**before, "metadata": {**before["metadata"], **marks}} != {
            **after,
            "metadata": {**after["metadata"], **marks},
        }:
            self._broken("7", f"the claim {after['metadata']['name']} was written")

    def _written(self, before: Obj, after: Obj) -> None:
        """7: only what is the operator's, and the cordon of one that is retired."""
        name = after["metadata"]["name"]
        for key in ("labels", "annotations"):
            old, new = (o["metadata"].get(key) or {} for o in (before, after))
            foreign = {k for k in {*old, *new} if old.get(k) != new.get(k) and PREFIX not in k}
            if foreign:
                self._broken("7", f"{key} {sorted(foreign)} of {name} were written")
        old, new = (_foreign(o["spec"]) for o in (before, after))
        if old != new or before["status"] != after["status"]:
            self._broken("7", f"what is not the operator's of {name} was written")
        cordoned = [bool(o["spec"].get("unschedulable")) for o in (before, after)]
        retired = RETIRING in (after["metadata"].get("annotations") or {})
        if cordoned[0] != cordoned[1] and not retired:
            self._broken("7", f"{name} was cordoned, and is not retired")

    # Pods on nodes.

    def sent(self, request: Request) -> None:
        """15: pods leave retired nodes by eviction, and by force only when the time is over."""
        _, _, name, _ = request.route
        pod = self._world.api.storage.get("pods", (request.route[0], name))
        if pod is None or PREFIX + "service" in (pod["metadata"].get("labels") or {}):
            return
        node = self._world.api.storage.get("nodes", ("", _node_of(pod)))
        if node is None:
            return
        service, uid = self._truth.of_pod(node), uid_of(node)
        if service is None or uid not in self._retired:
            self._broken("15", f"pod {name} was to leave a node that is not retired")
        elif _controller(pod).get("kind") == "DaemonSet":
            self._broken("15", f"pod {name} of a DaemonSet was to leave its node")
        elif request.method == "DELETE" and not self._gives_up(service, uid):
            self._broken("15", f"pod {name} was deleted, not evicted")

    def may_evict(self, commit: Commit) -> bool:
        """Whether a pod that an operator wrote is on a node of a pool, or on one that is gone."""
        node = self._world.api.storage.get("nodes", ("", _node_of(commit.obj)))
        return node is None or self._truth.of_pod(node) is not None


def _places(nodes: list[Pod]) -> int:
    """How many places these nodes hold; one and its successor hold one."""
    return len({p.uid for p in nodes} - {p.replaces for p in nodes})


def _foreign(spec: Obj) -> Obj:
    """The part of a node's spec that is not the operator's."""
    taints = [t for t in spec.get("taints") or () if not t["key"].startswith(PREFIX)]
    return {**{k: v for k, v in spec.items() if k != "unschedulable"}, "taints": taints}


def _seconds(text: str) -> float:
    return float(text[:-1]) * UNITS[text[-1]]


def _node_of(pod: Obj) -> str:
    name: str = pod["spec"].get("nodeName") or ""
    return name


def _controller(pod: Obj) -> Obj:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((dict(o) for o in owners if o.get("controller")), {})


def _is_guest(pod: Obj) -> bool:
    """Whether a drain has to wait for it: it is none of a DaemonSet, and has not ended."""
    ended = pod["status"]["phase"] in ("Failed", "Succeeded")
    smoke = pod["metadata"]["name"].endswith("-smoke")
    return _controller(pod).get("kind") != "DaemonSet" and not ended and not smoke


def _ready(obj: Obj) -> bool:
    conditions = obj["status"]["conditions"]
    return any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)


def _leaves(pod: Obj) -> bool:
    return "deletionTimestamp" in pod["metadata"]
