"""Claiming back pods that lost the label or the owner reference that identifies them.

No watch of the operator shows a pod without its label, and a pod without an owner belongs to no
service: removing either makes an instance that is never replaced. The name identifies it: it is
computed from the uid of the service, so no other pod has such a name by chance. A pod that
another client created with such a name on purpose (the policies refuse it, where they are enforced)
is not claimed. A pod that is claimed back is marked as modified, and is then replaced like any
other modified pod.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from immutable_operator.api.names import (
    ANNOTATION_INCARNATION,
    ANNOTATION_SLOT,
    ANNOTATION_TAINTED,
    INSTANCE_NAME,
    LABEL_REVISION,
    LABEL_SERVICE,
)
from immutable_operator.domain.model import instance_name
from immutable_operator.instances.pods.taint import editor_of_metadata, is_created_by_another
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.reader import Reader
from immutable_operator.kube.reading import decoded
from immutable_operator.kube.times import stamp
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["claim_body", "is_lost", "service_of", "strays_in"]

SHAPE = re.compile(INSTANCE_NAME)
# If both numbers were removed, they are found again by trying all up to these limits.
MOST_SLOTS, MOST_INCARNATIONS = 256, 32


class _Partial(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


class _Page(msgspec.Struct, frozen=True):
    items: list[msgspec.Raw] | None = None


def service_of(name: str) -> str | None:
    """Return the name of the service that a pod of this name would belong to, or None."""
    found = SHAPE.search(name)
    return name[: found.start()] if found else None


def strays_in(page: bytes) -> list[ObjectMeta]:
    """Return from a list of pods' metadata those with the name of an instance."""
    items = decoded(page, _Page).items or ()
    reader = Reader("pods", _decode_partial, lambda resource: None)
    found = (reader.read(raw) for raw in items)
    return [i.metadata for i in found if i is not None and service_of(i.metadata.name)]


def _decode_partial(raw: bytes | msgspec.Raw) -> _Partial:
    return msgspec.json.decode(raw, type=_Partial)


def is_lost(meta: ObjectMeta, service: OwnerRecord) -> bool:
    """Return whether a living pod lacks the label or owner that identifies it."""
    if meta.deletion_timestamp is not None:
        return False
    return LABEL_SERVICE not in meta.labels or meta.controller != service.uid


def claim_body(
    service: OwnerRecord, meta: ObjectMeta, metadata: Mapping[str, Any], now: float
) -> dict[str, Any] | None:
    """Return a merge patch that identifies a lost instance again; None if it never was an instance.

    ``metadata`` is the complete metadata of the pod; with the resource version the API server
    refuses a pod that changed. An owner that was removed is not restored: for that the API server
    requires the permission to delete pods, which the operator does not have and does not need,
    because the pod will be replaced.
    """
    birth = _birth(service, meta)
    if birth is None or is_created_by_another(metadata):
        return None
    revision, slot, incarnation = birth
    lost = "label" if LABEL_SERVICE not in meta.labels else "owner"
    mark = {
        "what": f"its {lost} was removed",
        "by": editor_of_metadata(metadata) or "an unknown client",
        "at": stamp(now),
    }
    annotations = {ANNOTATION_SLOT: str(slot), ANNOTATION_INCARNATION: str(incarnation)}
    if ANNOTATION_TAINTED not in meta.annotations:
        annotations[ANNOTATION_TAINTED] = msgspec.json.encode(mark).decode()
    return {
        "metadata": {
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "labels": {LABEL_SERVICE: service.name, LABEL_REVISION: revision},
            "annotations": annotations,
        }
    }


def _birth(service: OwnerRecord, meta: ObjectMeta) -> tuple[str, int, int] | None:
    """Return revision, slot and incarnation from which a name was computed, or None."""
    if service_of(meta.name) != service.name:
        return None
    revision = meta.name.rpartition("-")[0].rpartition("-im")[2]
    stated = (_number(meta, ANNOTATION_SLOT), _number(meta, ANNOTATION_INCARNATION))
    tried = [(slot, n) for n in range(MOST_INCARNATIONS) for slot in range(MOST_SLOTS)]
    for slot, incarnation in (stated, *tried):
        name = instance_name(service.name, service.uid, revision, slot, incarnation)
        if name == meta.name:
            return revision, slot, incarnation
    return None


def _number(meta: ObjectMeta, key: str) -> int:
    text = meta.annotations.get(key, "")
    return int(text) if text.isdecimal() and len(text) < 9 else 0
