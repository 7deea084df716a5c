"""`kubectl immutable verify`, run as people run it, and what it found."""

from __future__ import annotations

import json
import subprocess

from tests.cluster import plugin
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

__all__ = ["PREFIX", "SEEN", "Done", "end", "left", "start", "verify"]

PREFIX = "immutable-verify-"
SEEN = {"P6-break-glass", "P22-delete", "M3-anew"}
"""Paths that are free, or may be made so, and that the operator sees to."""


class Done(plugin.Told):
    @property
    def rows(self) -> dict[str, Json]:
        return {row["id"]: row for row in json.loads(self.out)["results"]}

    def tried(self, result: str) -> set[str]:
        return {
            name
            for name, row in self.rows.items()
            if row["expected"] is not None and row["result"] == result
        }


def start(plane: ControlPlane, *args: str, actor: str = "admin") -> subprocess.Popen[str]:
    return plugin.start(plane, "verify", *args, actor=actor)


def end(process: subprocess.Popen[str], timeout: float = 240) -> Done:
    told = plugin.told(process, timeout)
    return Done(told.code, told.out, told.err)


def verify(plane: ControlPlane, *args: str, actor: str = "admin") -> Done:
    return end(start(plane, *args, actor=actor))


def left(plane: ControlPlane) -> list[str]:
    """Namespaces that a run made, and that are still there."""
    names = [n["metadata"]["name"] for n in plane.api().get("/api/v1/namespaces")["items"]]
    return [name for name in names if name.startswith(PREFIX)]
