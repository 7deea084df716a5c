"""The control loop: no plan on an old view, none after its time, and no service for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from kubernetes.aio.client import Configuration
from structlog.testing import capture_logs

from immutable_operator.domain.model import CONFIG_MAP, Guard, Outcome, Plan, Request, Status
from immutable_operator.instances.pods.driver import PodDriver
from immutable_operator.instances.pods.watched import Pods
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Conflict, Unreachable
from immutable_operator.kube.lease import NotLeader
from immutable_operator.kube.store import Children, Owners
from immutable_operator.registry.client import Registries
from immutable_operator.runtime.admissions import Admissions
from immutable_operator.runtime.contents import Contents
from immutable_operator.runtime.evidence import Witnesses
from immutable_operator.runtime.images import ImageProofs
from immutable_operator.runtime.loop import ControlLoop
from immutable_operator.runtime.memory import OwnerMemory
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.queue import KeyQueue
from immutable_operator.wire.action import ActionRecord
from immutable_operator.wire.config import Configs
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import RevisionRecord

START = 1_000.0


def service(uid: str, *, generation: int = 1, deleting: bool = True) -> OwnerRecord:
    """One that is being deleted: its plan does nothing, only which are planned matters."""
    meta = {"name": f"web-{uid}", "namespace": uid, "uid": uid, "resourceVersion": "5"}
    made = OwnerRecord.of({"metadata": meta | {"generation": generation}, "spec": {}})
    return replace(made, deleting=deleting)


class Bed:
    """A loop without a cluster; a plan is noted when it asks for the guard of the service."""

    def __init__(self, client: KubeClient) -> None:
        self.planned: list[str] = []
        self.ends: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.listed = 0
        self.now = START
        self.queue: KeyQueue[str] = KeyQueue(lambda: self.now, pace=0.0)
        self.services: Owners[OwnerRecord] = Owners(lambda uid: None)
        revisions: Children[RevisionRecord] = Children(lambda owner: None)
        pods = Pods(lambda owner: None, lambda record: None)
        configs = Configs(CONFIG_MAP, lambda kind, item, anew: None)
        self.metrics = metrics = Metrics()
        images = ImageProofs(Registries(frozenset()), lambda owner: None, metrics)
        admissions = Admissions(client, lambda owner: None)
        self.loop = ControlLoop(
            client,
            self.services,
            {"service": PodDriver(client, pods, client.clock.time)},
            revisions,
            {CONFIG_MAP: configs},
            Contents(client, configs, lambda uid: None),
            self.queue,
            metrics,
            lists=self,
            identity="me",
            witnesses=Witnesses({CONFIG_MAP: configs}, images, pods, admissions),
            guard=self._guard,
        )

    def _guard(self, owner: OwnerRecord) -> Guard | None:
        self.planned.append(owner.namespace)
        if end := self.ends.get(owner.namespace):
            raise end
        return None

    def mark(self, resource: str) -> Callable[[], bool]:
        listed = self.listed
        return lambda: self.listed > listed

    def relist(self, resource: str) -> None:
        self.asked.append(resource)

    def add(self, *uids: str) -> None:
        for uid in uids:
            self.services.upsert(service(uid))
            self.queue.add(uid)

    def expects(self, uid: str, seen: Callable[[], bool], since: float) -> None:
        """A write was made for this service."""
        memory = self.loop._memories.setdefault(uid, OwnerMemory())
        memory.barrier.expect("pods", seen, since)


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Bed], Awaitable[None]]], None]:
    """Runs a test with a loop, whose monotonic clock is the bed's."""

    def tell(told: Callable[[Bed], Awaitable[None]]) -> None:
        async def run() -> None:
            client = KubeClient(Configuration(host="http://127.0.0.1:1"))
            bed = Bed(client)
            monkeypatch.setattr("immutable_operator.runtime.loop.time.monotonic", lambda: bed.now)
            try:
                with capture_logs():  # tracebacks are drawn for people, slowly
                    await told(bed)
            finally:
                await client.close()

        asyncio.run(run())

    return tell


Story = Callable[[Callable[[Bed], Awaitable[None]]], None]


