"""A new leader's view shows all that the leader before wrote: by lists, or by what that one saw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from immutable_operator.api.names import REVISION_PLURAL
from immutable_operator.kube.reflector import Reflector
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.queue import KeyQueue
from immutable_operator.runtime.watches import Watches
from immutable_operator.wire.owner import OwnerRecord
from tests.wire.api import Api, event, page, serving, thing, until


class Held:
    """Lists that are answered when the test says so; ``newest`` is what one without objects says.

    A list has version 10. ``begun`` and ``asked`` are the collections of which there were lists,
    and lists without objects.
    """

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.asked: list[str] = []
        self.newest: bytes = page(version=10)
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if "fieldSelector" in request.query:
            self.asked.append(request.path.rpartition("/")[2])
            return web.Response(body=self.newest, content_type="application/json")
        self.begun.append(request.path.rpartition("/")[2])
        await self.go_on.wait()
        return web.Response(body=page(version=10), content_type="application/json")


WANTED = ("pods", REVISION_PLURAL)
Told = Callable[[Watches, Held, Api], Awaitable[None]]


def story(told: Told) -> None:
    """Run a test with watches of pods and revisions that have listed once, at version 10."""

    async def run() -> None:
        api, held = Api(), Held()
        api.pages.append(held)
        async with serving(api) as client:
            watches = Watches(client, Metrics(), KeyQueue(time.monotonic))
            running = [asyncio.create_task(mirror.run()) for mirror in mirrors(watches)]
            try:
                await until(lambda: not set(watches.late) & set(WANTED))
                held.begun.clear()
                await told(watches, held, api)
            finally:
                for task in running:
                    task.cancel()
                await asyncio.wait(running)

    asyncio.run(run())


def mirrors(watches: Watches) -> list[Reflector[Any]]:
    return [mirror for mirror in watches.reflectors if mirror.resource in WANTED]


def told_of(watches: Watches) -> list[int]:
    """What the next leader is told of the watches of this test."""
    return [watches.seen()[mirror.name] for mirror in mirrors(watches)]


def test_refresh_ends_when_pods_and_revisions_were_listed_again() -> None:
    async def told(watches: Watches, held: Held, api: Api) -> None:
        held.go_on.clear()
        refresh = asyncio.create_task(watches.refresh({}))
        await until(lambda: sorted(held.begun) == sorted(WANTED))
        assert not refresh.done()
        held.go_on.set()
        assert await refresh, "the owners are to be listed, too"
        assert [mirror.lists for mirror in mirrors(watches)] == [2, 2]

    story(told)


def test_view_that_shows_what_the_leader_before_saw_is_not_listed() -> None:
    async def told(watches: Watches, held: Held, api: Api) -> None:
        assert told_of(watches) == [10, 10]
        assert not await watches.refresh(watches.seen())
        assert held.begun == []

    story(told)


def test_change_on_its_way_is_waited_for() -> None:
    async def told(watches: Watches, held: Held, api: Api) -> None:
        later = watches.seen() | {mirror.name: 12 for mirror in mirrors(watches)}
        refresh = asyncio.create_task(watches.refresh(later))
        await until(lambda: len(api.watches) == len(WANTED))
        assert not refresh.done()
        # One stream after the other gets it: a bookmark says the same as a change.
        for _ in WANTED:
            await api.push(event("BOOKMARK", thing("", 12)))
        await refresh
        assert held.begun == []
        assert told_of(watches) == [10, 10], "a bookmark is no change"

    story(told)


@pytest.mark.parametrize("missing", ["late", "unknown"])
def test_only_what_does_not_come_is_listed(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("immutable_operator.runtime.watches.CATCH_UP_SECONDS", 0.1)

    async def told(watches: Watches, held: Held, api: Api) -> None:
        seen = watches.seen()
        pods = next(name for name in seen if name.startswith("pods"))
        if missing == "late":
            seen[pods] = 12
        else:
            del seen[pods]
        await watches.refresh(seen)
        assert held.begun == ["pods"]

    story(told)


def test_owners_that_the_leader_before_had_seen_are_listed_by_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("immutable_operator.runtime.watches.CATCH_UP_SECONDS", 0.1)

    async def told(watches: Watches, held: Held, api: Api) -> None:
        meta = {"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "7"}
        watches.owners.upsert(OwnerRecord.of({"metadata": meta, "spec": {}}))
        seen = watches.seen()
        assert seen["immutableservices"] == 7
        assert not await watches.refresh(seen)
        assert await watches.refresh(seen | {"immutableservices": 8})
        assert held.begun == []

    story(told)


def test_pod_that_may_be_gone_makes_a_list_necessary() -> None:
    async def told(watches: Watches, held: Held, api: Api) -> None:
        watches.pods.doubtful.add("u1")
        await watches.refresh(watches.seen())
        assert held.begun == ["pods"]
        assert not watches.pods.doubtful

    story(told)


def test_view_that_is_about_to_be_listed_shows_nothing() -> None:
    async def told(watches: Watches, held: Held, api: Api) -> None:
        [pods, _] = mirrors(watches)
        held.go_on.clear()
        pods.relist()
        assert pods.shown == -1
        await until(lambda: held.begun == ["pods"])
        assert pods.shown == -1
        held.go_on.set()
        await until(lambda: pods.shown == 10)

    story(told)


class Brief:
    """Which watches were opened for a few seconds only."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def __len__(self) -> int:
        return sum(watch["timeoutSeconds"] == "3" for watch in self._api.watches)


