"""Carries out the moves of one plan, and remembers for each what came of it.

Writes go out a few at a time, and between two chunks it is asked whether the plan still holds.
Births of a revision start slowly (1, 2, 4, …) until the API server has taken one, so that a
template or a quota that refuses them costs one request, not hundreds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from immutable_operator.domain.model import (
    Action,
    Create,
    CreateRevision,
    CreateSnapshot,
    DeleteRevision,
    Move,
    Quarantine,
    Retire,
    SetVerdict,
)
from immutable_operator.instances.driver import Driver, Refused, Seen, Unknown
from immutable_operator.runtime.gate import FairGate
from immutable_operator.runtime.memory import Memory
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.records import Records
from immutable_operator.wire.service import ServiceRecord

__all__ = ["Actuator"]

log = structlog.get_logger()
AT_ONCE = 16


class Actuator:
    """Writes for services. ``clock`` gives seconds since the epoch, ``tick`` monotonic seconds.

    ``holds`` tells of a service whether what was planned for it still holds: it is there, its spec
    is the same, and this process leads.
    """

    def __init__(
        self,
        driver: Driver,
        records: Records,
        metrics: Metrics,
        clock: Callable[[], float],
        tick: Callable[[], float],
        holds: Callable[[ServiceRecord], bool] = lambda service: True,
    ) -> None:
        self._driver = driver
        self._records = records
        self._metrics = metrics
        self._clock, self._tick = clock, tick
        self._holds = holds
        self._gate = FairGate(AT_ONCE)

    async def act(self, service: ServiceRecord, actions: Sequence[Action], memory: Memory) -> None:
        """Carry out a plan's actions; refusals and expectations end up in ``memory``."""
        creates = [a for a in actions if isinstance(a, Create)]
        others = [a for a in actions if not isinstance(a, Create)]
        await _all(self._births(service, creates, memory), self._others(service, others, memory))

    async def _others(
        self, service: ServiceRecord, actions: Sequence[Action], memory: Memory
    ) -> None:
        for start in range(0, len(actions), AT_ONCE):
            if start and not self._holds(service):
                return
            chunk = actions[start : start + AT_ONCE]
            await _all(*(self._one(service, action, memory) for action in chunk))

    async def _births(
        self, service: ServiceRecord, creates: Sequence[Create], memory: Memory
    ) -> None:
        start, size = 0, 1
        while start < len(creates):
            if start and not self._holds(service):
                return
            known = creates[start].revision in memory.accepted
            size = AT_ONCE if known else min(size, AT_ONCE)
            chunk = creates[start : start + size]
            done = await _all(*(self._one(service, create, memory) for create in chunk))
            if not all(done):
                return
            start, size = start + len(chunk), size * 2

    async def _one(self, service: ServiceRecord, action: Action, memory: Memory) -> bool:
        """One write; False if it was refused, or may have been."""
        move, subject, revision = _identify(action)
        resource, shows = self._shows(service, action)
        try:
            async with self._gate.turn(service.uid):
                seen = await self._write(service, action)
        except Unknown as error:
            memory.barrier.expect(resource, shows, self._tick(), unknown=True)
            self._metrics.unknown.labels(move).inc()
            log.warning(
                "no answer", **_about(service), move=move, subject=subject, error=str(error)
            )
            return False
        except Refused as error:
            refusal = memory.refusals.note(move, subject, revision, error, self._clock())
            memory.accepted.discard(revision or "")
            self._metrics.refusals.labels(move, refusal.cause).inc()
            log.warning(
                "refused",
                **_about(service),
                move=move,
                subject=subject,
                cause=refusal.cause,
                message=refusal.message,
                attempts=refusal.attempts,
            )
            return False
        self._done(service, action, memory)
        memory.barrier.expect(resource, seen, self._tick())
        return True

    def _done(self, service: ServiceRecord, action: Action, memory: Memory) -> None:
        move, subject, revision = _identify(action)
        memory.refusals.accepted(move, subject, revision)
        if isinstance(action, Create):
            memory.accepted.add(action.revision)
        if isinstance(action, Retire):
            memory.retired.add(action.uid)
        because = _because(action)
        self._metrics.actions.labels(type(action).__name__, because.partition(":")[0]).inc()
        log.info(move, **_about(service), subject=subject, because=because)

    async def _write(self, service: ServiceRecord, action: Action) -> Seen:
        match action:
            case Create():
                template = await self._records.template(service, action.revision)
                return await self._driver.create(service, template, action)
            case Retire():
                return await self._driver.retire(service, action)
            case Quarantine():
                return await self._driver.quarantine(service, action)
            case _:
                return await self._records.write(service, action)

    def _shows(self, service: ServiceRecord, action: Action) -> tuple[str, Seen]:
        """In which collection a write shows, and what tells that it does."""
        match action:
            case Create() | Retire() | Quarantine():
                return self._driver.resource, self._driver.shows(service, action)
            case _:
                return self._records.resource(action), self._records.shows(service, action)


async def _all(*writes: Awaitable[bool | None]) -> list[bool | None]:
    """Wait for all, also where one fails: none goes on unobserved. Then raise the first failure."""
    results = await asyncio.gather(*writes, return_exceptions=True)
    for result in _failures(results):
        raise result
    return [result for result in results if not isinstance(result, BaseException)]


def _failures(results: Iterable[object]) -> Iterable[BaseException]:
    return (result for result in results if isinstance(result, BaseException))


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
        case SetVerdict():
            return Move.VERDICT, action.revision.name, None
        case DeleteRevision():
            return Move.FORGET, action.name, None


def _because(action: Action) -> str:
    match action:
        case Create() | Retire() | Quarantine():
            return str(action.because)
        case CreateRevision():
            return action.reason
        case CreateSnapshot():
            return f"Pinned: copy of {action.pin.kind} {action.pin.name}"
        case SetVerdict():
            return f"Verdict: {action.verdict.phase}"
        case DeleteRevision():
            return "History: beyond the limit"
