"""The shared parts of one bed: its control plane, its record, its processes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.controlplane.cluster import ControlPlane
from tests.controlplane.processes import Child, end, spawn
from tests.controlplane.real.blocks import Block
from tests.controlplane.real.namespaces import Namespaces
from tests.controlplane.real.remains import Remains

__all__ = ["Bed"]

POLITE_SECONDS = 10.0


@dataclass(frozen=True)
class Bed:
    """A control plane with real nodes, as used by the nodes and registries."""

    plane: ControlPlane
    remains: Remains
    programs: dict[str, Path]
    block: Block
    router: Namespaces
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def tied(self) -> bool:
        return not self.plane.detached

    @property
    def folder(self) -> Path:
        """Logs and data of all nodes and registries."""
        return self.remains.folder

    def spawn(self, component: str, command: Sequence[str], ports: Sequence[int] = ()) -> None:
        """Start a process on this machine, outside the nodes."""
        self.keep(*spawn(component, command, folder=self.folder, ports=ports, tied=self.tied))

    def keep(self, process: subprocess.Popen[bytes], child: Child) -> None:
        """Record a process that was started."""
        self.processes[child.component] = process
        self.remains.add_child(child)

    def is_running(self, component: str) -> bool:
        child = self.remains.children.get(component)
        return child is not None and child.is_alive()

    def end(self, component: str, force: bool = False) -> None:
        """Stop a process if it is running; ``force`` kills it at once."""
        child = self.remains.children.get(component)
        if child is not None:
            end([child], polite_seconds=POLITE_SECONDS, force=force)
        process = self.processes.pop(component, None)
        if process is not None:
            process.wait()
