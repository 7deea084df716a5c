"""ImmutableActions and ImmutableFreezes in tests: asking for a regeneration, holding it up."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from immutable_operator.api.names import API_VERSION
from tests.cluster.services import KIND_PATH, Service
from tests.controlplane.api import Json

__all__ = ["act", "freeze_of", "outcome", "phase"]


def freeze_of(service: Service, reason: str) -> Json:
    """The manifest of a freeze of the service's namespace, for an hour from now."""
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": API_VERSION,
        "kind": "ImmutableFreeze",
        "metadata": {"name": f"freeze-{service.namespace}"},
        "spec": {"namespaces": [service.namespace], "until": until, "reason": reason},
    }


def act(service: Service, name: str, /, **spec: Any) -> None:
    """Create an action that asks to regenerate the service, or what ``spec`` says."""
    document = {
        "apiVersion": API_VERSION,
        "kind": "ImmutableAction",
        "metadata": {"name": name, "namespace": service.namespace},
        "spec": {"type": "Regenerate", "service": service.name, **spec},
    }
    service.plane.kubectl("create", "-f", "-", stdin=json.dumps(document))


def phase(service: Service, name: str) -> str:
    """The phase of an action; empty where it has none yet."""
    return str(_status(service, name).get("phase", ""))


def outcome(service: Service, name: str) -> str:
    """The message of an action; empty where it has none yet."""
    return str(_status(service, name).get("message", ""))


def _status(service: Service, name: str) -> Json:
    path = f"{KIND_PATH}/{service.namespace}/immutableactions/{name}"
    found: Json = service.plane.api().get(path).get("status", {})
    return found
