"""The gate: a few at once, and owners by turns, in whatever order they come and give up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immutable_operator.runtime.gate import FairGate


class Street:
    """Tasks that want through a gate; each stays inside until it is let out."""

    def __init__(self, limit: int, each: int | None = None) -> None:
        self.gate = FairGate(limit, each=each)
        self.inside: list[str] = []
        self.let_in: list[str] = []
        self._doors: dict[asyncio.Task[None], asyncio.Event] = {}

    def come(self, owner: str) -> asyncio.Task[None]:
        door = asyncio.Event()
        task = asyncio.create_task(self._pass(owner, door))
        self._doors[task] = door
        return task

    async def _pass(self, owner: str, door: asyncio.Event) -> None:
        async with self.gate.turn(owner):
            self.inside.append(owner)
            self.let_in.append(owner)
            try:
                await door.wait()
            finally:
                self.inside.remove(owner)

    def let_out(self, task: asyncio.Task[None]) -> None:
        self._doors[task].set()

    def open_all(self) -> None:
        for door in self._doors.values():
            door.set()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 30))


def test_gate_admits_no_more_than_its_limit() -> None:
    async def story() -> None:
        street = Street(3)
        tasks = [street.come(owner) for owner in "abcab"]
        await settle()
        assert street.inside == ["a", "b", "c"]
        street.let_out(tasks[1])
        await settle()
        assert sorted(street.inside) == ["a", "a", "c"]

    run(story())


def test_quiet_owner_waits_for_one_turn_of_a_busy_owner() -> None:
    async def story() -> None:
        street = Street(1)
        busy = [street.come("busy") for _ in range(4000)]
        await settle()
        street.come("quiet")
        await settle()
        street.let_out(busy[0])
        await settle()
        street.let_out(busy[1])
        await settle()
        assert street.let_in == ["busy", "busy", "quiet"]
        street.open_all()
        await asyncio.gather(*busy)

    run(story())


def test_owners_take_turns_independent_of_queue_length() -> None:
    async def story() -> None:
        street = Street(1)
        tasks = [street.come(owner) for owner in "aaaabbc"]
        await settle()
        street.open_all()
        await asyncio.gather(*tasks)
        assert "".join(street.let_in) == "aabcaba"

    run(story())


def test_cancelled_waiter_takes_no_place() -> None:
    async def story() -> None:
        street = Street(1)
        first, gone, last = street.come("a"), street.come("b"), street.come("c")
        await settle()
        gone.cancel()
        street.let_out(first)
        await settle()
        assert street.inside == ["c"]
        street.let_out(last)
        await settle()
        late = street.come("b")
        await settle()
        assert street.inside == ["b"]
        street.let_out(late)

    run(story())


def test_waiter_cancelled_on_admission_passes_its_place_on() -> None:
    async def story() -> None:
        gate = FairGate(1)
        inside = asyncio.Event()

        async def enter() -> None:
            async with gate.turn("b"):
                inside.set()

        async with gate.turn("a"):
            gone, other = asyncio.create_task(enter()), asyncio.create_task(enter())
            await settle()
        # Let in, and not run since.
        gone.cancel()
        await other
        assert inside.is_set()
        assert gate._waiting == {}
        assert gate._free == 1

    run(story())


def test_failure_inside_releases_the_place() -> None:
    async def story() -> None:
        gate = FairGate(1)
        with pytest.raises(ValueError, match="no"):
            async with gate.turn("a"):
                raise ValueError("no")
        async with gate.turn("b"):
            assert gate._free == 0

    run(story())


def test_gate_limits_each_owner_without_blocking_others() -> None:
    async def story() -> None:
        street = Street(3, each=1)
        tasks = [street.come(owner) for owner in "aaab"]
        await settle()
        assert street.inside == ["a", "b"]
        street.let_out(tasks[0])
        await settle()
        assert street.inside == ["b", "a"]
        street.open_all()
        await asyncio.gather(*tasks)
        assert street.gate._inside == {}

    run(story())


@given(
    st.integers(1, 4),
    st.none() | st.integers(1, 3),
    st.lists(st.sampled_from("abcd"), max_size=30),
    st.randoms(use_true_random=True),
)
def test_no_place_is_lost_in_any_order_of_events(
    limit: int, each: int | None, comers: list[str], chance: random.Random
) -> None:
    async def story() -> None:
        street = Street(limit, each)
        tasks = [street.come(owner) for owner in comers]
        while pending := [task for task in tasks if not task.done()]:
            task = chance.choice(pending)
            if chance.random() < 0.3:
                task.cancel()
            else:
                street.let_out(task)
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            assert len(street.inside) <= limit
            crowd = [street.inside.count(owner) for owner in street.inside]
            assert each is None or all(count <= each for count in crowd)
        await settle()
        assert street.gate._free == limit
        assert street.gate._waiting == {}

    run(story())


def test_gate_with_limit_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        FairGate(0)
