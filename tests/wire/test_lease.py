"""The election by a clock that the test moves: which replica may write, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from immutable_operator.api.names import ANNOTATION_SEEN
from immutable_operator.kube import handover as handover_module
from immutable_operator.kube import lease as lease_module
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.handover import handover
from immutable_operator.kube.lease import NOTICE_SECONDS, Lease, LeaseTimes, NotLeader
from tests.wire.api import PATH, Api, page, serving

TIMES = LeaseTimes(duration=15.0, renew=10.0, retry=2.0)


class Clock:
    """This process's monotonic clock; it goes on only when told to, or asleep."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.at_sleep: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.at_sleep()
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(lease_module, "time", made)
    own = SimpleNamespace(sleep=made.sleep, Event=asyncio.Event)
    monkeypatch.setattr(lease_module, "asyncio", own)
    return made


class Leases:
    """One lease, with optimistic locking as the API server does it, and writes of other things."""

    def __init__(self, clock: Clock, holder: str | None = None, **spec: Any) -> None:
        self.api = Api()
        self.api.pages.append(self._get)
        self.api.writes = self._write
        self.stored: dict[str, Any] | None = None
        self.takes = 0.0  # seconds that a write takes
        self.busy = 0.0  # seconds by which a write is answered late, by the real clock
        self.down = False
        self.things = 0
        self._clock = clock
        self.version = 100
        if holder is not None:
            self.renew(holder, **spec)

    def renew(self, holder: str, **spec: Any) -> None:
        """Another replica writes the lease."""
        self.version += 1
        meta = {"name": "lease", "namespace": "ns", "resourceVersion": str(self.version)}
        stated = {"holderIdentity": holder, "leaseDurationSeconds": 15, **spec}
        self.stored = {"metadata": meta, "spec": stated}

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if self.stored is None:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response(self.stored)

    async def _write(self, request: web.Request) -> web.StreamResponse:
        if not request.path.endswith(("/leases", "/leases/lease")):
            self.things += 1
            return web.json_response({})
        self._clock.now += self.takes
        await asyncio.sleep(self.busy)
        if self.down:
            return web.json_response({"message": "etcdserver: no leader"}, status=503)
        body = await request.json()
        if request.method == "PUT" and self.stored is None:
            return web.json_response({"message": "not found"}, status=404)
        now = self.stored["metadata"]["resourceVersion"] if self.stored else None
        if body["metadata"].get("resourceVersion") != now:
            return web.json_response({"reason": "Conflict"}, status=409)
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.stored = body
        return web.json_response(body)

    @property
    def holder(self) -> str:
        assert self.stored is not None
        return str(self.stored["spec"]["holderIdentity"])


