"""Plausible bugs, planted one at a time: the measure of what a world notices.

Each mutant is a name and a context in which the bug is there. They reach into the operator where it
is today; where a name has moved, the mutant moves along.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.model import DeleteRevision
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Unreachable
from immutable_operator.kube.lease import Lease
from immutable_operator.kube.reflector import Reflector
from immutable_operator.kube.store import Children
from immutable_operator.runtime.barrier import Barrier

__all__ = ["MUTANTS"]

driver: Any = importlib.import_module("immutable_operator.instances.pods.driver")
loop: Any = importlib.import_module("immutable_operator.runtime.loop")
Plant = Callable[[pytest.MonkeyPatch], None]


def no_barrier(patch: pytest.MonkeyPatch) -> None:
    """No read-your-writes: what is written is forgotten at once."""
    patch.setattr(Barrier, "expect", lambda self, *given, **more: None)


def barrier_by_time(patch: pytest.MonkeyPatch) -> None:
    """The barrier opens half a second after a write, whatever the view shows."""

    def step(self: Any, key: str, memory: Any) -> bool:
        now = loop.time.monotonic()
        awaited = memory.barrier._awaited
        if memory.barrier.is_open() or now > min(one.until for one in awaited) - 1.5:
            awaited.clear()
            return True
        self._queue.add_at(key, now + 0.5)
        return False

    patch.setattr(loop.ControlLoop, "_sees_own_writes", step)


def lost_answer_is_no(patch: pytest.MonkeyPatch) -> None:
    """An eviction whose answer is lost counts as not done, and another one goes at once."""
    before = KubeClient._request

    async def request(self: Any, method: str, path: str, **more: Any) -> bytes:
        try:
            return await before(self, method, path, **more)
        except Unreachable:
            if path.endswith("eviction"):
                raise ApiError(400, "Lost", "not done") from None
            raise

    patch.setattr(KubeClient, "_request", request)


def eviction_without_uid(patch: pytest.MonkeyPatch) -> None:
    """Whoever has the name now is evicted."""
    before = driver.eviction_body

    def body(*given: Any) -> dict[str, Any]:
        return {k: v for k, v in before(*given).items() if k != "deleteOptions"}

    patch.setattr(driver, "eviction_body", body)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """Writes are not fenced, and a lost lease does not end the work."""

    async def run(self: Any) -> None:
        while True:
            if await self.try_acquire():
                self.acquired.set()
            await loop.asyncio.sleep(self.times.retry)

    patch.setattr(Lease, "fence", lambda self: None)
    patch.setattr(Lease, "run", run)


def two_leaders(patch: pytest.MonkeyPatch) -> None:
    """A replica takes a lease that another one holds."""

    async def acquire(self: Any) -> bool:
        self._valid_until = loop.time.monotonic() + 1e9
        return True

    patch.setattr(Lease, "try_acquire", acquire)
    patch.setattr(Lease, "try_renew", acquire)


def list_keeps_the_gone(patch: pytest.MonkeyPatch) -> None:
    """A fresh list adds, and takes nothing away."""

    def add(self: Any, items: list[Any], version: int) -> None:
        for item in items:
            self._put(item)
        self.advance(version)

    patch.setattr(Children, "replace", add)


def no_list_after_410(patch: pytest.MonkeyPatch) -> None:
    """What happened in the gap is never heard of."""
    before = Reflector._list

    async def once(self: Any) -> None:
        if self.synced.is_set():
            self._wanted.clear()
            self._version = 10**9
            return
        await before(self)

    patch.setattr(Reflector, "_list", once)


def prunes_the_last_good(patch: pytest.MonkeyPatch) -> None:
    """Records are deleted that have instances or were good, as soon as anything is planned."""
    before = loop.plan

    def plan(view: Any, *given: Any) -> Any:
        decided = before(view, *given)
        old = sorted(view.revisions, key=lambda r: r.number)[:-1]
        gone = tuple(DeleteRevision(r.name, r.uid) for r in old)
        return replace(decided, actions=(*decided.actions, *gone)) if gone else decided

    patch.setattr(loop, "plan", plan)


def ignores_suspend(patch: pytest.MonkeyPatch) -> None:
    """A suspended service is worked on as any other."""
    before = loop.plan

    def plan(view: Any, *given: Any) -> Any:
        if view.spec is not None:
            view = replace(view, spec=replace(view.spec, suspend=False))
        return before(view, *given)

    patch.setattr(loop, "plan", plan)


def counts_the_leaving(patch: pytest.MonkeyPatch) -> None:
    """An instance that is leaving still counts as one that works."""
    before = loop.plan

    def plan(view: Any, *given: Any) -> Any:
        living = tuple(replace(i, terminating=False) for i in view.instances)
        return before(replace(view, instances=living), *given)

    patch.setattr(loop, "plan", plan)


def always_writes(patch: pytest.MonkeyPatch) -> None:
    """The status is written at each turn, and each write is news."""
    before = loop.ControlLoop.step

    async def step(self: Any, key: str) -> None:
        await before(self, key)
        if key in self._memories:
            self._queue.add_at(key, loop.time.monotonic() + 60.0)
            service = self._services.get(key)
            if service is not None:
                path = f"{loop.ACTIONS.collection(service.namespace)}/none/status"
                with contextlib.suppress(ApiError):
                    await self._client.apply(path, {}, resource="none", manager="x")

    patch.setattr(loop.ControlLoop, "step", step)


MUTANTS: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        no_barrier,
        barrier_by_time,
        lost_answer_is_no,
        eviction_without_uid,
        no_fence,
        two_leaders,
        list_keeps_the_gone,
        no_list_after_410,
        prunes_the_last_good,
        ignores_suspend,
        counts_the_leaving,
        always_writes,
    )
}


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Run with one of them in place."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name](patch)
        yield
