"""The providers of nodes, as the conformance suite sees them: what to ask for, what came of it.

A further provider is another entry of `PROVIDERS`, and a fixture that has it running.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from immutable_operator.api.names import LABEL_POOL
from tests.cluster.node_claims import GROUP, NODE_CLASS
from tests.cluster.node_pools import Pool
from tests.cluster.services import pin
from tests.controlplane.api import Json
from tests.controlplane.karpenter import CLAIMS
from tests.controlplane.real.machines import MACHINE

__all__ = ["KARPENTER", "PROVIDERS", "Provided", "ProvidedPool", "machines"]

SMALL = {
    "node.kubernetes.io/instance-type": "c-2x-amd64-linux",
    "karpenter.sh/capacity-type": "on-demand",
    "topology.kubernetes.io/zone": "test-zone-a",
}


@dataclass(frozen=True)
class Provided:
    """One provider.

    ``spec`` is the field ``provider`` of a pool. ``path`` is the collection of the objects that
    the operator creates and deletes, one for each node; ``node_of`` returns the name of the node
    of one, "" if it has none yet; ``stranger`` the body of one that
    belongs to no pool. ``needs`` is the fixture that has the provider running. Nodes are born with
    ``labels`` and can run ``image``; ``machines`` says what is behind them.
    """

    name: str
    spec: Json
    path: str
    node_of: Callable[[Mapping[str, Any]], str]
    stranger: Callable[[str], Json]
    needs: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = pin("app")
    machines: str = ""

    @property
    def title(self) -> str:
        return " on ".join(filter(None, (self.name, self.machines)))

    @property
    def resource(self) -> str:
        return self.path.rpartition("/")[2]


def _own_name(node: Mapping[str, Any]) -> str:
    return str(node["metadata"]["name"])


def _node_of_claim(claim: Mapping[str, Any]) -> str:
    return str(claim.get("status", {}).get("nodeName", ""))


def machines(**changes: Any) -> Json:
    """``spec.provider`` of a pool of small machines of Karpenter, with these fields changed."""
    asked = {
        "nodeClassRef": {"group": GROUP, "kind": "KWOKNodeClass", "name": NODE_CLASS},
        "requirements": [
            {"key": key, "operator": "In", "values": [value]} for key, value in SMALL.items()
        ],
        "resources": {"requests": {"cpu": "4", "memory": "8Gi", "pods": "50"}},
    }
    return {"karpenter": asked | changes}


def _strange_node(name: str) -> Json:
    return {"metadata": {"name": name}}


def _strange_claim(name: str) -> Json:
    """It never gets a machine: no provider has this type."""
    spec: Json = dict(machines()["karpenter"])
    key = "node.kubernetes.io/instance-type"
    spec["requirements"] = [{"key": key, "operator": "In", "values": ["huge"]}]
    kind = {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim"}
    return {**kind, "metadata": {"name": name}, "spec": {"expireAfter": "Never", **spec}}


SIMULATED = Provided(
    "simulated",
    {"simulated": {"capacity": {"cpu": "4", "memory": "8Gi", "pods": "50"}}},
    "/api/v1/nodes",
    _own_name,
    _strange_node,
)
KARPENTER = Provided(
    "karpenter", machines(), CLAIMS, _node_of_claim, _strange_claim, "with_karpenter"
)
# The same provider; a kubelet and not KWOK gives life to its nodes.
REAL = replace(SIMULATED, needs="with_machines", labels=MACHINE, machines="machines")
PROVIDERS = (SIMULATED, KARPENTER, REAL)


class ProvidedPool(Pool):
    """A pool of one node of a provider, and the objects behind its nodes."""

    def __init__(self, provided: Provided, pool: Pool) -> None:
        super().__init__(pool.plane, pool.name)
        self.provided = provided
        self.spec |= {"replicas": 1, "provider": provided.spec}
        self.spec["template"] |= {"labels": dict(provided.labels)}

    def objects(self) -> dict[str, Json]:
        """By name what the operator created."""
        chosen = f"labelSelector={LABEL_POOL}%3D{self.name}"
        items = self.plane.api().get(f"{self.provided.path}?{chosen}")["items"]
        return {item["metadata"]["name"]: item for item in items}

    def revisions(self) -> list[str]:
        """The ids of its revisions."""
        path = "/apis/immutable.dev/v1alpha1/namespaces/immutable-system/immutablerevisions"
        items = self.plane.api().get(path)["items"]
        return [i["spec"]["revision"] for i in items if i["spec"].get("pool") == self.name]

    def is_ready(self) -> bool:
        # A provider may remove the node before the object behind it.
        return super().is_ready() and len(self.objects()) == self.spec["replicas"]

    def delete_object(self, name: str) -> None:
        self.plane.api().request("DELETE", f"{self.provided.path}/{name}")

    def until_node(self) -> Json:
        """Until there is one object with a registered node; return that node."""
        self.until("it has a node", self._single_node)
        return self._single_node() or {}

    def _single_node(self) -> Json | None:
        found = [self.provided.node_of(item) for item in self.objects().values()]
        return self.nodes().get(found[0]) if len(found) == 1 else None

    def remove(self) -> None:
        super().remove()
        for name in self.objects():
            self.plane.kubectl(
                *("delete", self.provided.resource, name, "--ignore-not-found", "--wait=false")
            )
