"""One control plane: etcd, API server, controller manager, scheduler, KWOK. Start and stop."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.controlplane import components
from tests.controlplane.api import ApiError
from tests.controlplane.build import binaries
from tests.controlplane.certificates import ACTOR_USERS
from tests.controlplane.components import COMPONENTS, ClientLimits, Settings
from tests.controlplane.nodes import Nodes
from tests.controlplane.processes import Child, end, free_ports, port_is_free, spawn
from tests.controlplane.real.remains import remove_remains
from tests.controlplane.runs import Run, sweep
from tests.controlplane.stages import write_stages

__all__ = ["ControlPlane", "StartError"]

READY_SECONDS = 120.0
POLITE_SECONDS = 10.0
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 25


class StartError(RuntimeError):
    """A component did not start; the message contains the end of its log."""


class ControlPlane(Nodes):
    """A running control plane; as a context manager it stops at the end of the block."""

    def __init__(self, run: Run, processes: dict[str, subprocess.Popen[bytes]]) -> None:
        super().__init__(run)
        self._processes = processes
        self._stopped = False

    @classmethod
    def start(
        cls,
        name: str | None = None,
        detached: bool = False,
        client_limits: ClientLimits = "lifted",
        say: Callable[[str], None] = lambda text: None,
    ) -> Self:
        """Start one on free ports and return when it is ready.

        Without ``name`` it gets a random name. Unless ``detached``, it is killed when the thread
        that started it ends, even by SIGKILL: start it in the main thread. With ``client_limits``
        "shipped", the controller manager and scheduler keep their default request rates. Abandoned
        runs are removed first.
        """
        programs = binaries(list(COMPONENTS), say)
        sweep(say)
        for attempt in (1, 2, 3):
            try:
                return cls._start_once(name, detached, client_limits, programs, say)
            except StartError as error:
                # Another process took a port between the check and the start.
                if "address already in use" not in str(error) or attempt == 3:
                    raise
                say("a port is in use: starting again with other ports")
        raise AssertionError("unreachable")

    @classmethod
    def attach(cls, name: str) -> Self:
        """A running detached control plane, by name."""
        run = Run.load(name)
        if run is None or run.is_abandoned():
            raise LookupError(
                f"no control plane named {name} is running;"
                f" start it: python -m tests.controlplane start --name {name}"
            )
        return cls(run, {})

    def stop(self) -> None:
        """Stop the processes in the reverse order of their start, release the ports, clean up.

        Returns when the processes have ended and their ports are free. A second stop has no
        effect.
        """
        if self._stopped:
            return
        self._stopped = True
        remove_remains(self.folder)
        for child in reversed(self._run.children):
            end([child], polite_seconds=POLITE_SECONDS)
            process = self._processes.pop(child.component, None)
            if process is not None:
                process.wait()
        deadline = time.monotonic() + POLITE_SECONDS
        while taken := [p for p in self._run.ports.values() if not port_is_free(p)]:
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        self._run.remove()
        if taken:
            raise RuntimeError(
                f"{self.name} was stopped, but other processes listen on its ports {taken}"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def name(self) -> str:
        return self._run.name

    @property
    def folder(self) -> Path:
        """The run directory: logs (``<component>.log``), certificates, kubeconfigs."""
        return self._run.folder

    @property
    def detached(self) -> bool:
        """Whether it stays when the process that started it ends."""
        return self._run.detached

    @property
    def ports(self) -> dict[str, int]:
        return dict(self._run.ports)

    def pid_of(self, component: str) -> int:
        """The pid of ``etcd``, ``kube-apiserver``, ``kwok`` …"""
        return self._child(component).pid

    def is_running(self, component: str) -> bool:
        return self._child(component).is_alive()

    def kill(self, component: str) -> None:
        """SIGKILL a component, as in a machine failure; `revive` starts it again."""
        end([self._child(component)], polite_seconds=0, force=True)
        process = self._processes.pop(component, None)
        if process is not None:
            process.wait()

    def revive(self, component: str) -> None:
        """Start a killed component again, with the same command line, ports and data."""
        limits: ClientLimits = "shipped" if self._run.client_limits == "shipped" else "lifted"
        programs = binaries(list(COMPONENTS))
        settings = Settings(self.folder, programs, self._run.ports, limits)
        self._spawn(component, components.commands(settings)[component])
        self._await(component, partial(components.answers, component, settings))

    def run_beside(
        self,
        component: str,
        command: list[str],
        variables: Mapping[str, str],
        ports: Sequence[int],
        ready: Callable[[], bool],
    ) -> None:
        """Start a program that is not part of each control plane, and return when it is ready.

        It ends with the control plane or before, by `kill`; a second call starts it again.
        Raises `StartError` with the end of its log.
        """
        self._launch(component, command, ports, variables)
        self._await(component, ready)

    def log_tail(self, component: str, lines: int = LOG_TAIL_LINES) -> str:
        return _tail(self.folder / f"{component}.log", lines)

    def _child(self, component: str) -> Child:
        return next(child for child in self._run.children if child.component == component)

    @classmethod
    def _start_once(
        cls,
        name: str | None,
        detached: bool,
        client_limits: ClientLimits,
        programs: dict[str, Path],
        say: Callable[[str], None],
    ) -> Self:
        names = components.PORT_NAMES
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        run = Run.create(name, detached, ports, client_limits)
        plane = cls(run, {})
        try:
            settings = Settings(run.folder, programs, run.ports, client_limits)
            settings.certificates.create()
            write_stages(run.folder / "stages.json")
            for actor in ("admin", "alice", "kwok", *ACTOR_USERS):
                plane.kubeconfig(actor)
            plane._start_components(settings, say)
            plane._run = plane._run.made_ready()
        except BaseException:
            with contextlib.suppress(RuntimeError):
                plane.stop()
            raise
        return plane

    def _start_components(self, settings: Settings, say: Callable[[str], None]) -> None:
        """Each after its dependencies; the three clients of the API server together."""
        command_lines = components.commands(settings)
        for group in (COMPONENTS[:1], COMPONENTS[1:2], COMPONENTS[2:]):
            began = time.monotonic()
            for component in group:
                self._spawn(component, command_lines[component])
            for component in group:
                self._await(component, partial(components.answers, component, settings))
                say(f"{component} is ready ({time.monotonic() - began:.1f} s)")
        self._await("kube-controller-manager", self._has_default_account)

    def _spawn(self, component: str, command: list[str]) -> None:
        ports = [p for n, p in self._run.ports.items() if n.startswith(component)]
        self._launch(component, command, ports)

    def _launch(
        self,
        component: str,
        command: list[str],
        ports: Sequence[int],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        process, child = spawn(
            component,
            command,
            folder=self.folder,
            ports=ports,
            tied=not self._run.detached,
            variables=variables,
        )
        self._processes[component] = process
        self._run = self._run.with_child(child)

    def _await(self, component: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            code = self._processes[component].poll()
            if code is not None or time.monotonic() > deadline:
                what = f"ended with {code}" if code is not None else "did not get ready"
                raise StartError(
                    f"{component} {what}; the end of {component}.log:\n{self.log_tail(component)}"
                )
            time.sleep(POLL_SECONDS)

    def _has_default_account(self) -> bool:
        """Pods can be created as soon as this service account exists."""
        try:
            self.api().get("/api/v1/namespaces/default/serviceaccounts/default")
        except ApiError:
            return False
        return True


def _tail(path: Path, lines: int) -> str:
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(text.splitlines()[-lines:])
