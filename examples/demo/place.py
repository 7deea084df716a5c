"""The place of the demo: one cluster, and the programs that connect to it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.controlplane.audit import AuditLog

__all__ = [
    "ACCOUNT",
    "CHART",
    "DEMO",
    "RELEASE",
    "ROOT",
    "SYSTEM",
    "DemoError",
    "Json",
    "Place",
    "only_one",
]

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "immutable-operator"
SYSTEM = "immutable-system"  # namespace of the operator
DEMO = "immutable-demo"  # namespace of the service
RELEASE = ACCOUNT = "immutable-operator"
AFTER = "2.53@sha256:99c6b4bb4a1e1df3f0b3752168c89358794d02258ebebc26bf21c29399011a85"
PATIENCE_SECONDS = 120.0

Json = dict[str, Any]


class DemoError(RuntimeError):
    """The demo cannot continue; the message says what is wrong, why, and what to do."""


@dataclass(frozen=True)
class Place:
    """One cluster.

    ``kubectl`` and ``helm`` are command prefixes; ``typed`` is the former as a user types it.
    ``folder`` is for local files of the demo. ``operator_kubeconfig`` writes a kubeconfig of the
    chart's service account; None if the cluster already has an operator. ``address`` is the address
    of this machine for the API server; None if the API server cannot reach it. ``manifest`` is the
    service to apply, ``edit`` the sed command that changes its image.
    """

    name: str
    kubectl: tuple[str, ...]
    helm: tuple[str, ...]
    typed: str
    environment: Mapping[str, str]
    folder: Path
    stop_command: str
    operator_kubeconfig: Callable[[], Path] | None
    address: str | None = None
    audit: AuditLog | None = None
    simulated: bool = False
    manifest: str = "examples/web.yaml"
    edit: str = f"s|2.52@.*|{AFTER}|"

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output; raises `DemoError` with its error message."""
        return self._run([*self.kubectl, *arguments], stdin)

    def run_as(self, kubeconfig: Path, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the user of the kubeconfig."""
        command = [self.kubectl[0], f"--kubeconfig={kubeconfig}", *arguments]
        return self._run(command, stdin)

    def run_helm(self, *arguments: str) -> str:
        return self._run([*self.helm, *arguments], None)

    def start_shell(self, command: str) -> subprocess.Popen[str]:
        """Start a command line in the root of the repository."""
        return subprocess.Popen(
            ["sh", "-ec", command],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def get(self, *arguments: str) -> Json:
        """``kubectl get`` as JSON; empty if the object does not exist."""
        text = self.run("get", *arguments, "--ignore-not-found", "--output=json")
        found: Json = json.loads(text) if text.strip() else {}
        return found

    def _run(self, command: list[str], stdin: str | None) -> str:
        try:
            result = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise DemoError(
                f"{_short(command)} did not answer within {PATIENCE_SECONDS:g} s;"
                f" stop the demo ({self.stop_command}) and start it again"
            ) from None
        if result.returncode:
            text = (result.stderr or result.stdout).strip() or f"exit code {result.returncode}"
            raise DemoError(f"{_short(command)}: {text}")
        return result.stdout


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Prevent a second demo on the same cluster."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError(
                "another `make demo` is running on this cluster; wait for it, or stop it (Ctrl-C)"
            ) from None
        yield


def _short(command: list[str]) -> str:
    """The command without its path and the flags for the cluster."""
    words = [Path(command[0]).name, *command[1:]]
    return " ".join(
        w for w in words if not w.startswith(("--context", "--kube-context", "--cache"))
    )
