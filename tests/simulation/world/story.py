"""A run as a person reads it: when, who, what. Names are long, so revisions are told by letter."""

from __future__ import annotations

from typing import Any

from tests.simulation.world.admission import is_ready
from tests.simulation.world.families import NODES, letter_of
from tests.simulation.world.storage import Commit, Obj

__all__ = ["Story"]

BECAUSE, POOL_UID = "immutable.dev/because", "immutable.dev/pool-uid"

# Conditions beside Ready, Reconciling and Stalled.
OTHERS = ("Available", "Guarded")


class Story:
    """Lines, as they come; ``told`` gives the last of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._conditions: dict[str, str] = {}

    def say(self, at: float, who: str, what: str) -> None:
        self.lines.append(f"{at:9.2f}  {who:<14}  {what}")

    def told(self, most: int = 150) -> str:
        left = len(self.lines) - most
        return "\n".join([*([f"({left} lines before)"] if left > 0 else []), *self.lines[-most:]])

    def committed(self, commit: Commit, at: float) -> None:
        """A commit, if people would want to hear of it."""
        match commit.resource:
            case "pods":
                if what := _of_pod(commit):
                    letter = letter_of(commit.obj)
                    self.say(at, commit.who, f"{letter} {commit.name} {what}")
            case "nodes" if POOL_UID in (commit.obj["metadata"].get("annotations") or {}):
                if what := _of_node(commit):
                    letter = NODES.letter(commit.obj)
                    self.say(at, commit.who, f"{letter} {commit.name} {what}")
            case "nodeclaims":
                if what := _of_claim(commit):
                    self.say(at, commit.who, f"{NODES.letter(commit.obj)} {commit.name} {what}")
            case "immutableservices" | "immutablenodepools":
                self._service(commit, at)
            case "immutablerevisions" if commit.before is None or commit.after is None:
                verb = "recorded" if commit.before is None else "deleted"
                self.say(at, commit.who, f"revision {commit.name} {verb}")

    def _service(self, commit: Commit, at: float) -> None:
        status: dict[str, Any] = commit.obj.get("status") or {}
        for condition in status.get("conditions") or ():
            if condition["status"] == "True" and condition["type"] not in OTHERS:
                text = f"{condition['type']} {condition['reason']}: {condition['message']}"
                if self._conditions.get(commit.name) != text:
                    self._conditions[commit.name] = text
                    self.say(at, commit.who, f"status of {commit.name}: {text[:160]}")


def _of_pod(commit: Commit) -> str:
    before, after = commit.before, commit.after
    if before is None:
        annotations = commit.obj["metadata"].get("annotations") or {}
        return f"born: {annotations.get(BECAUSE, '')[:110]}"
    if after is None:
        return "gone"
    if "deletionTimestamp" in after["metadata"] and "deletionTimestamp" not in before["metadata"]:
        return "retired"
    if before["metadata"] != after["metadata"]:
        changed = [k for k in ("labels", "annotations", "generation") if _differ(before, after, k)]
        if changed:
            return f"written: {', '.join(changed)}"
    if before["status"].get("phase") != after["status"].get("phase"):
        return f"is {after['status']['phase']}"
    was, now = (_ready(o) for o in (before, after))
    return {(False, True): "ready", (True, False): "not ready any more"}.get((was, now), "")


def _of_node(commit: Commit) -> str:
    if commit.before is None or POOL_UID not in commit.before["metadata"].get("annotations", {}):
        annotations = commit.obj["metadata"].get("annotations") or {}
        return f"born: {annotations.get(BECAUSE, '')[:110]}"
    if commit.after is None:
        return "gone"
    was, now = (NODES.state(o) for o in (commit.before, commit.after))
    told = [
        word
        for word, (old, new) in {
            "retired": (was.terminating, now.terminating),
            "verified": (was.verified, now.verified),
            "marked": (was.tainted, now.tainted),
            "ready": (was.ready, now.ready),
        }.items()
        if new and not old
    ]
    if was.ready and not now.ready and not now.terminating:
        told.append("not ready any more")
    if was.facts != now.facts:
        told.append("has other facts")
    return ", ".join(told)


def _of_claim(commit: Commit) -> str:
    if commit.before is None:
        annotations = commit.obj["metadata"].get("annotations") or {}
        return f"claimed: {annotations.get(BECAUSE, '')[:110]}"
    if commit.after is None:
        return "gone, the claim"
    was, now = ("deletionTimestamp" in o["metadata"] for o in (commit.before, commit.after))
    if now and not was:
        return "deleted, the claim"
    node = (commit.after.get("status") or {}).get("nodeName", "")
    new = node and not (commit.before.get("status") or {}).get("nodeName")
    return f"is the node {node}" if new else ""


def _differ(before: Obj, after: Obj, key: str) -> bool:
    return bool(before["metadata"].get(key) != after["metadata"].get(key))


def _ready(obj: Obj) -> bool:
    ready: bool = is_ready({"status": {"conditions": [], **obj["status"]}})
    return ready
