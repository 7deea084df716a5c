"""The operator as a background process on this machine, under the chart's service account.

It keeps running after the demo: its pid is in ``operator.json`` and its log in ``operator.log`` of
the place's folder.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.demo.place import SYSTEM, DemoError
from tests.controlplane.processes import Child, end, free_ports, spawn

__all__ = ["Webhook", "log_file", "start", "stop"]

COMPONENT = "operator"
STATE = "operator.json"
READY_SECONDS = 60.0
POLITE_SECONDS = 10.0
TAIL_LINES = 15


@dataclass(frozen=True)
class Webhook:
    """The address of the operator's break-glass webhook."""

    address: str
    port: int

    @classmethod
    def on(cls, address: str) -> Webhook:
        (port,) = free_ports(1)
        return cls(address, port)

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}/break-glass"

    @property
    def flags(self) -> tuple[str, ...]:
        return (
            f"--webhook-listen={self.address}:{self.port}",
            f"--webhook-names={self.address}",
        )


def log_file(folder: Path) -> Path:
    return folder / f"{COMPONENT}.log"


def start(
    folder: Path, kubeconfig: Path, webhook: Webhook | None, flags: Sequence[str] = ()
) -> None:
    """Start the operator, and stop that of an earlier demo; return when it is leader and ready.

    A leader that is terminated gracefully releases its lease, so the next one does not wait.
    """
    stop(folder)
    with contextlib.suppress(FileNotFoundError):
        log_file(folder).replace(folder / f"{COMPONENT}.previous.log")
    (port,) = free_ports(1)
    command = [
        *(sys.executable, "-m", "immutable_operator.runtime.main", "run"),
        f"--kubeconfig={kubeconfig}",
        f"--namespace={SYSTEM}",
        f"--listen=127.0.0.1:{port}",
        "--log-format=console",
        *(webhook.flags if webhook else ()),
        *flags,
    ]
    process, child = spawn(COMPONENT, command, folder=folder, ports=(port,), tied=False)
    (folder / STATE).write_text(json.dumps(child.record()))
    deadline = time.monotonic() + READY_SECONDS
    while not _leads(port):
        code = process.poll()
        if code is not None:
            raise DemoError(f"the operator exited with code {code}; {_tail(folder)}")
        if time.monotonic() > deadline:
            raise DemoError(
                f"the operator is not the leader after {READY_SECONDS:g} s; {_tail(folder)}"
            )
        time.sleep(0.1)


def stop(folder: Path) -> bool:
    """Stop the operator; return whether it was running."""
    state = folder / STATE
    try:
        child = Child.from_record(json.loads(state.read_text()))
    except (OSError, ValueError, KeyError):
        return False
    alive = child.is_alive()
    end([child], polite_seconds=POLITE_SECONDS)
    state.unlink(missing_ok=True)
    return alive


def _leads(port: int) -> bool:
    """Whether the operator and its webhook are ready, and the operator is the leader."""
    return bool(_ask(port, "readyz")) and "\nimmutable_leading 1.0" in _ask(port, "metrics")


def _ask(port: int, what: str) -> str:
    """The answer of the operator; "" if there is none or if it is an error."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/{what}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


def _tail(folder: Path) -> str:
    path = log_file(folder)
    lines = path.read_text(errors="replace").splitlines()[-TAIL_LINES:] if path.exists() else []
    return "\n".join([f"the end of {path}:", *lines])
