"""What the programs beside a control plane have in common: CRDs, an account, and a question."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from pathlib import Path

from tests.controlplane.access import Access
from tests.controlplane.api import ApiError, Json
from tests.waiting import wait_for

__all__ = ["create_admin", "install_crds", "is_ready"]

RBAC = "rbac.authorization.k8s.io"


def install_crds(plane: Access, crds: Iterable[Path]) -> None:
    """Apply CRDs, and return when the API server serves them."""
    files = [f"--filename={path}" for path in sorted(crds)]
    plane.kubectl("apply", "--server-side", *files)

    def served() -> bool:
        # kubectl fails at once while a CRD has no conditions yet.
        wait = ("wait", "--for=condition=Established", *files)
        return plane.kubectl(*wait, check=False).returncode == 0

    wait_for("the CRDs are established", served)


def create_admin(plane: Access, namespace: str, account: str) -> None:
    """A service account with all permissions, and its namespace, unless they exist."""
    subject = {"kind": "ServiceAccount", "namespace": namespace, "name": account}
    binding = {
        "metadata": {"name": account},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [subject],
    }
    _create(plane, "/api/v1/namespaces", {"metadata": {"name": namespace}})
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    _create(plane, accounts, {"metadata": {"name": account}})
    _create(plane, f"/apis/{RBAC}/v1/clusterrolebindings", binding)


def is_ready(port: int, path: str = "/readyz") -> bool:
    """Whether a program answers 200 on this loopback port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _create(plane: Access, collection: str, document: Json) -> None:
    try:
        plane.api().request("POST", collection, document)
    except ApiError as error:
        if error.status != 409:
            raise
