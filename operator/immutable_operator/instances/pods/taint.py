"""How a pod itself shows that it was modified: marks, debug containers, edits.

Everything here is derived from one pod as the API server returns it, so that a modification is
found after a restart as well as at once.
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
from immutable_operator.kube.times import moment

__all__ = ["edited", "editor_of", "editor_of_metadata", "mark_of", "other_images", "taint_of"]


_SHAPED = {"f:affinity", "f:nodeSelector", "f:schedulingGates", "f:tolerations"}


class _Mark(msgspec.Struct, frozen=True):
    what: str = ""
    by: str = ""
    at: str = ""


def taint_of(meta: ObjectMeta, debuggers: Sequence[str], quarantined: str | None) -> str | None:
    """Return a sentence about how a pod was modified; None if it shows no modification.

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
    what, by = mark.what or "an unknown change", mark.by or "an unknown client"
    return f"{what} by {by} at {mark.at or 'an unknown time'}"


def mark_of(meta: ObjectMeta) -> tuple[str, float | None]:
    """Return who marked a pod as tainted, and when; "" and None if that is not readable."""
    text = meta.annotations.get(ANNOTATION_TAINTED)
    if text is None:
        return "", None
    mark = _Mark()
    try:
        mark = msgspec.json.decode(text, type=_Mark)
        return mark.by, moment(mark.at)
    except READ_ERRORS:
        return mark.by, None


def _certificate(meta: ObjectMeta) -> str | None:
    """Return a sentence if labels, annotations and owner no longer match the name of the pod."""
    owner = meta.owner
    if owner.kind != SERVICE_KIND:
        return None  # it has no owner: not an instance of any service
    try:
        slot = int(meta.annotations.get(ANNOTATION_SLOT, ""))
        incarnation = int(meta.annotations.get(ANNOTATION_INCARNATION, ""))
    except ValueError:
        return "its birth certificate was edited: slot or incarnation is missing"
    revision = meta.labels.get(LABEL_REVISION, "")
    if instance_name(owner.name, owner.uid, revision, slot, incarnation) != meta.name:
        return "its birth certificate was edited or forged: it does not match the pod name"
    suffix = QUARANTINED_SUFFIX if ANNOTATION_QUARANTINED in meta.annotations else ""
    if meta.labels.get(LABEL_SERVICE) != owner.name + suffix:
        return f"its label {LABEL_SERVICE} was edited"
    return None


def editor_of(meta: ObjectMeta) -> str | None:
    """Return the field manager that last changed a pod's spec after its creation, if recorded."""
    try:
        edits = [(at, manager) for at, manager, _ in _edits(meta)]
    except READ_ERRORS:
        return None  # the managed fields cannot be read: the edit is detected nevertheless
    return max(edits)[1] if edits else None


def edited(meta: ObjectMeta, bound: str | None) -> bool:
    """Return whether its spec was changed in a way that no scheduling gate explains.

    While gates hold a pod back, gates may be removed and node constraints may be narrowed; a client
    that only removes something leaves no entry. Any change that is possible later leaves an entry:
    it adds a field or changes one. ``bound`` is when the pod was bound to its node. Entries that
    cannot be read count as an edit.
    """
    try:
        return any(
            not fields <= _SHAPED or (bound is not None and at > bound)
            for at, _, fields in _edits(meta)
        )
    except READ_ERRORS:
        return True


def _edits(meta: ObjectMeta) -> Iterator[tuple[str, str, set[str]]]:
    """Yield for each manager that changed the spec after creation: last time, name, fields."""
    entries: list[dict[str, Any]] = (
        msgspec.json.decode(meta.managed_fields) if meta.managed_fields else []
    )
    for entry in entries:
        spec = (entry.get("fieldsV1") or {}).get("f:spec")
        at, manager = str(entry.get("time") or ""), str(entry.get("manager") or "unknown")
        if spec is None or entry.get("subresource") == "status":
            continue
        # The time cannot identify the creation: a pod can be edited within the same second.
        if manager != FIELD_MANAGER or entry.get("subresource"):
            yield at, manager, set(spec)


def editor_of_metadata(metadata: Mapping[str, Any]) -> str | None:
    """Return the field manager other than ours that last changed a pod's labels or owners."""
    edits = [
        (str(entry.get("time") or ""), str(entry.get("manager") or "unknown"))
        for entry in metadata.get("managedFields") or ()
        if isinstance(entry, dict)
        and entry.get("subresource") != "status"
        and entry.get("manager") != FIELD_MANAGER
    ]
    return max(edits)[1] if edits else None


def is_created_by_another(metadata: Mapping[str, Any]) -> bool:
    """Return whether managedFields say that another client created a pod.

    The client that creates a pod manages its spec, of which hardly anything can be changed later.
    Without any entry about the spec (a client may delete them all) the creator is unknown.
    """
    managers = {
        str(entry.get("manager"))
        for entry in metadata.get("managedFields") or ()
        if isinstance(entry, dict)
        and not entry.get("subresource")
        and isinstance(fields := entry.get("fieldsV1"), dict)
        and "f:spec" in fields
    }
    return bool(managers) and FIELD_MANAGER not in managers


def other_images(
    images: Mapping[str, str], statuses: Iterable[ContainerStatus]
) -> tuple[tuple[str, str], ...]:
    """Return by container the image ids that a node reports and that lack the pinned digest."""
    found = []
    for status in statuses:
        _, at, pinned = images.get(status.name, "").rpartition("@")
        # An image that another webhook injected by tag (enforcement.allowUnpinned) has no digest.
        if at and status.image_id and not status.image_id.endswith(pinned):
            found.append((status.name, status.image_id))
    return tuple(found)
