"""How a plan is carried out: in small portions, none unobserved, no answer guessed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from immutable_operator.domain.model import (
    Action,
    Because,
    Cause,
    Create,
    CreateRevision,
    DeleteRevision,
    Instance,
    Move,
    Phase,
    Quarantine,
    Reason,
    Retire,
    Revision,
    SetVerdict,
    Status,
    Verdict,
)
from immutable_operator.instances.driver import InstanceMove, Refused, Seen, Unknown
from immutable_operator.kube.errors import Unreachable
from immutable_operator.kube.lease import NotLeader
from immutable_operator.runtime.actuator import AT_ONCE, PLAN_SECONDS, Actuator
from immutable_operator.runtime.budgets import BudgetWriter
from immutable_operator.runtime.gateway import Gateway
from immutable_operator.runtime.memory import OwnerMemory
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.records import RecordMove, Records
from immutable_operator.runtime.routes import RouteWriter
from immutable_operator.wire.owner import OwnerRecord

EPOCH, TICK = 1_700_000_000.0, 50.0
QUOTA = Refused(Cause.QUOTA, "exceeded quota: q")
META = {"name": "web", "namespace": "shop", "uid": "s1", "resourceVersion": "5"}
SERVICE = OwnerRecord.of({"metadata": META, "spec": {}})
Said = Exception | None


def lost() -> Unknown:
    return Unknown(Unreachable(0, "Unreachable", "no answer in time"))


def birth(number: int, revision: str = "r1") -> Create:
    return Create(
        f"web-{number}", revision, number, 1, None, Because(Reason.CREATED, "it is wanted")
    )


def retirement(number: int) -> Retire:
    return Retire(f"web-{number}", f"u{number}", Because(Reason.SCALED, "it is not wanted"))


def quarantine(number: int) -> Quarantine:
    return Quarantine(f"web-{number}", f"u{number}", Because(Reason.TAINTED, "exec by jane"))


FORGET = DeleteRevision("web-im0a1b2c3d", "u-r1")


class Writes:
    """Writes that a test says the ends of: by name of their subject; all others go well."""

    def __init__(self) -> None:
        self.ends: dict[str, Exception] = {}
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.shown: set[str] = set()
        self.most = self._inside = 0
        self.alone: set[str] = set()
        self.ends_late = False

    async def write(self, subject: str) -> Seen:
        self.begun.append(subject)
        self._inside += 1
        self.most = max(self.most, self._inside)
        try:
            end = self.ends.get(subject)
            if end and not self.ends_late:
                raise end
            for _ in range(20):
                await asyncio.sleep(0)
            if end:
                raise end
            if self.begun[-1] == subject and self._inside == 1 and len(self.begun) == 1:
                self.alone.add(subject)
        finally:
            self._inside -= 1
            self.ended.append(subject)
        return self.shows(subject)

    def shows(self, subject: str) -> Seen:
        return lambda: subject in self.shown


class Driver:
    """A driver of instances that are nowhere."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    def observe(self, owner: OwnerRecord) -> tuple[Instance, ...]:
        return ()

    def gone(self, owner: OwnerRecord) -> Mapping[str, Instance]:
        return {}

    def resource(self, owner: OwnerRecord, move: Create | InstanceMove) -> str:
        return "instances"

    async def create(
        self, service: OwnerRecord, template: Mapping[str, Any], birth: Create
    ) -> Seen:
        return await self._writes.write(birth.name)

    async def write(self, owner: OwnerRecord, move: InstanceMove) -> Seen:
        assert isinstance(move, Retire | Quarantine)
        return await self._writes.write(move.name)

    def shows(self, owner: OwnerRecord, move: Create | InstanceMove) -> Seen:
        assert isinstance(move, Create | Retire | Quarantine)
        return self._writes.shows(move.name)


class Book(Records):
    """Records that are nowhere, either."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes

    async def template(self, service: OwnerRecord, revision: str) -> Mapping[str, Any]:
        return {}

    async def write(self, service: OwnerRecord, move: RecordMove) -> Seen:
        return await self._writes.write(_subject(move))

    def resource(self, move: RecordMove) -> str:
        return "records"

    def shows(self, service: OwnerRecord, move: RecordMove) -> Seen:
        return self._writes.shows(_subject(move))


def _subject(move: RecordMove) -> str:
    assert isinstance(move, CreateRevision | DeleteRevision | SetVerdict)
    if isinstance(move, CreateRevision):
        return move.id
    return move.name if isinstance(move, DeleteRevision) else move.revision.name


class Lists:
    """No list ever completes; which were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def mark(self, resource: str) -> Seen:
        return lambda: False

    def relist(self, resource: str) -> None:
        self.asked.append(resource)


