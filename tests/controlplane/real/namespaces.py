"""Namespaces of the nodes and of the router between them; runs programs in them.

The namespaces have no names in the file system: a process keeps each set of namespaces, which ends
with this process, together with all mounts, network interfaces and processes in it.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.processes import Child, spawn, start_time

__all__ = [
    "NODE_KINDS",
    "ROUTER_KINDS",
    "NamespaceError",
    "Namespaces",
    "hold_network",
    "hold_node",
]

START_SECONDS = 60.0
POLL_SECONDS = 0.01
INIT = Path(__file__).with_name("node-init.sh")
ROUTER_KINDS = ("--net",)
NODE_KINDS = ("--mount", "--net", "--pid", "--uts")


class NamespaceError(RuntimeError):
    """Namespaces could not be created or entered; the message contains the system's error."""


@dataclass(frozen=True)
class Namespaces:
    """Namespaces that are held by the process ``pid``; ``kinds`` are options of nsenter."""

    pid: int
    kinds: tuple[str, ...]

    def command(self, *command: str) -> list[str]:
        """The command line that runs a command inside."""
        return ["nsenter", f"--target={self.pid}", *self.kinds, "--", *command]

    def run(self, *command: str, stdin: str = "", timeout: float = 60) -> str:
        """Run a command inside and return what it prints; raises `NamespaceError`."""
        result = subprocess.run(
            self.command(*command), input=stdin, capture_output=True, text=True, timeout=timeout
        )
        if result.returncode:
            raise NamespaceError(
                f"{' '.join(command)}: exit {result.returncode}\n{stdin}{result.stderr}"
            )
        return result.stdout

    def spawn(
        self, component: str, command: Sequence[str], *, folder: Path, tied: bool
    ) -> tuple[subprocess.Popen[bytes], Child]:
        """Start a program inside; the child is the program itself, as this machine sees it."""
        process, outer = spawn(
            component, self.command(*command), folder=folder, ports=(), tied=tied
        )
        with _killed_on_error(process):
            return process, _only_child(process, outer, component)


def hold_network(
    component: str, *, folder: Path, tied: bool
) -> tuple[subprocess.Popen[bytes], Child, Namespaces]:
    """A network namespace with only a sleeping process."""
    process, child = spawn(
        component, ["unshare", "--net", "sleep", "infinity"], folder=folder, ports=(), tied=tied
    )
    ours = Path("/proc/self/ns/net").readlink()
    with _killed_on_error(process):
        _await(component, process, lambda: Path(f"/proc/{child.pid}/ns/net").readlink() != ours)
    return process, child, Namespaces(child.pid, ROUTER_KINDS)


def hold_node(
    component: str, name: str, node_folder: Path, *, folder: Path, tied: bool
) -> tuple[subprocess.Popen[bytes], Child, Namespaces]:
    """The namespaces of a node; the child is the node's first process."""
    booted = node_folder / "booted"
    booted.unlink(missing_ok=True)
    command = ["unshare", "--mount", "--net", "--pid", "--uts", "--propagation=private"]
    command += ["--mount-proc", "--fork", "--kill-child=SIGKILL"]
    process, outer = spawn(
        component, [*command, str(INIT), str(node_folder), name], folder=folder, ports=(), tied=tied
    )
    with _killed_on_error(process):
        child = _only_child(process, outer, component)
        _await(component, process, booted.exists)
    return process, child, Namespaces(child.pid, NODE_KINDS)


def _only_child(process: subprocess.Popen[bytes], outer: Child, component: str) -> Child:
    """The process that unshare or nsenter has forked into the new PID namespace."""
    path = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    _await(component, process, lambda: bool(path.read_text().split()))
    pid = int(path.read_text().split()[0])
    return Child(component, pid, start_time(pid) or "", ())


@contextlib.contextmanager
def _killed_on_error(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill a process that is not recorded yet."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise


def _await(what: str, process: subprocess.Popen[bytes], check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None:
        if check():
            return
        if time.monotonic() > deadline:
            raise NamespaceError(f"{what} did not start within {START_SECONDS:g} s; see its log")
        time.sleep(POLL_SECONDS)
    raise NamespaceError(f"{what} ended with {process.returncode}; see {what}.log")
