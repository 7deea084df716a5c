"""The status of an owner on the wire: from its body, and to it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from immutable_operator.api.names import API_VERSION
from immutable_operator.domain.model import (
    Blocker,
    Condition,
    Deviation,
    FailedRevision,
    Rollout,
    Status,
)
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.wire.nouns import Body, Second, Text1024, Text4096
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["StoredStatus", "status_body", "stored_status"]


class _Blocker(Body, frozen=True):
    noun = Blocker
    reason: str
    message: Text4096
    since: Second
    subject: str | None = msgspec.field(default=None, name="object")


class _Condition(Body, frozen=True):
    noun = Condition
    type: str
    status: str
    reason: str
    message: Text4096
    since: Second = msgspec.field(name="lastTransitionTime")


class _Rollout(Body, frozen=True):
    noun = Rollout
    revision: str
    desired: int = msgspec.field(name="desiredReplicas")
    most_current: int
    least_stale: int
    started_at: Second
    progressed_at: Second | None = None
    step: int | None = None
    steps: int | None = None
    weight: int | None = None


class _Deviation(Body, frozen=True):
    noun = Deviation
    name: str = msgspec.field(name="instance")
    reason: str
    message: Text1024


class _FailedRevision(Body, frozen=True):
    noun = FailedRevision
    revision: str
    reason: str
    message: Text1024
    at: Second


class _Status(Body, frozen=True):
    noun = Status
    observed_generation: int = -1
    desired: int = msgspec.field(default=0, name="desiredReplicas")
    replicas: int = 0
    ready: int = msgspec.field(default=0, name="readyReplicas")
    available: int = msgspec.field(default=0, name="availableReplicas")
    current: int = msgspec.field(default=0, name="currentReplicas")
    stale: int = msgspec.field(default=0, name="staleReplicas")
    quarantined: int = msgspec.field(default=0, name="quarantinedReplicas")
    selector: str = ""
    current_revision: str | None = None
    last_good_revision: str | None = None
    oldest_instance: Second | None = None
    next_regeneration: Second | None = None
    live_secrets: tuple[str, ...] = ()
    blockers: tuple[_Blocker, ...] = ()
    rollout: _Rollout | None = None
    deviations: tuple[_Deviation, ...] = ()
    failed_revisions: tuple[_FailedRevision, ...] = ()
    conditions: tuple[_Condition, ...] = ()


def stored_status(record: OwnerRecord) -> Status:
    """Return the stored status; one that cannot be read counts as absent."""
    try:
        return _Status.read(record.raw_status, Status)
    except READ_ERRORS:
        return Status()


@dataclass(frozen=True)
class StoredStatus:
    """A status as the API server stores it after the operator wrote it.

    ``digest`` is of what it says without conditions of types that the operator does not write:
    others own them. ``types`` are those of the operator; ``beside`` are the fields that others must
    have set.
    """

    version: int
    digest: bytes
    types: frozenset[str]
    beside: tuple[str, ...] = ()

    @classmethod
    def of(cls, answer: bytes, body: Mapping[str, Any]) -> StoredStatus:
        """Return the status in the response to a write of ``body``, which `status_body` made."""
        stored = json.loads(answer)
        status, written = stored.get("status") or {}, body["status"]
        types = _shared(frozenset(condition["type"] for condition in written["conditions"]))
        beside = tuple(sorted(status.keys() - written.keys()))
        version = int(stored["metadata"]["resourceVersion"])
        return cls(version, _digest(status, types), types, beside)

    def is_overwritten(self, record: OwnerRecord) -> bool:
        """Return whether others wrote something else since; False for a record from before it."""
        if record.version < self.version:
            return False
        return _digest(record.raw_status, self.types) != self.digest


@functools.cache
def _shared(types: frozenset[str]) -> frozenset[str]:
    """Return one shared copy for all owners: there are thousands of them."""
    return types


def _digest(status: Mapping[str, Any], types: frozenset[str]) -> bytes:
    conditions = [c for c in status.get("conditions") or () if c.get("type") in types]
    text = msgspec.json.encode({**status, "conditions": conditions}, order="deterministic")
    return hashlib.sha256(text).digest()


def status_body(record: OwnerRecord, status: Status, version: int | None = None) -> dict[str, Any]:
    """Return the body of a server-side apply of the status, bound to the uid.

    With a resource version (0: none) it is refused if the owner was written since, so that a
    slower process cannot overwrite the status with that of an older spec.
    """
    generation = status.observed_generation
    # An empty list says explicitly that there are no blockers.
    body = {"blockers": [], **_Status.written(status)}
    body["conditions"] = [
        {**condition, "observedGeneration": generation} for condition in body["conditions"]
    ]
    metadata = record.metadata
    if version:
        metadata["resourceVersion"] = str(version)
    return {
        "apiVersion": API_VERSION,
        "kind": record.kind.name,
        "metadata": metadata,
        "status": body,
    }
