"""ImmutableFreezes on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from immutable_operator.api.freeze import ImmutableFreezeSpec
from immutable_operator.api.names import (
    API_VERSION,
    FREEZE_PLURAL,
)
from immutable_operator.domain.model import Freeze
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import READ_ERRORS, Identity
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.windows import windows_of, windows_problem

__all__ = ["FREEZES", "FreezeRecord", "Freezes", "decode_freeze"]

FREEZES = ApiPath(f"apis/{API_VERSION}", FREEZE_PLURAL)


class FreezeRecord(msgspec.Struct, frozen=True):
    """A freeze, and the owners that it selects. If a part cannot be read, it freezes more."""

    name: str
    namespaces: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    content: Freeze

    def selects(self, owner: OwnerRecord) -> bool:
        """Return whether an owner is frozen; one without a namespace is in none of them."""
        here = not self.namespaces or (
            owner.kind.is_namespaced and owner.namespace in self.namespaces
        )
        return here and all(owner.labels.get(key) == value for key, value in self.labels)


def decode_freeze(raw: bytes | msgspec.Raw) -> FreezeRecord:
    """Decode an ImmutableFreeze to its record."""
    body = msgspec.json.decode(raw)
    name = body["metadata"]["name"]
    try:
        return _understood(name, ImmutableFreezeSpec.model_validate(body.get("spec") or {}))
    except READ_ERRORS:
        reason = "its spec cannot be read, so it freezes all services and node pools; correct it"
        " or delete it"
        return FreezeRecord(name, (), (), Freeze(name, reason))


def _understood(name: str, spec: ImmutableFreezeSpec) -> FreezeRecord:
    windows = spec.windows or []
    problem = windows_problem(windows, "spec.windows")
    freeze = Freeze(
        name=name,
        reason=f"{spec.reason} ({problem}; until that is corrected, it is always active)"
        if problem
        else spec.reason,
        begins=spec.from_.timestamp() if spec.from_ else None,
        ends=spec.until.timestamp() if spec.until else None,
        windows=() if problem else windows_of(windows),
        repairs=spec.freeze_repairs,
    )
    labels = tuple(sorted((spec.match_labels or {}).items()))
    return FreezeRecord(name, tuple(spec.namespaces or ()), labels, freeze)


class Freezes:
    """All freezes; ``changed`` is called when any changes."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._by_name: dict[str, FreezeRecord] = {}

    def of(self, owner: OwnerRecord) -> Iterator[Freeze]:
        """Yield the freezes that select an owner."""
        return (f.content for f in self._by_name.values() if f.selects(owner))

    def known(self, which: Identity) -> FreezeRecord | None:
        return self._by_name.get(which.name)

    def replace(self, items: list[FreezeRecord], version: int) -> None:
        self._by_name = {item.name: item for item in items}
        self._changed()

    def upsert(self, item: FreezeRecord, version: int) -> None:
        self._by_name[item.name] = item
        self._changed()

    def remove(self, item: FreezeRecord, version: int) -> None:
        self._by_name.pop(item.name, None)
        self._changed()

    def advance(self, version: int) -> None:
        """Do nothing: no part waits for a version of these."""
