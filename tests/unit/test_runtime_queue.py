"""The work queue: a key is never in two hands, never lost, and never planned once per news."""

from __future__ import annotations

import asyncio

from immutable_operator.runtime.queue import KeyQueue


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def taken(queue: KeyQueue[str]) -> str | None:
    """The next key if one is ready now."""
    try:
        async with asyncio.timeout(0.02):
            return await queue.get()
    except TimeoutError:
        return None


def test_repeated_changes_are_one_key() -> None:
    async def story() -> None:
        queue: KeyQueue[str] = KeyQueue(Clock())
        for _ in range(100):
            queue.add("web")
        assert await taken(queue) == "web"
        assert await taken(queue) is None

    asyncio.run(story())


def test_change_during_work_queues_the_key_again_afterwards() -> None:
    async def story() -> None:
        clock = Clock()
        queue: KeyQueue[str] = KeyQueue(clock, pace=1.0)
        queue.add("web")
        assert await taken(queue) == "web"
        clock.now += 5
        queue.add("web")
        assert await taken(queue) is None, "one key was in two hands"
        queue.done("web")
        assert await taken(queue) == "web", "news that came during the work were lost"

    asyncio.run(story())


def test_burst_of_changes_is_paced() -> None:
    async def story() -> None:
        clock = Clock()
        queue: KeyQueue[str] = KeyQueue(clock, pace=1.0)
        queue.add("web")
        assert await taken(queue) == "web"
        queue.done("web")
        queue.add("web")
        assert await taken(queue) is None
        clock.now += 1.0
        assert await taken(queue) == "web"

    asyncio.run(story())


def test_earliest_due_time_wins() -> None:
    async def story() -> None:
        clock = Clock()
        queue: KeyQueue[str] = KeyQueue(clock)
        queue.add_at("web", 120.0)
        queue.add_at("web", 110.0)
        queue.add_at("web", 130.0)
        assert await taken(queue) is None
        clock.now = 110.0
        assert await taken(queue) == "web"
        queue.done("web")
        clock.now = 200.0
        assert await taken(queue) is None, "a due time that was overtaken came up all the same"

    asyncio.run(story())


def test_busy_service_does_not_delay_another() -> None:
    async def story() -> None:
        queue: KeyQueue[str] = KeyQueue(Clock())
        queue.add("slow")
        assert await taken(queue) == "slow"
        queue.add("quick")
        assert await taken(queue) == "quick"

    asyncio.run(story())


def test_all_workers_get_work() -> None:
    async def story() -> None:
        queue: KeyQueue[str] = KeyQueue(Clock())
        hands = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        for key in ("a", "b", "c"):
            queue.add(key)
        assert sorted(await asyncio.wait_for(asyncio.gather(*hands), 1)) == ["a", "b", "c"]

    asyncio.run(story())


def test_waiting_worker_gets_a_key_when_it_is_due() -> None:
    async def story() -> None:
        queue: KeyQueue[str] = KeyQueue(asyncio.get_running_loop().time)
        worker = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add_at("later", asyncio.get_running_loop().time() + 3600)
        queue.add_at("soon", asyncio.get_running_loop().time() + 0.01)
        assert await asyncio.wait_for(worker, 10) == "soon"

    asyncio.run(story())


def test_key_of_a_worker_that_ends_goes_to_another() -> None:
    async def story() -> None:
        queue: KeyQueue[str] = KeyQueue(Clock())
        ends, stays, idle = (asyncio.create_task(queue.get()) for _ in range(3))
        await asyncio.sleep(0)
        queue.add("web")
        ends.cancel()  # it was called for the key already
        assert await asyncio.wait_for(stays, 10) == "web"
        assert not idle.done()
        idle.cancel()

    asyncio.run(story())


def test_worker_that_ended_while_it_waited_is_not_called() -> None:
    async def story() -> None:
        queue: KeyQueue[str] = KeyQueue(Clock())
        ends, stays = (asyncio.create_task(queue.get()) for _ in range(2))
        await asyncio.sleep(0)
        ends.cancel()
        queue.add("web")
        assert await asyncio.wait_for(stays, 10) == "web"

    asyncio.run(story())


def test_changed_keys_and_others_come_up_in_turn() -> None:
    async def story() -> None:
        queue: KeyQueue[str] = KeyQueue(Clock())
        for number in range(4):
            queue.add_later(f"old-{number}")
        assert await taken(queue) == "old-0"
        for number in range(4):
            queue.add(f"new-{number}")
        queue.add("old-3")
        found = [await taken(queue) for _ in range(8)]
        assert found == ["new-0", "old-1", "new-1", "old-2", "new-2", "new-3", "old-3", None]

    asyncio.run(story())


def test_key_that_is_looked_at_again_is_not_lost() -> None:
    async def story() -> None:
        clock = Clock()
        queue: KeyQueue[str] = KeyQueue(clock, pace=1.0)
        queue.add_later("web")
        queue.add_later("web")
        assert len(queue) == 1
        assert await taken(queue) == "web"
        assert queue.busy == 1
        queue.add_later("web")
        assert await taken(queue) is None, "one key was in two hands"
        queue.done("web")
        assert queue.busy == 0
        assert await taken(queue) is None, "it came up sooner than its pace allows"
        clock.now += 1.0
        assert await taken(queue) == "web"

    asyncio.run(story())


def test_waiting_worker_gets_a_key_that_is_looked_at_again() -> None:
    async def story() -> None:
        queue: KeyQueue[str] = KeyQueue(Clock())
        worker = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add_later("web")
        assert await asyncio.wait_for(worker, 10) == "web"

    asyncio.run(story())


def test_what_a_standby_heard_long_ago_does_not_delay_what_it_heard_just_now() -> None:
    async def story() -> None:
        clock = Clock()
        queue: KeyQueue[str] = KeyQueue(clock)
        for number in range(5):
            queue.add(f"s{number}")
        clock.now += 100.0
        queue.add("s3")
        queue.postpone(30.0)
        assert len(queue) == 5
        assert [await taken(queue) for _ in range(6)] == ["s3", "s0", "s1", "s2", "s4", None]

    asyncio.run(story())


def test_everything_else_has_a_turn_between_two_keys() -> None:
    """Thousands of plans that write nothing take longer than a lease is valid."""

    async def story() -> None:
        queue: KeyQueue[str] = KeyQueue(Clock())
        turns = 0

        async def lease() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(lease())
        for number in range(100):
            queue.add(f"web-{number}")
        seen = []

        async def worker() -> None:
            while True:
                queue.done(await queue.get())
                seen.append(turns)

        workers = [asyncio.create_task(worker()) for _ in range(32)]
        while len(seen) < 100:
            await asyncio.sleep(0)
        for task in (beside, *workers):
            task.cancel()
        assert seen == sorted(set(seen)), "two keys came up with nothing in between"

    asyncio.run(story())
