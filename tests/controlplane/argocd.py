"""Argo CD beside a control plane: real repo-server and application controller, as processes.

They take manifests from Git, build with kustomize, compare, synchronise and read health as in a
cluster; only that they run outside of it. Its server, which carries out the actions, is started on
demand, with the permissions that Argo CD's manifests and ours give it, and without the files of the
user interface. They end with the control plane.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Final, Self

from tests.controlplane.access import find_kubectl
from tests.controlplane.accounts import create_admin, install_crds, is_ready
from tests.controlplane.build import binaries
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.processes import free_ports

__all__ = ["NAMESPACE", "PROGRAMS", "USER", "ArgoCD"]

PROGRAMS: Final = ("argocd", "argocd-redis")
NAMESPACE: Final = "argocd"
ACCOUNT: Final = "argocd-application-controller"
USER: Final = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
SERVER: Final = "argocd-server"
OURS: Final = Path(__file__).parents[2] / "gitops" / "argocd"
CUSTOMIZATIONS: Final = OURS / "argocd-cm.yaml"
WEB: Final = ("--kind=ImmutableService", "--resource-name=web")
# The kustomize in kubectl, under the name and with the answers that the repo-server asks for.
KUSTOMIZE: Final = """#!/bin/sh
case $1 in
version) echo v5.8.1 ;;
build) shift; exec "{kubectl}" kustomize "$@" ;;
*) echo "kustomize $1 is not here" >&2; exit 1 ;;
esac
"""
PROJECT: Final = """
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ["*"]
  destinations: [{namespace: "*", server: "*"}]
  clusterResourceWhitelist: [{group: "*", kind: "*"}]
