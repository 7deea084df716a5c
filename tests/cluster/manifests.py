"""A pod template as the manifest of a Deployment and of an ImmutableService, to compare the two."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from immutable_operator.api.names import API_VERSION
from tests.controlplane.api import Json
from tests.unit.service_specs import PIN

__all__ = ["PLAIN", "deployment", "named", "service"]

LABELS = {"app": "web"}
PLAIN: Json = {
    "metadata": {"labels": LABELS},
    "spec": {"containers": [{"name": "web", "image": PIN}]},
}


def deployment(template: Json) -> Json:
    """A Deployment needs labels that it selects by, so the template gets one more."""
    given = copy.deepcopy(template)
    metadata = given.get("metadata") or {}
    labels = (metadata.get("labels") or {}) | LABELS
    given["metadata"] = metadata | {"labels": labels}
    spec = {"replicas": 0, "selector": {"matchLabels": LABELS}, "template": given}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}


def service(template: Json) -> Json:
    """A service may not use its node without permission; a Deployment may."""
    allowed = {"nodeLocal": "Allow", "sharedVolumes": "Allow"}
    spec = {"suspend": True, "replicas": 0, "template": template, "immutability": allowed}
    return {"apiVersion": API_VERSION, "kind": "ImmutableService", "spec": spec}


def named(body: Mapping[str, Any], name: str) -> Json:
    return {**body, "metadata": {"name": name}}
