"""Carries out the moves of one plan, and remembers the result of each.

A few writes run at a time, and before each one the actuator checks whether the plan is still valid:
a plan says what is right at the moment for which it was made, and becomes wrong with time.
The first birth of a revision is sent alone until the API server has accepted one, so that a
template or a quota that refuses them costs one request, not hundreds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from immutable_operator.domain.model import (
    Action,
    Admit,
    Create,
    CreateRevision,
    DeleteBudget,
    DeleteRoute,
    End,
    Evict,
    Mark,
    Probe,
    Protect,
    Quarantine,
    Retire,
    SetBudget,
    SetRoute,
    SetVerdict,
    SetWeights,
)
from immutable_operator.domain.outcomes import new_outcomes
from immutable_operator.instances.driver import Driver, InstanceMove, Refused, Seen, Unknown
from immutable_operator.runtime.budgets import BudgetWriter
from immutable_operator.runtime.gate import FairGate
from immutable_operator.runtime.gateway import Gateway
from immutable_operator.runtime.memory import OwnerMemory
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.move_names import because_of, identify
from immutable_operator.runtime.records import Records
from immutable_operator.runtime.routes import RouteWriter
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["Actuator"]

log = structlog.get_logger()
AT_ONCE = 16
# A request that gets no answer may hold up a plan for longer than instances need to change.
PLAN_SECONDS = 5.0

T = TypeVar("T")


@dataclass
class Course:
    """The plan for an owner on its way. ``until`` (monotonic seconds): it is too old afterwards.

    ``broken``: a write may have been done or not, so that what follows from it is not known.
    """

    owner: OwnerRecord
    memory: OwnerMemory
    until: float
    broken: bool = False


class Actuator:
    """Writes for owners. ``clock`` returns seconds since the epoch, ``tick`` monotonic seconds.

    ``drivers`` are by ``word`` of the owner's kind. ``holds`` returns whether the plan for an owner
    is still valid: the owner exists, its spec is unchanged, and this process leads. A plan is given
    up, too, after a write with an unknown outcome and when it is older than ``PLAN_SECONDS``.
    """

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        records: Records,
        budgets: BudgetWriter,
        routes: RouteWriter,
        gateway: Gateway,
        metrics: Metrics,
        clock: Callable[[], float],
        tick: Callable[[], float],
        holds: Callable[[OwnerRecord], bool] = lambda owner: True,
    ) -> None:
        self._drivers = drivers
        self._records = records
        self._metrics = metrics
        self._clock, self._tick = clock, tick
        self._budgets, self._routes, self._gateway = budgets, routes, gateway
        self._holds = holds
        self._gate = FairGate(AT_ONCE)

    async def act(self, owner: OwnerRecord, actions: Sequence[Action], memory: OwnerMemory) -> None:
        """Carry out a plan's actions; refusals and expectations are stored in ``memory``."""
        course = Course(owner, memory, self._tick() + PLAN_SECONDS)
        creates = [a for a in actions if isinstance(a, Create)]
        others = [a for a in actions if isinstance(a, InstanceMove)]
        records = [a for a in actions if not isinstance(a, Create | InstanceMove)]
        # Records are written before the moves that depend on them.
        await self._row(course, records)
        births = [
            self._births(course, [c for c in creates if c.revision == revision])
            for revision in dict.fromkeys(c.revision for c in creates)
        ]
        await _all(*births, self._row(course, others))

    async def _births(self, course: Course, creates: Sequence[Create]) -> None:
        """Create instances of one revision: the first alone, the others once it was accepted."""
        if creates and creates[0].revision not in course.memory.accepted:
            if not await self._row(course, creates[:1]):
                return
            creates = creates[1:]
        await self._row(course, creates, ends_when_refused=True)

    async def _row(
        self, course: Course, actions: Sequence[Action], *, ends_when_refused: bool = False
    ) -> bool:
        """Write each action as soon as the gate admits it; return whether all were done.

        Once the plan is no longer valid, the remaining actions are skipped; so are births after one
        that was refused. Births and other moves of a service take turns at the gate.
        """
        ended = False

        async def one(action: Action) -> bool:
            nonlocal ended
            async with self._gate.turn((course.owner.uid, isinstance(action, Create))):
                if ended or not self._is_valid(course):
                    return False
                try:
                    done = await self._one(course, action)
                except BaseException:
                    ended = True
                    raise
                ended = ended or (ends_when_refused and not done)
                return done

        return all(await _all(*(one(action) for action in actions)))

    def _is_valid(self, course: Course) -> bool:
        return not course.broken and self._tick() <= course.until and self._holds(course.owner)

    async def _one(self, course: Course, action: Action) -> bool:
        """Do one write; return False if it was refused, or may have been."""
        owner, memory = course.owner, course.memory
        move, subject, revision = identify(action)
        resource, shows = self._shows(owner, action)
        try:
            seen = await self._write(owner, action)
        except Unknown as error:
            course.broken = True
            if isinstance(action, CreateRevision):
                memory.sent_numbers[action.id] = action.number
            memory.barrier.expect(resource, shows, self._tick(), unknown=True)
            self._metrics.unknown.labels(owner.kind.name, move).inc()
            log.warning(
                "no response", **_about(owner), move=move, subject=subject, error=str(error)
            )
            return False
        except Refused as error:
            refusal = memory.refusals.note(move, subject, revision, error, self._clock())
            memory.accepted.discard(revision or "")
            self._metrics.refusals.labels(owner.kind.name, move, refusal.cause).inc()
            log.warning(
                "refused",
                **_about(owner),
                move=move,
                subject=subject,
                cause=refusal.cause,
                message=refusal.message,
                attempts=refusal.attempts,
            )
            return False
        self._done(owner, action, memory)
        memory.barrier.expect(resource, seen, self._tick())
        return True

    def _done(self, owner: OwnerRecord, action: Action, memory: OwnerMemory) -> None:
        move, subject, revision = identify(action)
        memory.refusals.accepted(move, subject, revision)
        if isinstance(action, Create):
            memory.accepted.add(action.revision)
        if isinstance(action, CreateRevision):
            memory.note_records(action.id)
        if isinstance(action, Retire):
            memory.retired.add(action.uid)
        if isinstance(action, SetVerdict):
            strategy = owner.spec.strategy
            for outcome in new_outcomes(action.revision.verdict, action.verdict):
                self._metrics.outcomes.labels(owner.kind.name, strategy, outcome).inc()
        reason, because = because_of(action)
        self._metrics.actions.labels(owner.kind.name, type(action).__name__, reason).inc()
        if isinstance(action, Create) and action.replaces:
            self._metrics.owners.count_replacement(owner.uid, reason)
        log.info(move, **_about(owner), subject=subject, because=because)

    def _driver(self, owner: OwnerRecord) -> Driver:
        return self._drivers[owner.kind.word]

    async def _write(self, owner: OwnerRecord, action: Action) -> Seen:
        match action:
            case Create():
                template = await self._records.template(owner, action.revision)
                return await self._driver(owner).create(owner, template, action)
            case Retire() | Quarantine() | Admit() | Mark() | Probe() | Evict() | End() | Protect():
                return await self._driver(owner).write(owner, action)
            case SetBudget() | DeleteBudget():
                return await self._budgets.write(owner, action)
            case SetRoute() | DeleteRoute():
                return await self._routes.write(owner, action)
            case SetWeights():
                return await self._gateway.write(owner, action)
            case _:
                return await self._records.write(owner, action)

    def _shows(self, owner: OwnerRecord, action: Action) -> tuple[str, Seen]:
        """Return the collection in which a write becomes visible, and a check whether it has."""
        match action:
            case (
                Create()
                | Retire()
                | Quarantine()
                | Admit()
                | Mark()
                | Probe()
                | Evict()
                | End()
                | Protect()
            ):
                driver = self._driver(owner)
                return driver.resource(owner, action), driver.shows(owner, action)
            case SetBudget() | DeleteBudget():
                return self._budgets.resource, self._budgets.shows(owner, action)
            case SetRoute() | DeleteRoute():
                return self._routes.resource, self._routes.shows(owner, action)
            case SetWeights():
                return self._gateway.resource, self._gateway.shows(owner, action)
            case _:
                return self._records.resource(action), self._records.shows(owner, action)


async def _all(*writes: Awaitable[T]) -> list[T]:
    """Wait for all writes, even if one fails, so that each is observed; raise the first failure."""
    results = await asyncio.gather(*writes, return_exceptions=True)
    for result in _failures(results):
        raise result
    return [result for result in results if not isinstance(result, BaseException)]


def _failures(results: Iterable[object]) -> Iterable[BaseException]:
    return (result for result in results if isinstance(result, BaseException))


def _about(owner: OwnerRecord) -> dict[str, str]:
    return {owner.kind.word: owner.name, "namespace": owner.namespace}
