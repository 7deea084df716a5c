"""What the independent watcher keeps of each change: little, because a soak has many.

Three watches, on services, pods and revisions of all namespaces, resumed where the API server ended
them; and what users and faults did to pods.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.cluster.history import Recording
from tests.cluster.services import annotation, is_active, is_ready
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json

__all__ = ["Asked", "Event", "PodSeen", "Recorded", "Taken", "Watcher"]

AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Asked:
    """A version of a service: what its spec asks for, and what its status says."""

    at: float
    kind: str
    service: str
    replicas: int
    surge: int
    unavailable: int
    suspended: bool
    deleting: bool
    images: frozenset[str]
    generation: int
    observed: int
    true: frozenset[str]


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A version of a pod; ``service`` is the uid of its owner."""

    at: float
    kind: str
    service: str
    uid: str
    name: str
    revision: str
    because: str
    images: frozenset[str]
    active: bool
    ready: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """A version of a revision on record."""

    at: float
    kind: str
    service: str
    uid: str
    revision: str
    number: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A user or a fault ended a pod, or kept it from working."""

    at: float
    name: str


Event = Asked | PodSeen | Recorded | Taken


class _Resumed(Recording):
    """A recording that keeps ``slim(change)`` of each change, and outlasts the end of its watch."""

    def __init__(
        self, plane: ControlPlane, path: str, slim: Callable[[str, Json, float], Event]
    ) -> None:
        super().__init__(plane, path)
        self._slim = slim
        self.events: list[Event] = []
        self.gap = ""

    def begin(self) -> None:
        self.__enter__()
        now = time.monotonic()
        self.events += [self._slim("ADDED", item, now) for item in self._start.values()]

    def finish(self) -> None:
        self._ended = True
        self._end()

    def _read(self) -> None:
        version = ""
        while not self._ended and not self.gap:
            with contextlib.suppress(ValueError, OSError, http.client.HTTPException):
                for line in self._answer:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        self.gap = json.dumps(event["object"])
                        return
                    version = event["object"]["metadata"]["resourceVersion"]
                    self.events.append(self._slim(event["type"], event["object"], time.monotonic()))
            if not self._ended:
                self._open(version)

    def _open(self, version: str) -> None:
        time.sleep(AGAIN_SECONDS)
        query = f"?watch=true&resourceVersion={version}" if version else "?watch=true"
        try:
            self._socket, self._answer = self._plane.api().open(f"{self._path}{query}")
        except ApiError as error:
            self.gap = str(error)
        except OSError:
            return  # the next turn tries again


class Watcher:
    """As a context manager it watches; ``events`` are all of them, in the order of their times."""

    def __init__(self, plane: ControlPlane) -> None:
        group = "/apis/immutable.dev/v1alpha1"
        self._recordings = [
            _Resumed(plane, f"{group}/immutableservices", _asked),
            _Resumed(plane, f"{group}/immutablerevisions", _recorded),
            _Resumed(plane, "/api/v1/pods", _pod),
        ]
        self._taken: list[Event] = []

    def __enter__(self) -> Watcher:
        for recording in self._recordings:
            recording.begin()
        return self

    def __exit__(self, *_: object) -> None:
        for recording in self._recordings:
            recording.finish()

    def take(self, *names: str) -> None:
        """Note that a user or a fault ends these pods now."""
        now = time.monotonic()
        self._taken += [Taken(now, name) for name in names]

    def events(self) -> list[Event]:
        found = [event for recording in self._recordings for event in list(recording.events)]
        return sorted([*found, *self._taken], key=lambda event: event.at)

    def gaps(self) -> list[str]:
        """Why a watch could not be resumed, if one could not: its changes are not judged."""
        return [recording.gap for recording in self._recordings if recording.gap]


def _number(value: Any) -> int:
    """A number of a rollout; the soak asks for no percentages but in defaults."""
    return value if isinstance(value, int) else 1


def _asked(kind: str, body: Json, at: float) -> Asked:
    spec, status = body["spec"], body.get("status") or {}
    rollout = spec.get("rollout") or {}
    conditions = status.get("conditions") or ()
    return Asked(
        at=at,
        kind=kind,
        service=body["metadata"]["uid"],
        replicas=int(spec.get("replicas", 1)),
        surge=_number(rollout.get("maxSurge")),
        unavailable=_number(rollout.get("maxUnavailable")),
        suspended=bool(spec.get("suspend")),
        deleting=kind == "DELETED" or "deletionTimestamp" in body["metadata"],
        images=_images(spec["template"]["spec"]),
        generation=int(body["metadata"]["generation"]),
        observed=int(status.get("observedGeneration", -1)),
        true=frozenset(c["type"] for c in conditions if c["status"] == "True"),
    )


def _images(pod: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(container["image"] for container in pod["containers"])


def _owner(meta: Mapping[str, Any]) -> str:
    owners = meta.get("ownerReferences") or ()
    return next((o["uid"] for o in owners if o.get("controller")), "")


def _pod(kind: str, body: Json, at: float) -> PodSeen:
    meta = body["metadata"]
    return PodSeen(
        at=at,
        kind=kind,
        service=_owner(meta),
        uid=meta["uid"],
        name=meta["name"],
        revision=(meta.get("labels") or {}).get("immutable.dev/revision", ""),
        because=annotation(body, "because") or "",
        images=_images(body["spec"]),
        active=kind != "DELETED" and is_active(body),
        ready=kind != "DELETED" and is_ready(body),
    )


def _recorded(kind: str, body: Json, at: float) -> Recorded:
    meta, spec = body["metadata"], body["spec"]
    owner = _owner(meta)
    return Recorded(at, kind, owner, meta["uid"], spec["revision"], int(spec["number"]))
