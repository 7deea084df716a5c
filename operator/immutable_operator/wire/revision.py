"""ImmutableRevision on the wire: the frozen record of one wanted state.

The operator keeps only what identifies a record; the template stays in the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import ceil
from typing import Any

import msgspec

from immutable_operator.api.names import (
    API_VERSION,
    REVISION_KIND,
    REVISION_PLURAL,
)
from immutable_operator.domain.model import (
    CONFIG_MAP,
    Admission,
    Change,
    ChangeKind,
    CheckPhase,
    CheckRecord,
    CheckResult,
    CreateRevision,
    Finding,
    Phase,
    Pin,
    Revision,
    Verdict,
    revision_name,
)
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import READ_ERRORS, version_of
from immutable_operator.wire.nouns import Body, Micro, Text128, Text512, Text1024
from immutable_operator.wire.owner import OwnerRecord

__all__ = [
    "REVISIONS",
    "RevisionRecord",
    "decode_revision",
    "owned_metadata",
    "owner_reference",
    "revision_body",
    "verdict_body",
]

REVISIONS = ApiPath(f"apis/{API_VERSION}", REVISION_PLURAL)


class _Pin(msgspec.Struct, frozen=True):
    name: str
    snapshot: str
    digest: str
    kind: str = CONFIG_MAP


class _Spec(msgspec.Struct, frozen=True):
    revision: str = ""
    number: int = 0
    hash: str = ""
    config: list[_Pin] = []
    by: str = ""


class _Change(Body, frozen=True):
    noun = Change
    path: Text512
    kind: ChangeKind = msgspec.field(name="change")
    digest: str = ""


class _Admission(Body, frozen=True):
    noun = Admission
    digest: str
    summary: Text1024 = Text1024()
    changes: tuple[_Change, ...] = ()
    since: Micro | None = None


class _CheckResult(Body, frozen=True):
    noun = CheckResult
    at: Micro
    found: Finding
    message: Text512 = Text512()


class _CheckRecord(Body, frozen=True, omit_defaults=True):
    noun = CheckRecord
    name: str
    phase: CheckPhase
    since: Micro | None = None
    measured: int = 0
    passed: int = 0
    failed: int = 0
    inconclusive: int = 0
    digest: str = ""
    results: tuple[_CheckResult, ...] = ()


class _Verdict(Body, frozen=True, omit_defaults=True):
    noun = Verdict
    phase: Phase = Phase.PENDING
    reason: Text128 = Text128()
    message: Text1024 = Text1024()
    started: Micro | None = msgspec.field(default=None, name="startedAt")
    first_available: Micro | None = None
    completed: Micro | None = None
    replaced: Text512 = Text512()
    takes_over_from: str = ""
    number_floor: int = 0
    start_seconds: float | None = None
    replicas: int | None = None
    most_available: int = 0
    progressed: Micro | None = msgspec.field(default=None, name="progressedAt")
    paused: Micro | None = msgspec.field(default=None, name="pausedAt")
    baking: Micro | None = msgspec.field(default=None, name="bakingSince")
    previewed: Micro | None = msgspec.field(default=None, name="previewedAt")
    approved: Micro | None = msgspec.field(default=None, name="approvedAt")
    promoted: Micro | None = msgspec.field(default=None, name="promotedAt")
    step: int = 0
    stepped: Micro | None = msgspec.field(default=None, name="steppedAt")
    failed: Micro | None = msgspec.field(default=None, name="failedAt")
    rejected_by: Text512 = Text512()
    fallback: str = ""
    retry: Text128 = Text128()
    command: str = ""
    admission: _Admission | None = None
    checks: tuple[_CheckRecord, ...] = ()


class _RevisionObject(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _Spec = _Spec()
    status: msgspec.Raw = msgspec.Raw(b"{}")


class RevisionRecord(msgspec.Struct, frozen=True):
    """A revision object: its owner's uid, what the planner knows of it, and its version."""

    uid: str
    owner: str
    content: Revision
    namespace: str = ""
    version: int = 0


def decode_revision(raw: bytes | msgspec.Raw) -> RevisionRecord:
    """Decode an ImmutableRevision to its record."""
    body = msgspec.json.decode(raw, type=_RevisionObject)
    meta, spec = body.metadata, body.spec
    config = tuple(Pin(pin.name, pin.snapshot, pin.digest, pin.kind) for pin in spec.config)
    revision = Revision(
        id=spec.revision,
        number=spec.number,
        hash=spec.hash,
        name=meta.name,
        uid=meta.uid,
        config=config,
        verdict=_verdict(body.status),
        author=spec.by,
    )
    version = version_of(meta.resource_version)
    return RevisionRecord(meta.uid, meta.controller, revision, meta.namespace, version)


def _verdict(raw: msgspec.Raw) -> Verdict:
    """Return the verdict in a record's status; an empty one if it cannot be read."""
    try:
        return _Verdict.read(msgspec.json.decode(raw), Verdict)
    except READ_ERRORS:
        return Verdict()


def verdict_body(
    namespace: str, revision: Revision, verdict: Verdict, version: int = 0
) -> dict[str, Any]:
    """Return the body of a server-side apply of a record's status.

    With a resource version (0: none) it is refused if the record was written since, or is another
    one of the same name: the API server does not compare the uid in an apply of a status.
    """
    start = verdict.start_seconds
    whole = replace(verdict, start_seconds=None if start is None else ceil(start))
    return {
        "apiVersion": API_VERSION,
        "kind": REVISION_KIND,
        "metadata": {
            "name": revision.name,
            "namespace": namespace,
            "uid": revision.uid,
            **({"resourceVersion": str(version)} if version else {}),
        },
        "status": {"phase": verdict.phase, **_Verdict.written(whole)},
    }


def owner_reference(owner: OwnerRecord) -> dict[str, Any]:
    """Return the controller reference for the garbage collector, which needs no operator."""
    return {
        "apiVersion": API_VERSION,
        "kind": owner.kind.name,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned_metadata(owner: OwnerRecord, name: str) -> dict[str, Any]:
    """Return the metadata of a new object that belongs to an owner, and goes with it."""
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": {owner.kind.label: owner.name},
        "ownerReferences": [owner_reference(owner)],
    }


def revision_body(
    owner: OwnerRecord, template: Mapping[str, Any], record: CreateRevision
) -> dict[str, Any]:
    """Return the object to create for a planned record."""
    config = [asdict(pin) for pin in record.config]
    return {
        "apiVersion": API_VERSION,
        "kind": REVISION_KIND,
        "metadata": owned_metadata(owner, revision_name(owner.name, record.id)),
        "spec": {
            owner.kind.word: owner.name,
            "number": record.number,
            "revision": record.id,
            "hash": record.hash,
            "reason": record.reason,
            "by": record.author[:128],
            "image": _short_images(template),
            owner.kind.recorded: dict(template),
            **({"config": config} if config else {}),
        },
    }


def _short_images(template: Mapping[str, Any]) -> str:
    """Return for people ``web@9f2c41d07a1b`` for each container, without registry and tag.

    For nodes it is the id of their image.
    """
    if (image := template.get("image")) is not None:
        return str(image.get("id") or image.get("digest") or "")[:512]
    short = []
    for container in template.get("spec", {}).get("containers") or ():
        name, _, digest = str(container.get("image", "")).partition("@")
        base = name.rpartition("/")[2].partition(":")[0]
        short.append(f"{base}@{digest.partition(':')[2][:12]}")
    return ",".join(short)[:256]
