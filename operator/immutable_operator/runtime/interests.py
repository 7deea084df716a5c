"""Which owners wait for news of which objects: one register, by namespace and name."""

from __future__ import annotations

__all__ = ["Interests", "Key"]

Key = tuple[str, str]


class Interests:
    """Uids of owners by namespace and name of what they depend on."""

    def __init__(self) -> None:
        self._wanted: dict[str, frozenset[Key]] = {}
        self._readers: dict[Key, set[str]] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._readers

    def of(self, key: Key) -> tuple[str, ...]:
        """Return the owners that wait for news of an object."""
        return tuple(self._readers.get(key, ()))

    def register(self, owner: str, keys: frozenset[Key]) -> frozenset[Key]:
        """Note all that an owner depends on; return the objects on which no owner depends now."""
        before = self._wanted.pop(owner, frozenset())
        if keys:
            self._wanted[owner] = keys
        for key in keys - before:
            self._readers.setdefault(key, set()).add(owner)
        left = set()
        for key in before - keys:
            self._readers[key].discard(owner)
            if not self._readers[key]:
                del self._readers[key]
                left.add(key)
        return frozenset(left)
