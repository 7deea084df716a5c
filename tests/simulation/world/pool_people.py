"""What people do to node pools and to the nodes of them."""

from __future__ import annotations

from typing import Any

from immutable_operator.api.names import API_VERSION, POOL_KIND, POOL_PLURAL
from tests.simulation.world.api import NAMESPACE
from tests.simulation.world.families import HOME
from tests.simulation.world.people import GROUP, PODS, People
from tests.simulation.world.storage import Obj
from tests.simulation.world.truth import Service
from tests.simulation.world.world import World

__all__ = ["CLAIMS_PATH", "PoolPeople"]

CLAIMS_PATH = "/apis/karpenter.sh/v1/nodeclaims"


class PoolPeople(People):
    """Jane, who works on one pool named ``web``."""

    kind, word = POOL_KIND, "pool"
    owners = f"/apis/{API_VERSION}/{POOL_PLURAL}"
    actions = f"{GROUP}/namespaces/{HOME}/immutableactions"

    def __init__(self, world: World, name: str = "web") -> None:
        super().__init__(world, name)
        self._written: Obj = {}

    def apply(self, **spec: Any) -> None:
        """Apply a spec; a pool that is gone is made anew of all that was written last."""
        self._written |= spec
        whole = {k: v for k, v in self._written.items() if v is not None}
        super().apply(**(spec if self.spec is not None else whole))

    def retry(self, word: str) -> None:
        """Ask for new nodes, too, where the pool says that replacing them does not help."""
        found = self.ask("GET", f"{self.owners}/{self.name}")
        told = ((found or {}).get("status") or {}).get("blockers") or ()
        if any(blocker["reason"] == "TaintReturns" for blocker in told):
            self.regenerate(None)
        super().retry(word)

    def _swap_seconds(self, service: Service) -> float:
        verify = (service.now.spec.get("rollout") or {}).get("verify") or {}
        settle = float(str(verify.get("settle", "60s")).removesuffix("s"))
        return 2.0 * (1.5 * self.world.cluster.start_seconds + settle + 20.0)

    def delete_claim(self, name: str) -> None:
        self.world.say("jane", f"deletes claim {name}")
        self.ask("DELETE", f"{CLAIMS_PATH}/{name}")

    def delete_node(self, name: str) -> None:
        self.world.say("jane", f"deletes node {name}")
        self.ask("DELETE", f"/api/v1/nodes/{name}")

    def write_node(self, name: str, what: str, **changes: Any) -> None:
        """Write the spec or the annotations of a node by hand."""
        self.world.say("jane", f"{what} node {name}")
        spec = {"spec": changes["spec"]} if "spec" in changes else {}
        metadata: Obj = changes.get("metadata") or {}
        self.ask("PATCH", f"/api/v1/nodes/{name}", {"metadata": metadata, **spec})

    def reach_into(self, node: str, name: str) -> None:
        """What kubectl debug does: a pod with the processes of the node."""
        self.world.say("jane", f"debugs node {node}")
        image = f"registry.example/web@sha256:{'a' * 64}"
        spec = {"containers": [{"name": "x", "image": image}], "nodeName": node, "hostPID": True}
        body = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
        self.ask("POST", PODS, body)
