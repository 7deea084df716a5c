"""How a standby learns that the lease was given back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from immutable_operator.kube.handover import WatchedLease, handover
from tests.wire.api import PATH, Api, event, page, serving, thing

# Far longer than a test may take.
EVER = 3600.0


def lease(holder: str | None, version: int = 1) -> dict[str, Any]:
    return thing("lease", version, spec={"holderIdentity": holder})


def story(api: Api, told: Callable[[WatchedLease], Awaitable[None]]) -> None:
    async def run() -> None:
        watched = WatchedLease()
        async with serving(api) as client, handover(client, PATH, "lease", watched):
            await told(watched)

    asyncio.run(run())


@pytest.mark.parametrize(
    "last",
    [
        event("MODIFIED", lease("", 12)),
        event("MODIFIED", lease(None, 12)),
        event("MODIFIED", thing("lease", 12)),
        event("DELETED", lease("leader", 12)),
    ],
    ids=["given back", "no holder", "no spec", "deleted"],
)
def test_wait_ends_when_the_lease_is_free(last: bytes) -> None:
    api = Api()
    api.pages.append(page(lease("leader")))

    async def told(watched: WatchedLease) -> None:
        waiting = asyncio.ensure_future(watched.wait(EVER))
        await api.push(event("MODIFIED", lease("leader", 11)))
        await asyncio.sleep(0.1)
        assert not waiting.done(), "a renewal is no release"
        await api.push(last)
        await asyncio.wait_for(waiting, 20)

    story(api, told)
    assert api.lists == [{"limit": "500", "fieldSelector": "metadata.name=lease"}]
    assert [w["fieldSelector"] for w in api.watches] == ["metadata.name=lease"]


def test_release_during_a_try_counts_for_the_next_wait_only() -> None:
    api = Api()
    api.pages.append(page(lease("")))

    async def told(watched: WatchedLease) -> None:
        await asyncio.wait_for(watched.wait(EVER), 20)
        began = time.monotonic()
        await watched.wait(0.2)
        assert time.monotonic() - began >= 0.2

    story(api, told)


def test_without_the_right_to_watch_the_wait_takes_its_time() -> None:
    api = Api()
    api.pages.append(page(lease("leader")))
    api.refused = [(403, b'{"message":"not allowed"}')] * 9

    async def told(watched: WatchedLease) -> None:
        began = time.monotonic()
        await watched.wait(0.2)
        assert time.monotonic() - began >= 0.2

    story(api, told)
    assert api.watches


def test_version_is_known_since_the_watch_showed_it() -> None:
    api = Api()
    api.pages.append(page(lease("leader")))

    async def told(watched: WatchedLease) -> None:
        before = time.monotonic()
        await api.push(event("MODIFIED", lease("leader", 11)))
        while watched.since("11") is None:
            await asyncio.sleep(0.01)
        at = watched.since("11")
        assert at is not None
        assert before <= at <= time.monotonic()
        # The same version once more, as a list after a lost watch shows it, is no renewal.
        await api.push(event("MODIFIED", lease("leader", 11)))
        await api.push(event("MODIFIED", lease("", 12)))
        await asyncio.wait_for(watched.wait(EVER), 20)
        assert watched.since("11") is None
        assert watched.since("") is None

    story(api, told)