def act(
    writes: Writes,
    actions: Sequence[Action],
    memory: OwnerMemory | None = None,
    holds: Callable[[], bool] = lambda: True,
    metrics: Metrics | None = None,
    tick: Callable[[], float] = lambda: TICK,
) -> OwnerMemory:
    async def run() -> OwnerMemory:
        there = OwnerMemory() if memory is None else memory
        actuator = Actuator(
            {"service": Driver(writes)},
            Book(writes),
            cast(BudgetWriter, None),
            cast(RouteWriter, None),
            cast(Gateway, None),
            metrics or Metrics(),
            lambda: EPOCH,
            tick,
            lambda service: holds(),
        )
        await actuator.act(SERVICE, actions, there)
        return there

    return asyncio.run(run())


def knowing(*revisions: str) -> OwnerMemory:
    memory = OwnerMemory()
    memory.accepted |= set(revisions)
    return memory


def test_first_birth_is_alone_and_the_next_are_sixteen_at_once() -> None:
    writes = Writes()
    memory = act(writes, [birth(n) for n in range(40)])
    assert writes.begun[:2] == ["web-0", "web-1"]
    assert writes.alone == {"web-0"}, "until the API server has taken one"
    assert (len(writes.ended), writes.most, memory.accepted) == (40, AT_ONCE, {"r1"})


def test_refused_births_of_one_revision_do_not_delay_another() -> None:
    writes = Writes()
    writes.ends["web-0"] = QUOTA
    memory = act(writes, [*(birth(n, "r1") for n in range(5)), *(birth(n, "r2") for n in (7, 8))])
    assert writes.begun == ["web-0", "web-7", "web-8"]
    assert memory.accepted == {"r2"}


def test_records_are_written_before_births_and_retirements() -> None:
    writes = Writes()
    act(writes, [retirement(1), birth(0), FORGET], knowing("r1"))
    assert writes.begun[0] == FORGET.name
    assert set(writes.begun[1:]) == {"web-0", "web-1"}
    assert writes.alone == {FORGET.name}


def test_births_and_retirements_alternate() -> None:
    writes = Writes()
    moves: list[Action] = [
        *(birth(n) for n in range(40)),
        *(retirement(n) for n in range(100, 140)),
    ]
    act(writes, moves, knowing("r1"))
    first = {int(name.removeprefix("web-")) >= 100 for name in writes.begun[:20]}
    assert first == {False, True}
    assert writes.most == AT_ONCE


def test_refused_birth_costs_one_request() -> None:
    writes = Writes()
    writes.ends["web-0"] = QUOTA
    memory = act(writes, [birth(n) for n in range(600)])
    assert writes.begun == ["web-0"]
    [refusal] = memory.refusals.all()
    assert (refusal.move, refusal.cause, refusal.revision) == (Move.CREATE, Cause.QUOTA, "r1")
    assert refusal.retry_at > EPOCH
    assert memory.accepted == set()
    assert memory.barrier.is_open(), "what is refused is not awaited"


def test_later_refusal_ends_the_births() -> None:
    writes = Writes()
    writes.ends["web-20"] = QUOTA
    act(writes, [birth(n) for n in range(600)])
    assert 21 <= len(writes.begun) < 21 + AT_ONCE


def test_refusal_stops_only_births_of_its_own_revision() -> None:
    writes = Writes()
    writes.ends["web-0"] = QUOTA
    memory = act(writes, [birth(0, "r1")], knowing("r1", "r2"))
    assert memory.accepted == {"r2"}


def test_accepted_birth_clears_only_the_refusal_of_its_own_revision() -> None:
    writes, memory = Writes(), OwnerMemory()
    writes.ends |= {"web-0": QUOTA, "web-1": QUOTA}
    act(writes, [birth(0, "r1")], memory)
    act(writes, [birth(1, "r2")], memory)
    assert {r.revision for r in memory.refusals.all()} == {"r1", "r2"}
    act(writes, [birth(2, "r1")], memory)
    assert {r.revision for r in memory.refusals.all()} == {"r2"}
    assert memory.accepted == {"r1"}


