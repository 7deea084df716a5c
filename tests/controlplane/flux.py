"""Flux beside a control plane: real source-controller and kustomize-controller, as processes.

They read from Git over HTTP, build with kustomize, apply with server-side apply and wait by
kstatus, as in a cluster; only that they run outside of it. They end with the control plane.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Self

from tests.controlplane.accounts import create_admin, install_crds, is_ready
from tests.controlplane.build import binaries
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.processes import free_ports

__all__ = ["PROGRAMS", "USER", "Flux"]

PROGRAMS = ("source-controller", "kustomize-controller")
NAMESPACE = "flux-system"
ACCOUNT = "flux"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"


class Flux:
    """Both controllers, for all namespaces."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._programs = binaries(PROGRAMS)

    @classmethod
    def start(cls, plane: ControlPlane) -> Self:
        """Install the CRDs and the account, and start both; returns when they are ready."""
        flux = cls(plane)
        install_crds(plane, next(iter(flux._programs.values())).parent.glob("*.yaml"))
        create_admin(plane, NAMESPACE, ACCOUNT)
        kubeconfig = plane.service_account_kubeconfig(NAMESPACE, ACCOUNT)
        storage = plane.folder / "flux"
        storage.mkdir(exist_ok=True)
        [artifacts] = free_ports(1)
        address = f"127.0.0.1:{artifacts}"
        flux._run(
            "source-controller",
            kubeconfig,
            f"--storage-path={storage}",
            f"--storage-addr={address}",
            f"--storage-adv-addr={address}",
        )
        flux._run("kustomize-controller", kubeconfig)
        return flux

    def stop(self) -> None:
        for name in reversed(PROGRAMS):
            self._plane.kill(name)

    def log_tail(self, lines: int = 25) -> str:
        return "\n\n".join(self._plane.log_tail(name, lines) for name in PROGRAMS)

    def _run(self, name: str, kubeconfig: Path, *flags: str) -> None:
        metrics, health = free_ports(2)
        command = [
            str(self._programs[name]),
            f"--metrics-addr=127.0.0.1:{metrics}",
            f"--health-addr=127.0.0.1:{health}",
            "--enable-leader-election=false",
            *flags,
        ]
        variables = {"KUBECONFIG": str(kubeconfig), "RUNTIME_NAMESPACE": NAMESPACE}
        ready = partial(is_ready, health)
        self._plane.run_beside(name, command, variables, (metrics, health), ready)
