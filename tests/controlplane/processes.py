"""Starts, identifies and stops the processes of a control plane, and chooses its ports.

A process is identified by its pid *and* its start time, so that another process that reuses the pid
is never stopped.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "LAZY_GO",
    "Child",
    "bare_environment",
    "die_with_parent",
    "end",
    "free_ports",
    "is_alive",
    "port_is_free",
    "spawn",
    "start_time",
]

# Below the range from which the kernel takes ports for outgoing connections.
PORTS = range(10_000, 32_000)
POLL_SECONDS = 0.02
KILL_SECONDS = 10.0
PR_SET_PDEATHSIG = 1
# Programs in Go collect their garbage at four times the usual size: 150 MB more for an API
# server, and a seventh less of the processor. With 50 000 pods that is more than a machine has:
# then another GOGC is set in the environment of the benchmark.
LAZY_GO = {"GOGC": os.environ.get("GOGC", "400")}


@dataclass(frozen=True)
class Child:
    """A started process: its component, its identity, and the ports on which it listens."""

    component: str
    pid: int
    started: str
    ports: tuple[int, ...]

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Child:
        return cls(
            component=record["component"],
            pid=record["pid"],
            started=record["started"],
            ports=tuple(record["ports"]),
        )

    def is_alive(self) -> bool:
        return is_alive(self.pid, self.started)


def spawn(
    component: str,
    command: Sequence[str],
    *,
    folder: Path,
    ports: Sequence[int],
    tied: bool,
    variables: Mapping[str, str] | None = None,
) -> tuple[subprocess.Popen[bytes], Child]:
    """Start a component in a separate session, with its log in ``<folder>/<component>.log``.

    With ``tied`` the kernel kills the process when the calling thread ends, for any reason
    (Linux). The environment is minimal, apart from ``variables``: it has no proxy and no
    kubeconfig of the user.
    """
    environment = bare_environment(folder) | dict(variables or {})
    with (folder / f"{component}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent() if tied else None,
        )
    return process, Child(component, process.pid, start_time(process.pid) or "", tuple(ports))


def bare_environment(folder: Path) -> dict[str, str]:
    """The environment of a component: nothing of the user's but PATH."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)} | LAZY_GO


def start_time(pid: int) -> str | None:
    """The start time of the process, as opaque text; None if it is not running."""
    if Path("/proc/self/stat").exists():
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        # The name in parentheses may hold anything; the fields after it are plain.
        fields = text.rpartition(")")[2].split()
        # A zombie has ended: only its parent has not asked yet.
        return None if fields[0] in "ZX" else fields[19]
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True
    )
    state, _, started = answer.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def is_alive(pid: int, started: str) -> bool:
    return bool(started) and start_time(pid) == started


def end(children: Iterable[Child], *, polite_seconds: float, force: bool = False) -> None:
    """Terminate the processes, kill those that still run after ``polite_seconds``, and wait.

    ``force`` kills at once. Raises RuntimeError if a process survives SIGKILL.
    """
    left = [child for child in children if child.is_alive()]
    steps = [(signal.SIGTERM, polite_seconds), (signal.SIGKILL, KILL_SECONDS)]
    for sign, seconds in steps[1:] if force else steps:
        for child in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, sign)
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            left = [child for child in left if child.is_alive()]
            time.sleep(POLL_SECONDS if left else 0)
        if not left:
            return
    names = ", ".join(f"{child.component} (pid {child.pid})" for child in left)
    raise RuntimeError(f"still running after SIGKILL: {names}; see what blocks them with ps")


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports on which no process listens."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if port_is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"only {len(found)} of {count} loopback ports are free; stop other programs")


def port_is_free(port: int) -> bool:
    """Whether a listener could have the port (connections that linger do not count)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def die_with_parent() -> Callable[[], None] | None:
    """For the child, between fork and exec; made in the parent so that it only calls C."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the line above.
        if os.getppid() != parent:
            os._exit(1)

    return tie
