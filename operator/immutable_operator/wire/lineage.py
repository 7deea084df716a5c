"""ImmutableLineage on the wire: the record of which instance replaced which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from immutable_operator.api.names import API_VERSION, LINEAGE_KIND, LINEAGE_PLURAL
from immutable_operator.domain.lineage import Entry
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.wire.nouns import Body, Second, Text512
from immutable_operator.wire.owner import OwnerKind, OwnerRecord
from immutable_operator.wire.revision import owned_metadata

__all__ = ["LINEAGES", "LineageRecord", "decode_lineage", "lineage_body", "lineage_name"]

LINEAGES = ApiPath(f"apis/{API_VERSION}", LINEAGE_PLURAL)


class _Entry(Body, frozen=True):
    noun = Entry
    slot: int
    name: str
    uid: str
    born: Second
    revision: str = ""
    because: Text512 = Text512()
    replaces: str = ""
    replaces_uid: str = ""
    by: Text512 = Text512()
    retired: Second | None = None
    retired_because: Text512 = Text512()


class _Spec(msgspec.Struct, frozen=True):
    replacements: list[msgspec.Raw] = []


class _Lineage(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _Spec = _Spec()


class LineageRecord(msgspec.Struct, frozen=True):
    """A lineage as stored: its own uid and version, the uid of its owner, and its entries."""

    uid: str
    version: str
    owner: str
    entries: tuple[Entry, ...]


def lineage_name(kind: OwnerKind, name: str) -> str:
    """Return the name of the lineage of an owner: its own; those of pools cannot be mistaken for
    those of services in the same namespace."""
    return name if kind.is_namespaced else f"{kind.word}.{name}"


def decode_lineage(raw: bytes | msgspec.Raw) -> LineageRecord:
    """Decode an ImmutableLineage to its record; entries that cannot be read are left out."""
    body = msgspec.json.decode(raw, type=_Lineage)
    meta = body.metadata
    read = tuple(e for item in body.spec.replacements if (e := _entry(item)) is not None)
    return LineageRecord(meta.uid, meta.resource_version, meta.controller, read)


def _entry(raw: msgspec.Raw) -> Entry | None:
    try:
        return _Entry.read(msgspec.json.decode(raw), Entry)
    except READ_ERRORS:
        return None


def lineage_body(
    owner: OwnerRecord, entries: Sequence[Entry], before: LineageRecord | None
) -> dict[str, Any]:
    """Return the object to create, or to apply to the version that was read ``before``."""
    read = {} if before is None else {"uid": before.uid, "resourceVersion": before.version}
    return {
        "apiVersion": API_VERSION,
        "kind": LINEAGE_KIND,
        "metadata": owned_metadata(owner, lineage_name(owner.kind, owner.name)) | read,
        "spec": {
            owner.kind.word: owner.name,
            "replacements": [_Entry.written(entry) for entry in entries],
        },
    }
