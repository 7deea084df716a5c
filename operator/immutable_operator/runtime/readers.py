"""Which services read which configuration, so that a change of one object finds them at once."""

from __future__ import annotations

from immutable_operator.domain.config.references import config_references
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["Readers"]

Key = tuple[str, str, str]


class Readers:
    """Uids of services by kind, namespace and name of objects that their instances require."""

    def __init__(self) -> None:
        self._by_key: dict[Key, set[str]] = {}
        self._known: dict[str, tuple[int, frozenset[Key]]] = {}

    def __len__(self) -> int:
        """Return the number of objects that are read."""
        return len(self._by_key)

    def of(self, kind: str, namespace: str, name: str) -> tuple[str, ...]:
        """Return the services that read an object, in an order that is always the same."""
        return tuple(sorted(self._by_key.get((kind, namespace, name), ())))

    def update(self, uid: str, service: OwnerRecord | None) -> None:
        """Note that a service is new, has changed, or is gone (None)."""
        generation, before = self._known.pop(uid, (None, frozenset[Key]()))
        after = frozenset[Key]()
        if service is not None:
            # The spec says what it reads; the status changes much more often.
            after = before if generation == service.generation else _read_by(service)
            self._known[uid] = (service.generation, after)
        for key in after - before:
            self._by_key.setdefault(key, set()).add(uid)
        for key in before - after:
            self._by_key[key].discard(uid)
            if not self._by_key[key]:
                del self._by_key[key]


def _read_by(service: OwnerRecord) -> frozenset[Key]:
    read = config_references(service.spec.template or {})
    return frozenset((kind, service.namespace, name) for kind, name in read)
