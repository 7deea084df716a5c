"""ImmutableActions and ImmutableFreezes on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from immutable_operator.api.freeze import ImmutableFreezeSpec
from immutable_operator.api.names import (
    ACTION_KIND,
    ACTION_PLURAL,
    API_VERSION,
    FREEZE_PLURAL,
)
from immutable_operator.domain.model import Freeze, Outcome, Request
from immutable_operator.kube.client import ApiPath
from immutable_operator.kube.revisions import ObjectMeta
from immutable_operator.kube.services import (
    ServiceRecord,
    moment,
    second,
    windows_of,
    windows_problem,
)

__all__ = [
    "ACTIONS",
    "FREEZES",
    "ActionRecord",
    "FreezeRecord",
    "Freezes",
    "action_status",
    "decode_action",
    "decode_freeze",
]

ACTIONS = ApiPath(f"apis/{API_VERSION}", ACTION_PLURAL)
FREEZES = ApiPath(f"apis/{API_VERSION}", FREEZE_PLURAL)
ENDED = ("Succeeded", "Failed")


class _ActionSpec(msgspec.Struct, rename="camel", frozen=True):
    service: str = ""
    instance: str | None = None
    override_freeze: bool = False
    reason: str | None = None
    actor: str = "somebody"


class _ActionStatus(msgspec.Struct, rename="camel", frozen=True):
    phase: str = ""
    message: str = ""
    started_at: str | None = None


class _Action(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _ActionSpec = _ActionSpec()
    status: _ActionStatus = _ActionStatus()


class ActionRecord(msgspec.Struct, frozen=True):
    """An action: ``owner`` is ``<namespace>/<service>``, the name of whom it concerns."""

    uid: str
    owner: str
    content: Request

    @property
    def ended(self) -> bool:
        return self.content.phase in ENDED


def decode_action(raw: bytes | msgspec.Raw) -> ActionRecord:
    """Bytes of an ImmutableAction to its record."""
    body = msgspec.json.decode(raw, type=_Action)
    meta, spec, status = body.metadata, body.spec, body.status
    request = Request(
        name=meta.name,
        uid=meta.uid,
        created=moment(meta.creation_timestamp),
        actor=spec.actor,
        instance=spec.instance,
        # The API server refuses an override without a reason; so do we.
        override_freeze=spec.override_freeze and bool(spec.reason),
        phase=status.phase,
        message=status.message,
        started=moment(status.started_at) if status.started_at else None,
    )
    return ActionRecord(meta.uid, f"{meta.namespace}/{spec.service}", request)


def action_status(namespace: str, request: Request, outcome: Outcome, now: float) -> dict[str, Any]:
    """The body of a server-side apply of an action's status."""
    status: dict[str, Any] = {
        "phase": outcome.phase,
        "message": outcome.message[:1024],
        "startedAt": second(request.started or now),
    }
    if outcome.phase in ENDED:
        status["finishedAt"] = second(now)
    return {
        "apiVersion": API_VERSION,
        "kind": ACTION_KIND,
        "metadata": {"name": outcome.name, "namespace": namespace, "uid": outcome.uid},
        "status": status,
    }


class FreezeRecord(msgspec.Struct, frozen=True):
    """A freeze, and whom it selects. What cannot be understood of it makes it hold more."""

    name: str
    namespaces: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    content: Freeze

    def selects(self, service: ServiceRecord) -> bool:
        here = not self.namespaces or service.namespace in self.namespaces
        return here and all(service.labels.get(key) == value for key, value in self.labels)


def decode_freeze(raw: bytes | msgspec.Raw) -> FreezeRecord:
    """Bytes of an ImmutableFreeze to its record."""
    body = msgspec.json.decode(raw)
    name = body["metadata"]["name"]
    try:
        spec = ImmutableFreezeSpec.model_validate(body.get("spec") or {})
    except ValueError:
        reason = "its spec cannot be read, so it holds for all; correct it or delete it"
        return FreezeRecord(name, (), (), Freeze(name, reason))
    windows = spec.windows or []
    problem = windows_problem(windows, "spec.windows")
    freeze = Freeze(
        name=name,
        reason=f"{spec.reason} ({problem}: it holds all the time)" if problem else spec.reason,
        begins=spec.from_.timestamp() if spec.from_ else None,
        ends=spec.until.timestamp() if spec.until else None,
        windows=() if problem else windows_of(windows),
        repairs=spec.freeze_repairs,
    )
    labels = tuple(sorted((spec.match_labels or {}).items()))
    return FreezeRecord(name, tuple(spec.namespaces or ()), labels, freeze)


class Freezes:
    """All freezes; ``changed`` tells that any did."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._by_name: dict[str, FreezeRecord] = {}

    def of(self, service: ServiceRecord) -> Iterator[Freeze]:
        """Those that select a service."""
        return (f.content for f in self._by_name.values() if f.selects(service))

    def replace(self, items: list[FreezeRecord], version: int) -> None:
        self._by_name = {item.name: item for item in items}
        self._changed()

    def upsert(self, item: FreezeRecord, version: int) -> None:
        self._by_name[item.name] = item
        self._changed()

    def remove(self, item: FreezeRecord, version: int) -> None:
        self._by_name.pop(item.name, None)
        self._changed()

    def advance(self, version: int) -> None:
        """Nothing waits for a version of these."""