def test_large_view_that_is_as_far_as_the_api_server_is_not_listed() -> None:
    async def told(watches: Watches, held: Held, api: Api) -> None:
        watches.few = -1
        assert await watches.refresh({}), "the owners are to be looked at"
        assert held.begun == []
        assert not Brief(api)

    story(told)


def test_large_view_is_not_listed_if_bookmarks_show_that_nothing_is_missing() -> None:
    async def told(watches: Watches, held: Held, api: Api) -> None:
        watches.few, held.newest = -1, page(version=12)
        await until(lambda: len(api.watches) == len(WANTED))
        refresh = asyncio.create_task(watches.refresh({}))
        await until(lambda: len(Brief(api)) == len(WANTED))
        assert not refresh.done()
        await api.push(event("BOOKMARK", thing("", 12)))
        await refresh
        assert held.begun == []
        assert [mirror.shown for mirror in mirrors(watches)] == [12, 12]
        # The next watches last as long as all others.
        api.close()
        await until(lambda: len(api.watches) == 3 * len(WANTED))
        assert len(Brief(api)) == len(WANTED)

    story(told)


async def refreshed_in_a_hurry(watches: Watches, held: Held, api: Api) -> asyncio.Task[bool]:
    """Begin a refresh of a large view for which bookmarks were asked for before."""
    watches.few, held.newest = -1, page(version=12)
    await until(lambda: len(api.watches) == len(WANTED))
    watches.hurry()
    await until(lambda: len(Brief(api)) == len(WANTED))
    refresh = asyncio.create_task(watches.refresh({}))
    await until(lambda: len(held.asked) == len(WANTED))
    return refresh


def test_bookmarks_that_were_asked_for_before_are_not_asked_for_again() -> None:
    async def told(watches: Watches, held: Held, api: Api) -> None:
        refresh = await refreshed_in_a_hurry(watches, held, api)
        assert not refresh.done()
        await api.push(event("BOOKMARK", thing("", 12)))
        await refresh
        assert len(Brief(api)) == len(WANTED)
        assert held.begun == []

    story(told)


def test_bookmarks_that_came_too_early_are_asked_for_again() -> None:
    async def told(watches: Watches, held: Held, api: Api) -> None:
        refresh = await refreshed_in_a_hurry(watches, held, api)
        await api.push(event("BOOKMARK", thing("", 11)))
        await until(lambda: len(Brief(api)) == 2 * len(WANTED))
        assert not refresh.done()
        await api.push(event("BOOKMARK", thing("", 12)))
        await refresh
        assert held.begun == []

    story(told)


def test_nothing_is_asked_of_a_small_view() -> None:
    async def told(watches: Watches, held: Held, api: Api) -> None:
        await until(lambda: len(api.watches) == len(WANTED))
        watches.hurry()
        await watches.refresh({})
        assert sorted(held.begun) == sorted(WANTED)
        await until(lambda: len(api.watches) == 2 * len(WANTED))
        assert not Brief(api)

    story(told)


@pytest.mark.parametrize(
    "newest",
    [page(version=12), page(version=9), page(version="x"), b"<html>"],
    ids=["no bookmark comes", "a backup was restored", "no version", "a proxy"],
)
def test_large_view_of_which_it_is_not_known_is_listed(
    newest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("immutable_operator.runtime.watches.BOOKMARK_SECONDS", 0.2)

    async def told(watches: Watches, held: Held, api: Api) -> None:
        watches.few, held.newest = -1, newest
        assert await watches.refresh({})
        assert sorted(held.begun) == sorted(WANTED)

    story(told)
