"""What a pod itself shows of having been reached into: marks, debug containers, edits.

Everything here is told from one pod as the API server gives it, so that it is found out after a
restart as well as at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from immutable_operator.api.names import (
    ANNOTATION_INCARNATION,
    ANNOTATION_QUARANTINED,
    ANNOTATION_SLOT,
    ANNOTATION_TAINTED,
    FIELD_MANAGER,
    LABEL_REVISION,
    LABEL_SERVICE,
    QUARANTINED_SUFFIX,
    SERVICE_KIND,
)
from immutable_operator.domain.model import instance_name
from immutable_operator.instances.pods.trouble import ContainerStatus
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.reading import READ_ERRORS

__all__ = ["edited", "editor_of", "editor_of_metadata", "other_images", "taint_of"]


_SHAPED = {"f:affinity", "f:nodeSelector", "f:schedulingGates", "f:tolerations"}


class _Mark(msgspec.Struct, frozen=True):
    what: str = ""
    by: str = ""
    at: str = ""


def taint_of(meta: ObjectMeta, debuggers: Sequence[str], quarantined: str | None) -> str | None:
    """A sentence on what was done to a pod; None while it shows nothing.

    ``quarantined`` is the cause of its quarantine.
    """
    if ANNOTATION_TAINTED in meta.annotations:
        return _marked(meta.annotations[ANNOTATION_TAINTED])
    if debuggers:
        return f"debug container {debuggers[0]} was added to it"
    if edited := _certificate(meta):
        return edited
    return quarantined or None


def _marked(text: str) -> str:
    try:
        mark = msgspec.json.decode(text, type=_Mark)
    except READ_ERRORS:
        return "it was marked as tainted"
    return f"{mark.what or 'something'} by {mark.by or 'somebody'} at {mark.at or 'some time'}"


def _certificate(meta: ObjectMeta) -> str | None:
    """Whether labels, annotations and owner still say what the pod's name was computed from."""
    owner = meta.owner
    if owner.kind != SERVICE_KIND:
        return None  # nobody's: not an instance of any service
    try:
        slot = int(meta.annotations.get(ANNOTATION_SLOT, ""))
        incarnation = int(meta.annotations.get(ANNOTATION_INCARNATION, ""))
    except ValueError:
        return "its birth certificate was edited: no slot or incarnation"
    revision = meta.labels.get(LABEL_REVISION, "")
    if instance_name(owner.name, owner.uid, revision, slot, incarnation) != meta.name:
        return "its birth certificate was edited or forged: it does not belong to its name"
    suffix = QUARANTINED_SUFFIX if ANNOTATION_QUARANTINED in meta.annotations else ""
    if meta.labels.get(LABEL_SERVICE) != owner.name + suffix:
        return f"its label {LABEL_SERVICE} was edited"
    return None


def editor_of(meta: ObjectMeta) -> str | None:
    """The field manager that changed a pod's spec last after its birth, where that is on record."""
    try:
        edits = [(at, manager) for at, manager, _ in _edits(meta)]
    except READ_ERRORS:
        return None  # what is on record makes no sense: the edit is seen all the same
    return max(edits)[1] if edits else None


def edited(meta: ObjectMeta, bound: str | None) -> bool:
    """Whether its spec was changed in a way that no scheduling gate explains.

    While gates hold a pod back, they may be taken off and where it runs may be narrowed down; who
    takes something off leaves no entry. Whatever may be changed later leaves one: it adds a field
    or changes one. ``bound`` is when it got its node. What makes no sense explains nothing.
    """
    try:
        return any(
            not fields <= _SHAPED or (bound is not None and at > bound)
            for at, _, fields in _edits(meta)
        )
    except READ_ERRORS:
        return True


def _edits(meta: ObjectMeta) -> Iterator[tuple[str, str, set[str]]]:
    """Of each manager that changed the spec after the birth: when last, its name, which fields."""
    entries: list[dict[str, Any]] = (
        msgspec.json.decode(meta.managed_fields) if meta.managed_fields else []
    )
    for entry in entries:
        spec = (entry.get("fieldsV1") or {}).get("f:spec")
        at, manager = str(entry.get("time") or ""), str(entry.get("manager") or "unknown")
        if spec is None or entry.get("subresource") == "status":
            continue
        # The time tells no birth: it has whole seconds, and a pod is edited within its first one.
        if manager != FIELD_MANAGER or entry.get("subresource"):
            yield at, manager, set(spec)


def editor_of_metadata(metadata: Mapping[str, Any]) -> str | None:
    """The field manager other than ours that changed a pod's labels or owners last."""
    edits = [
        (str(entry.get("time") or ""), str(entry.get("manager") or "unknown"))
        for entry in metadata.get("managedFields") or ()
        if isinstance(entry, dict)
        and entry.get("subresource") != "status"
        and entry.get("manager") != FIELD_MANAGER
    ]
    return max(edits)[1] if edits else None


def other_images(
    images: Mapping[str, str], statuses: Iterable[ContainerStatus]
) -> tuple[tuple[str, str], ...]:
    """By container, the image ids that a node reports and that do not carry the pinned digest."""
    found = []
    for status in statuses:
        pinned = images.get(status.name, "").rpartition("@")[2]
        if pinned and status.image_id and not status.image_id.endswith(pinned):
            found.append((status.name, status.image_id))
    return tuple(found)
