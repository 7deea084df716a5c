"""Nodes on the wire: what says that pods are to leave a node, and what a pool must know of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from immutable_operator.api.names import ANNOTATION_POOL_UID, TAINT_RETIRING
from immutable_operator.domain.model import FACTS, NodeEnd
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import NODES
from immutable_operator.kube.times import moment
from immutable_operator.wire.placement import Taint

__all__ = ["ENDING_TAINTS", "NODES", "NodeEnds", "NodeRecord", "OfPool", "decode_node"]

# Taints with which autoscalers and cloud providers announce that a node is taken away. A cordon
# announces nothing, and neither do the taints of a node that is not ready: it may recover.
ENDING_TAINTS = frozenset(
    {
        TAINT_RETIRING,
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


class _Info(msgspec.Struct, rename="camel", frozen=True):
    machine_id: str = msgspec.field(name="machineID", default="")
    boot_id: str = msgspec.field(name="bootID", default="")
    os_image: str = ""
    kernel_version: str = ""
    kubelet_version: str = ""
    container_runtime_version: str = ""

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        values = (
            self.machine_id,
            self.boot_id,
            self.os_image,
            self.kernel_version,
            self.kubelet_version,
            self.container_runtime_version,
        )
        return tuple(zip(FACTS, values, strict=True))


class _Spec(msgspec.Struct, rename="camel", frozen=True):
    unschedulable: bool | None = None
    taints: list[Taint] | None = None


class _Condition(msgspec.Struct, rename="camel", frozen=True):
    type: str = ""
    status: str = ""
    last_transition_time: str | None = None


class _Status(msgspec.Struct, rename="camel", frozen=True):
    conditions: list[_Condition] = []
    node_info: _Info = _Info()


class _Node(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _Spec = _Spec()
    status: _Status = _Status()


class OfPool(msgspec.Struct, frozen=True):
    """An object that a pool created: a node, or a claim for one. It has no namespace."""

    meta: ObjectMeta

    @property
    def name(self) -> str:
        return self.meta.name

    @property
    def uid(self) -> str:
        return self.meta.uid

    @property
    def owner(self) -> str:
        """The uid of the pool that created it, "" if none did."""
        return self.meta.annotations.get(ANNOTATION_POOL_UID, "")

    @property
    def namespace(self) -> str:
        return ""


class NodeRecord(OfPool, frozen=True):
    """A node, and why its pods are to leave it ("" if nothing says so).

    ``announced`` is False for a cordon alone. ``owner`` is the uid of the pool that created it, ""
    if none did. ``ready_since`` is None while it is not Ready. ``version`` is its resource version,
    on which no plan depends.
    """

    cause: str = ""
    announced: bool = False
    cordoned: bool = False
    taints: tuple[Taint, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    ready_since: float | None = None

    @property
    def content(self) -> object:
        """What plans depend on."""
        meta = self.meta
        where = (meta.labels, meta.annotations, meta.deletion_timestamp, meta.finalizers)
        return where, self.taints, self.facts, self.ready_since, self.cordoned

    @property
    def is_usable(self) -> bool:
        """Whether new pods may be placed there, if they tolerate its taints."""
        return self.ready_since is not None and not self.cordoned and not self.cause


def decode_node(raw: bytes | msgspec.Raw) -> NodeRecord:
    """Read a Node; a heartbeat changes nothing but the version."""
    node = msgspec.json.decode(raw, type=_Node)
    meta, taints = node.metadata, tuple(node.spec.taints or ())
    ready = [c for c in node.status.conditions if (c.type, c.status) == ("Ready", "True")]
    since = moment(ready[0].last_transition_time or "1970-01-01T00:00:00Z") if ready else None
    cause, announced = _end(meta, node.spec)
    return NodeRecord(
        meta=msgspec.structs.replace(meta, managed_fields=msgspec.Raw()),
        cause=cause,
        announced=announced,
        cordoned=bool(node.spec.unschedulable),
        taints=taints,
        facts=node.status.node_info.facts,
        ready_since=since,
    )


def _end(meta: ObjectMeta, spec: _Spec) -> tuple[str, bool]:
    """Return why pods are to leave a node ("" if nothing says so), and whether it is announced."""
    ending = sorted({t.key for t in spec.taints or ()} & ENDING_TAINTS)
    if ending:
        return f"has the taint {ending[0]}", True
    if meta.deletion_timestamp is not None:
        return "is being deleted", True
    return ("is cordoned" if spec.unschedulable else ""), False


class NodeEnds:
    """The nodes about to be taken away; ``changed`` is called with the name of each that changes.

    The API server does not say since when a taint exists, so its age counts from when it was seen.
    `Nodes` says what happens to the nodes.
    """

    def __init__(self, changed: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._changed, self._clock = changed, clock
        self._known: dict[str, NodeRecord] = {}
        self._ends: dict[str, NodeEnd] = {}

    @property
    def all(self) -> Mapping[str, NodeEnd]:
        """By name; the same object as long as nothing changes."""
        return self._ends

    def put(self, name: str, item: NodeRecord | None) -> None:
        """Note the state of a node; None if it is gone."""
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