"""


class ArgoCD:
    """The controller, the repo-server and its cache, with the scripts of gitops/argocd."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._programs = binaries(PROGRAMS)
        self._files = self._programs["argocd"].parent
        self._folder = plane.folder / "argocd"
        self._started: list[str] = []

    @classmethod
    def start(cls, plane: ControlPlane) -> Self:
        """Install the CRDs, the settings and the account, and start all; returns when ready."""
        argocd = cls(plane)
        argocd._install()
        argocd._write_folders()
        metrics, repository_metrics = free_ports(2)
        argocd._run_redis()
        repository = (
            *("--address=127.0.0.1", f"--port={argocd._repository}", "--disable-tls"),
            *("--metrics-address=127.0.0.1", f"--metrics-port={repository_metrics}"),
            *(argocd._redis, "--revision-cache-expiration=2s"),
        )
        ports = (argocd._repository, repository_metrics)
        argocd._run("argocd-repo-server", ACCOUNT, repository, ports)
        controller = (
            *argocd._reaching(ACCOUNT),
            *("--app-resync=10", "--app-resync-jitter=0", "--persist-resource-health"),
            f"--metrics-port={metrics}",
        )
        argocd._run("argocd-application-controller", ACCOUNT, controller, (metrics,))
        return argocd

    def run_action(self, application: str, action: str) -> None:
        """Run an action on the service web of an Application, as a person does in Argo CD."""
        self._ask(*("app", "actions", "run", application, action), *WEB)

    def actions(self, application: str) -> dict[str, bool]:
        """The actions that Argo CD has for the service web; False for those that do not apply."""
        said = self._ask(*("app", "actions", "list", application), *WEB, "--out=json")
        return {item["Action"]: not item["Disabled"] for item in json.loads(said)}

    def stop(self) -> None:
        for name in reversed(self._started):
            self._plane.kill(name)

    def log_tail(self, lines: int = 25) -> str:
        return "\n\n".join(self._plane.log_tail(name, lines) for name in self._started)

    def _ask(self, *arguments: str) -> str:
        """Run the command line of Argo CD against the server; returns what it printed."""
        command = [str(self._programs["argocd"]), *arguments, f"--server={self._server}"]
        flags = ("--plaintext", f"--config={self._folder / 'config'}")
        environment = os.environ | {"ARGOCD_BINARY_NAME": "argocd"}
        done = subprocess.run(
            [*command, *flags], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @cached_property
    def _server(self) -> str:
        """The address of the server, which is started for the first question."""
        # As docs/gitops.md says.
        self._plane.kubectl("apply", f"--filename={OURS / 'rbac.yaml'}")
        port, metrics = free_ports(2)
        flags = (
            *self._reaching(SERVER),
            *("--insecure", "--disable-auth", "--address=127.0.0.1", f"--port={port}"),
            *("--metrics-address=127.0.0.1", f"--metrics-port={metrics}"),
            f"--staticassets={self._folder / 'tmp'}",
        )
        self._run(SERVER, SERVER, flags, (metrics, port), "/healthz")
        return f"127.0.0.1:{port}"

    @cached_property
    def _repository(self) -> int:
        """The port of the repo-server."""
        return free_ports(1)[0]

    @cached_property
    def _cache(self) -> int:
        return free_ports(1)[0]

    @property
    def _redis(self) -> str:
        return f"--redis=127.0.0.1:{self._cache}"

    def _reaching(self, account: str) -> tuple[str, ...]:
        """Flags for the other programs and for the API server, as an account."""
        return (
            *(f"--kubeconfig={self._kubeconfig(account)}", f"--namespace={NAMESPACE}"),
            *(f"--repo-server=127.0.0.1:{self._repository}", "--repo-server-plaintext"),
            self._redis,
        )

    def _install(self) -> None:
        kubectl = self._plane.kubectl
        install_crds(self._plane, self._files.glob("*-crd.yaml"))
        create_admin(self._plane, NAMESPACE, ACCOUNT)
        settings = [f"--filename={path}" for path in sorted(self._files.glob("argocd-*.yaml"))]
        kubectl("apply", *settings, namespace=NAMESPACE)
        key = {"stringData": {"server.secretkey": "of-a-test"}}
        often = {"data": {"timeout.reconciliation": "10s"}}
        for what, patch in (
            ("secret/argocd-secret", f"--patch={json.dumps(key)}"),
            ("configmap/argocd-cm", f"--patch={json.dumps(often)}"),
            # As docs/gitops.md says.
            ("configmap/argocd-cm", f"--patch-file={CUSTOMIZATIONS}"),
        ):
            kubectl("patch", what, patch, namespace=NAMESPACE)
        kubectl("apply", "-f", "-", stdin=PROJECT)

    def _write_folders(self) -> None:
        for name in ("tls", "ssh", "gnupg", "bin", "tmp"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._folder / "ssh" / "ssh_known_hosts").touch()
        kustomize = self._folder / "bin" / "kustomize"
        kustomize.write_text(KUSTOMIZE.format(kubectl=find_kubectl()))
        kustomize.chmod(0o755)

    def _kubeconfig(self, account: str) -> Path:
        return self._plane.service_account_kubeconfig(NAMESPACE, account)

    def _run_redis(self) -> None:
        name, port = "argocd-redis", self._cache
        command = [str(self._programs[name]), f"127.0.0.1:{port}"]
        self._started.append(name)
        self._plane.run_beside(name, command, {}, (port,), partial(_listens, port))

    def _run(
        self,
        name: str,
        account: str,
        flags: Sequence[str],
        ports: tuple[int, ...],
        ready: str = "/metrics",
    ) -> None:
        """Start one of the programs in the binary; ``ready`` is the path at its last port that
        answers when it is."""
        path = f"{self._folder / 'bin'}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        variables = {
            "ARGOCD_BINARY_NAME": name,
            "ARGOCD_FAKE_IN_CLUSTER": "true",
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_TLS_DATA_PATH": str(self._folder / "tls"),
            "ARGOCD_SSH_DATA_PATH": str(self._folder / "ssh"),
            "ARGOCD_GNUPGHOME": str(self._folder / "gnupg"),
            "KUBECONFIG": str(self._kubeconfig(account)),
            "PATH": path,
            "TMPDIR": str(self._folder / "tmp"),
        }
        command = [str(self._programs["argocd"]), *flags]
        self._started.append(name)
        answers = partial(is_ready, ports[-1], ready)
        self._plane.run_beside(name, command, variables, ports, answers)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
