"""HorizontalPodAutoscalers of services: bounds alone, without any metrics, move the number."""

from __future__ import annotations

import json
from dataclasses import replace

from immutable_operator.api.names import API_VERSION
from tests.cluster.services import KIND_PATH, Service
from tests.controlplane.api import Json

__all__ = ["DEPLOYMENT", "autoscale", "scale_as_autoscaler", "scaled_kind"]

# With --use-service-account-credentials the controllers have accounts of their own.
ACCOUNT = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
SERVICE: Json = {"apiVersion": API_VERSION, "kind": "ImmutableService"}
DEPLOYMENT: Json = {"apiVersion": "apps/v1", "kind": "Deployment"}


def autoscale(service: Service, least: int, most: int, target: Json = SERVICE) -> None:
    """Apply an autoscaler of the service's name, with these bounds; ``target`` is a kind."""
    named = target | {"name": service.name}
    document = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": service.name, "namespace": service.namespace},
        "spec": {"scaleTargetRef": named, "minReplicas": least, "maxReplicas": most},
    }
    service.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def scaled_kind(service: Service) -> str:
    """Return the kind that the autoscaler of the service's name scales."""
    path = f"/apis/autoscaling/v2/namespaces/{service.namespace}/horizontalpodautoscalers"
    found = service.plane.api().get(f"{path}/{service.name}")
    return str(found["spec"]["scaleTargetRef"]["kind"])


def scale_as_autoscaler(service: Service, replicas: int) -> None:
    """Write the number as the controller does: read the scale, change it, put it."""
    api = replace(service.plane.api(), impersonated=ACCOUNT)
    path = f"{KIND_PATH}/{service.namespace}/immutableservices/{service.name}/scale"
    scale = api.get(path)
    scale["spec"]["replicas"] = replicas
    api.request("PUT", path, scale)
