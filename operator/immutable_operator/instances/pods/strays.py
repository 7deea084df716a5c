"""Claiming pods back that lost the label or the owner by which they are known.

A pod without our label is in no watch of ours, and one without an owner belongs to no service:
whoever removes either makes an instance that nobody replaces. Its name tells: it is computed from
its service's uid, and nobody else's pod has such a name by chance. A pod that is claimed back
carries the mark of having been reached into, and is then replaced like any other.
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
from immutable_operator.instances.pods.taint import editor_of_metadata
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.reading import Reader, decoded
from immutable_operator.kube.times import stamp
from immutable_operator.wire.service import ServiceRecord

__all__ = ["claim_body", "is_lost", "service_of", "strays_in"]

SHAPE = re.compile(INSTANCE_NAME)
# Where both numbers were edited away, they are found again by trying.
MOST_SLOTS, MOST_INCARNATIONS = 256, 32


class _Partial(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


class _Page(msgspec.Struct, frozen=True):
    items: list[msgspec.Raw] | None = None


def service_of(name: str) -> str | None:
    """The name of the service that a pod of this name would belong to; None if of none."""
    found = SHAPE.search(name)
    return name[: found.start()] if found else None


def strays_in(page: bytes) -> list[ObjectMeta]:
    """Of a list of pods' metadata, those that have the name of an instance."""
    items = decoded(page, _Page).items or ()
    reader = Reader("pods", _decode_partial, lambda resource: None)
    found = (reader.read(raw) for raw in items)
    return [i.metadata for i in found if i is not None and service_of(i.metadata.name)]


def _decode_partial(raw: bytes | msgspec.Raw) -> _Partial:
    return msgspec.json.decode(raw, type=_Partial)


def is_lost(meta: ObjectMeta, service: ServiceRecord) -> bool:
    """Whether a living pod lacks what it is found by."""
    if meta.deletion_timestamp is not None:
        return False
    return LABEL_SERVICE not in meta.labels or meta.controller != service.uid


def claim_body(
    service: ServiceRecord, meta: ObjectMeta, metadata: Mapping[str, Any], now: float
) -> dict[str, Any] | None:
    """A merge patch that makes a lost instance known again; None if it never was one.

    ``metadata`` is the pod's, whole; the resource version makes it refuse a pod that changed. An
    owner that was removed is not written again: the API server wants a right to delete pods for
    that, which the operator has not and does not need, because the pod is on its way out.
    """
    birth = _birth(service, meta)
    if birth is None:
        return None
    revision, slot, incarnation = birth
    lost = "label" if LABEL_SERVICE not in meta.labels else "owner"
    mark = {
        "what": f"its {lost} was removed",
        "by": editor_of_metadata(metadata) or "somebody",
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


def _birth(service: ServiceRecord, meta: ObjectMeta) -> tuple[str, int, int] | None:
    """Revision, slot and incarnation from which a name was computed; None if from none."""
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
