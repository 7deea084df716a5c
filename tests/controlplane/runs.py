"""Run directories: the files of a running control plane, and its owner.

Each contains a ``state.json`` with the processes and the owner, written before the first start and
after each start. With this file, other processes can stop an abandoned run.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.controlplane.build import cache_root
from tests.controlplane.processes import Child, end, is_alive, start_time
from tests.controlplane.real.remains import remove_remains

__all__ = ["Run", "runs", "sweep"]

STATE = "state.json"
POLITE_SECONDS = 5.0


@dataclass(frozen=True)
class Run:
    """One control plane on disk.

    ``owner`` is the process (pid, start time) without which the run is abandoned. A detached
    run has no owner any more when it is ``ready``.
    """

    folder: Path
    detached: bool
    owner: tuple[int, str]
    ports: dict[str, int]
    children: tuple[Child, ...] = ()
    ready: bool = False
    client_limits: str = "lifted"

    @classmethod
    def create(
        cls,
        name: str | None,
        detached: bool,
        ports: dict[str, int],
        client_limits: str = "lifted",
    ) -> Run:
        """Create the directory of a new run, together with its state."""
        root = _root()
        root.mkdir(parents=True, exist_ok=True)
        folder = root / (name or f"run-{secrets.token_hex(4)}")
        staging = root / f".{secrets.token_hex(8)}"
        staging.mkdir(mode=0o700)
        owner = (os.getpid(), start_time(os.getpid()) or "")
        run = cls(folder, detached, owner, ports, client_limits=client_limits)
        run._write(staging)
        try:
            staging.rename(folder)
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
            raise RuntimeError(
                f"a control plane named {folder.name} already exists ({folder});"
                f" stop it: python -m tests.controlplane stop --name {folder.name}"
            ) from None
        return run

    @classmethod
    def load(cls, name: str) -> Run | None:
        """The run with this name, or None."""
        folder = _root() / name
        try:
            state: dict[str, Any] = json.loads((folder / STATE).read_text())
        except (OSError, ValueError):
            return None
        return cls(
            folder=folder,
            detached=state["detached"],
            owner=(state["owner"][0], state["owner"][1]),
            ports=state["ports"],
            children=tuple(Child.from_record(child) for child in state["children"]),
            ready=state["ready"],
            # A run that an older checkout started knows no limits.
            client_limits=state.get("client_limits", "lifted"),
        )

    @property
    def name(self) -> str:
        return self.folder.name

    def with_child(self, child: Child) -> Run:
        """The run with this child, which replaces one of the same component."""
        known = {c.component: c for c in self.children} | {child.component: child}
        return replace(self, children=tuple(known.values()))._saved()

    def made_ready(self) -> Run:
        return replace(self, ready=True)._saved()

    def is_abandoned(self) -> bool:
        """Whether the owner of this run has ended without stopping it."""
        if self.detached and self.ready:
            return not any(child.is_alive() for child in self.children)
        return not is_alive(*self.owner)

    def remove(self, polite_seconds: float = POLITE_SECONDS) -> None:
        """Stop the remaining processes in reverse order, and delete the directory."""
        remove_remains(self.folder)
        for child in reversed(self.children):
            end([child], polite_seconds=polite_seconds)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _saved(self) -> Run:
        self._write(self.folder)
        return self

    def _write(self, folder: Path) -> None:
        state = {
            "detached": self.detached,
            "owner": list(self.owner),
            "ports": self.ports,
            "children": [child.record() for child in self.children],
            "ready": self.ready,
            "client_limits": self.client_limits,
        }
        part = folder / f"{STATE}.part"
        part.write_text(json.dumps(state, indent=2))
        part.replace(folder / STATE)


def runs() -> Iterator[Run]:
    """All runs on disk, including abandoned ones."""
    for state in sorted(_root().glob(f"[!.]*/{STATE}")):
        run = Run.load(state.parent.name)
        if run is not None:
            yield run


def sweep(say: Callable[[str], None]) -> None:
    """Stop and remove abandoned runs."""
    for run in runs():
        if run.is_abandoned():
            left = sum(child.is_alive() for child in run.children)
            say(f"removing {run.name}, whose owner has ended; {left} processes are still running")
            run.remove(polite_seconds=0.5)


def _root() -> Path:
    return cache_root() / "runs"
