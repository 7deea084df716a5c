"""What the programs beside a control plane have in common: an account, and a question."""

from __future__ import annotations

import http.client

from tests.controlplane.access import Access
from tests.controlplane.api import ApiError, Json

__all__ = ["create_admin", "is_ready"]

RBAC = "rbac.authorization.k8s.io"


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
