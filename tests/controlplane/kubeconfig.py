"""Writing kubeconfig files: self-contained, one user, one context."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["certificate_user", "token_user", "write_kubeconfig"]


def certificate_user(certificate: Path, key: Path) -> dict[str, str]:
    """The user entry of a client certificate, with the data inside."""
    return {"client-certificate-data": _data(certificate), "client-key-data": _data(key)}


def token_user(token: str) -> dict[str, str]:
    """The user entry of a bearer token."""
    return {"token": token}


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    ca: Path,
    user_name: str,
    user: Mapping[str, str],
    namespace: str = "default",
) -> Path:
    """Write the file (readable by its owner only) and return its path."""
    cluster = {"server": server, "certificate-authority-data": _data(ca)}
    context = {"cluster": "test-bed", "user": user_name, "namespace": namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test-bed", "cluster": cluster}],
        "users": [{"name": user_name, "user": dict(user)}],
        "contexts": [{"name": "test-bed", "context": context}],
        "current-context": "test-bed",
    }
    # JSON is YAML; renamed into place so that a reader never sees half of it.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.touch(mode=0o600)
    part.write_text(json.dumps(document, indent=2))
    part.replace(path)
    return path


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
