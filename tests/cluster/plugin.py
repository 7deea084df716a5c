"""`kubectl immutable <verb>`, run as people run it: through kubectl, which finds the plug-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.services import Service
from tests.controlplane import ControlPlane
from tests.controlplane.access import find_kubectl

__all__ = ["Told", "ask", "complete", "run", "start", "told"]

TIMEOUT = 120.0


@dataclass(frozen=True)
class Told:
    """What a command printed: the exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def table(self) -> list[dict[str, str]]:
        """The rows of a table by column; the last column may contain blanks."""
        head, *rows = self.out.splitlines()
        found = list(re.finditer(r"\S+", head))
        names, starts = [f[0] for f in found], [f.start() for f in found]
        ends = [*starts[1:], None]
        return [
            {n: row[a:b].strip() for n, a, b in zip(names, starts, ends, strict=True)}
            for row in rows
        ]


def start(
    plane: ControlPlane, *args: str, actor: str = "admin", before: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start ``kubectl immutable`` with these arguments; ``before`` stand before the plug-in."""
    beside = Path(sys.executable).parent
    environment = os.environ | {
        "KUBECONFIG": str(plane.kubeconfig(actor)),
        "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}",
    }
    command = [str(find_kubectl()), *before, "immutable", *args]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def told(process: subprocess.Popen[str], timeout: float = TIMEOUT) -> Told:
    """Wait for the end of a command, and return what it printed."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"it did not end: {process.communicate()}") from None
    return Told(process.returncode, out, err)


def ask(plane: ControlPlane, *args: str, actor: str = "admin") -> Told:
    """Run ``kubectl immutable`` with these arguments."""
    return told(start(plane, *args, actor=actor))


def run(web: Service, *args: str, actor: str = "admin") -> Told:
    """Run the plug-in in the namespace of the service."""
    return ask(web.plane, f"--namespace={web.namespace}", *args, actor=actor)


def complete(plane: ControlPlane, *words: str, actor: str = "admin") -> Told:
    """Complete a command line of the plug-in as a shell does: kubectl's own completion is asked."""
    return told(start(plane, *words, actor=actor, before=["__complete"]))
