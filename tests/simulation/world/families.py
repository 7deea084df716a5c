"""The two families as the API server shows them: services with pods, pools with nodes.

Read again here from the objects alone; nothing of the operator is asked. `of` gives the family of
an owner's or an instance's resource.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulation.world.admission import is_ready
from tests.simulation.world.storage import Obj

__all__ = [
    *("CLAIMS", "HOME", "NODES", "PODS", "Family", "Limits", "State"),
    *("is_held", "letter_of", "of", "uid_of"),
]

HOME = "immutable-system"
CLAIMS = "nodeclaims"
PREFIX = "immutable.dev/"
QUARANTINED, TAINTED = f"{PREFIX}quarantined", f"{PREFIX}tainted"
VERIFIED, RETIRING, UNVERIFIED = f"{PREFIX}verified", f"{PREFIX}retiring", f"{PREFIX}unverified"
IMAGE = f"{PREFIX}image"
FACTS = [
    "machineID",
    "bootID",
    "osImage",
    "kernelVersion",
    "kubeletVersion",
    "containerRuntimeVersion",
]


@dataclass(frozen=True)
class Limits:
    """What one spec allows."""

    replicas: int
    surge: int
    unavailable: int
    min_ready: float
    suspend: bool
    letter: str
    spec: Obj

    @property
    def most(self) -> int:
        return self.replicas + self.surge

    @property
    def fewest(self) -> int:
        return max(0, self.replicas - self.unavailable)


@dataclass(frozen=True)
class State:
    """An instance as its object shows it. ``facts`` are what must not change of a node."""

    ready: bool
    terminating: bool
    ended: bool = False
    quarantined: bool = False
    tainted: bool = False
    verified: bool = False
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """``owners`` is a resource, ``home`` is where records are if not beside.

    ``recorded`` gives the letter of a record. With ``counts_leaving`` an instance counts against
    the most as long as it exists.
    """

    word: str
    owners: str
    home: str
    surge: Any
    letter: Callable[[Obj], str]
    wanted: Callable[[Obj], str]
    recorded: Callable[[Obj], str]
    state: Callable[[Obj], State]
    counts_leaving: bool = False

    def limits(self, spec: Obj, replicas: int) -> Limits:
        rollout = spec.get("rollout") or {}
        surge = _share(rollout.get("maxSurge", self.surge), replicas, up=True)
        unavailable = min(_share(rollout.get("maxUnavailable", 0), replicas, up=False), replicas)
        if not surge and not unavailable:
            unavailable = 1
        if rollout.get("strategy") == "BlueGreen":  # a second fleet
            surge += replicas
        min_ready = float(rollout.get("minReadySeconds", 0))
        letter, suspend = self.wanted(spec), bool(spec.get("suspend"))
        return Limits(replicas, surge, unavailable, min_ready, suspend, letter, spec)


def _share(value: Any, total: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    exact = int(str(value).removesuffix("%")) * total
    return -(-exact // 100) if up else exact // 100


def letter_of(template_or_pod: Obj) -> str:
    """The letter that its first image is made of."""
    image: str = template_or_pod["spec"]["containers"][0]["image"]
    return image[-1].upper()


def _pod_state(pod: Obj) -> State:
    annotations = pod["metadata"].get("annotations") or {}
    ended = pod["status"]["phase"] in ("Failed", "Succeeded")
    return State(
        ready=is_ready(pod) and not ended,
        terminating="deletionTimestamp" in pod["metadata"],
        ended=ended,
        quarantined=QUARANTINED in annotations,
        tainted=TAINTED in annotations,
    )


def uid_of(obj: Obj) -> str:
    """The uid of the instance that an object is, or belongs to: a claim and its node are one."""
    owners = obj["metadata"].get("ownerReferences") or ()
    claims = (owner["uid"] for owner in owners if owner["kind"] == "NodeClaim")
    uid: str = next(claims, obj["metadata"]["uid"])
    return uid


def _image_of_node(obj: Obj) -> str:
    """Of the image from which it was to be started."""
    asked = (obj["metadata"].get("annotations") or {}).get(IMAGE)
    image: str = asked or obj["status"]["nodeInfo"]["osImage"]
    return image.rstrip(")")[-1].upper()


def is_held(node: Obj) -> bool:
    """Whether workloads are kept off it because it is not verified."""
    return any(t["key"] == UNVERIFIED for t in node["spec"].get("taints") or ())


def _claim_state(claim: Obj) -> State:
    """A claim alone: its machine may be another one than it asked for."""
    meta, started = claim["metadata"], (claim.get("status") or {}).get("imageID", "")
    ended = started not in ("", meta["annotations"][IMAGE])
    return State(ready=False, terminating="deletionTimestamp" in meta, ended=ended)


def _node_state(node: Obj) -> State:
    if node.get("kind") == "NodeClaim":
        return _claim_state(node)
    meta, status = node["metadata"], node["status"]
    annotations = meta.get("annotations") or {}
    verified = VERIFIED in annotations and not is_held(node)
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
    return State(
        ready=ready and verified,
        terminating=RETIRING in annotations or "deletionTimestamp" in meta,
        tainted=TAINTED in annotations,
        verified=verified,
        facts=tuple(status["nodeInfo"].get(fact, "") for fact in FACTS),
    )


PODS = Family(
    word="service",
    owners="immutableservices",
    home="",
    surge="25%",
    letter=letter_of,
    wanted=lambda spec: letter_of(spec["template"]),
    recorded=lambda record: letter_of(record["spec"]["template"]),
    state=_pod_state,
)
NODES = Family(
    word="pool",
    owners="immutablenodepools",
    home=HOME,
    surge=1,
    letter=_image_of_node,
    wanted=lambda spec: str(spec["image"]["id"])[-1].upper(),
    recorded=lambda record: str(record["spec"]["node"]["image"]["id"])[-1].upper(),
    state=_node_state,
    counts_leaving=True,
)
_BY_RESOURCE = {family.owners: family for family in (PODS, NODES)} | {
    "pods": PODS,
    "nodes": NODES,
    CLAIMS: NODES,
}


def of(resource: str) -> Family | None:
    """The family of owners or instances of a resource."""
    return _BY_RESOURCE.get(resource)
