"""Karpenter's NodeClaims that belong to no NodePool: making and reading them and their nodes."""

from __future__ import annotations

from typing import Any

from immutable_operator.api.names import TAINT_UNVERIFIED
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json
from tests.controlplane.karpenter import CLAIMS, NODE_CLASSES
from tests.waiting import wait_for

__all__ = ["GROUP", "NODE_CLASS", "UNVERIFIED", "NodeClaims"]

GROUP = "karpenter.kwok.sh"
NODE_CLASS = "default"
UNVERIFIED = {"key": TAINT_UNVERIFIED, "effect": "NoSchedule"}


class NodeClaims:
    """The claims of a control plane on which Karpenter runs."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def add_class(self, name: str = NODE_CLASS) -> str:
        """Create a KWOKNodeClass unless it exists; its status says Ready by default."""
        kind = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "KWOKNodeClass"}
        try:
            self.plane.api().request("POST", NODE_CLASSES, kind | {"metadata": {"name": name}})
        except ApiError as error:
            if error.status != 409:
                raise
        return name

    def create(
        self, name: str, node_class: str = NODE_CLASS, metadata: Json | None = None, **spec: Any
    ) -> str:
        """A claim to one small machine in one zone, with the startup taint `UNVERIFIED`."""
        chosen = {
            "node.kubernetes.io/instance-type": "c-2x-amd64-linux",
            "karpenter.sh/capacity-type": "on-demand",
            "topology.kubernetes.io/zone": "test-zone-a",
        }
        document = {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodeClaim",
            "metadata": {"name": name, **(metadata or {})},
            "spec": {
                "nodeClassRef": {"group": GROUP, "kind": "KWOKNodeClass", "name": node_class},
                "requirements": [
                    {"key": key, "operator": "In", "values": [value]}
                    for key, value in chosen.items()
                ],
                # The default, 720h, ends the node on day 30, whatever runs there.
                "expireAfter": "Never",
                "startupTaints": [UNVERIFIED],
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                **spec,
            },
        }
        self.plane.api().request("POST", CLAIMS, document)
        return name

    def create_ready(self, name: str, **spec: Any) -> Json:
        """A claim whose node is registered and Ready (and still has its startup taint)."""
        self.create(name, **spec)
        self.until(name, "its node is registered", "Registered")
        node = self.node(name)
        ready = self.plane.node_ready
        path = node["metadata"]["name"]
        wait_for(f"node {path} is Ready", lambda: ready(path) == "True")
        return self.node(name)

    def get(self, name: str) -> Json:
        return self.plane.api().get(f"{CLAIMS}/{name}")

    def exists(self, name: str) -> bool:
        return name in {item["metadata"]["name"] for item in self.plane.api().get(CLAIMS)["items"]}

    def node(self, name: str) -> Json:
        """The node that the status of a claim names."""
        return self.plane.api().get(f"/api/v1/nodes/{self.get(name)['status']['nodeName']}")

    def delete(self, name: str) -> None:
        """Delete a claim without waiting for its end."""
        self.plane.api().request("DELETE", f"{CLAIMS}/{name}")

    def condition(self, name: str, kind: str) -> Json:
        """A condition of a claim; empty if there is none."""
        found = self.get(name).get("status", {}).get("conditions", ())
        return next((c for c in found if c["type"] == kind), {})

    def events(self, name: str) -> list[Json]:
        """Events about a claim or a node; those of cluster-scoped objects are in ``default``."""
        path = f"/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{name}"
        items: list[Json] = self.plane.api().get(path)["items"]
        return items

    def event_reasons(self, name: str) -> set[str]:
        return {event["reason"] for event in self.events(name)}

    def verify(self, name: str) -> None:
        """Remove the startup taint from the node of a claim."""
        node = self.node(name)["metadata"]["name"]
        self.plane.kubectl("taint", "node", node, f"{UNVERIFIED['key']}-")

    def until(
        self, name: str, what: str, kind: str, status: str = "True", reason: str = ""
    ) -> None:
        """Wait for the status of a condition, and for its reason if one is given."""

        def check() -> bool:
            found = self.condition(name, kind)
            return found["status"] == status and reason in ("", found["reason"])

        wait_for(f"claim {name}: {what}", check, describe=lambda: self._describe(name))

    def until_gone(self, name: str) -> None:
        wait_for(
            f"claim {name} is gone",
            lambda: not self.exists(name),
            describe=lambda: self._describe(name),
        )

    def _describe(self, name: str) -> str:
        return self.plane.kubectl("describe", "nodeclaim", name, check=False).stdout
