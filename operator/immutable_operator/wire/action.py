"""ImmutableActions on the wire."""

from __future__ import annotations

from typing import Any

import msgspec

from immutable_operator.api.names import (
    ACTION_KIND,
    ACTION_PLURAL,
    API_VERSION,
)
from immutable_operator.domain.model import Command, Outcome, Request
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.times import moment, second

__all__ = ["ACTIONS", "ENDED", "ActionRecord", "action_status", "decode_action"]

ACTIONS = ApiPath(f"apis/{API_VERSION}", ACTION_PLURAL)


ENDED = ("Succeeded", "Failed")


class _ActionSpec(msgspec.Struct, rename="camel", frozen=True):
    type: str = Command.REGENERATE
    service: str | None = None
    pool: str | None = None
    instance: str | None = None
    override_freeze: bool = False
    reason: str | None = None
    actor: str = "an unknown user"
    revision: str | None = None


class _ActionStatus(msgspec.Struct, rename="camel", frozen=True):
    phase: str = ""
    message: str = ""
    started_at: str | None = None
    asked_revision: str = ""


class _Action(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _ActionSpec = _ActionSpec()
    status: _ActionStatus = _ActionStatus()


class ActionRecord(msgspec.Struct, frozen=True):
    """An action: ``owner`` is the ``key`` of the owner that it concerns.

    ``version`` is its resource version, "" if it is not known.
    """

    uid: str
    owner: str
    content: Request
    namespace: str = ""
    version: str = ""

    @property
    def ended(self) -> bool:
        return self.content.phase in ENDED


def decode_action(raw: bytes | msgspec.Raw) -> ActionRecord:
    """Decode an ImmutableAction to its record."""
    body = msgspec.json.decode(raw, type=_Action)
    meta, spec, status = body.metadata, body.spec, body.status
    request = Request(
        name=meta.name,
        uid=meta.uid,
        created=moment(meta.creation_timestamp),
        actor=spec.actor,
        instance=spec.instance,
        # The API server refuses an override without a reason; so does the operator.
        override_freeze=spec.override_freeze and bool(spec.reason),
        phase=status.phase,
        message=status.message,
        started=moment(status.started_at) if status.started_at else None,
        command=Command(spec.type),
        revision=spec.revision or "",
        reason=spec.reason or "",
        asked=status.asked_revision,
    )
    word, name = ("service", spec.service or "") if spec.pool is None else ("pool", spec.pool)
    key = f"{word}/{meta.namespace}/{name}"
    return ActionRecord(meta.uid, key, request, meta.namespace, meta.resource_version)


def action_status(action: ActionRecord, outcome: Outcome, now: float) -> dict[str, Any]:
    """Return the body of a server-side apply of an action's status.

    With the version that was seen it is refused if the action was written since, or is another one
    of the same name: the API server does not compare the uid.
    """
    request = action.content
    metadata = {"name": outcome.name, "namespace": action.namespace, "uid": outcome.uid}
    if action.version:
        metadata["resourceVersion"] = action.version
    status: dict[str, Any] = {
        "phase": outcome.phase,
        "message": outcome.message[:1024],
        "startedAt": second(request.started or now),
    }
    if asked := request.asked or outcome.asked:
        status["askedRevision"] = asked
    if outcome.phase in ENDED:
        status["finishedAt"] = second(now)
    return {
        "apiVersion": API_VERSION,
        "kind": ACTION_KIND,
        "metadata": metadata,
        "status": status,
    }
