"""ImmutableService on the wire: an object's body to what plans need."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from immutable_operator.api import InvalidSpec, validate_service
from immutable_operator.api.duration import seconds
from immutable_operator.api.names import (
    API_VERSION,
    FIELD_MANAGER,
    SERVICE_PLURAL,
)
from immutable_operator.api.service import AGE_FLOOR
from immutable_operator.api.service import Regeneration as GivenRegeneration
from immutable_operator.domain.calendar.feasibility import problems
from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.calendar.windows import Cron
from immutable_operator.domain.config.references import pinned
from immutable_operator.domain.model import (
    OnTaint,
    Spec,
)
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import READ_ERRORS, version_of
from immutable_operator.kube.times import moment
from immutable_operator.wire.windows import windows_of

__all__ = ["SERVICES", "ServiceRecord"]

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
        fields = _entries(meta.get("managedFields"))
        written = _written(fields)
        spec, invalid = _spec(meta["name"], body.get("spec") or {}, written)
        return cls(
            uid=meta["uid"],
            namespace=meta["namespace"],
            name=meta["name"],
            version=version_of(meta["resourceVersion"]),
            generation=int(meta.get("generation") or 0),
            labels=dict(meta.get("labels") or {}),
            deleting=bool(meta.get("deletionTimestamp")),
            spec=spec,
            invalid=invalid,
            author=_author(fields),
            raw_status=dict(body.get("status") or {}),
            strangers=_strangers(fields),
        )

    @property
    def content(self) -> object:
        """What a new turn depends on; the status, because anybody may have written it."""
        return self.generation, self.deleting, self.labels, self.raw_status


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


def _entries(managed_fields: Any) -> tuple[Mapping[str, Any], ...]:
    """Who wrote what; an entry that has no such form is nobody's."""
    found = managed_fields if isinstance(managed_fields, list | tuple) else ()
    return tuple(entry for entry in found if isinstance(entry, Mapping))


def _written(managed_fields: Any) -> float:
    """When the regeneration was last written by somebody; 0 where that is not on record."""
    times = []
    for entry in managed_fields:
        fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
        if entry.get("subresource") or "f:regeneration" not in fields:
            continue
        with contextlib.suppress(ValueError):
            times.append(moment(entry.get("time")))
    return max(times, default=0.0)


def _spec(name: str, body: Mapping[str, Any], since: float) -> tuple[Spec | None, str | None]:
    try:
        return _checked(name, body, since)
    except InvalidSpec as error:
        return None, str(error)
    except READ_ERRORS as error:
        # Said where its author looks; no other service waits for it.
        return None, f"spec cannot be read: {type(error).__name__}: {error}"[:1024]


def _checked(name: str, body: Mapping[str, Any], since: float) -> tuple[Spec | None, str | None]:
    checked = validate_service(name, body)
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
