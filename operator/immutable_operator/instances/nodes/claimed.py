"""All NodeClaims of pools, and those that vanished before their nodes worked."""

from __future__ import annotations

from collections.abc import Callable

from immutable_operator.domain.model import Trouble
from immutable_operator.kube.store import Children
from immutable_operator.wire.claim import ClaimRecord

__all__ = ["NodeClaims"]

MOST_VANISHED = 1000


class NodeClaims(Children[ClaimRecord]):
    """All NodeClaims, by the uid of the pool that created them.

    ``changed`` is called with that uid. ``vanished`` is called with each claim that is gone though
    the operator did not delete it. ``served`` is whether the API server has the kind at all.
    """

    def __init__(
        self, changed: Callable[[str], None], vanished: Callable[[ClaimRecord], None]
    ) -> None:
        super().__init__(changed)
        self._vanished = vanished
        self._lost: dict[str, tuple[ClaimRecord, Trouble | None]] = {}
        self._untold: dict[str, dict[str, None]] = {}
        self._deleted: dict[str, None] = {}
        self.served = True

    def serve(self, served: bool) -> None:
        """Note whether the API server has the kind."""
        if served != self.served:
            self.served = served
            self._changed("")

    def named(self, name: str) -> ClaimRecord | None:
        return next((claim for claim in self._by_uid.values() if claim.name == name), None)

    def deleted(self, uid: str) -> None:
        """Note that the operator deletes a claim."""
        self._deleted[uid] = None
        while len(self._deleted) > MOST_VANISHED:
            del self._deleted[next(iter(self._deleted))]

    def lost(self, uid: str) -> ClaimRecord | None:
        """Return a claim that vanished."""
        return self._lost.get(uid, (None, None))[0]

    def remembers(self, uid: str) -> bool:
        """Return whether a claim exists, or vanished lately."""
        return uid in self._by_uid or uid in self._lost

    def explain(self, uid: str, trouble: Trouble) -> None:
        """Note why a claim vanished."""
        if (claim := self.lost(uid)) is not None:
            self._lost[uid] = (claim, trouble)
            self._untold.setdefault(claim.owner, {})[uid] = None
            self._changed(claim.owner)

    def untold(self, owner: str) -> list[tuple[ClaimRecord, Trouble | None]]:
        """Return the claims of a pool that vanished, or were explained, since the last call."""
        uids = self._untold.pop(owner, {})
        return [self._lost[uid] for uid in uids if uid in self._lost]

    def _drop(self, item: ClaimRecord) -> None:
        if item.owner and item.uid not in self._deleted:
            self._lost[item.uid] = (item, None)
            self._untold.setdefault(item.owner, {})[item.uid] = None
            while len(self._lost) > MOST_VANISHED:
                del self._lost[next(iter(self._lost))]
            while len(self._untold) > MOST_VANISHED:
                del self._untold[next(iter(self._untold))]
            self._vanished(item)
        super()._drop(item)
