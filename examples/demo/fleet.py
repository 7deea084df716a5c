"""The state that the watches have reported: pods, their successors, and how many were available."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from examples.demo.place import Json

__all__ = ["GONE", "LEAVING", "READY", "Fleet", "Pair", "Pod", "Service"]

REVISION = "immutable.dev/revision"
SLOT, REPLACES, BECAUSE = (f"immutable.dev/{word}" for word in ("slot", "replaces", "because"))
READY, LEAVING, GONE = "ready", "leaving", "gone"
ON_THE_WAY = {"ContainerCreating", "PodInitializing"}


@dataclass(frozen=True)
class Pod:
    """One pod with its birth certificate; ``state`` is a word for display."""

    name: str
    revision: str
    slot: int
    replaces: str | None
    because: str
    state: str

    @classmethod
    def of(cls, item: Json, deleted: bool) -> Self:
        meta = item["metadata"]
        notes = meta.get("annotations", {})
        return cls(
            name=meta["name"],
            revision=meta.get("labels", {}).get(REVISION, ""),
            slot=int(notes.get(SLOT, 0)),
            replaces=notes.get(REPLACES),
            because=notes.get(BECAUSE, ""),
            state=GONE if deleted else _state(item),
        )

    @property
    def available(self) -> bool:
        return self.state == READY

    @property
    def active(self) -> bool:
        return self.state not in (LEAVING, GONE)


@dataclass(frozen=True)
class Service:
    """The service according to its status."""

    uid: str
    generation: int
    observed: int
    wanted: int
    revision: str
    conditions: dict[str, tuple[bool, str, str]]

    @classmethod
    def of(cls, item: Json) -> Self:
        status = item.get("status", {})
        return cls(
            uid=item["metadata"]["uid"],
            generation=item["metadata"]["generation"],
            observed=status.get("observedGeneration", -1),
            wanted=status.get("desiredReplicas", item["spec"].get("replicas", 1)),
            revision=status.get("currentRevision", ""),
            conditions={
                c["type"]: (c["status"] == "True", c["reason"], c["message"])
                for c in status.get("conditions", ())
            },
        )

    def ready_at(self, generation: int) -> bool:
        return self.observed >= generation and self.conditions.get("Ready", (False,))[0]

    def stalled_at(self, generation: int) -> str | None:
        stalled, reason, message = self.conditions.get("Stalled", (False, "", ""))
        return f"{reason}: {message}" if stalled and self.observed >= generation else None


@dataclass(frozen=True)
class Pair:
    """The predecessor and successor of a slot; one of them can be missing."""

    slot: int
    predecessor: Pod | None
    successor: Pod | None


class Fleet:
    """All pods of one service, including deleted ones."""

    def __init__(self) -> None:
        self.pods: dict[str, Pod] = {}
        self.service: Service | None = None
        self.fewest = 0
        self.most = 0
        self.left_too_early: list[str] = []

    @property
    def available(self) -> int:
        return sum(pod.available for pod in list(self.pods.values()))

    @property
    def active(self) -> int:
        return sum(pod.active for pod in list(self.pods.values()))

    def count_from_now(self) -> None:
        """Reset the smallest number of available pods, the largest number of pods, and early
        removals."""
        self.fewest, self.most = self.available, self.active
        self.left_too_early.clear()

    def see_pod(self, item: Json, deleted: bool) -> tuple[Pod | None, Pod]:
        """Record a change; return the previous state of the pod (None: unknown) and the current
        one."""
        pod = Pod.of(item, deleted)
        before = self.pods.get(pod.name)
        self.pods[pod.name] = pod
        if before and before.active and not pod.active and not self._is_succeeded(pod):
            self.left_too_early.append(pod.name)
        self.fewest = min(self.fewest, self.available)
        self.most = max(self.most, self.active)
        return before, pod

    def _is_succeeded(self, pod: Pod) -> bool:
        return any(p.replaces == pod.name and p.available for p in self.pods.values())

    def see_service(self, item: Json) -> Service:
        self.service = Service.of(item)
        return self.service

    def pairs(self, since: str) -> list[Pair]:
        """Per slot: the pod of revision ``since`` and its successor ("": only what is new)."""
        pods = list(self.pods.values())  # a copy, because the screen reads it in another thread
        successors = {p.replaces: p for p in pods if p.replaces}
        old = [p for p in pods if since and p.revision == since]
        pairs = [Pair(p.slot, p, successors.get(p.name)) for p in old]
        succeeded = {p.name for p in old}
        pairs += [
            Pair(p.slot, None, p)
            for p in pods
            if p.revision != since and p.replaces not in succeeded
        ]
        return sorted(pairs, key=lambda pair: (pair.slot, pair.predecessor is None))

    def settled(self, generation: int) -> bool:
        """Whether the service is ready according to its status and to the watch of pods."""
        service = self.service
        if service is None or not service.ready_at(generation):
            return False
        current = [p for p in self.pods.values() if p.available and p.revision == service.revision]
        return len(current) == self.active == service.wanted


def _state(item: Json) -> str:
    status = item.get("status", {})
    if "deletionTimestamp" in item["metadata"]:
        return LEAVING
    if status.get("phase") in ("Failed", "Succeeded"):
        return "ended"
    for container in status.get("containerStatuses", ()):
        reason = container.get("state", {}).get("waiting", {}).get("reason")
        if reason and reason not in ON_THE_WAY:
            return str(reason)
    if any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ())):
        return READY
    return "starting" if item.get("spec", {}).get("nodeName") else "created"