def story(leases: Leases, told: Callable[[Lease, KubeClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with serving(leases.api) as client:
            lease = Lease(client, "ns", "lease", "me", TIMES)
            client.fence = lease.fence
            await told(lease, client)

    asyncio.run(run())


async def write(client: KubeClient) -> None:
    await client.create(PATH, {}, resource="things")


def test_lease_validity_counts_from_before_the_request(clock: Clock) -> None:
    """The API server may store the lease as soon as it is sent; others count from there."""
    leases = Leases(clock)

    async def told(lease: Lease, client: KubeClient) -> None:
        leases.takes = 4.0
        assert await lease.try_acquire()
        assert lease.fence() == 11.0
        clock.now += 5.0
        assert lease.fence() == 6.0
        leases.takes = 3.0
        assert await lease.try_renew()
        assert lease.fence() == 12.0

    story(leases, told)


def test_write_is_sent_only_while_the_lease_is_valid(clock: Clock) -> None:
    leases = Leases(clock)

    async def told(lease: Lease, client: KubeClient) -> None:
        with pytest.raises(NotLeader):
            await write(client)
        assert await lease.try_acquire()
        await write(client)
        clock.now += 12.75
        await write(client)
        clock.now += 0.5
        with pytest.raises(NotLeader):
            await write(client)
        assert leases.things == 2

    story(leases, told)


def test_delayed_write_is_fenced_after_its_wait(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = Leases(clock)

    async def long_turn() -> None:
        clock.now += 14.0

    async def told(lease: Lease, client: KubeClient) -> None:
        assert await lease.try_acquire()
        monkeypatch.setattr(client, "_limit", SimpleNamespace(acquire=long_turn))
        with pytest.raises(NotLeader):
            await write(client)
        assert leases.things == 0

    story(leases, told)


def test_write_timeout_is_at_most_the_remaining_lease_time(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases, given = Leases(clock), list[float | None]()

    async def told(lease: Lease, client: KubeClient) -> None:
        request = client._request

        async def noted(*args: Any, **options: Any) -> bytes:
            given.append(options["timeout"])
            return await request(*args, **options)

        assert await lease.try_acquire()
        monkeypatch.setattr(client, "_request", noted)
        clock.now += 9.0
        await write(client)
        clock.now += 3.5
        await write(client)
        assert given == [6.0, 2.5]

    story(leases, told)


def test_expired_lease_is_acquired_by_the_local_clock(clock: Clock) -> None:
    """The times in the lease are ignored: they are of another machine's clock."""
    leases = Leases(clock, "other", renewTime="2001-01-01T00:00:00.000000Z")

    async def told(lease: Lease, client: KubeClient) -> None:
        assert not await lease.try_acquire()
        clock.now += 14.75
        assert not await lease.try_acquire()
        leases.renew("other")
        clock.now += 1.0
        assert not await lease.try_acquire(), "it was renewed"
        clock.now += 14.75
        assert not await lease.try_acquire()
        assert leases.holder == "other"
        clock.now += 0.25
        assert await lease.try_acquire()
        assert leases.holder == "me"

    story(leases, told)


def test_duration_stated_by_another_holder_is_respected(clock: Clock) -> None:
    leases = Leases(clock, "other", leaseDurationSeconds=40)

    async def told(lease: Lease, client: KubeClient) -> None:
        assert not await lease.try_acquire()
        clock.now += 39.75
        assert not await lease.try_acquire()
        clock.now += 0.25
        assert await lease.try_acquire()

    story(leases, told)


def test_one_of_two_concurrent_candidates_acquires_the_lease(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = Leases(clock, "")

    async def told(lease: Lease, client: KubeClient) -> None:
        hold = client.hold

        async def too_late(*args: Any) -> bytes:
            leases.renew("rival")
            return await hold(*args)

        monkeypatch.setattr(client, "hold", too_late)
        assert not await lease.try_acquire()
        assert leases.holder == "rival"
        with pytest.raises(NotLeader):
            lease.fence()

    story(leases, told)


@pytest.mark.parametrize(
    ("holder", "took_over"),
    [
        pytest.param(None, False, id="no lease before"),
        pytest.param("", True, id="one that was given back"),
        pytest.param("me", True, id="our own of before"),
        pytest.param("other", True, id="one that ran out"),
    ],
)
def test_leader_knows_whether_another_led_before(
    clock: Clock, holder: str | None, took_over: bool
) -> None:
    leases = Leases(clock, holder)

    async def told(lease: Lease, client: KubeClient) -> None:
        if holder == "other":
            assert not await lease.try_acquire()
            clock.now += 15.0
        assert await lease.try_acquire()
        assert lease.took_over is took_over

    story(leases, told)


def test_deleted_lease_is_recreated_after_the_time_of_its_holder(clock: Clock) -> None:
    """The holder may write until it notices the deletion; the next leader reads those writes."""
    leases = Leases(clock, "other")

    async def told(lease: Lease, client: KubeClient) -> None:
        assert not await lease.try_acquire()
        clock.now += 10.0
        leases.stored = None
        assert not await lease.try_acquire()
        clock.now += 14.75
        assert not await lease.try_acquire()
        clock.now += 0.25
        assert await lease.try_acquire()
        assert lease.took_over

    story(leases, told)


def test_deleted_lease_without_a_holder_is_recreated_at_once(clock: Clock) -> None:
    leases = Leases(clock, "")

    async def told(lease: Lease, client: KubeClient) -> None:
        leases.down = True
        assert not await lease.try_acquire()
        leases.down, leases.stored = False, None
        assert await lease.try_acquire()

    story(leases, told)


@pytest.mark.parametrize("end", ["deleted", "taken"])
def test_leader_that_lost_its_lease_writes_no_more(clock: Clock, end: str) -> None:
    leases = Leases(clock)

    async def told(lease: Lease, client: KubeClient) -> None:
        assert await lease.try_acquire()
        if end == "deleted":
            leases.stored = None
        else:
            leases.renew("other")
        assert not await lease.try_renew()
        assert not lease.leading
        with pytest.raises(NotLeader):
            await write(client)

    story(leases, told)


def test_leader_that_cannot_renew_ends_before_another_begins(clock: Clock) -> None:
    leases = Leases(clock)

    async def told(lease: Lease, client: KubeClient) -> None:
        began = clock.now
        clock.at_sleep = lambda: setattr(leases, "down", clock.now > began + 20)
        await lease.run()
        assert lease.acquired.is_set()
        assert began + 20 + TIMES.renew <= clock.now < began + 22 + TIMES.duration
        assert not lease.leading

    story(leases, told)


def test_released_lease_is_free_and_fences_at_once(clock: Clock) -> None:
    leases = Leases(clock)

    async def told(lease: Lease, client: KubeClient) -> None:
        assert await lease.try_acquire()
        await lease.release()
        assert leases.holder == ""
        with pytest.raises(NotLeader):
            await write(client)
        assert await Lease(client, "ns", "lease", "next", TIMES).try_acquire()

    story(leases, told)


def test_lease_is_released_although_answer_takes_longer_than_pause_between_tries(
    clock: Clock,
) -> None:
    leases = Leases(clock)

    async def told(_: Lease, client: KubeClient) -> None:
        lease = Lease(client, "ns", "lease", "me", LeaseTimes(15.0, 10.0, 0.01))
        assert await lease.try_acquire()
        leases.busy = 0.1
        await lease.release()
        assert leases.holder == ""
        assert not lease.leading

    story(leases, told)


@pytest.mark.parametrize("seen", [{"pods a/b": 12, "nodes": 7}, {}, None])
def test_next_leader_learns_what_the_one_before_had_seen(
    clock: Clock, seen: dict[str, int] | None
) -> None:
    leases = Leases(clock)

    async def told(lease: Lease, client: KubeClient) -> None:
        assert await lease.try_acquire()
        await lease.release(seen)
        following = Lease(client, "ns", "lease", "next", TIMES)
        assert await following.try_acquire()
        assert following.took_over
        assert following.handed_over == (seen or {})
        # It is said once: who takes over from the next one by force must not believe it.
        clock.now += 15.0
        assert not await lease.try_acquire()
        clock.now += 15.0
        assert await lease.try_acquire()
        assert lease.handed_over == {}

    story(leases, told)


@pytest.mark.parametrize("told_by_hand", ["{", "[]", '{"pods": "x"}', "null", ""])
def test_nonsense_in_the_lease_is_no_hand_over(clock: Clock, told_by_hand: str) -> None:
    leases = Leases(clock, "")
    assert leases.stored is not None
    leases.stored["metadata"]["annotations"] = {ANNOTATION_SEEN: told_by_hand}

    async def told(lease: Lease, client: KubeClient) -> None:
        assert await lease.try_acquire()
        assert lease.handed_over == {}

    story(leases, told)


def test_lease_that_still_has_a_holder_hands_nothing_over(clock: Clock) -> None:
    leases = Leases(clock, "other")
    assert leases.stored is not None
    leases.stored["metadata"]["annotations"] = {ANNOTATION_SEEN: '{"pods": 12}'}

    async def told(lease: Lease, client: KubeClient) -> None:
        assert not await lease.try_acquire()
        clock.now += 15.0
        assert await lease.try_acquire()
        assert lease.handed_over == {}

    story(leases, told)


def test_expiry_of_a_lease_that_is_not_renewed_is_announced(clock: Clock) -> None:
    leases, announced = Leases(clock, "other"), []

    async def told(lease: Lease, client: KubeClient) -> None:
        renewed = clock.now
        lease.expiring = lambda: announced.append(clock.now - renewed)
        for _ in range(20):
            assert not await lease.try_acquire()
            clock.now += lease._pause()
            leases.renew("other")
            renewed = clock.now
        assert announced == [], "while it is renewed there is nothing to announce"
        while not await lease.try_acquire():
            clock.now += lease._pause()
        assert announced == [pytest.approx(15.0 - NOTICE_SECONDS)]

    story(leases, told)


def test_lease_that_is_not_renewed_is_taken_as_soon_as_it_runs_out(clock: Clock) -> None:
    leases = Leases(clock, "other")

    async def told(lease: Lease, client: KubeClient) -> None:
        began = clock.now
        assert not await lease.try_acquire()
        while not await lease.try_acquire():
            clock.now += lease._pause()
        assert clock.now == pytest.approx(began + 15.0)

    story(leases, told)


def test_duration_of_a_lease_counts_from_when_the_watch_showed_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from the next read, which is up to a pause between two tries later."""
    monkeypatch.setattr(handover_module, "time", clock)
    leases = Leases(clock, "other")
    # The watch begins with what it lists now, the first try comes later.
    leases.api.pages.insert(0, page(leases.stored))

    async def told(lease: Lease, client: KubeClient) -> None:
        began = clock.now
        watched = lease._watched
        async with handover(client, PATH, "lease", watched):
            while watched.since(str(leases.version)) is None:
                await asyncio.sleep(0.01)
            clock.now += 1.5
            while not await lease.try_acquire():
                clock.now += lease._pause()
        assert clock.now == pytest.approx(began + 15.0)

    story(leases, told)
