"""The simulated provider: Node objects that KWOK operates, for demos and tests.

KWOK takes over the nodes with this annotation, or, with another configuration, with this label.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from immutable_operator.api.names import (
    ANNOTATION_POOL_UID,
    ANNOTATION_PROVIDER,
    LABEL_POOL,
    LABEL_REVISION,
    TAINT_UNVERIFIED,
)
from immutable_operator.domain.model import Cause, Create, Instance, Move
from immutable_operator.instances.certificate import certificate
from immutable_operator.instances.driver import Refused, Seen, Template, outcome_of
from immutable_operator.instances.nodes.observe import Observer
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict
from immutable_operator.wire.node import NODES, NodeRecord
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["SimulatedProvider", "node_body"]

# As a label or as an annotation: how KWOK is told which nodes it operates.
KWOK = {"kwok.x-k8s.io/node": "fake"}
CAPACITY = {"cpu": "32", "memory": "256Gi", "pods": "110"}
VERSION = "v1.36.0"


class SimulatedProvider:
    """Each instance is a Node object; no machine is behind it."""

    name = "simulated"
    resource = NODES.resource

    def __init__(self, client: KubeClient, observer: Observer) -> None:
        self._client, self._observer = client, observer
        self._nodes = observer.nodes

    def observe(self, owner: OwnerRecord) -> Iterator[Instance]:
        for node in self._nodes.of(owner.uid):
            # Karpenter's simulated nodes have the annotation of KWOK, too.
            if node.meta.annotations.get(ANNOTATION_PROVIDER, self.name) == self.name:
                yield self._observer.instance(owner, node.meta, node)

    def gone(self, owner: OwnerRecord) -> Iterator[Instance]:
        return iter(())

    def node(self, uid: str) -> NodeRecord | None:
        return self._nodes.get(uid)

    def has(self, uid: str) -> bool:
        return self._nodes.get(uid) is not None

    async def create(self, owner: OwnerRecord, template: Template, birth: Create) -> Seen:
        def shows() -> bool:
            return birth.name in self._nodes.all

        try:
            body = node_body(owner, template, birth)
            await self._client.create(NODES.all(), body, resource=NODES.resource)
        except Conflict as error:
            there = self._nodes.all.get(birth.name)
            if there is None:
                # The watch has not shown it yet.
                raise Refused(Cause.API_SERVER, error.message) from error
            if there.owner != owner.uid:
                text = (
                    f"node {birth.name} exists but does not belong to this pool; the operator"
                    " uses another name; to end this warning, delete that node"
                )
                raise Refused(Cause.NAME_TAKEN, text) from error
        except ApiError as error:
            raise outcome_of(Move.CREATE, error) from error
        return shows

    async def delete(self, name: str, uid: str) -> None:
        body = {"preconditions": {"uid": uid}}
        await self._client.delete(NODES.item("", name), body, resource=NODES.resource)


def node_body(owner: OwnerRecord, template: Template, birth: Create) -> dict[str, Any]:
    """Return the Node as its kubelet would register it, with the taint of unverified nodes."""
    declared = template.get("template") or {}
    given = (template.get("provider") or {}).get("simulated") or {}
    capacity = {**CAPACITY, **(given.get("capacity") or {})}
    image = template.get("image") or {}
    labels = {
        **KWOK,
        "kubernetes.io/hostname": birth.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        **(declared.get("labels") or {}),
        LABEL_POOL: owner.name,
        LABEL_REVISION: birth.revision,
    }
    annotations = {
        **(declared.get("annotations") or {}),
        **KWOK,
        **certificate(birth),
        ANNOTATION_POOL_UID: owner.uid,
        ANNOTATION_PROVIDER: SimulatedProvider.name,
    }
    taints = [dict(taint) for taint in declared.get("taints") or ()]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": birth.name, "labels": labels, "annotations": annotations},
        "spec": {"taints": [*taints, {"key": TAINT_UNVERIFIED, "effect": "NoSchedule"}]},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "simulated://1",
                "kernelVersion": "6.0.0-simulated",
                "kubeProxyVersion": "",
                "kubeletVersion": VERSION,
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": f"Simulated ({image.get('id') or image.get('digest') or 'no image'})",
                "systemUUID": "",
            },
        },
    }
