"""Nodes on the wire: only the fields that say that pods are to leave a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from immutable_operator.domain.model import NodeEnd
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import Identity

__all__ = ["ENDING_TAINTS", "NODES", "NodeEnds", "NodeRecord", "decode_node"]

NODES = ApiPath("api/v1", "nodes")
# Taints with which autoscalers and cloud providers announce that a node is taken away. A cordon
# announces nothing, and neither do the taints of a node that is not ready: it may recover.
ENDING_TAINTS = frozenset(
    {
        "karpenter.sh/disrupted",
        "ToBeDeletedByClusterAutoscaler",
        "node.kubernetes.io/out-of-service",
        "node.cloudprovider.kubernetes.io/shutdown",
        "cloud.google.com/impending-node-termination",
        "aws-node-termination-handler/asg-lifecycle-termination",
        "aws-node-termination-handler/scheduled-maintenance",
        "aws-node-termination-handler/spot-itn",
    }
)


class _Meta(msgspec.Struct, rename="camel", frozen=True):
    name: str
    uid: str = ""
    deletion_timestamp: str | None = None


class _Taint(msgspec.Struct, frozen=True):
    key: str = ""


class _Spec(msgspec.Struct, frozen=True):
    unschedulable: bool | None = None
    taints: list[_Taint] | None = None


class _Node(msgspec.Struct, frozen=True):
    metadata: _Meta
    spec: _Spec = _Spec()


class NodeRecord(msgspec.Struct, frozen=True):
    """A node, and why its pods are to leave it ("" if nothing says so).

    ``announced`` is False for a cordon alone.
    """

    name: str
    uid: str
    cause: str = ""
    announced: bool = False


def decode_node(raw: bytes | msgspec.Raw) -> NodeRecord:
    """Read a Node; a heartbeat gives an equal record."""
    node = msgspec.json.decode(raw, type=_Node)
    meta = node.metadata
    ending = sorted({t.key for t in node.spec.taints or ()} & ENDING_TAINTS)
    if ending:
        return NodeRecord(meta.name, meta.uid, f"has the taint {ending[0]}", announced=True)
    if meta.deletion_timestamp is not None:
        return NodeRecord(meta.name, meta.uid, "is being deleted", announced=True)
    cause = "is cordoned" if node.spec.unschedulable else ""
    return NodeRecord(meta.name, meta.uid, cause)


class NodeEnds:
    """The nodes about to be taken away; ``changed`` is called with the name of each that changes.

    The API server does not say since when a taint exists, so its age counts from when it was seen.
    """

    def __init__(self, changed: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._changed, self._clock = changed, clock
        self._known: dict[str, NodeRecord] = {}
        self._ends: dict[str, NodeEnd] = {}

    @property
    def all(self) -> Mapping[str, NodeEnd]:
        """By name; the same object as long as nothing changes."""
        return self._ends

    def known(self, which: Identity) -> NodeRecord | None:
        return self._known.get(which.name)

    def replace(self, items: list[NodeRecord], version: int) -> None:
        there = {item.name for item in items}
        for name in self._known.keys() - there:
            self._put(name, None)
        for item in items:
            self._put(item.name, item)

    def upsert(self, item: NodeRecord, version: int) -> None:
        self._put(item.name, item)

    def remove(self, item: NodeRecord, version: int) -> None:
        self._put(item.name, None)

    def advance(self, version: int) -> None:
        """Nothing waits for a version of these."""

    def _put(self, name: str, item: NodeRecord | None) -> None:
        before, known = self._ends.get(name), self._known.pop(name, None)
        if item is not None:
            self._known[name] = item
            if known is not None and known.uid != item.uid:
                before = None  # another node with the same name: its end counts on its own
        end = None
        if item is not None and item.cause:
            same = before is not None and before.announced == item.announced
            since = before.since if before is not None and same else self._clock()
            end = NodeEnd(since, item.cause, item.announced)
        if end == self._ends.get(name):
            return
        kept = {other: known for other, known in self._ends.items() if other != name}
        self._ends = kept if end is None else {**kept, name: end}
        self._changed(name)
