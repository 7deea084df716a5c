"""Three watches at the same time, with kubectl: pods, the service and its events.

kubectl supports the login of any cluster, and a watch reports every change, however short.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from examples.demo.place import ROOT, DemoError, Json, Place

__all__ = ["Change", "Feed"]

KINDS = {
    "pods": ("--selector=immutable.dev/service={name}",),
    "immutableservices": ("--field-selector=metadata.name={name}",),
    "events": ("--field-selector=involvedObject.kind=ImmutableService,involvedObject.name={name}",),
}


@dataclass(frozen=True)
class Change:
    """One notification: ADDED, MODIFIED or DELETED, and the current (or last) state of the
    object."""

    kind: str
    type: str
    item: Json


class Feed:
    """The changes of one service, its pods and events, as they arrive.

    ``kinds`` are other kinds and the flags that select the objects of one name.
    """

    def __init__(
        self, place: Place, name: str, kinds: Mapping[str, tuple[str, ...]] = KINDS
    ) -> None:
        self._queue: queue.SimpleQueue[Change | DemoError] = queue.SimpleQueue()
        self._closed = False
        self._processes: list[subprocess.Popen[str]] = []
        for kind, flags in kinds.items():
            chosen = [flag.format(name=name) for flag in flags]
            command = [*place.kubectl, "get", kind, *chosen, "--watch", "--output-watch-events"]
            process = subprocess.Popen(
                [*command, "--output=json"],
                cwd=ROOT,
                env={**os.environ, **place.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                # Ctrl-C only reaches the demo, which then ends these processes.
                start_new_session=True,
            )
            self._processes.append(process)
            threading.Thread(target=self._read, args=(kind, process), daemon=True).start()

    def next(self, timeout: float) -> Change | None:
        """The next change, or None if there was none for ``timeout`` seconds."""
        try:
            change = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if isinstance(change, DemoError):
            raise change
        return change

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()

    def _read(self, kind: str, process: subprocess.Popen[str]) -> None:
        if process.stdout is None or process.stderr is None:
            return  # never: both are pipes
        for line in process.stdout:  # one document a line
            document = json.loads(line)
            self._queue.put(Change(kind, document["type"], document["object"]))
        if not self._closed:
            reason = process.stderr.read().strip() or "the connection was closed"
            self._queue.put(
                DemoError(f"the watch of {kind} ended: {reason}; run the command again")
            )
