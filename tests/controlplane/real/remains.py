"""A record on disk of everything that real nodes create, and its removal.

The processes, mounts and network of a node are in namespaces that end with the first process of the
node. Everything that the kernel keeps longer is recorded here before or when it is created:
processes, control groups, and the firewall table of the link to this machine.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

from tests.controlplane.processes import Child, end
from tests.controlplane.real import cgroups
from tests.controlplane.real.blocks import Block

__all__ = ["Remains", "remove_remains"]

FILE = "real.json"
FOLDER = "real"


class Remains:
    """The record of one run's real nodes; every change is on disk when it returns.

    Several threads may start and end nodes.
    """

    def __init__(self, run_folder: Path) -> None:
        self._changing = threading.RLock()
        self._path = run_folder / FILE
        self.folder = run_folder / FOLDER
        self.block: Block | None = None
        self.children: dict[str, Child] = {}
        self.cgroups: list[str] = []
        self.nodes: list[dict[str, Any]] = []
        self.ports: dict[str, int] = {}

    @classmethod
    def load(cls, run_folder: Path) -> Remains | None:
        """The record in a run directory, or None."""
        remains = cls(run_folder)
        try:
            state: dict[str, Any] = json.loads(remains._path.read_text())
        except (OSError, ValueError):
            return None
        remains.block = None if state["block"] is None else Block(state["block"])
        children = map(Child.from_record, state["children"])
        remains.children = {child.component: child for child in children}
        remains.cgroups = state["cgroups"]
        remains.nodes = state["nodes"]
        remains.ports = state["ports"]
        return remains

    def save(self) -> None:
        with self._changing:
            state = {
                "block": None if self.block is None else self.block.number,
                "children": [child.record() for child in self.children.values()],
                "cgroups": self.cgroups,
                "nodes": self.nodes,
                "ports": self.ports,
            }
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(state, indent=2))
            part.replace(self._path)

    def add_child(self, child: Child) -> None:
        """Record a process, which replaces an earlier one of the same component."""
        with self._changing:
            self.children.pop(child.component, None)
            self.children[child.component] = child
            self.save()

    def add_node(self, name: str, index: int, cgroup: str) -> None:
        with self._changing:
            self.nodes.append({"name": name, "index": index})
            self.cgroups.append(cgroup)
            self.save()

    def drop_node(self, name: str, cgroup: str) -> None:
        """Remove the record of a node of which nothing is left, and those of its processes."""
        with self._changing:
            self.nodes = [node for node in self.nodes if node["name"] != name]
            self.cgroups.remove(cgroup)
            ended = [key for key in self.children if key.rpartition(".")[0] == name]
            for component in ended:
                del self.children[component]
            self.save()

    def remove(self) -> None:
        """Stop all processes and remove their remains; can be repeated after a failure."""
        # Killing a node's first process ends everything in the node, containers too.
        for child in reversed(self.children.values()):
            end([child], polite_seconds=0, force=True)
        if self.block is not None:
            name = self.block.interface
            for command in (["ip", "link", "delete", name], ["nft", "delete", "table", "ip", name]):
                # What is gone already is as it should be.
                with contextlib.suppress(FileNotFoundError):
                    subprocess.run(command, capture_output=True)
        for group in self.cgroups:
            cgroups.remove(group)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._path.unlink(missing_ok=True)


def remove_remains(run_folder: Path) -> None:
    """Remove the remains of real nodes of a run, if it had real nodes."""
    remains = Remains.load(run_folder)
    if remains is not None:
        remains.remove()
