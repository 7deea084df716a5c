"""Ways into a running control plane: kubeconfigs, kubectl, helm, the audit log."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.controlplane.api import Api, ApiError
from tests.controlplane.audit import AuditLog
from tests.controlplane.build import binaries
from tests.controlplane.certificates import ACTOR_USERS, Certificates
from tests.controlplane.kubeconfig import certificate_user, token_user, write_kubeconfig
from tests.controlplane.processes import LAZY_GO
from tests.controlplane.runs import Run

__all__ = ["Access", "find_kubectl"]

TOKEN_SECONDS = 30 * 24 * 3600


class Access:
    """The client side of a control plane."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._apis: dict[str, Api] = {}

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://127.0.0.1:{self._run.ports['kube-apiserver']}"

    @property
    def ca_file(self) -> Path:
        return self._certificates.ca

    def kubeconfig(self, actor: str = "admin") -> Path:
        """The kubeconfig of an actor; an unknown name is a user without permissions."""
        path = self._run.folder / f"{actor}.kubeconfig"
        if path.exists():
            return path
        return write_kubeconfig(
            path,
            server=self.server,
            ca=self.ca_file,
            user_name=ACTOR_USERS.get(actor, actor),
            user=certificate_user(*self._certificates.actor(actor)),
        )

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a new token (30 days) of an existing service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.api().request("POST", path, {"spec": {"expirationSeconds": TOKEN_SECONDS}})
        return write_kubeconfig(
            self._run.folder / f"{namespace}.{name}.kubeconfig",
            server=self.server,
            ca=self.ca_file,
            user_name=f"system:serviceaccount:{namespace}:{name}",
            user=token_user(answer["status"]["token"]),
            namespace=namespace,
        )

    def api(self, actor: str = "admin") -> Api:
        """A plain HTTPS client that acts as the actor; the same one each time."""
        if actor not in self._apis:
            files = self._certificates.actor(actor)
            self._apis[actor] = Api(self.server, self.ca_file, *files)
        return self._apis[actor]

    def audit(self) -> AuditLog:
        return AuditLog(self._run.folder / "audit.log")

    def kubectl(
        self,
        *args: str,
        actor: str = "admin",
        namespace: str | None = None,
        stdin: str | None = None,
        check: bool = True,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the actor. With ``check`` a failure raises, with the output."""
        command = [str(find_kubectl()), f"--cache-dir={self._run.folder / 'kubectl-cache'}"]
        if namespace is not None:
            command.append(f"--namespace={namespace}")
        return self._run_client([*command, *args], actor, stdin, check, timeout)

    def helm(
        self,
        *args: str,
        actor: str = "admin",
        namespace: str | None = None,
        stdin: str | None = None,
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run helm as the actor, with a separate home directory."""
        command = [str(binaries(["helm"])["helm"])]
        if namespace is not None:
            command.append(f"--namespace={namespace}")
        return self._run_client([*command, *args], actor, stdin, check, timeout)

    def grant(self, actor: str, namespace: str, cluster_role: str = "admin") -> None:
        """Bind a cluster role to the actor within one namespace; once is enough."""
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{actor}-{cluster_role}"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": cluster_role,
            },
            "subjects": [
                {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "User",
                    "name": ACTOR_USERS.get(actor, actor),
                }
            ],
        }
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings"
        try:
            self.api().request("POST", path, binding)
        except ApiError as error:
            if error.status != 409:
                raise

    def describe(self, namespace: str, *kinds: str) -> str:
        """The objects and events of a namespace, for the message of a test that fails."""
        wanted = ",".join(("pods", *kinds))
        objects = self.kubectl("get", wanted, "-o", "wide", namespace=namespace, check=False)
        events = self.kubectl(
            "get", "events", "--sort-by=.lastTimestamp", namespace=namespace, check=False
        )
        return f"{objects.stdout}{objects.stderr}\n{events.stdout}{events.stderr}"

    @property
    def _certificates(self) -> Certificates:
        return Certificates(self._run.folder / "certificates")

    def _run_client(
        self, command: list[str], actor: str, stdin: str | None, check: bool, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        home = self._run.folder / "home"
        home.mkdir(exist_ok=True)
        environment = (
            os.environ
            | LAZY_GO
            | {
                "KUBECONFIG": str(self.kubeconfig(actor)),
                "KUBERC": "off",
                # A user's own settings, plug-ins and caches must not decide a test.
                "HOME": str(home),
                "HELM_CACHE_HOME": str(home / "helm-cache"),
                "HELM_CONFIG_HOME": str(home / "helm-config"),
                "HELM_DATA_HOME": str(home / "helm-data"),
            }
        )
        result = subprocess.run(
            command,
            env=environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and result.returncode:
            raise RuntimeError(
                f"{Path(command[0]).name} {' '.join(command[1:])}: exit {result.returncode}\n"
                f"{result.stdout}{result.stderr}"
            )
        return result


def find_kubectl() -> Path:
    """The kubectl beside this Python (the pinned one), else the one in PATH."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if not found:
        raise RuntimeError(
            "kubectl is neither in this virtual environment nor in PATH;"
            " install it: pip install -r requirements-dev.txt"
        )
    return Path(found)
