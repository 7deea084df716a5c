"""Services whose pods read ConfigMaps, as the API server gives them."""

from __future__ import annotations

from typing import Any

from immutable_operator.wire.owner import OwnerRecord

__all__ = ["service"]

META = {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "5", "generation": 1}
IMAGE = "registry.example/web@sha256:" + "9f" * 32


def service(config: dict[str, Any] | None = None) -> OwnerRecord:
    """One that reads ``settings`` and ``rotating``; ``config`` is ``spec.immutability.config``."""
    reads = [{"configMapRef": {"name": "settings"}}, {"configMapRef": {"name": "rotating"}}]
    template = {"spec": {"containers": [{"name": "web", "image": IMAGE, "envFrom": reads}]}}
    immutability = {} if config is None else {"immutability": {"config": config}}
    return OwnerRecord.of({"metadata": META, "spec": {"template": template, **immutability}})
