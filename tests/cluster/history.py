"""The history of pods or nodes, recorded by an independent watcher.

It watches them and keeps each change as the API server sends it: in the order of resource
versions, none left out. What holds at every step of it held at every moment.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.cluster.services import Service, is_active, is_ready
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.waiting import wait_for

__all__ = ["Change", "History", "Recording"]


@dataclass(frozen=True)
class Change:
    """One watch event: ADDED, MODIFIED or DELETED, and when it was seen (monotonic)."""

    kind: str
    pod: Json
    seen: float

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def version(self) -> int:
        return int(self.pod["metadata"]["resourceVersion"])

    @property
    def revision(self) -> str:
        return str(self.pod["metadata"]["labels"].get("immutable.dev/revision"))


class Recording:
    """All changes of one collection, from `__enter__` to the end of the block.

    It has seen everything then. ``path`` is the URL of the collection.
    """

    def __init__(self, plane: ControlPlane, path: str) -> None:
        self._plane, self._path = plane, path
        self._changes: list[Change] = []
        self._start: dict[str, Json] = {}
        self._ended = False

    def __enter__(self) -> Self:
        plane, path = self._plane, self._path
        joint = "&" if "?" in path else "?"
        listed = plane.api().get(path)
        self._start = {pod["metadata"]["name"]: pod for pod in listed["items"]}
        version = listed["metadata"]["resourceVersion"]
        watch = f"{path}{joint}watch=true&resourceVersion={version}"
        self._socket, self._answer = plane.api().open(watch)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.changes()
        finally:
            self._ended = True
            self._end()

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # the API server ended it before
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._answer.close()
        self._socket.close()

    def changes(self) -> list[Change]:
        """All that happened until now, or until the end; waits until the watcher has seen it."""
        if self._ended:
            return list(self._changes)
        listed = self._plane.api().get(self._path)
        items, version = listed["items"], int(listed["metadata"]["resourceVersion"])
        now = {(p["metadata"]["uid"], int(p["metadata"]["resourceVersion"])) for p in items}
        there = {uid for uid, _ in now}
        began = {
            (p["metadata"]["uid"], int(p["metadata"]["resourceVersion"]))
            for p in self._start.values()
        }

        def caught_up() -> bool:
            changes = list(self._changes)
            seen = {(c.pod["metadata"]["uid"], c.version) for c in changes}
            ended = {c.pod["metadata"]["uid"] for c in changes if c.kind == "DELETED"}
            known = {uid for uid, at in seen | began if at <= version}
            return now <= seen | began and known - there <= ended

        wait_for("the watcher has seen the present", caught_up)
        return list(self._changes)

    def states(self) -> Iterator[tuple[Change, list[Json]]]:
        """After each change: the change, and all pods that there were then."""
        pods = dict(self._start)
        for change in self.changes():
            if change.kind == "DELETED":
                pods.pop(change.name, None)
            else:
                pods[change.name] = change.pod
            yield change, list(pods.values())

    def _read(self) -> None:
        # Cut off at the end, by us or by the API server.
        with contextlib.suppress(ValueError, OSError, http.client.HTTPException):
            for line in self._answer:
                event = json.loads(line)
                change = Change(event["type"], event["object"], time.monotonic())
                self._changes.append(change)


class History(Recording):
    """The pods of a service's namespace."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.plane, f"/api/v1/namespaces/{service.namespace}/pods")

    def assert_budget(self, *, most: int, fewest: int) -> None:
        """Never more than ``most`` active pods and never fewer than ``fewest`` ready ones."""
        for change, pods in self.states():
            active, ready = sum(map(is_active, pods)), sum(map(is_ready, pods))
            told = f"after {change.kind} of {change.name}:\n{self.story()}"
            assert active <= most, f"{active} active pods, at most {most} allowed, {told}"
            assert ready >= fewest, f"{ready} ready pods, at least {fewest} needed, {told}"

    def births(self) -> list[Change]:
        return [c for c in self.changes() if c.kind == "ADDED"]

    def retirements(self) -> list[Change]:
        """The moment at which each pod was told to end, in order; one a pod."""
        told: dict[str, Change] = {}
        for change in self.changes():
            if change.kind == "DELETED" or "deletionTimestamp" in change.pod["metadata"]:
                told.setdefault(change.pod["metadata"]["uid"], change)
        return list(told.values())

    def first_ready(self, name: str) -> Change:
        return next(c for c in self.changes() if c.name == name and is_ready(c.pod))

    def story(self) -> str:
        """The history in words, for the message of a failing test."""
        lines, pods = [], dict(self._start)
        began = self._changes[0].seen if self._changes else time.monotonic()
        for change in list(self._changes):
            pods[change.name] = change.pod
            if change.kind == "DELETED":
                del pods[change.name]
            active = sum(map(is_active, pods.values()))
            ready = sum(map(is_ready, pods.values()))
            leaving = "" if is_active(change.pod) else " (leaving)"
            lines.append(
                f"{change.seen - began:6.2f} s {change.kind:8} {change.name}{leaving}:"
                f" {active} active, {ready} ready"
            )
        return "\n".join(lines)
