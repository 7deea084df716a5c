"""Writes of what a revision consists of: record, verdict, copies of its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from immutable_operator.api.names import FIELD_MANAGER, REVISION_PLURAL
from immutable_operator.domain.config.births import born_from
from immutable_operator.domain.config.hashing import template_of
from immutable_operator.domain.config.references import with_snapshots
from immutable_operator.domain.model import (
    Cause,
    CreateRevision,
    CreateSnapshot,
    DeleteRevision,
    Move,
    SetVerdict,
)
from immutable_operator.instances.driver import Refused, Seen, outcome_of
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.kube.reading import READ_ERRORS, written_version
from immutable_operator.kube.store import Children
from immutable_operator.runtime.copies import CopyWriter
from immutable_operator.wire.config import CONFIG_PATHS
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import (
    REVISIONS,
    RevisionRecord,
    decode_revision,
    revision_body,
    verdict_body,
)

__all__ = ["Records"]

RecordMove = CreateRevision | CreateSnapshot | DeleteRevision | SetVerdict


class Records:
    """Writes and reads the objects of revisions; each write returns a check for its result."""

    def __init__(
        self,
        client: KubeClient,
        revisions: Children[RevisionRecord],
        copies: CopyWriter,
    ) -> None:
        self._client = client
        self._revisions = revisions
        self._copies = copies

    async def write(self, owner: OwnerRecord, move: RecordMove) -> Seen:
        """Carry out one move. Raises `Refused` or `Unknown`."""
        match move:
            case CreateRevision():
                return await self._record(owner, move)
            case CreateSnapshot():
                return await self._copies.make(owner, move)
            case SetVerdict():
                return await self._mark(owner, move)
            case DeleteRevision():
                return await self._forget(owner, move)

    def resource(self, move: RecordMove) -> str:
        """Return the collection in which a move becomes visible."""
        if isinstance(move, CreateSnapshot):
            return CONFIG_PATHS[move.pin.kind].resource
        return REVISION_PLURAL

    def shows(self, owner: OwnerRecord, move: RecordMove) -> Seen:
        """Return a check whether a move without a response was carried out after all."""
        match move:
            case CreateRevision():
                return lambda: any(r.content.id == move.id for r in self._revisions.of(owner.uid))
            case CreateSnapshot():
                return lambda: self._copies.exists(owner.namespace, move.pin)
            case SetVerdict():
                return lambda: self._has(move)
            case DeleteRevision():
                return lambda: self._revisions.get(move.uid) is None

    def _has(self, move: SetVerdict) -> bool:
        record = self._revisions.get(move.revision.uid)
        return record is None or record.content.verdict.phase is move.verdict.phase

    async def template(self, owner: OwnerRecord, revision: str) -> Mapping[str, Any]:
        """Return a revision's template: that of the spec, or of the record if they differ.

        Configuration that is part of the revision is read from its copies.
        """
        known = [r.content for r in self._revisions.of(owner.uid) if r.content.id == revision]
        if not known:
            raise Refused(Cause.API_SERVER, f"the record of revision {revision} no longer exists")
        [record] = known
        asked = owner.spec.template
        wanted = None if asked is None else template_of(record, asked)
        if wanted is None:
            path = REVISIONS.item(owner.namespace, record.name)
            try:
                answer = await self._client.get(path, resource=REVISION_PLURAL)
            except ApiError as error:
                raise Refused(Cause.API_SERVER, error.message, error.retry_after) from error
            wanted = msgspec.json.decode(answer)["spec"][owner.kind.recorded]
        return with_snapshots(wanted or {}, record.config)

    async def _record(self, owner: OwnerRecord, move: CreateRevision) -> Seen:
        body = revision_body(owner, born_from(owner.spec.template or {}), move)
        path = REVISIONS.collection(owner.namespace)
        try:
            answer = await self._client.create(path, body, resource=REVISION_PLURAL)
        except Conflict as error:
            answer = await self._own(owner, move, body["metadata"]["name"], error)
        except ApiError as error:
            raise outcome_of(Move.RECORD, error) from error
        return _until(self._revisions, answer, self.shows(owner, move))

    async def _own(
        self, owner: OwnerRecord, move: CreateRevision, name: str, error: Conflict
    ) -> bytes:
        """Return the record that has the name already, if it is the one that was to be written."""
        path = REVISIONS.item(owner.namespace, name)
        try:
            answer = await self._client.get(path, resource=REVISION_PLURAL)
        except ApiError as other:
            raise outcome_of(Move.RECORD, other) from other
        if not _is_recorded(answer, owner, move):
            # It belongs to a deleted service of that name, until it is garbage-collected.
            text = (
                f"revision {name} exists but belongs to another owner; the operator waits until the"
                " garbage collector has removed it"
            )
            raise Refused(Cause.API_SERVER, text) from error
        return answer

    async def _mark(self, owner: OwnerRecord, move: SetVerdict) -> Seen:
        path = REVISIONS.item(owner.namespace, move.revision.name, "status")
        known = self._revisions.get(move.revision.uid)
        version = known.version if known else 0
        body = verdict_body(owner.namespace, move.revision, move.verdict, version)
        resource = f"{REVISION_PLURAL}/status"
        try:
            answer = await self._client.apply(path, body, resource=resource, manager=FIELD_MANAGER)
        except NotFound:
            return lambda: self._revisions.get(move.revision.uid) is None
        except ApiError as error:
            raise outcome_of(Move.VERDICT, error) from error
        return _until(self._revisions, answer, lambda: False)

    async def _forget(self, owner: OwnerRecord, move: DeleteRevision) -> Seen:
        path = REVISIONS.item(owner.namespace, move.name)
        body = {"preconditions": {"uid": move.uid}}
        try:
            await self._client.delete(path, body, resource=REVISION_PLURAL)
        except NotFound:
            pass  # gone already; the view will show it
        except ApiError as error:
            raise outcome_of(Move.FORGET, error) from error
        return self.shows(owner, move)


def _is_recorded(answer: bytes, owner: OwnerRecord, move: CreateRevision) -> bool:
    """Return whether this is the record that was to be written; False if it cannot be read."""
    try:
        found = decode_revision(answer)
    except READ_ERRORS:
        return False
    return found.owner == owner.uid and found.content.hash == move.hash


def _until(view: Children[RevisionRecord], answer: bytes, shows: Seen) -> Seen:
    version = written_version(answer)
    return lambda: view.version >= version or shows()
