"""An ImmutableService of the test image ``web`` as a careful user writes it, and its Service.

What keeps clients of a rollout from losing requests is not the operator alone:

* an instance must answer for a while after it was told to end, because kube-proxies, and
  whoever else follows EndpointSlices, hear of it later than the instance does. ``web`` does
  so for 3 s by itself; an image that does not is given a ``preStop`` that sleeps;
* an instance must close connections that clients keep, with an answer and not between two.
  ``web`` says ``Connection: close`` while it ends. No ``preStop`` can do that for an image;
* ``terminationGracePeriodSeconds`` must be longer than both together;
* ``minReadySeconds`` of at least the same delay lets a successor get requests before its
  predecessor goes. With several instances the others bridge it; with one nothing else does.
"""

from __future__ import annotations

import json
from typing import Any

from tests.cluster.history import History
from tests.cluster.services import Service
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import PORT, SECURITY, ready_at
from tests.real.traffic import Traffic

__all__ = ["SPREAD", "WebService", "at_once", "forget", "image_ids", "sleeping_before_stop"]

DRAINING = 3
# A kubelet may report a pod Ready, and a moment later with the status that it read before.
CAREFUL: Json = {"minReadySeconds": 2}
# Over nodes as evenly as it goes; nodes that are drained or lost do not count.
SPREAD = {
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
    ]
}


class WebService(Service):
    """One ImmutableService of a test that runs on real nodes."""

    def __init__(self, plane: ControlPlane, namespace: str, name: str = "web") -> None:
        super().__init__(plane, namespace, name)
        self.image = ""

    def apply_image(self, image: str, container: Json | None = None, **changes: Any) -> None:
        """Apply the manifest so far with this image, and what else is changed."""
        self.image = image
        changes["rollout"] = CAREFUL | dict(changes.get("rollout", self.wish.rollout))
        self.apply(container=_container(image) | (container or {}), **changes)

    def expose(self) -> None:
        """A Service in front of the instances, by the user's own label."""
        document = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "selector": {"app": self.name},
                "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            },
        }
        self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def protect(self, **allowed: int) -> None:
        """A PodDisruptionBudget: without a field, evictions remove one instance at a time."""
        document = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                **(allowed or {"maxUnavailable": 1}),
                "selector": {"matchLabels": {"app": self.name}},
            },
        }
        self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def traffic(self) -> Traffic:
        return Traffic(self.plane, self.namespace, self.name)

    def history(self) -> History:
        return History(self)

    def nodes(self) -> list[str]:
        """The node of each active instance."""
        return [str(pod["spec"].get("nodeName")) for pod in self.active()]

    def until_alone(self) -> None:
        """Until those that were replaced are gone, to the last process."""
        wanted = self.get()["spec"]["replicas"]
        self.until("only the wanted instances are left", lambda: len(self.pods()) == wanted)

    def assert_runs(self, *images: str) -> None:
        """Every instance runs what is pinned (or one of these), by its container runtime's word.

        The digest counts: a node that has it from two registries may name the other one.
        """
        digests = {image.partition("@")[2] for image in images}
        for pod in self.active():
            [reported] = image_ids(pod)
            name = pod["metadata"]["name"]
            assert reported.partition("@")[2] in digests, f"{name} runs {reported}"


def forget(real: RealNodes, *images: str) -> None:
    """Make all nodes forget these names of images; containers go on."""
    for name in real.names:
        real.node(name).ctr("images", "remove", "--sync", *images)


def image_ids(pod: Json) -> list[str]:
    """What the containers of a pod run, as the runtime reports it."""
    return [status["imageID"] for status in pod["status"].get("containerStatuses", ())]


def at_once(version: str) -> Json:
    """A container that ends without draining, as too many images do."""
    return {"command": ["/web", "serve", f"-version={version}", "-drain=0s"]}


def sleeping_before_stop(version: str) -> Json:
    """The same, with what Kubernetes offers for it."""
    return at_once(version) | {"lifecycle": {"preStop": {"sleep": {"seconds": DRAINING}}}}


def _container(image: str) -> Json:
    return {
        "image": image,
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": ready_at("/readyz"),
        "securityContext": SECURITY,
    }