@pytest.mark.parametrize(
    ("move", "resource"),
    [
        (birth(0), "instances"),
        (retirement(0), "instances"),
        (quarantine(0), "instances"),
        (FORGET, "records"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_write_with_an_unknown_result_is_awaited_and_no_refusal(
    move: Create | Retire | Quarantine | DeleteRevision, resource: str
) -> None:
    """An eviction may be committed without an answer: it counts until the view shows its result."""
    writes, lists = Writes(), Lists()
    writes.ends[move.name] = lost()
    memory = act(writes, [move])
    assert memory.refusals.all() == ()
    assert (memory.accepted, memory.retired) == (set(), set())
    assert not memory.barrier.is_open()
    assert memory.barrier.ask(TICK + 2.0, lists) == 1
    assert lists.asked == [resource]
    writes.shown.add(move.name)
    assert memory.barrier.is_open()


def test_number_of_a_record_with_an_unknown_result_is_remembered() -> None:
    record = CreateRevision("0a1b2c3d", 4, "v3:" + "0" * 64, "TemplateChanged", "alice", ())
    writes = Writes()
    assert act(writes, [record]).sent_numbers == {}, "it is on record"
    writes.ends[record.id] = lost()
    assert act(writes, [record]).sent_numbers == {"0a1b2c3d": 4}


def test_birth_with_an_unknown_result_ends_the_births() -> None:
    writes = Writes()
    writes.ends["web-0"] = lost()
    act(writes, [birth(n) for n in range(600)])
    assert writes.begun == ["web-0"]
    writes = Writes()
    writes.ends["web-3"] = lost()
    memory = act(writes, [birth(n) for n in range(600)], knowing("r1"))
    assert 4 <= len(writes.begun) <= AT_ONCE
    assert memory.accepted == {"r1"}


@pytest.mark.parametrize("move", [birth(0), retirement(0), quarantine(0), FORGET])
def test_completed_write_is_awaited_until_the_view_shows_it(move: Action) -> None:
    writes = Writes()
    memory = act(writes, [move])
    [subject] = writes.ended
    assert not memory.barrier.is_open()
    assert memory.barrier.ask(TICK + 9.9, Lists()) == 0
    assert memory.barrier.ask(TICK + 10.0, Lists()) == 1
    writes.shown.add(subject)
    assert memory.barrier.is_open()


def stops_after(writes: Writes, most: int) -> Callable[[], bool]:
    return lambda: len(writes.ended) < most


def test_outdated_plan_creates_no_more_instances() -> None:
    """The service is suspended, changed or deleted after the first few of 601 births."""
    writes = Writes()
    memory = act(writes, [birth(n) for n in range(601)], knowing("r1"), stops_after(writes, 16))
    assert 16 <= len(writes.begun) < 16 + AT_ONCE
    assert memory.refusals.all() == ()
    writes = Writes()
    act(writes, [birth(n) for n in range(601)], None, stops_after(writes, 1))
    assert writes.begun == ["web-0"]


@pytest.mark.parametrize("kind", [retirement, quarantine])
def test_other_moves_are_sixteen_at_once_while_the_plan_is_valid(
    kind: Callable[[int], Action],
) -> None:
    writes = Writes()
    act(writes, [kind(n) for n in range(100)])
    assert (len(writes.ended), writes.most) == (100, AT_ONCE)
    writes = Writes()
    act(writes, [kind(n) for n in range(100)], None, stops_after(writes, 20))
    assert 20 <= len(writes.begun) < 20 + AT_ONCE


def test_refused_retirement_does_not_delay_others() -> None:
    writes = Writes()
    writes.ends["web-0"] = Refused(Cause.FORBIDDEN, "not allowed")
    memory = act(writes, [retirement(n) for n in range(20)])
    assert len(writes.begun) == 20
    assert memory.retired == {f"u{n}" for n in range(1, 20)}
    assert [r.subject for r in memory.refusals.all()] == ["web-0"]


def test_lost_lease_awaits_all_concurrent_writes() -> None:
    """No write continues unobserved: its answer says what changed in the cluster."""
    writes = Writes()
    writes.ends_late = True
    writes.ends["web-0"] = NotLeader("the lease was lost")
    with pytest.raises(NotLeader):
        act(writes, [*(retirement(n) for n in range(8)), *(birth(n) for n in range(20, 30))])
    assert set(writes.begun) == set(writes.ended)
    assert {f"web-{n}" for n in range(8)} <= set(writes.ended)
    memory = knowing("r1")
    with pytest.raises(NotLeader):
        act(writes, [birth(n) for n in range(16)], memory)
    assert writes.ended.count("web-15") == 1
    assert not memory.barrier.is_open(), "what the others did is known"


def test_lost_lease_ends_the_moves() -> None:
    writes = Writes()
    writes.ends["web-3"] = NotLeader("the lease was lost")
    with pytest.raises(NotLeader):
        act(writes, [birth(n) for n in range(100)], knowing("r1"))
    assert writes.begun == ["web-0", "web-1", "web-2", "web-3"]


def test_refused_deletion_of_a_record_waits_longer_each_time() -> None:
    writes, memory = Writes(), OwnerMemory()
    writes.ends[FORGET.name] = Refused(Cause.FORBIDDEN, "not allowed")
    pauses = []
    for attempt in (1, 2, 3):
        act(writes, [FORGET], memory)
        [refusal] = memory.refusals.all()
        assert (refusal.move, refusal.subject) == (Move.FORGET, FORGET.name)
        assert refusal.attempts == attempt
        pauses.append(refusal.retry_at - EPOCH)
    assert pauses == sorted(set(pauses))
    assert pauses[0] > 0
    writes.ends.clear()
    act(writes, [FORGET], memory)
    assert memory.refusals.all() == ()


def test_retry_after_of_the_api_server_is_respected() -> None:
    writes = Writes()
    writes.ends["web-0"] = Refused(Cause.API_SERVER, "busy", retry_after=42.0)
    [refusal] = act(writes, [retirement(0)]).refusals.all()
    assert refusal.retry_at == EPOCH + 42.0


def test_accepted_successors_are_counted_as_replacements_of_their_owner() -> None:
    metrics, writes = Metrics(), Writes()
    metrics.watch_owners(1, lambda: True, lambda: EPOCH)
    outdated = Because(Reason.OUTDATED, "another revision is wanted")
    successors = [replace(birth(n), replaces=f"old-{n}", because=outdated) for n in range(3)]
    writes.ends["web-2"] = QUOTA
    act(writes, [*successors, birth(7)], knowing("r1"), metrics=metrics)
    metrics.owners.observe(SERVICE, Status(), ())
    labels = {"kind": "ImmutableService", "namespace": "shop", "name": "web"}
    series = ("immutable_owner_replacements_total", labels | {"reason": "Outdated"})
    assert metrics.registry.get_sample_value(*series) == 2


def test_nothing_follows_a_write_with_an_unknown_outcome() -> None:
    writes = Writes()
    writes.ends[FORGET.name] = lost()
    memory = act(writes, [FORGET, retirement(1), birth(0)], knowing("r1"))
    assert writes.begun == [FORGET.name]
    assert not memory.barrier.is_open()


def test_plan_that_was_held_up_is_not_carried_on() -> None:
    """A retirement is right for the availability that the plan saw, not for that of now."""
    writes, now = Writes(), [TICK]

    def tick() -> float:
        now[0] += PLAN_SECONDS if FORGET.name in writes.ended else 0.0
        return now[0]

    act(writes, [FORGET, retirement(1)], knowing("r1"), tick=tick)
    assert writes.begun == [FORGET.name]


def test_what_becomes_of_a_revision_is_counted_once_it_is_on_record() -> None:
    before = Verdict(Phase.PROGRESSING, started=100.0)
    after = replace(before, phase=Phase.FAILED, failed=150.0, fallback="0a1b2c3d")
    revision = Revision("0a1b2c3e", 2, "v4:0", "web-im0a1b2c3e", "u-r2", verdict=before)
    refused, metrics, writes = Metrics(), Metrics(), Writes()
    act(writes, [SetVerdict(revision, after)], metrics=metrics)
    writes.ends[revision.name] = QUOTA
    act(writes, [SetVerdict(revision, after)], metrics=refused)
    assert _outcomes(metrics) == {"Failed": 1.0, "RolledBack": 1.0}
    assert _outcomes(refused) == {}


def _outcomes(metrics: Metrics) -> dict[str, float]:
    """How often each outcome was counted, all of a service that is Rolling."""
    samples = [s for metric in metrics.outcomes.collect() for s in metric.samples]
    counted = [s for s in samples if s.name.endswith("_total")]
    about = {(s.labels["kind"], s.labels["strategy"]) for s in counted}
    assert about <= {("ImmutableService", "Rolling")}
    return {s.labels["outcome"]: s.value for s in counted}
