"""ImmutableService on the wire: an object's body to what plans need, a status to its body."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from immutable_operator.api import InvalidSpec, validate_service
from immutable_operator.api.duration import seconds
from immutable_operator.api.names import (
    API_VERSION,
    FIELD_MANAGER,
    SERVICE_KIND,
    SERVICE_PLURAL,
)
from immutable_operator.api.service import AGE_FLOOR, Window
from immutable_operator.api.service import Regeneration as GivenRegeneration
from immutable_operator.domain.configuration import pinned
from immutable_operator.domain.feasibility import problems
from immutable_operator.domain.model import (
    Blocker,
    Condition,
    Deviant,
    OnTaint,
    Rollout,
    Spec,
    Status,
)
from immutable_operator.domain.regeneration import Regeneration
from immutable_operator.domain.schedule import Cron, problem_of
from immutable_operator.domain.schedule import Window as Opening
from immutable_operator.kube.client import ApiPath

__all__ = [
    "SERVICES",
    "ServiceRecord",
    "StoredStatus",
    "moment",
    "second",
    "stamp",
    "status_body",
    "windows_of",
    "windows_problem",
]

SERVICES = ApiPath(f"apis/{API_VERSION}", SERVICE_PLURAL)


@dataclass(frozen=True)
class ServiceRecord:
    """An ImmutableService as stored: identity, checked spec, and the status as it was read.

    ``spec`` is None and ``invalid`` says why when the operator's own check refused it.
    ``strangers`` are the managers that hold fields of the status beside the operator.
    """

    uid: str
    namespace: str
    name: str
    version: int
    generation: int
    deleting: bool
    spec: Spec | None
    invalid: str | None
    author: str
    labels: Mapping[str, str]
    raw_status: Mapping[str, Any]
    strangers: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> ServiceRecord:
        meta = body["metadata"]
        written = _written(meta.get("managedFields") or ())
        spec, invalid = _spec(meta["name"], body.get("spec") or {}, written)
        return cls(
            uid=meta["uid"],
            namespace=meta["namespace"],
            name=meta["name"],
            version=int(meta["resourceVersion"]),
            generation=int(meta.get("generation") or 0),
            labels=dict(meta.get("labels") or {}),
            deleting=bool(meta.get("deletionTimestamp")),
            spec=spec,
            invalid=invalid,
            author=_author(meta.get("managedFields") or ()),
            raw_status=dict(body.get("status") or {}),
            strangers=_strangers(meta.get("managedFields") or ()),
        )

    @property
    def content(self) -> object:
        """What a new turn depends on; the status, because anybody may have written it."""
        return self.generation, self.deleting, self.labels, self.raw_status

    @cached_property
    def status(self) -> Status:
        """The stored status; what cannot be read (a stranger's write) counts as absent."""
        try:
            return _status(self.raw_status)
        except (KeyError, TypeError, ValueError):
            return Status()


def windows_of(windows: Iterable[Window]) -> tuple[Opening, ...]:
    """Windows as users write them to those that can be asked."""
    return tuple(
        Opening(Cron(window.schedule, window.time_zone), seconds(window.duration))
        for window in windows
    )


def windows_problem(windows: Iterable[Window], path: str) -> str | None:
    """What is wrong with the first wrong one."""
    for index, window in enumerate(windows):
        found = problem_of(window.schedule, window.time_zone, seconds(window.duration))
        if found:
            return f"{path}[{index}]: {found}"
    return None


def _regeneration(given: GivenRegeneration) -> tuple[Regeneration, str | None]:
    wanted = Regeneration(
        max_age=seconds(given.max_age) if given.max_age else None,
        hard_max_age=seconds(given.hard_max_age) if given.hard_max_age else None,
        jitter=int(given.jitter.removesuffix("%")) / 100,
        max_concurrent=given.max_concurrent,
        windows=windows_of(given.windows),
        schedule=Cron(given.schedule, given.time_zone) if given.schedule else None,
    )
    found = problems(wanted, AGE_FLOOR)
    return wanted, "; ".join(f"spec.regeneration.{text}" for text in found) or None


def _written(managed_fields: Any) -> float:
    """When the regeneration was last written by somebody; 0 where that is not on record."""
    times = [
        moment(entry["time"])
        for entry in managed_fields
        if not entry.get("subresource")
        and entry.get("time")
        and "f:regeneration" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return max(times, default=0.0)


def _spec(name: str, body: Mapping[str, Any], since: float) -> tuple[Spec | None, str | None]:
    try:
        checked = validate_service(name, body)
    except InvalidSpec as error:
        return None, str(error)
    rollout, immutability = checked.rollout, checked.immutability
    regeneration, trouble = _regeneration(checked.regeneration)
    if trouble:
        return None, trouble
    return (
        Spec(
            template=body["template"],
            replicas=checked.replicas,
            max_surge=rollout.max_surge,
            max_unavailable=rollout.max_unavailable,
            min_ready_seconds=rollout.min_ready_seconds,
            progress_deadline_seconds=rollout.progress_deadline_seconds,
            history_limit=checked.history_limit,
            suspend=checked.suspend,
            on_taint=OnTaint(immutability.on_taint),
            quarantine_seconds=seconds(immutability.quarantine_for),
            replace_restarted=immutability.restarts == "Replace",
            regeneration=regeneration,
            schedule_since=since,
            pinned=pinned(body["template"], immutability.config.mode, immutability.config.live),
        ),
        None,
    )


def _author(managed_fields: Any) -> str:
    """The field manager that last wrote the template; the API server shows no user names."""
    writers = [
        (entry.get("time") or "", entry.get("manager") or "unknown")
        for entry in managed_fields
        if not entry.get("subresource")
        and "f:template" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return max(writers)[1] if writers else "unknown"


def _strangers(managed_fields: Any) -> tuple[str, ...]:
    """Who but the operator holds fields of the status; what it takes over is theirs no longer."""
    return tuple(
        sorted(
            entry.get("manager") or "unknown"
            for entry in managed_fields
            if entry.get("subresource") == "status"
            and (entry.get("manager"), entry.get("operation")) != (FIELD_MANAGER, "Apply")
        )
    )


def stamp(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds, as in MicroTime."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def second(seconds: float) -> str:
    """RFC 3339 to the second, as in metav1.Time."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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


def status_body(record: ServiceRecord, status: Status) -> dict[str, Any]:
    """The body of a server-side apply of the status; the uid makes it refuse a namesake."""
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
    return {
        "apiVersion": API_VERSION,
        "kind": SERVICE_KIND,
        "metadata": {"name": record.name, "namespace": record.namespace, "uid": record.uid},
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
