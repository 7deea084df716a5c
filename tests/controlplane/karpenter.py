"""Karpenter with its kwok cloud, whose machines are simulated nodes of the control plane.

It is real Karpenter: it launches, registers, drains and deletes nodes; only the machines are not.
Like the components, it can be killed and started again, and it ends with the control plane.
"""

from __future__ import annotations

import contextlib
from functools import partial
from types import TracebackType
from typing import Self

from tests.controlplane.accounts import create_admin, is_ready
from tests.controlplane.api import ApiError
from tests.controlplane.build import binaries
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.processes import free_ports

__all__ = ["CLAIMS", "NODE_CLASSES", "USER", "Karpenter"]

COMPONENT = "karpenter-kwok"
CLAIMS = "/apis/karpenter.sh/v1/nodeclaims"
NODE_CLASSES = "/apis/karpenter.kwok.sh/v1alpha1/kwoknodeclasses"
NODES = "/api/v1/nodes"
PROVIDER = "kwok://"
# Those of Karpenter's chart where it is installed as its documentation says.
NAMESPACE = "kube-system"
ACCOUNT = "karpenter"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"


class Karpenter:
    """Karpenter beside a control plane; as a context manager it is removed after the block."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        program = binaries([COMPONENT])[COMPONENT]
        self._program = str(program)
        self._crds = sorted(program.parent.glob("*.yaml"))
        self._metrics_port, self._health_port = free_ports(2)

    @classmethod
    def start(cls, plane: ControlPlane) -> Self:
        """Install its CRDs and its account, start it, and return when it is ready."""
        karpenter = cls(plane)
        files = [f"--filename={path}" for path in karpenter._crds]
        plane.kubectl("apply", "--server-side", *files)
        plane.kubectl("wait", "--for=condition=Established", *files)
        create_admin(plane, NAMESPACE, ACCOUNT)
        karpenter.revive()
        return karpenter

    def revive(self) -> None:
        """Start the killed process again; return when its caches are filled."""
        kubeconfig = self._plane.service_account_kubeconfig(NAMESPACE, ACCOUNT)
        variables = {
            # The only way to name it: the flag --kubeconfig makes Karpenter panic.
            "KUBECONFIG": str(kubeconfig),
            "DISABLE_LEADER_ELECTION": "true",
            "METRICS_PORT": str(self._metrics_port),
            "HEALTH_PROBE_PORT": str(self._health_port),
            "LOG_LEVEL": "info",
        }
        ports = (self._metrics_port, self._health_port)
        ready = partial(is_ready, self._health_port)
        self._plane.run_beside(COMPONENT, [self._program], variables, ports, ready)

    def kill(self) -> None:
        """SIGKILL it: claims and nodes stay as they are until `revive`."""
        self._plane.kill(COMPONENT)

    def log_tail(self, lines: int = 25) -> str:
        return self._plane.log_tail(COMPONENT, lines)

    def stop(self) -> None:
        """End it and remove all that it left: claims, nodes (undrained), CRDs."""
        self.kill()
        api = self._plane.api()
        with contextlib.suppress(ApiError):  # the CRDs may be gone
            for claim in api.get(CLAIMS)["items"]:
                self._remove(f"{CLAIMS}/{claim['metadata']['name']}")
        for node in api.get(NODES)["items"]:
            if node["spec"].get("providerID", "").startswith(PROVIDER):
                self._remove(f"{NODES}/{node['metadata']['name']}")
        files = [f"--filename={path}" for path in self._crds]
        self._plane.kubectl("delete", "--ignore-not-found", *files)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _remove(self, path: str) -> None:
        """Delete an object although no process is there that removes its finalizers."""
        api = self._plane.api()
        for method, body in (("DELETE", None), ("PATCH", {"metadata": {"finalizers": None}})):
            try:
                api.request(method, path, body, "application/merge-patch+json")
            except ApiError as error:
                if error.status != 404:
                    raise
