"""Carries out the moves of one plan, and says for each what came of it.

Writes go out a few at a time. Births start slowly (1, 2, 4, …), so that a template or a
quota that refuses them costs one request, not hundreds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.domain.config.hashing import is_made_of
from immutable_operator.domain.config.references import with_snapshots
from immutable_operator.domain.model import (
    Action,
    Cause,
    Create,
    CreateRevision,
    CreateSnapshot,
    DeleteRevision,
    Move,
    Quarantine,
    Retire,
)
from immutable_operator.instances.pods.codec import (
    PODS,
    PodRecord,
    decode_pod,
    eviction_body,
    pod_body,
    quarantine_body,
)
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.kube.store import Children
from immutable_operator.runtime.barrier import Barrier
from immutable_operator.runtime.contents import make_snapshot
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.refusals import Refusals
from immutable_operator.wire.config import Configs
from immutable_operator.wire.revision import (
    REVISIONS,
    RevisionRecord,
    decode_revision,
    revision_body,
)
from immutable_operator.wire.service import ServiceRecord

__all__ = ["Actuator", "Memory"]

log = structlog.get_logger()
AT_ONCE = 16


class Memory:
    """What is remembered of one owner between its plans, in memory only."""

    def __init__(self) -> None:
        self.refusals = Refusals()
        self.barrier = Barrier()
        self.retired: set[str] = set()


class _Meta(msgspec.Struct):
    metadata: dict[str, Any]


class Actuator:
    """Writes for one service at a time.

    ``clock`` gives seconds since the epoch, ``tick`` monotonic seconds.
    """

    def __init__(
        self,
        client: KubeClient,
        pods: Children[PodRecord],
        revisions: Children[RevisionRecord],
        configs: Configs,
        metrics: Metrics,
        clock: Callable[[], float],
        tick: Callable[[], float],
    ) -> None:
        self._client = client
        self._pods = pods
        self._revisions = revisions
        self._configs = configs
        self._metrics = metrics
        self._clock = clock
        self._tick = tick
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def act(self, service: ServiceRecord, actions: Sequence[Action], memory: Memory) -> None:
        """Carry out a plan's actions; refusals and expectations end up in ``memory``."""
        creates = [a for a in actions if isinstance(a, Create)]
        others = [a for a in actions if not isinstance(a, Create)]
        await asyncio.gather(
            self._births(service, creates, memory),
            *(self._one(service, action, memory) for action in others),
        )

    async def _births(
        self, service: ServiceRecord, creates: Sequence[Create], memory: Memory
    ) -> None:
        start, size = 0, 1
        while start < len(creates):
            batch = creates[start : start + size]
            done = await asyncio.gather(*(self._one(service, c, memory) for c in batch))
            if not all(done):
                return
            start, size = start + size, size * 2

    async def _one(self, service: ServiceRecord, action: Action, memory: Memory) -> bool:
        """One write; False if it was refused."""
        move, subject, revision = _identify(action)
        try:
            async with self._gate:
                await self._write(service, action, memory)
        except ApiError as error:
            if isinstance(action, DeleteRevision):
                log.info("old revision not deleted", revision=subject, error=str(error))
                return True
            refusal = (
                memory.refusals.note(
                    move, subject, revision, Cause.NAME_TAKEN, error, self._clock()
                )
                if isinstance(error, _NameTaken)
                else memory.refusals.refused(move, subject, revision, error, self._clock())
            )
            self._metrics.refusals.labels(move, refusal.cause).inc()
            log.warning(
                "refused",
                **_about(service),
                move=move,
                subject=subject,
                cause=refusal.cause,
                message=error.message,
                attempts=refusal.attempts,
            )
            return False
        memory.refusals.accepted(move, subject)
        because = _because(action)
        self._metrics.actions.labels(type(action).__name__, because.partition(":")[0]).inc()
        log.info(move, **_about(service), subject=subject, because=because)
        return True

    async def _write(self, service: ServiceRecord, action: Action, memory: Memory) -> None:
        match action:
            case Create():
                await self._create(service, action, memory)
            case Retire():
                await self._retire(service, action, memory)
            case Quarantine():
                await self._quarantine(service, action, memory)
            case CreateRevision():
                await self._record(service, action, memory)
            case CreateSnapshot():
                answer = await make_snapshot(self._client, service, action)
                self._expect_version(self._configs, answer, memory)
            case DeleteRevision():
                path = REVISIONS.item(service.namespace, action.name)
                body = {"preconditions": {"uid": action.uid}}
                await self._client.delete(path, body, resource="immutablerevisions")

    async def _create(self, service: ServiceRecord, create: Create, memory: Memory) -> None:
        body = pod_body(service, await self._template(service, create.revision), create)
        try:
            answer = await self._client.create(
                PODS.collection(service.namespace), body, resource="pods"
            )
        except Conflict:
            answer = await self._client.get(
                PODS.item(service.namespace, create.name), resource="pods"
            )
            found = decode_pod(answer)
            if found.owner != service.uid or found.content.revision != create.revision:
                raise _NameTaken(
                    f"pod {create.name} exists and is not of this service; it is left alone and"
                    " another name is used: delete or rename it to have this warning end"
                ) from None
        self._expect_version(self._pods, answer, memory)

    async def _template(self, service: ServiceRecord, revision: str) -> Mapping[str, Any]:
        """What is born from a revision: the spec's template, or the record's where it is another.

        During a freeze the spec may ask for something else than what runs. ConfigMaps that are
        part of the revision are read from its copies.
        """
        wanted: Mapping[str, Any] = (service.spec and service.spec.template) or {}
        known = [r.content for r in self._revisions.of(service.uid) if r.content.id == revision]
        if not known:
            raise Conflict(409, "Conflict", f"revision {revision} is no longer on record")
        [record] = known
        if not is_made_of(record, wanted):
            path = REVISIONS.item(service.namespace, record.name)
            answer = await self._client.get(path, resource="immutablerevisions")
            wanted = msgspec.json.decode(answer)["spec"]["template"]
        return with_snapshots(wanted, record.config)

    async def _retire(self, service: ServiceRecord, retire: Retire, memory: Memory) -> None:
        path = PODS.item(service.namespace, retire.name, "eviction")
        try:
            body = eviction_body(service, retire)
            await self._client.create(path, body, resource="pods/eviction")
            memory.retired.add(retire.uid)
        except NotFound:
            pass  # gone already; the view will show it
        except Conflict:
            # Another pod has the name by now, or this one changed under the eviction.
            log.info("eviction precondition failed", **_about(service), subject=retire.name)
            return

        def leaving() -> bool:
            pod = self._pods.get(retire.uid)
            return pod is None or pod.content.terminating

        memory.barrier.expect(leaving, self._tick())

    async def _quarantine(self, service: ServiceRecord, order: Quarantine, memory: Memory) -> None:
        path = PODS.item(service.namespace, order.name)
        try:
            found = await self._client.get(path, resource="pods")
            labels = msgspec.json.decode(found, type=_Meta).metadata.get("labels") or {}
            body = quarantine_body(service, labels, order, self._clock())
            answer = await self._client.patch(path, body, resource="pods", manager=FIELD_MANAGER)
        except NotFound:
            return  # gone already; the view will show it
        self._expect_version(self._pods, answer, memory)

    async def _record(self, service: ServiceRecord, record: CreateRevision, memory: Memory) -> None:
        template: Mapping[str, Any] = (service.spec and service.spec.template) or {}
        body = revision_body(service, template, record)
        try:
            answer = await self._client.create(
                REVISIONS.collection(service.namespace), body, resource="immutablerevisions"
            )
        except Conflict as error:
            path = REVISIONS.item(service.namespace, body["metadata"]["name"])
            answer = await self._client.get(path, resource="immutablerevisions")
            found = decode_revision(answer)
            if found.owner != service.uid or found.content.hash != record.hash:
                # A namesake of a deleted service, until the garbage collector took it.
                error.message = (
                    f"revision {body['metadata']['name']} exists and belongs to another"
                    " owner; waiting for it to be gone"
                )
                raise
        self._expect_version(self._revisions, answer, memory)

    def _expect_version(self, view: Children[Any] | Configs, answer: bytes, memory: Memory) -> None:
        version = int(msgspec.json.decode(answer, type=_Meta).metadata.get("resourceVersion") or 0)
        memory.barrier.expect(lambda: view.version >= version, self._tick())


class _NameTaken(ApiError):
    """A stranger has the name that a birth would get."""

    def __init__(self, message: str) -> None:
        super().__init__(409, "AlreadyExists", message)


def _about(service: ServiceRecord) -> dict[str, str]:
    return {"service": service.name, "namespace": service.namespace}


def _identify(action: Action) -> tuple[Move, str, str | None]:
    match action:
        case Create():
            return Move.CREATE, action.name, action.revision
        case Retire():
            return Move.RETIRE, action.name, None
        case Quarantine():
            return Move.QUARANTINE, action.name, None
        case CreateRevision():
            return Move.RECORD, action.id, None
        case CreateSnapshot():
            return Move.SNAPSHOT, action.pin.snapshot, None
        case DeleteRevision():
            return Move.RECORD, action.name, None


def _because(action: Action) -> str:
    match action:
        case Create() | Retire() | Quarantine():
            return action.because
        case CreateRevision():
            return action.reason
        case CreateSnapshot():
            return f"Pinned: copy of ConfigMap {action.pin.name}"
        case DeleteRevision():
            return "History: beyond the limit"
