"""What is known of nodes, of the pods on them, and of what every node needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from immutable_operator.domain.model import NodeEnd
from immutable_operator.kube.reading import Identity
from immutable_operator.kube.store import Children
from immutable_operator.wire.daemon import DaemonRecord, VolumeRecord
from immutable_operator.wire.guest import GuestRecord
from immutable_operator.wire.node import NodeEnds, NodeRecord

__all__ = ["Daemons", "Guests", "Nodes", "Volumes"]

Facts = tuple[tuple[str, str], ...]
R = TypeVar("R", DaemonRecord, VolumeRecord)


class Nodes(Children[NodeRecord]):
    """All nodes, by the uid of the pool that created them.

    ``ended`` is called with the name of each node whose end was announced or taken back.
    """

    def __init__(
        self,
        changed: Callable[[str], None],
        ended: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        super().__init__(changed)
        self._ends = NodeEnds(ended, clock)
        self._clock = clock
        self._by_name: dict[str, NodeRecord] = {}
        self._steady: dict[str, tuple[Facts, float]] = {}

    @property
    def ends(self) -> Mapping[str, NodeEnd]:
        """The nodes about to be taken away, by name; the same object as long as nothing changes."""
        return self._ends.all

    @property
    def all(self) -> Mapping[str, NodeRecord]:
        """All nodes by name."""
        return self._by_name

    def steady_since(self, node: NodeRecord) -> float:
        """Return since when a node has its facts, as far as it was watched; else 0."""
        return self._steady.get(node.uid, ((), 0.0))[1]

    def _put(self, item: NodeRecord) -> None:
        known, since = self._steady.get(item.uid, (item.facts, 0.0))
        # This drops a node that gets into a pool: Karpenter annotates it after it registered.
        super()._put(item)
        self._steady[item.uid] = (item.facts, since if known == item.facts else self._clock())
        self._by_name[item.name] = item
        self._ends.put(item.name, item)

    def _drop(self, item: NodeRecord) -> None:
        super()._drop(item)
        self._steady.pop(item.uid, None)
        if self._by_name.get(item.name, item).uid == item.uid:
            self._by_name.pop(item.name, None)
            self._ends.put(item.name, None)


class Guests(Children[GuestRecord]):
    """All pods, by the name of their node."""

    def named(self, node: str, namespace: str, name: str) -> GuestRecord | None:
        """Return the pod of this name on a node."""
        found = (g for g in self.of(node) if (g.namespace, g.name) == (namespace, name))
        return next(found, None)


class _ByUid(Generic[R]):
    """All objects of one kind; ``changed`` is called when one is new, different or gone."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._by_uid: dict[str, R] = {}

    @property
    def all(self) -> tuple[R, ...]:
        return tuple(self._by_uid.values())

    def known(self, which: Identity) -> R | None:
        return self._by_uid.get(which.uid)

    def replace(self, items: list[R], version: int) -> None:
        self._set({item.uid: item for item in items})

    def upsert(self, item: R, version: int) -> None:
        self._set({**self._by_uid, item.uid: item})

    def remove(self, item: R, version: int) -> None:
        self._set({uid: kept for uid, kept in self._by_uid.items() if uid != item.uid})

    def advance(self, version: int) -> None:
        """Nothing waits for a version of these."""

    def _set(self, known: dict[str, R]) -> None:
        if known != self._by_uid:
            self._by_uid = known
            self._changed()


class Daemons(_ByUid[DaemonRecord]):
    """All DaemonSets."""


class Volumes(_ByUid[VolumeRecord]):
    """All PersistentVolumes."""

    def only_on(self, host: str) -> frozenset[str]:
        """Return the claims (``<namespace>/<name>``) whose volumes exist on this host only."""
        return frozenset(v.claim for v in self.all if v.claim and v.hosts == (host,))
