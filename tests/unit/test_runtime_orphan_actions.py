"""Actions on services that do not exist: answered once, after a while, and not too early."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

from immutable_operator.domain.staleness.requested import elsewhere, no_owner
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Conflict
from immutable_operator.kube.store import Children, Owners
from immutable_operator.kube.times import moment
from immutable_operator.runtime.orphan_actions import OrphanActions
from immutable_operator.wire.action import ActionRecord, decode_action
from immutable_operator.wire.owner import POOL, SERVICE, OwnerRecord
from tests.wire.api import until

BORN = "2026-11-22T01:00:00Z"
KEY = "service/shop/web"


class Api:
    """The two requests that it makes: a list of services, a status of an action."""

    def __init__(self) -> None:
        self.services: list[str] = []
        self.refuses: list[Exception] = []
        self.written: list[dict[str, Any]] = []
        self.clock = SimpleNamespace(time=lambda: moment(BORN))

    async def list(self, path: str, **query: Any) -> bytes:
        assert query["fieldSelector"] == "metadata.name=web"
        found = [{"metadata": {"name": name}} for name in self.services]
        # As the API server does it: null, not an empty list.
        return json.dumps({"items": found or None}).encode()

    async def apply(self, path: str, body: dict[str, Any], **_: Any) -> bytes:
        if self.refuses:
            raise self.refuses.pop()
        self.written.append(body)
        return b"{}"


class World:
    def __init__(self) -> None:
        self.now = moment(BORN)
        self.api = Api()
        self.actions: Children[ActionRecord] = Children(
            lambda owner: self.orphan_actions.look_at(owner)
        )
        self.services: Owners[OwnerRecord] = Owners(
            lambda uid: self.orphan_actions.owner_changed(uid)
        )
        self.api.clock = SimpleNamespace(time=lambda: self.now)
        client = cast(KubeClient, self.api)
        self.orphan_actions = OrphanActions(
            client, self.services, self.actions, (SERVICE, POOL), "immutable-system"
        )

    def act(self, phase: str = "", target: str = "service") -> None:
        meta = {"name": "now", "namespace": "shop", "uid": "a1", "creationTimestamp": BORN}
        body = {
            "metadata": {**meta, "resourceVersion": "1"},
            "spec": {target: "web", "actor": "alice"},
            "status": {"phase": phase},
        }
        self.actions.upsert(decode_action(json.dumps(body).encode()), 1)

    def serve(self) -> None:
        meta = {"name": "web", "namespace": "shop", "uid": "s1", "resourceVersion": "1"}
        self.services.upsert(OwnerRecord.of({"metadata": meta, "spec": {}}))

    def step(self, key: str = KEY, after: float = 0.0) -> float | None:
        self.now = moment(BORN) + after
        return asyncio.run(self.orphan_actions.step(key))


def test_action_without_a_service_fails_once_after_a_minute() -> None:
    world = World()
    world.act()
    assert world.step(after=10) == 50
    assert world.api.written == []
    world.step(after=60)
    assert world.step(after=61) is None, "its own write is not seen yet, and it is not repeated"
    [body] = world.api.written
    assert body["status"]["phase"] == "Failed"
    assert no_owner("service", "web") in body["status"]["message"]
    assert body["status"]["finishedAt"]
    world.act(phase="Failed")
    assert world.step(after=1000) is None
    assert len(world.api.written) == 1


def test_answer_is_for_the_version_that_was_seen() -> None:
    """An action of the same name that was created meanwhile is another one."""
    world = World()
    world.act()
    world.api.refuses.append(Conflict(409, "Conflict", "the object has been modified"))
    world.step(after=60)
    assert world.api.written == []
    world.step(after=61)
    [body] = world.api.written
    assert body["metadata"]["resourceVersion"] == "1"


def test_action_on_a_pool_outside_of_the_namespace_of_the_operator_fails() -> None:
    """Otherwise each user who may create actions in a namespace could replace nodes."""
    world = World()
    world.act(target="pool")
    world.step("pool/shop/web", after=60)
    [body] = world.api.written
    assert body["status"]["message"] == elsewhere("immutable-system")


def test_service_created_in_time_answers_the_action() -> None:
    world = World()
    world.act()
    world.step(after=10)
    world.serve()
    assert world.step(after=100) is None
    assert world.api.written == []


def test_service_not_yet_reported_by_the_watch_counts() -> None:
    world = World()
    world.act()
    world.api.services = ["web"]
    assert world.step(after=100), "it is looked at again"
    assert world.api.written == []


def test_pending_action_fails_when_its_service_is_deleted() -> None:
    world = World()
    world.act()
    world.serve()
    assert world.step(after=100) is None

    async def story() -> None:
        world.now = moment(BORN) + 101
        running = asyncio.create_task(world.orphan_actions.run())
        world.services.remove("s1")
        await until(lambda: world.api.written)
        running.cancel()

    asyncio.run(story())
    assert len(world.api.written) == 1
