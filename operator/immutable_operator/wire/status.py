"""The status of an ImmutableService on the wire: from its body, and to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from immutable_operator.api.names import (
    API_VERSION,
    SERVICE_KIND,
)
from immutable_operator.domain.model import (
    Blocker,
    Condition,
    Deviant,
    Rollout,
    Status,
)
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.kube.times import moment, second
from immutable_operator.wire.service import ServiceRecord

__all__ = ["StoredStatus", "status_body", "stored_status"]


def stored_status(record: ServiceRecord) -> Status:
    """The stored status; what cannot be read (a stranger's write) counts as absent."""
    try:
        return _status(record.raw_status)
    except READ_ERRORS:
        return Status()


def _status(body: Mapping[str, Any]) -> Status:
    rollout = body.get("rollout")
    return Status(
        observed_generation=int(body.get("observedGeneration", -1)),
        desired=int(body.get("desiredReplicas", 0)),
        replicas=int(body.get("replicas", 0)),
        ready=int(body.get("readyReplicas", 0)),
        available=int(body.get("availableReplicas", 0)),
        current=int(body.get("currentReplicas", 0)),
        stale=int(body.get("staleReplicas", 0)),
        quarantined=int(body.get("quarantinedReplicas", 0)),
        selector=str(body.get("selector", "")),
        current_revision=body.get("currentRevision"),
        last_good_revision=body.get("lastGoodRevision"),
        oldest_instance=_moment_or_none(body.get("oldestInstance")),
        next_regeneration=_moment_or_none(body.get("nextRegeneration")),
        blockers=tuple(
            Blocker(b["reason"], b["message"], moment(b["since"]), b.get("object"))
            for b in body.get("blockers") or ()
        ),
        rollout=_rollout(rollout) if rollout else None,
        deviants=tuple(
            Deviant(d["instance"], d["reason"], d["message"]) for d in body.get("deviants") or ()
        ),
        conditions=tuple(
            Condition(
                c["type"], c["status"], c["reason"], c["message"], moment(c["lastTransitionTime"])
            )
            for c in body.get("conditions") or ()
        ),
    )


def _rollout(body: Mapping[str, Any]) -> Rollout:
    return Rollout(
        revision=body["revision"],
        desired=int(body["desiredReplicas"]),
        most_current=int(body["mostCurrent"]),
        least_stale=int(body["leastStale"]),
        started_at=moment(body["startedAt"]),
        progressed_at=_moment_or_none(body.get("progressedAt")),
    )


def _moment_or_none(text: str | None) -> float | None:
    return moment(text) if text else None


@dataclass(frozen=True)
class StoredStatus:
    """A status as the API server holds it after the operator wrote it.

    ``content`` lacks conditions of types that the operator does not write: they are others' to set.
    """

    version: int
    content: Mapping[str, Any]
    types: frozenset[str]

    @classmethod
    def of(cls, answer: bytes, body: Mapping[str, Any]) -> StoredStatus:
        """From the answer to a write of ``body``, which is made by `status_body`."""
        stored = json.loads(answer)
        types = frozenset(condition["type"] for condition in body["status"]["conditions"])
        version = int(stored["metadata"]["resourceVersion"])
        return cls(version, _without_others(stored.get("status") or {}, types), types)

    def beside(self, body: Mapping[str, Any]) -> list[str]:
        """Fields that are not in ``body``: others hold them, or an apply would have taken them."""
        return sorted(self.content.keys() - body["status"].keys())

    def is_overwritten(self, record: ServiceRecord) -> bool:
        """Whether somebody wrote something else since; False for a record from before it."""
        if record.version < self.version:
            return False
        return _without_others(record.raw_status, self.types) != self.content


def _without_others(status: Mapping[str, Any], types: frozenset[str]) -> dict[str, Any]:
    conditions = status.get("conditions") or ()
    return {**status, "conditions": [c for c in conditions if c.get("type") in types]}


def status_body(
    record: ServiceRecord, status: Status, version: int | None = None
) -> dict[str, Any]:
    """The body of a server-side apply of the status; the uid makes it refuse a namesake.

    With a resource version (0: none) it is refused where anybody wrote the service since, so that
    what a slower process says of an older spec does not stand.
    """
    body: dict[str, Any] = {
        "observedGeneration": status.observed_generation,
        "desiredReplicas": status.desired,
        "replicas": status.replicas,
        "readyReplicas": status.ready,
        "availableReplicas": status.available,
        "currentReplicas": status.current,
        "staleReplicas": status.stale,
        "quarantinedReplicas": status.quarantined,
        "selector": status.selector,
        "blockers": [_blocker_body(b) for b in status.blockers],
        "conditions": [
            {
                "type": c.type,
                "status": c.status,
                "reason": c.reason,
                "message": c.message[:4096],
                "observedGeneration": status.observed_generation,
                "lastTransitionTime": second(c.since),
            }
            for c in status.conditions
        ],
    }
    if status.current_revision:
        body["currentRevision"] = status.current_revision
    if status.last_good_revision:
        body["lastGoodRevision"] = status.last_good_revision
    if status.oldest_instance is not None:
        body["oldestInstance"] = second(status.oldest_instance)
    if status.next_regeneration is not None:
        body["nextRegeneration"] = second(status.next_regeneration)
    if status.deviants:
        body["deviants"] = [
            {"instance": d.name, "reason": d.reason, "message": d.message[:1024]}
            for d in status.deviants
        ]
    if status.rollout is not None:
        body["rollout"] = _rollout_body(status.rollout)
    metadata = {"name": record.name, "namespace": record.namespace, "uid": record.uid}
    if version:
        metadata["resourceVersion"] = str(version)
    return {
        "apiVersion": API_VERSION,
        "kind": SERVICE_KIND,
        "metadata": metadata,
        "status": body,
    }


def _blocker_body(blocker: Blocker) -> dict[str, Any]:
    body = {
        "reason": blocker.reason,
        "message": blocker.message[:4096],
        "since": second(blocker.since),
    }
    return body | ({"object": blocker.subject} if blocker.subject else {})


def _rollout_body(rollout: Rollout) -> dict[str, Any]:
    body = {
        "revision": rollout.revision,
        "desiredReplicas": rollout.desired,
        "mostCurrent": rollout.most_current,
        "leastStale": rollout.least_stale,
        "startedAt": second(rollout.started_at),
    }
    if rollout.progressed_at is not None:
        body["progressedAt"] = second(rollout.progressed_at)
    return body