async def until(check: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if check():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not come to that")


def test_planning_waits_until_the_view_shows_the_writes(story: Story) -> None:
    async def told(bed: Bed) -> None:
        bed.services.upsert(service("a"))
        shown: list[bool] = []
        bed.expects("a", lambda: bool(shown), START)
        for pause in (0.0, 9.0, 1e6):
            bed.now = START + pause
            await bed.loop.step("a")
        assert bed.planned == []
        assert bed.asked == ["pods"]
        shown.append(True)
        await bed.loop.step("a")
        assert bed.planned == ["a"]

    story(told)


def test_list_started_after_the_write_permits_planning(story: Story) -> None:
    async def told(bed: Bed) -> None:
        bed.services.upsert(service("a"))
        bed.expects("a", lambda: False, START)
        bed.listed += 1
        bed.now += 10.0
        await bed.loop.step("a")
        assert (bed.planned, bed.asked) == ([], ["pods"])
        bed.listed += 1
        await bed.loop.step("a")
        assert bed.planned == ["a"]

    story(told)


def test_waiting_service_does_not_delay_others(story: Story) -> None:
    async def told(bed: Bed) -> None:
        bed.services.upsert(service("a"))
        bed.services.upsert(service("b"))
        bed.expects("a", lambda: False, START)
        await bed.loop.step("a")
        await bed.loop.step("b")
        assert bed.planned == ["b"]

    story(told)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(ValueError("odd"), id="a fault"),
        pytest.param(Unreachable(0, "Unreachable", "no answer"), id="the API server's"),
    ],
)
def test_failure_of_one_service_is_retried_with_back_off(story: Story, trouble: Exception) -> None:
    async def told(bed: Bed) -> None:
        bed.ends["sick"] = trouble
        running = asyncio.create_task(bed.loop.run())
        try:
            bed.add("sick", "well")
            await until(lambda: sorted(bed.planned) == ["sick", "well"])
            pauses = []
            for attempt in range(2, 9):
                before = bed.now
                while bed.planned.count("sick") < attempt:
                    bed.now += 0.5
                    bed.add("well")
                    await until(lambda: len(bed.queue) == 0)
                    assert not running.done()
                pauses.append(bed.now - before)
            assert pauses == sorted(pauses)
            assert pauses[0] >= 1.0
            assert pauses[-1] == 60.0
            assert bed.planned.count("well") > 100
        finally:
            running.cancel()
            await asyncio.wait([running])

    story(told)


def test_lost_lease_ends_the_loop(story: Story) -> None:
    async def told(bed: Bed) -> None:
        bed.ends["a"] = NotLeader("the lease was lost")
        bed.add("a", "b")
        with pytest.raises(BaseExceptionGroup) as caught:
            await bed.loop.run()
        assert caught.group_contains(NotLeader)

    story(told)


def test_plan_is_valid_while_its_service_exists_unchanged(story: Story) -> None:
    """A new image and ``suspend: true`` are a new generation."""

    async def told(bed: Bed) -> None:
        planned = service("a", deleting=False)
        bed.services.upsert(planned)
        assert bed.loop._holds(planned)
        bed.services.upsert(replace(planned, labels={"x": "y"}, version=6))
        assert bed.loop._holds(planned), "its labels are not its spec"
        bed.services.upsert(replace(planned, generation=2, version=7))
        assert not bed.loop._holds(planned)
        again = replace(planned, generation=2, version=7)
        assert bed.loop._holds(again)
        bed.services.upsert(replace(again, deleting=True, version=8))
        assert not bed.loop._holds(again)
        bed.services.remove("a")
        assert not bed.loop._holds(again)

    story(told)


def test_action_that_ended_since_the_plan_is_not_answered(story: Story) -> None:
    """Its end is on record, or it was deleted; no exception delays the service."""

    async def told(bed: Bed) -> None:
        again = Outcome("again", "u1", "Running", "1 of 2 instances were replaced")
        await bed.loop._answer(service("a"), Plan(outcomes=(again,)))

    story(told)


