"""What `kubectl immutable dashboard` mirrors of an API server that is scripted."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from immutable_operator.api.names import LABEL_POOL, LABEL_SERVICE
from immutable_operator.cli.dashboard_view import one
from immutable_operator.cli.dashboard_world import World
from immutable_operator.cli.objects import Json
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.times import moment

BORN = "2027-01-15T07:00:00Z"


class Cluster:
    """Answers lists with ``items`` by resource, 403 for what is ``refused``; watches stay open."""

    def __init__(self, **items: list[Json]) -> None:
        self.items = defaultdict(list, items)
        self.refused: set[str] = set()
        self.watches: dict[str, int] = defaultdict(int)
        self._streams: dict[str, asyncio.Queue[Json]] = defaultdict(asyncio.Queue)

    def send(self, resource: str, kind: str, item: Json) -> None:
        self._streams[resource].put_nowait({"type": kind, "object": item})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        resource = request.path.rsplit("/", 1)[1]
        if resource in self.refused:
            return web.json_response({"kind": "Status", "reason": "Forbidden"}, status=403)
        if "watch" not in request.query:
            return web.json_response(
                {"metadata": {"resourceVersion": "10"}, "items": self.items[resource]}
            )
        self.watches[resource] += 1
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            event = await self._streams[resource].get()
            await response.write(json.dumps(event).encode() + b"\n")


def mirrored(
    cluster: Cluster, work: Callable[[World], Awaitable[None]], namespace: str = ""
) -> None:
    """Run ``work`` with a world that has listed each kind."""

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{tail:.*}", cluster.answer)
        async with TestServer(app, shutdown_timeout=0) as server:
            client = KubeClient(Configuration(host=f"http://127.0.0.1:{server.port}"))
            world = World(client, namespace)
            mirroring = asyncio.create_task(world.run())
            try:
                await until(world, lambda: world.listed)
                await work(world)
            finally:
                mirroring.cancel()
                await asyncio.wait([mirroring])
                await client.close()

    asyncio.run(run())


async def until(world: World, check: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not check():
            await world.until_changed(world.version, 0.05)


def item(
    name: str, *, uid: str = "", owner: str = "", namespace: str = "shop", **more: Any
) -> Json:
    meta: Json = {"name": name, "uid": uid or name, "resourceVersion": "5"}
    meta |= {"creationTimestamp": BORN, **({"namespace": namespace} if namespace else {})}
    if owner:
        meta["ownerReferences"] = [{"uid": owner, "kind": "X", "name": "x", "controller": True}]
    return {"metadata": meta | more.pop("metadata", {}), "spec": {}, **more}


WEB = item("web", uid="s1")
POD = item("web-im00000000-aaaaa", owner="s1", metadata={"labels": {LABEL_SERVICE: "web"}})
STRANGER = item("other", owner="s2", metadata={"labels": {LABEL_SERVICE: "web"}})


def names(
    world: World, word: str = "service", namespace: str = "shop", of: str = "web"
) -> list[str]:
    owner = world.owner(word, namespace, of)
    assert owner is not None
    view = one(owner, world.belongings(owner), moment(BORN) + 60)
    return [bar["name"] for lane in view["lanes"] for bar in lane["bars"]]


def test_pods_of_strangers_are_not_shown() -> None:
    async def work(world: World) -> None:
        assert names(world) == [POD["metadata"]["name"]]

    mirrored(Cluster(immutableservices=[WEB], pods=[POD, STRANGER]), work)


def test_pod_that_vanishes_stays_with_its_end() -> None:
    cluster = Cluster(immutableservices=[WEB], pods=[POD])

    async def work(world: World) -> None:
        cluster.send("pods", "DELETED", POD)
        owner = world.owner("service", "shop", "web")
        assert owner is not None
        await until(world, lambda: not world.belongings(owner).items)
        [gone] = world.belongings(owner).departed
        assert gone.name == POD["metadata"]["name"]
        assert gone.retired is not None

    mirrored(cluster, work)


def test_pool_is_shown_with_its_nodes_and_the_record_in_the_namespace_of_the_operator() -> None:
    pool = item("workers", uid="p1", namespace="")
    node = item("node-a", namespace="", metadata={"labels": {LABEL_POOL: "workers"}})
    entry = {"slot": 7, "name": "workers-im00000000-zzzzz", "uid": "gone", "born": BORN}
    entry |= {"retired": BORN}
    lineage = item("pool.workers", owner="p1", namespace="immutable-system")
    lineage["spec"] = {"pool": "workers", "replacements": [entry]}

    async def work(world: World) -> None:
        [owner] = world.owners()
        assert (owner.kind.word, owner.name) == ("pool", "workers")
        found = names(world, "pool", "", "workers")
        assert entry["name"] in found
        assert len(found) == 2

    mirrored(Cluster(immutablenodepools=[pool], nodes=[node], immutablelineages=[lineage]), work)


def test_kinds_that_may_not_be_listed_delay_nothing_and_are_named() -> None:
    cluster = Cluster(immutableservices=[WEB])
    cluster.refused = {"pods", "immutablefreezes"}

    async def work(world: World) -> None:
        owner = world.owner("service", "shop", "web")
        assert owner is not None
        assert world.belongings(owner).items is None
        assert world.link.refused == ["immutablefreezes", "pods"]
        assert world.link.trouble is None

    mirrored(cluster, work)


def test_freeze_without_a_beginning_holds_since_it_was_created() -> None:
    freeze = item("q4", namespace="", spec={"reason": "closing", "until": "2027-01-16T00:00:00Z"})

    async def work(world: World) -> None:
        owner = world.owner("service", "shop", "web")
        assert owner is not None
        [found] = world.belongings(owner).freezes
        assert found.content.begins == moment(BORN)

    mirrored(Cluster(immutableservices=[WEB], immutablefreezes=[freeze]), work)


def test_each_kind_is_watched_once_however_much_happens() -> None:
    cluster = Cluster(immutableservices=[WEB])

    async def work(world: World) -> None:
        for number in range(3):
            cluster.send("immutableservices", "ADDED", item(f"more-{number}"))
        await until(world, lambda: len(world.owners()) == 4)
        await until(world, lambda: len(cluster.watches) == 7)
        assert set(cluster.watches.values()) == {1}

    mirrored(cluster, work)
