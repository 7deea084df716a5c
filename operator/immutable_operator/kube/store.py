"""The operator's view of the cluster: slim, indexed by owner, fed by reflectors and kopf.

There is one `Children` index for each kind of owned object, and one `Owners` index. Each calls a
listener with the owner whose view changed, but not for heartbeats and other changes that no plan
depends on. Every update carries a resource version, and an older one never wins.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from immutable_operator.kube.reading import Identity

__all__ = ["Child", "Children", "Owner", "Owners"]

Changed = Callable[[str], None]
Home = Callable[[str], str | None]
TOMBSTONES = 10_000


class Child(Protocol):
    """An owned object: ``content`` is what plans depend on, compared by value."""

    @property
    def uid(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def content(self) -> object: ...


C = TypeVar("C", bound=Child)


class Children(Generic[C]):
    """All objects of one kind, by the uid of their controlling owner.

    ``home`` returns the namespace of an owner. Any client can write a uid into an ownerReference:
    an object in another namespace than its owner belongs to no owner. If the namespace of the owner
    is not known (None), all objects count.
    """

    def __init__(self, changed: Changed, home: Home = lambda owner: None) -> None:
        self._changed = changed
        self._home = home
        self._by_uid: dict[str, C] = {}
        self._by_owner: dict[str, dict[str, C]] = {}
        self.version = 0

    def __len__(self) -> int:
        return len(self._by_uid)

    def of(self, owner: str) -> Iterable[C]:
        """Return the children of an owner (uid), in no particular order."""
        children, home = self._by_owner.get(owner, {}).values(), self._home(owner)
        return [child for child in children if home in (None, child.namespace)]

    def known(self, which: Identity) -> C | None:
        return self._by_uid.get(which.uid)

    def get(self, uid: str) -> C | None:
        return self._by_uid.get(uid)

    def replace(self, items: list[C], version: int) -> None:
        """Become equal to a fresh list; objects that are not in it are gone."""
        fresh = {item.uid for item in items}
        for gone in [child for uid, child in self._by_uid.items() if uid not in fresh]:
            self._drop(gone)
        for item in items:
            self._put(item)
        # A list is authoritative, even if its version is older: a backup was restored.
        self.version = version

    def upsert(self, item: C, version: int) -> None:
        self._put(item)
        self.advance(version)

    def remove(self, item: C, version: int) -> None:
        if item.uid in self._by_uid:
            self._drop(self._by_uid[item.uid])
        self.advance(version)

    def advance(self, version: int) -> None:
        self.version = max(self.version, version)

    def _put(self, item: C) -> None:
        before = self._by_uid.get(item.uid)
        if before is not None and before.owner != item.owner:
            self._drop(before)
            before = None
        self._by_uid[item.uid] = item
        self._by_owner.setdefault(item.owner, {})[item.uid] = item
        if before is None or before.content != item.content:
            self._changed(item.owner)

    def _drop(self, item: C) -> None:
        del self._by_uid[item.uid]
        siblings = self._by_owner[item.owner]
        del siblings[item.uid]
        if not siblings:
            del self._by_owner[item.owner]
        self._changed(item.owner)


class Owner(Protocol):
    """A custom resource that owns instances."""

    @property
    def uid(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def content(self) -> object: ...


O = TypeVar("O", bound=Owner)  # noqa: E741


class Owners(Generic[O]):
    """Custom resources by uid, fed by kopf's events and by sweeps.

    kopf does not report objects that vanish while it lists again, so a sweep (a list of the
    collection) removes them. A sweep that is older than an event does not bring a deleted object
    back: the uids of deleted objects are remembered for a while.
    """

    def __init__(self, changed: Changed) -> None:
        self._changed = changed
        self._by_uid: dict[str, O] = {}
        self._by_key: dict[str, set[str]] = {}
        self._deleted: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._by_uid)

    def __iter__(self) -> Iterator[O]:
        return iter(list(self._by_uid.values()))

    def get(self, uid: str) -> O | None:
        return self._by_uid.get(uid)

    def named(self, key: str) -> O | None:
        """Return the object with this ``key``: kind, namespace and name.

        Until the deletion of others is seen, that is the youngest one.
        """
        found = [self._by_uid[uid] for uid in self._by_key.get(key, ())]
        return max(found, key=lambda owner: owner.version, default=None)

    def home(self, uid: str) -> str | None:
        """Return the namespace of an owner, if it is known."""
        owner = self._by_uid.get(uid)
        return owner.namespace if owner else None

    def upsert(self, owner: O) -> None:
        before = self._by_uid.get(owner.uid)
        if owner.uid in self._deleted or (before and before.version > owner.version):
            return
        self._by_uid[owner.uid] = owner
        self._by_key.setdefault(owner.key, set()).add(owner.uid)
        if before is None or before.content != owner.content:
            self._changed(owner.uid)

    def remove(self, uid: str) -> None:
        self._deleted[uid] = None
        while len(self._deleted) > TOMBSTONES:
            del self._deleted[next(iter(self._deleted))]
        if (owner := self._by_uid.pop(uid, None)) is not None:
            namesakes = self._by_key[owner.key]
            namesakes.discard(uid)
            if not namesakes:
                del self._by_key[owner.key]
            self._changed(uid)

    def missing(self, listed: Mapping[str, int], version: int, among: Callable[[O], bool]) -> int:
        """Return how many objects of a list as of ``version`` this does not show, or still has.

        ``listed`` are the resource versions by uid. What is newer here, or was deleted here since,
        is shown. ``among`` says which objects the list could have contained.
        """
        late = sum(self._is_late(uid, sent) for uid, sent in listed.items())
        return late + sum(
            known.uid not in listed and known.version <= version and among(known)
            for known in self._by_uid.values()
        )

    def _is_late(self, uid: str, version: int) -> bool:
        known = self._by_uid.get(uid)
        return uid not in self._deleted and (known is None or known.version < version)

    def sweep(
        self,
        owners: Iterable[O],
        version: int,
        unread: Collection[str] = (),
        among: Callable[[O], bool] = lambda owner: True,
    ) -> int:
        """Take in a whole list as of ``version``; objects missing from it, and not newer, are gone.

        ``unread`` are the uids of objects that are on the list and could not be read. ``among``
        says which objects the list could have contained. Returns how many objects were unknown, out
        of date or gone: what the watch had not reported (yet).
        """
        listed, corrected = set(), 0
        for owner in owners:
            listed.add(owner.uid)
            known = self._by_uid.get(owner.uid)
            fresh = known is None or (
                known.version < owner.version and owner.content != known.content
            )
            corrected += fresh and owner.uid not in self._deleted
            self.upsert(owner)
        for known in list(self._by_uid.values()):
            if known.uid in listed or known.uid in unread or not among(known):
                continue
            if known.version <= version:
                self.remove(known.uid)
                corrected += 1
        return corrected
