"""Carries out the moves of one plan, and remembers the result of each.

A few writes run at a time, and before each one the actuator checks whether the plan is still valid.
The first birth of a revision is sent alone until the API server has accepted one, so that a
template or a quota that refuses them costs one request, not hundreds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import structlog

from immutable_operator.domain.model import (
    Action,
    Create,
    CreateRevision,
    CreateSnapshot,
    DeleteBudget,
    DeleteRevision,
    Move,
    Quarantine,
    Retire,
    SetBudget,
    SetVerdict,
)
from immutable_operator.instances.driver import Driver, Refused, Seen, Unknown
from immutable_operator.runtime.budgets import BudgetWriter
from immutable_operator.runtime.gate import FairGate
from immutable_operator.runtime.memory import ServiceMemory
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.records import Records
from immutable_operator.wire.service import ServiceRecord

__all__ = ["Actuator"]

log = structlog.get_logger()
AT_ONCE = 16

T = TypeVar("T")


class Actuator:
    """Writes for services. ``clock`` returns seconds since the epoch, ``tick`` monotonic seconds.

    ``holds`` returns whether the plan for a service is still valid: the service exists, its spec is
    unchanged, and this process leads.
    """

    def __init__(
        self,
        driver: Driver,
        records: Records,
        budgets: BudgetWriter,
        metrics: Metrics,
        clock: Callable[[], float],
        tick: Callable[[], float],
        holds: Callable[[ServiceRecord], bool] = lambda service: True,
    ) -> None:
        self._driver = driver
        self._records = records
        self._metrics = metrics
        self._clock, self._tick = clock, tick
        self._holds, self._budgets = holds, budgets
        self._gate = FairGate(AT_ONCE)

    async def act(
        self, service: ServiceRecord, actions: Sequence[Action], memory: ServiceMemory
    ) -> None:
        """Carry out a plan's actions; refusals and expectations are stored in ``memory``."""
        creates = [a for a in actions if isinstance(a, Create)]
        others = [a for a in actions if isinstance(a, Retire | Quarantine)]
        records = [a for a in actions if not isinstance(a, Create | Retire | Quarantine)]
        # Records are written before the moves that depend on them.
        await self._row(service, records, memory)
        births = [
            self._births(service, [c for c in creates if c.revision == revision], memory)
            for revision in dict.fromkeys(c.revision for c in creates)
        ]
        await _all(*births, self._row(service, others, memory))

    async def _births(
        self, service: ServiceRecord, creates: Sequence[Create], memory: ServiceMemory
    ) -> None:
        """Create instances of one revision: the first alone, the others once it was accepted."""
        if creates and creates[0].revision not in memory.accepted:
            if not await self._row(service, creates[:1], memory):
                return
            creates = creates[1:]
        await self._row(service, creates, memory, ends_when_refused=True)

    async def _row(
        self,
        service: ServiceRecord,
        actions: Sequence[Action],
        memory: ServiceMemory,
        *,
        ends_when_refused: bool = False,
    ) -> bool:
        """Write each action as soon as the gate admits it; return whether all were done.

        Once the plan is no longer valid, the remaining actions are skipped; so are births after one
        that was refused, or may have been. Births and other moves of a service take turns at the
        gate.
        """
        ended = False

        async def one(action: Action) -> bool:
            nonlocal ended
            async with self._gate.turn((service.uid, isinstance(action, Create))):
                if ended or not self._holds(service):
                    return False
                try:
                    done = await self._one(service, action, memory)
                except BaseException:
                    ended = True
                    raise
                ended = ended or (ends_when_refused and not done)
                return done

        return all(await _all(*(one(action) for action in actions)))

    async def _one(self, service: ServiceRecord, action: Action, memory: ServiceMemory) -> bool:
        """Do one write; return False if it was refused, or may have been."""
        move, subject, revision = _identify(action)
        resource, shows = self._shows(service, action)
        try:
            seen = await self._write(service, action)
        except Unknown as error:
            memory.barrier.expect(resource, shows, self._tick(), unknown=True)
            self._metrics.unknown.labels(move).inc()
            log.warning(
                "no response", **_about(service), move=move, subject=subject, error=str(error)
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

    def _done(self, service: ServiceRecord, action: Action, memory: ServiceMemory) -> None:
        move, subject, revision = _identify(action)
        memory.refusals.accepted(move, subject, revision)
        if isinstance(action, Create):
            memory.accepted.add(action.revision)
        if isinstance(action, Retire):
            memory.retired.add(action.uid)
        reason, because = _because(action)
        self._metrics.actions.labels(type(action).__name__, reason).inc()
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
            case SetBudget() | DeleteBudget():
                return await self._budgets.write(service, action)
            case _:
                return await self._records.write(service, action)

    def _shows(self, service: ServiceRecord, action: Action) -> tuple[str, Seen]:
        """Return the collection in which a write becomes visible, and a check whether it has."""
        match action:
            case Create() | Retire() | Quarantine():
                return self._driver.resource, self._driver.shows(service, action)
            case SetBudget() | DeleteBudget():
                return self._budgets.resource, self._budgets.shows(service, action)
            case _:
                return self._records.resource(action), self._records.shows(service, action)


async def _all(*writes: Awaitable[T]) -> list[T]:
    """Wait for all writes, even if one fails, so that each is observed; raise the first failure."""
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
        case SetBudget():
            return Move.BUDGET, "", None
        case DeleteBudget():
            return Move.BUDGET, action.name, None


def _because(action: Action) -> tuple[str, str]:
    """Return the reason in a word, and the reason with its cause."""
    match action:
        case Create() | Retire() | Quarantine():
            return action.because.reason, str(action.because)
        case CreateRevision():
            return action.reason, action.reason
        case CreateSnapshot():
            return "Pinned", f"Pinned: copy of {action.pin.kind} {action.pin.name}"
        case SetVerdict():
            return "Verdict", f"Verdict: {action.verdict.phase}"
        case SetBudget():
            return "Protected", f"Protected: {action.min_available} are to stay available"
        case DeleteBudget():
            return "Protected", "Protected: by no budget of the operator"
        case DeleteRevision():
            return "History", "History: beyond historyLimit"