def test_action_that_was_written_since_is_answered_later(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be another one of the same name; the watch shows it, and it is judged anew."""
    tried = []

    async def apply(self: KubeClient, path: str, body: Any, **_: Any) -> bytes:
        tried.append(body["metadata"]["resourceVersion"])
        raise Conflict(409, "Conflict", "the object has been modified")

    async def told(bed: Bed) -> None:
        actions: Children[ActionRecord] = Children(lambda owner: None)
        owner = service("a")
        request = Request("again", "u1", START, "alice")
        actions.upsert(ActionRecord("u1", owner.key, request, "a", "7"), 8)
        monkeypatch.setattr(bed.loop, "_actions", actions)
        monkeypatch.setattr(KubeClient, "apply", apply)
        again = Outcome("again", "u1", "Running", "1 of 2 instances were replaced")
        await bed.loop._answer(owner, Plan(outcomes=(again,)))

    story(told)
    assert tried == ["7"]


def test_memory_of_a_deleted_service_is_dropped(story: Story) -> None:
    async def told(bed: Bed) -> None:
        bed.services.upsert(service("a"))
        await bed.loop.step("a")
        bed.expects("a", lambda: False, START)
        bed.services.remove("a")
        await bed.loop.step("a")
        assert bed.loop._memories == {}

    story(told)


def test_metrics_of_a_deleted_service_are_dropped(story: Story) -> None:
    async def told(bed: Bed) -> None:
        bed.metrics.watch_owners(10, lambda: True, lambda: START)
        for uid in ("a", "b"):
            bed.services.upsert(service(uid))
            bed.metrics.owners.observe(service(uid), Status(), ())
        bed.services.remove("a")
        for uid in ("a", "b"):
            await bed.loop.step(uid)
        [info] = [m for m in bed.metrics.owners.collect() if m.name == "immutable_owner_info"]
        assert [sample.labels["name"] for sample in info.samples] == ["web-b"]

    story(told)


def test_recovered_service_is_retried_soon_when_it_fails_again(story: Story) -> None:
    async def told(bed: Bed) -> None:
        bed.add("a")
        running = asyncio.create_task(bed.loop.run())
        try:
            await until(lambda: bed.planned == ["a"])
            for _ in range(3):
                bed.ends["a"] = ValueError("odd")
                bed.queue.add("a")
                await until(lambda: bed.loop._memories["a"].failures == 1)
                del bed.ends["a"]
                bed.queue.add("a")
                await until(lambda: bed.loop._memories["a"].failures == 0)
        finally:
            running.cancel()
            await asyncio.wait([running])

    story(told)


class Turns:
    """Turns that last until the test ends them."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.end = asyncio.Event()

    async def step(self, key: str) -> None:
        self.begun.append(key)
        await self.end.wait()


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    made = Turns()
    monkeypatch.setattr(ControlLoop, "step", lambda loop, key: made.step(key))
    return made


def test_resting_loop_begins_no_turn(story: Story, turns: Turns) -> None:
    async def told(bed: Bed) -> None:
        working = asyncio.create_task(bed.loop.run())
        bed.add("a")
        await until(lambda: turns.begun == ["a"])
        resting = asyncio.create_task(bed.loop.rest(60.0))
        await asyncio.sleep(0)
        bed.add("b")
        for _ in range(100):
            bed.now += 0.1
            await asyncio.sleep(0)
        assert turns.begun == ["a"]
        assert not resting.done(), "a turn is not complete"
        turns.end.set()
        bed.now += 0.1
        assert await resting
        assert turns.begun == ["a"]
        working.cancel()

    story(told)


def test_long_turn_is_not_waited_for(story: Story, turns: Turns) -> None:
    async def told(bed: Bed) -> None:
        working = asyncio.create_task(bed.loop.run())
        bed.add("a")
        await until(lambda: turns.begun == ["a"])
        assert not await bed.loop.rest(0.0)
        working.cancel()

    story(told)


def test_loop_rests_when_the_view_shows_its_writes(story: Story) -> None:
    async def told(bed: Bed) -> None:
        shown: list[bool] = []
        bed.expects("a", lambda: bool(shown), START)
        assert not await bed.loop.rest(0.0)
        shown.append(True)
        assert await bed.loop.rest(0.0)

    story(told)
