"""The manifest of the temporary service."""

from __future__ import annotations

from immutable_operator.api.names import API_VERSION, SERVICE_KIND
from immutable_operator.cli.objects import Json

__all__ = ["CONTAINER", "REPLICAS", "manifest"]

CONTAINER = "sleeper"
REPLICAS = 2


def manifest(
    namespace: str,
    name: str,
    image: str,
    command: tuple[str, ...] = (),
    on_taint: str = "Replace",
    *,
    gated: bool = False,
) -> Json:
    """The ImmutableService; its pods conform to the Pod Security Standard restricted.

    ``gated``: only one instance, which is never scheduled.
    """
    own: Json = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container: Json = {
        "name": CONTAINER,
        "image": image,
        "envFrom": [{"configMapRef": {"name": f"{name}-settings"}}],
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"memory": "64Mi"},
        },
        "securityContext": {**own, "readOnlyRootFilesystem": True},
        **({"command": list(command)} if command else {}),
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        **({"schedulingGates": [{"name": "verify.immutable.dev/never"}]} if gated else {}),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": SERVICE_KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1 if gated else REPLICAS,
            # Only a ConfigMap that is read live can be recreated while a pod uses it.
            "immutability": {"onTaint": on_taint, "config": {"mode": "Live"}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    }
