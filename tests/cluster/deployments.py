"""Deployments in tests of migrations: a Deployment with the pods of a service that is not there."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster.services import Service, condition, pin
from tests.controlplane.api import ApiError, Json

__all__ = ["Deployment"]


class Deployment:
    """A Deployment of the name of a service, in its namespace, whose pods have the label app."""

    def __init__(self, web: Service) -> None:
        self.web = web
        self.path = f"/apis/apps/v1/namespaces/{web.namespace}/deployments/{web.name}"

    def apply(
        self, container: Json | None = None, metadata: Json | None = None, **spec: Any
    ) -> None:
        labels = {"app": self.web.name}
        pod = {"containers": [{"name": "web", "image": pin("a"), **(container or {})}]}
        pod |= spec.pop("pod", {})
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.web.name, **(metadata or {})},
            "spec": {
                "replicas": 4,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
                **spec,
            },
        }
        self.web.plane.kubectl(
            "apply", "-f", "-", namespace=self.web.namespace, stdin=json.dumps(body)
        )

    def get(self) -> Json:
        return self.web.plane.api().get(self.path)

    def is_there(self) -> bool:
        try:
            self.get()
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    def wanted(self) -> int:
        return int(self.get()["spec"]["replicas"])

    def until_available(self) -> None:
        """Wait until its own rollout has ended."""

        def done() -> bool:
            body = self.get()
            status, wanted = body.get("status", {}), body["spec"]["replicas"]
            ended = condition(body, "Progressing").get("reason") == "NewReplicaSetAvailable"
            seen = status.get("observedGeneration") == body["metadata"]["generation"]
            counts = ("replicas", "updatedReplicas", "availableReplicas")
            return ended and seen and all(status.get(count, 0) == wanted for count in counts)

        self.web.until("the Deployment is rolled out", done)
