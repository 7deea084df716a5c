"""Namespaces as the operator knows them: their labels, by name. Only metadata is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import Identity

__all__ = ["NAMESPACES", "NamespaceRecord", "Namespaces", "decode_namespace"]

NAMESPACES = ApiPath("api/v1", "namespaces")


class _Partial(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


class NamespaceRecord(msgspec.Struct, frozen=True):
    """Name and labels of a namespace."""

    name: str
    labels: dict[str, str]


_DECODER = msgspec.json.Decoder(_Partial)


def decode_namespace(raw: bytes | msgspec.Raw) -> NamespaceRecord:
    """Decode the metadata of a namespace."""
    meta = _DECODER.decode(raw).metadata
    return NamespaceRecord(meta.name, meta.labels)


class Namespaces:
    """The labels of all namespaces; ``changed`` is called when labels change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._by_name: dict[str, NamespaceRecord] = {}

    def labels(self, name: str) -> Mapping[str, str]:
        """Labels of a namespace; none if it is not known (yet)."""
        found = self._by_name.get(name)
        return found.labels if found else {}

    def known(self, which: Identity) -> NamespaceRecord | None:
        return self._by_name.get(which.name)

    def replace(self, items: list[NamespaceRecord], version: int) -> None:
        self._by_name = {item.name: item for item in items}
        self._changed()

    def upsert(self, item: NamespaceRecord, version: int) -> None:
        if self._by_name.get(item.name) != item:
            self._by_name[item.name] = item
            self._changed()

    def remove(self, item: NamespaceRecord, version: int) -> None:
        self._by_name.pop(item.name, None)

    def advance(self, version: int) -> None:
        """Do nothing: no part waits for a version of these."""
