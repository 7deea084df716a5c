"""Inquiries: each question once at a time, again after failures; no lane waits for others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

import pytest

from immutable_operator.domain.model import Backoff
from immutable_operator.kube.errors import ApiError
from immutable_operator.kube.lease import NotLeader
from immutable_operator.runtime.inquiry import AT_ONCE, Inquiry
from tests.wire.api import until

AT_ONCE_AGAIN = Backoff(0.0, 0.0)
NEVER_AGAIN = Backoff(1e6, 1e6)
Told = Callable[[Inquiry[str]], Awaitable[None]]


class Oracle:
    """Answers with what was laid down for a key, in turn; with None when that is used up."""

    def __init__(self, **answers: list[float | Exception | None]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.open: list[str] = []
        self.silent: set[str] = set()
        self.speaks = asyncio.Event()

    async def ask(self, key: str) -> float | None:
        self.asked.append(key)
        self.open.append(key)
        try:
            if key in self.silent:
                await self.speaks.wait()
            answers = self.answers.get(key) or [None]
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.open.remove(key)


def tell(
    oracle: Oracle,
    story: Told,
    retry: Backoff = NEVER_AGAIN,
    lane: Callable[[str], Hashable] = lambda key: key,
) -> None:
    async def run() -> None:
        inquiry = Inquiry[str]("not known", oracle.ask, retry=retry, lane=lane)
        running = asyncio.create_task(inquiry.run())
        try:
            await story(inquiry)
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait([running])

    asyncio.run(asyncio.wait_for(run(), 30))


def test_pending_question_is_not_asked_twice() -> None:
    oracle = Oracle()
    oracle.silent.add("a")

    async def story(inquiry: Inquiry[str]) -> None:
        for _ in range(3):
            inquiry.want("a")
            await asyncio.sleep(0)
        inquiry.want("b")
        await until(lambda: "b" in oracle.asked)
        oracle.speaks.set()
        await until(lambda: not inquiry._open)
        assert oracle.asked == ["a", "b"]
        inquiry.want("a")
        await until(lambda: oracle.asked == ["a", "b", "a"])

    tell(oracle, story)


def test_renewed_question_is_asked_again_after_the_current_one() -> None:
    oracle = Oracle()
    oracle.silent.add("a")

    async def story(inquiry: Inquiry[str]) -> None:
        inquiry.renew("a")
        await until(lambda: oracle.open)
        inquiry.renew("a")
        oracle.speaks.set()
        await until(lambda: oracle.asked == ["a", "a"])

    tell(oracle, story)


@pytest.mark.parametrize(
    "answer", [1e6, ApiError(500, "InternalError", "no")], ids=["later", "failed"]
)
def test_waiting_question_is_asked_early_only_when_renewed(answer: Any) -> None:
    oracle = Oracle(a=[answer])

    async def story(inquiry: Inquiry[str]) -> None:
        inquiry.want("a")
        await until(lambda: oracle.asked and not inquiry._queue._busy)
        for _ in range(10):
            inquiry.want("a")
            await asyncio.sleep(0)
        assert oracle.asked == ["a"]
        inquiry.renew("a")
        await until(lambda: oracle.asked == ["a", "a"])

    tell(oracle, story)


@pytest.mark.parametrize(
    "trouble", [ApiError(500, "InternalError", "no"), KeyError("metadata"), OSError("down")]
)
def test_failed_question_is_retried_and_others_are_answered(trouble: Exception) -> None:
    oracle = Oracle(a=[trouble, trouble])

    async def story(inquiry: Inquiry[str]) -> None:
        inquiry.want("a")
        inquiry.want("b")
        await until(lambda: not inquiry._open)
        assert sorted(oracle.asked) == ["a", "a", "a", "b"]
        assert inquiry._failures == {}

    tell(oracle, story, AT_ONCE_AGAIN)


def test_consecutive_failures_increase_the_pause() -> None:
    oracle = Oracle(a=[ApiError(500, "InternalError", "no")] * 3)
    asked_for: list[int] = []

    class Paces(Backoff):
        def after(self, failures: int) -> float:
            asked_for.append(failures)
            return 0.0

    async def story(inquiry: Inquiry[str]) -> None:
        inquiry.want("a")
        await until(lambda: not inquiry._open)
        assert asked_for == [1, 2, 3]

    tell(oracle, story, Paces(0.0, 0.0))


def test_questions_of_one_lane_are_asked_one_at_a_time() -> None:
    oracle = Oracle()
    oracle.silent |= {f"slow/{n}" for n in range(20)}

    async def story(inquiry: Inquiry[str]) -> None:
        for n in range(20):
            inquiry.want(f"slow/{n}")
        for n in range(20):
            inquiry.want(f"quick/{n}")
        await until(lambda: len(oracle.asked) == 21)
        assert len(oracle.open) == 1
        oracle.speaks.set()
        await until(lambda: not inquiry._open)
        assert len(oracle.asked) == 40

    tell(oracle, story, lane=lambda key: key.partition("/")[0])


def test_number_of_lanes_asked_at_once_is_limited() -> None:
    oracle = Oracle()
    oracle.silent |= {str(n) for n in range(AT_ONCE * 3)}

    async def story(inquiry: Inquiry[str]) -> None:
        for n in range(AT_ONCE * 3):
            inquiry.want(str(n))
        await until(lambda: len(oracle.open) == AT_ONCE)
        await asyncio.sleep(0.01)
        assert len(oracle.asked) == AT_ONCE
        oracle.speaks.set()
        await until(lambda: not inquiry._open)

    tell(oracle, story)


def test_lost_lease_ends_the_inquiry() -> None:
    async def run() -> None:
        oracle = Oracle(a=[NotLeader("the lease was lost")])
        inquiry = Inquiry[str]("not known", oracle.ask, retry=AT_ONCE_AGAIN)
        inquiry.want("a")
        with pytest.RaisesGroup(NotLeader):
            await inquiry.run()

    asyncio.run(asyncio.wait_for(run(), 30))
