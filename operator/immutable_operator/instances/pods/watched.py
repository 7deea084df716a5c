"""All pods with our label, as last observed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from immutable_operator.domain.model import Instance
from immutable_operator.instances.pods.codec import PodRecord
from immutable_operator.kube.store import Children

__all__ = ["Pods"]

OWNERS_REMEMBERED = 1000


class Pods(Children[PodRecord]):
    """All pods with our label. ``suspect`` is called with each pod that looks wrong.

    A pod that loses its label or owner, or is gone without having been told to end, stays as it was
    last observed until it has been checked: it may still run, and receive traffic. Their uids are
    ``doubtful``.
    """

    def __init__(
        self,
        changed: Callable[[str], None],
        suspect: Callable[[PodRecord], None],
        home: Callable[[str], str | None] = lambda owner: None,
    ) -> None:
        super().__init__(changed, home)
        self._suspect = suspect
        self.doubtful: set[str] = set()
        self._adopted: dict[str, str] = {}
        self._gone: dict[str, dict[str, Instance]] = {}

    def gone(self, owner: str) -> dict[str, Instance]:
        """Return by name the pods of an owner that vanished since the last call, in their last
        state.

        A pod that is marked and force-deleted at once is gone before any plan observes it.
        """
        return self._gone.pop(owner, {})

    def _put(self, item: PodRecord) -> None:
        super()._put(self._with_known_form(item))

    def _with_known_form(self, item: PodRecord) -> PodRecord:
        """Return a pod with the form of the same pod before, or of its youngest sibling, if equal.

        Otherwise thousands of services would each keep a form for every pod.
        """
        siblings = self._by_owner.get(item.owner, {})
        for other in (self._by_uid.get(item.uid), next(reversed(siblings.values()), None)):
            if other is not None and other.form == item.form:
                return msgspec.structs.replace(item, form=other.form)
        return item

    def _drop(self, item: PodRecord) -> None:
        super()._drop(item)
        self.doubtful.discard(item.uid)
        if self._home(item.owner) not in (None, item.namespace):
            return
        self._gone.setdefault(item.owner, {})[item.content.name] = item.content
        if len(self._gone) > OWNERS_REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def replace(self, items: list[PodRecord], version: int) -> None:
        items = [self._with_owner(item) for item in items]
        super().replace(items, version)
        self.doubtful.clear()
        for item in items:
            if not item.owner and not item.content.terminating:
                self._doubt(item)

    def upsert(self, item: PodRecord, version: int) -> None:
        item = self._with_owner(item)
        before = self._by_uid.get(item.uid)
        odd = not item.owner or (before is not None and before.owner != item.owner)
        if item.content.terminating or not odd:
            super().upsert(item, version)
            self.doubtful.discard(item.uid)
            return
        if before is None:
            super().upsert(item, version)
        self._doubt(item)
        self.advance(version)

    def remove(self, item: PodRecord, version: int) -> None:
        # The last event of a deleted pod has a deletion timestamp, unless it was force-deleted.
        if item.uid in self._by_uid and not item.content.terminating:
            self._doubt(item)
            self.advance(version)
        else:
            self._adopted.pop(item.uid, None)
            super().remove(item, version)

    def _doubt(self, item: PodRecord) -> None:
        self.doubtful.add(item.uid)
        self._suspect(item)

    def adopt(self, uid: str, owner: str) -> None:
        """Count a pod as this owner's, whatever its metadata says, as long as it exists."""
        self._adopted[uid] = owner
        if uid in self._by_uid:
            self._put(self._with_owner(self._by_uid[uid]))

    def _with_owner(self, item: PodRecord) -> PodRecord:
        owner = self._adopted.get(item.uid, item.owner)
        return item if owner == item.owner else msgspec.structs.replace(item, owner=owner)

    def settle(self, uid: str) -> None:
        """Keep a pod as it was last observed: it was checked."""
        self.doubtful.discard(uid)

    def forget(self, uid: str) -> None:
        """Drop a pod that is gone after all, or does not belong to the operator."""
        self.doubtful.discard(uid)
        self._adopted.pop(uid, None)
        if uid in self._by_uid:
            self._drop(self._by_uid[uid])
