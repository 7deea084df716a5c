"""One act: a command line, and its effects until all pods are ready."""

from __future__ import annotations

import subprocess
import time

from examples.demo import operator_process
from examples.demo.feed import Change, Feed
from examples.demo.fleet import Fleet
from examples.demo.place import DemoError, Json, Place
from examples.demo.screen import Scene, Screen

__all__ = ["Act"]

PATIENCE_SECONDS = 300.0
STALLED_SECONDS = 60.0  # the operator keeps trying, and some causes disappear by themselves
POLL_SECONDS = 0.1


class Act:
    """Runs the command and shows the changes that the watch reports."""

    def __init__(self, place: Place, screen: Screen, feed: Feed, fleet: Fleet) -> None:
        self._place, self._screen = place, screen
        self._feed, self._fleet = feed, fleet
        before = fleet.service
        self._since = before.revision if before else ""
        self._generation = before.generation + 1 if before else 1
        self._early: list[Json] = []
        self._stalled_since: float | None = None

    def run(self, command: str) -> float:
        """Return the seconds from the change of the service until it was ready."""
        self._screen.print()
        self._screen.command(f"      $ {command}")
        self._fleet.count_from_now()
        with self._screen.scene(self._fleet, self._since) as scene:
            process = self._place.start_shell(command)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not self._fleet.settled(self._generation):
                self._wait_for_change(scene)
                self._check(process, deadline)
            scene.end()
            # Changes that are still in transit, such as the last event.
            while change := self._feed.next(timeout=0.5):
                self._take_in(change, scene)
            process.communicate()
        return scene.seconds

    def _wait_for_change(self, scene: Scene) -> None:
        if change := self._feed.next(POLL_SECONDS):
            self._take_in(change, scene)

    def _take_in(self, change: Change, scene: Scene) -> None:
        if change.kind == "pods":
            scene.pod_changed(*self._fleet.see_pod(change.item, change.type == "DELETED"))
        elif change.kind == "events":
            self._early.append(change.item)
        elif self._is_the_change(change):
            scene.begin()
        self._tell(scene)

    def _is_the_change(self, change: Change) -> bool:
        """Record the change of the service; return whether the command caused it."""
        if change.type == "DELETED":
            return False
        return self._fleet.see_service(change.item).generation >= self._generation

    def _tell(self, scene: Scene) -> None:
        """Show the events so far, except those of an earlier service with this name."""
        if service := self._fleet.service:
            for event in self._early:
                if event["involvedObject"].get("uid") == service.uid:
                    scene.told(event)
            self._early.clear()

    def _check(self, process: subprocess.Popen[str], deadline: float) -> None:
        """Raise if the command has failed, or if waiting is useless."""
        if process.poll():
            raise DemoError(f"the command failed: {process.communicate()[1].strip()}")
        service, now = self._fleet.service, time.monotonic()
        stalled = service.stalled_at(self._generation) if service else None
        self._stalled_since = (self._stalled_since or now) if stalled else None
        if self._stalled_since and now - self._stalled_since > STALLED_SECONDS:
            why = f"is stalled: {stalled}"
        elif now < deadline:
            return
        else:
            _, reason, message = (service.conditions if service else {}).get(
                "Ready", (False, "no status", "the operator has not processed it")
            )
            why = f"is not ready after {PATIENCE_SECONDS:g} s ({reason}: {message})"
        log = operator_process.log_file(self._place.folder)
        raise DemoError(
            f"the service {why}. See `{self._place.typed} describe imsvc`"
            f"{f' and {log}' if log.exists() else ''}; to start over: {self._place.stop_command}"
        )
