"""What the dashboard knows of the cluster: one watch a kind, shared by all its pages."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec
import structlog

from immutable_operator.api.names import LABEL_POOL, LABEL_SERVICE
from immutable_operator.cli.ancestry import NODES, PODS, living
from immutable_operator.cli.dashboard_mirror import Link, Mirror, leaving_since, slim
from immutable_operator.cli.objects import Json, controller_of
from immutable_operator.cli.owner import Owner
from immutable_operator.domain.lineage import Entry
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reflector import Reflector
from immutable_operator.kube.times import moment
from immutable_operator.wire.freeze import FREEZES, FreezeRecord, decode_freeze
from immutable_operator.wire.lineage import LINEAGES, decode_lineage, lineage_name
from immutable_operator.wire.owner import POOL, SERVICE, OwnerKind, OwnerRecord
from immutable_operator.wire.revision import REVISIONS

__all__ = ["Belongings", "World"]

MOST_DEPARTED = 500
KINDS: Mapping[str, OwnerKind] = {kind.word: kind for kind in (SERVICE, POOL)}


@dataclass(frozen=True)
class Belongings:
    """What belongs to one owner.

    ``records`` are its revisions, the oldest first; ``recorded`` is its lineage; ``departed`` are
    the entries of instances that this process saw vanish; ``items`` are its pods or nodes, None if
    they cannot be listed; ``freezes`` are those that select it.
    """

    records: Sequence[Json] = ()
    recorded: Sequence[Entry] = ()
    departed: Sequence[Entry] = ()
    items: Sequence[Json] | None = ()
    freezes: Sequence[FreezeRecord] = ()


class World:
    """Services, pools and what belongs to them, in a namespace ("": in all).

    ``version`` increases with each change; `until_changed` waits for the next one.
    """

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self.link = Link(self._bump)
        self.version = 0
        self._client, self._namespace = client, namespace
        self._news = asyncio.Condition()
        self._wakers: set[asyncio.Task[None]] = set()
        self._departed: deque[tuple[Json, float]] = deque(maxlen=MOST_DEPARTED)
        self._mirrors = {kind.path.resource: Mirror(self._bump) for kind in (SERVICE, POOL)}
        for path in (REVISIONS, LINEAGES, FREEZES):
            self._mirrors[path.resource] = Mirror(self._bump)
        for path in (PODS, NODES):
            self._mirrors[path.resource] = Mirror(self._bump, self._lost)
        self._reflectors = [
            self._watch(SERVICE.path),
            self._watch(POOL.path, everywhere=True, optional=True),
            self._watch(REVISIONS),
            self._watch(LINEAGES, optional=True),
            self._watch(FREEZES, everywhere=True),
            self._watch(PODS, selector=LABEL_SERVICE),
            self._watch(NODES, everywhere=True, selector=LABEL_POOL),
        ]
        client.count = self.link.count

    def _watch(
        self,
        path: ApiPath,
        *,
        everywhere: bool = False,
        selector: str = "",
        optional: bool = False,
    ) -> Reflector[Json]:
        url = path.all() if everywhere else path.collection(self._namespace)
        ignore: Callable[[bool], None] = lambda there: None  # noqa: E731
        return Reflector(
            self._client,
            url,
            path.resource,
            slim,
            self._mirrors[path.resource],
            selector=selector,
            served=ignore if optional else None,
        )

    async def run(self) -> None:
        """Mirror until cancelled; the API server may go away and come back."""
        # What the reflectors log is on the page: see `Link`.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run())

    async def until_changed(self, version: int, seconds: float) -> None:
        """Return when there is a newer version than this one, or after ``seconds``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: self.version != version)

    @property
    def listed(self) -> bool:
        """Whether each kind has been listed, or is refused: what is shown is complete."""
        refused = self.link.refused
        return all(r.synced.is_set() or r.resource in refused for r in self._reflectors)

    def now(self) -> float:
        """Return the time of the API server, in seconds since the epoch."""
        return self._client.clock.time()

    def owners(self) -> list[Owner]:
        """Return all services and pools by kind, namespace and name."""
        found = [
            self._owner(kind, body)
            for kind in KINDS.values()
            for body in self._mirrors[kind.path.resource]
        ]
        return sorted(found, key=lambda o: (o.kind.word == POOL.word, o.namespace, o.name))

    def owner(self, word: str, namespace: str, name: str) -> Owner | None:
        """Return a service or pool; None if there is none. Pools are looked up by name alone."""
        if (kind := KINDS.get(word)) is None:
            return None
        mirror = self._mirrors[kind.path.resource]
        body = mirror.get(namespace if kind.is_namespaced else "", name)
        return self._owner(kind, body) if body else None

    def _owner(self, kind: OwnerKind, body: Json) -> Owner:
        meta = body["metadata"]
        namespace = str(meta.get("namespace") or "")
        return Owner(self._client, kind, namespace, str(meta["name"]), body)

    def belongings(self, owner: Owner) -> Belongings:
        """Return what belongs to a service or pool."""
        uid = str(owner.body["metadata"]["uid"])
        records = [r for r in self._mirrors[REVISIONS.resource] if controller_of(r) == uid]
        resource = (PODS if owner.kind.is_namespaced else NODES).resource
        items = [i for i in self._mirrors[resource] if _belongs(i, owner, uid)]
        departed = [_ended(i, at) for i, at in self._departed if _belongs(i, owner, uid)]
        return Belongings(
            sorted(records, key=lambda r: int(r["spec"]["number"])),
            self._recorded(owner, uid),
            departed if owner.kind.is_namespaced else (),
            None if resource in self.link.refused and not items else items,
            self._freezes(owner),
        )

    def _recorded(self, owner: Owner, uid: str) -> tuple[Entry, ...]:
        name = lineage_name(owner.kind, owner.name)
        for item in self._mirrors[LINEAGES.resource]:
            # One of another owner is of a deleted service of that name.
            if item["metadata"]["name"] == name and controller_of(item) == uid:
                return decode_lineage(msgspec.json.encode(item)).entries
        return ()

    def _freezes(self, owner: Owner) -> list[FreezeRecord]:
        found = map(_freeze, self._mirrors[FREEZES.resource])
        record = OwnerRecord.of(owner.body, owner.kind, owner.namespace)
        return [freeze for freeze in found if freeze.selects(record)]

    def _lost(self, item: Json) -> None:
        self._departed.append((item, self.now()))

    def _bump(self) -> None:
        self.version += 1
        if not self._wakers:
            waker = asyncio.get_running_loop().create_task(self._wake())
            self._wakers.add(waker)
            waker.add_done_callback(self._wakers.discard)

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()


def _freeze(item: Json) -> FreezeRecord:
    """Return a freeze, which held nothing before it was created."""
    read = decode_freeze(msgspec.json.encode(item))
    created = moment(item["metadata"]["creationTimestamp"])
    begins = max(created, read.content.begins or created)
    return msgspec.structs.replace(read, content=replace(read.content, begins=begins))


def _belongs(item: Json, owner: Owner, uid: str) -> bool:
    """Return whether a pod or node is an instance: a pod has an owner reference, a node has not."""
    if item["metadata"]["labels"].get(owner.kind.label) != owner.name:
        return False
    return controller_of(item) == uid if owner.kind.is_namespaced else True


def _ended(item: Json, at: float) -> Entry:
    """Return the entry of an instance that was gone ``at`` that time."""
    entry = living([item])[0]
    asked = leaving_since(item)
    return replace(entry, retired=at if asked is None else min(at, asked))
