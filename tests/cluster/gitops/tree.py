"""What a repository of a test contains: an app with an ImmutableService, as users write it.

``immutable/`` is a copy of gitops/kustomize; ``app/`` is a kustomization with a generator, an image
by digest, and an autoscaler where one is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.services import Wish, pin

__all__ = ["NIGHTLY", "PATH", "App"]

COMPONENT = Path(__file__).parents[3] / "gitops" / "kustomize"
PATH = "app"
IMAGE = "registry.example/web"
# Without the time zone, which has a default: some tools compare lists as a whole.
NIGHTLY = {"maxAge": "30d", "windows": [{"schedule": "0 3 * * *", "duration": "1h"}]}


@dataclass(frozen=True)
class App:
    """What a commit says. ``least`` is the minReplicas of an autoscaler, which then owns the number
    of replicas; ``sim`` are words to KWOK, on the template of the pods.
    """

    image: str = "a"
    settings: str = "a"
    replicas: int | None = 3
    least: int | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    sim: Mapping[str, str] = field(default_factory=dict)

    def files(self) -> dict[str, str]:
        """The whole repository by path."""
        component = {f"immutable/{file.name}": file.read_text() for file in COMPONENT.iterdir()}
        bodies = [self._service(), *self._autoscaler()]
        return component | {
            f"{PATH}/kustomization.yaml": yaml.safe_dump(self._kustomization()),
            f"{PATH}/web.yaml": yaml.safe_dump_all(bodies),
        }

    def _kustomization(self) -> dict[str, Any]:
        digest = pin(self.image).partition("@")[2]
        generator = {"name": "settings", "literals": [f"GREETING={self.settings}"]}
        return {
            "resources": ["web.yaml"],
            "components": ["../immutable"],
            "configMapGenerator": [generator],
            "images": [{"name": IMAGE, "digest": digest}],
        }

    def _service(self) -> dict[str, Any]:
        container = {"image": IMAGE, "envFrom": [{"configMapRef": {"name": "settings"}}]}
        replicas = self.replicas if self.least is None else None
        wish = Wish(replicas=replicas, sim=self.sim, container=container, spec=self.spec)
        body = wish.manifest("web", "")
        del body["metadata"]["namespace"]
        return body

    def _autoscaler(self) -> list[dict[str, Any]]:
        if self.least is None:
            return []
        target = {"apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutableService", "name": "web"}
        usage = {"type": "Utilization", "averageUtilization": 70}
        spec = {
            "scaleTargetRef": target,
            "minReplicas": self.least,
            "maxReplicas": 9,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": usage}}],
        }
        kind = "HorizontalPodAutoscaler"
        # Without metrics it is Degraded for Argo CD; it keeps to its limits nevertheless.
        annotations = {"argocd.argoproj.io/ignore-healthcheck": "true"}
        metadata = {"name": "web", "annotations": annotations}
        body = {"apiVersion": "autoscaling/v2", "kind": kind, "metadata": metadata, "spec": spec}
        return [body]
