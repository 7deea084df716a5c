"""Looks after pods that lost their label or owner: hears of them, looks them up, claims them back.

Three ways lead here: a pod leaves the watch although nobody deleted it, a pod has our label and no
owner, and now and then a list of all pods that lack our label. Only the leader runs it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from immutable_operator.api.names import FIELD_MANAGER, LABEL_SERVICE
from immutable_operator.domain.instance import Instance
from immutable_operator.instances.claims import claim_body, is_lost, service_of, strays_in
from immutable_operator.instances.pods import PODS, PodRecord
from immutable_operator.kube.client import METADATA_LIST, KubeClient
from immutable_operator.kube.errors import ApiError, NotFound
from immutable_operator.kube.lease import NotLeader
from immutable_operator.kube.revisions import ObjectMeta
from immutable_operator.kube.services import ServiceRecord
from immutable_operator.kube.store import Children, Owners
from immutable_operator.runtime.metrics import Metrics

__all__ = ["Claims", "Pods"]

log = structlog.get_logger()
SWEEP_SECONDS = 600.0
PAGE = 500
TRIES = 5
OWNERS_REMEMBERED = 1000


class _Meta(msgspec.Struct):
    metadata: dict[str, Any]


class Pods(Children[PodRecord]):
    """All pods with our label. ``suspect`` is called with each that looks odd.

    One that loses its label or owner stays as it was last known until somebody has looked at it:
    it may still run, and get traffic.
    """

    def __init__(
        self, changed: Callable[[str], None], suspect: Callable[[PodRecord], None]
    ) -> None:
        super().__init__(changed)
        self._suspect = suspect
        self._adopted: dict[str, str] = {}
        self._gone: dict[str, dict[str, Instance]] = {}

    def gone(self, owner: str) -> dict[str, Instance]:
        """By name those of an owner that went since this was asked last, as they were in the end.

        A pod that is marked and forced away at once is seen by no plan before it is gone.
        """
        return self._gone.pop(owner, {})

    def _drop(self, item: PodRecord) -> None:
        super()._drop(item)
        self._gone.setdefault(item.owner, {})[item.content.name] = item.content
        if len(self._gone) > OWNERS_REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def replace(self, items: list[PodRecord], version: int) -> None:
        items = [self._with_owner(item) for item in items]
        super().replace(items, version)
        for item in items:
            if not item.owner and not item.content.terminating:
                self._suspect(item)

    def upsert(self, item: PodRecord, version: int) -> None:
        item = self._with_owner(item)
        before = self._by_uid.get(item.uid)
        odd = not item.owner or (before is not None and before.owner != item.owner)
        if item.content.terminating or not odd:
            super().upsert(item, version)
            return
        if before is None:
            super().upsert(item, version)
        self._suspect(item)
        self.advance(version)

    def remove(self, item: PodRecord, version: int) -> None:
        # A pod that was deleted says so in its last words, unless it was forced away.
        if item.uid in self._by_uid and not item.content.terminating:
            self._suspect(item)
            self.advance(version)
        else:
            self._adopted.pop(item.uid, None)
            super().remove(item, version)

    def adopt(self, uid: str, owner: str) -> None:
        """Count a pod as this owner's, whatever it says itself, as long as it is there."""
        self._adopted[uid] = owner
        if uid in self._by_uid:
            self._put(self._with_owner(self._by_uid[uid]))

    def _with_owner(self, item: PodRecord) -> PodRecord:
        owner = self._adopted.get(item.uid, item.owner)
        return item if owner == item.owner else msgspec.structs.replace(item, owner=owner)

    def forget(self, uid: str) -> None:
        """It is gone after all, or none of ours."""
        self._adopted.pop(uid, None)
        if uid in self._by_uid:
            self._drop(self._by_uid[uid])


class Claims:
    """Claims back what is an instance of a known service and is not found any more."""

    def __init__(
        self,
        client: KubeClient,
        services: Owners[ServiceRecord],
        changed: Callable[[str], None],
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._services = services
        self._metrics = metrics
        self._suspects: dict[str, tuple[str, str, int]] = {}
        self._news = asyncio.Event()
        self.pods = Pods(changed, self._suspect_record)

    def _suspect_record(self, pod: PodRecord) -> None:
        self.suspect(pod.uid, pod.namespace, pod.content.name)

    def suspect(self, uid: str, namespace: str, name: str) -> None:
        """Have a pod looked at; what has not the name of an instance is none of ours."""
        if service_of(name):
            self._suspects.setdefault(uid, (namespace, name, 0))
            self._news.set()
        else:
            self.pods.forget(uid)

    async def run(self) -> None:
        """For ever: what is heard of at once, everything else every ten minutes."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweeps())
            tasks.create_task(self._work())

    async def _sweeps(self) -> None:
        while True:
            try:
                await self.sweep()
            except (ApiError, msgspec.DecodeError) as error:
                log.warning("pods without our label not listed", error=str(error))
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Look through the metadata of all pods that lack our label."""
        token = ""
        while True:
            query: dict[str, str | int] = {"limit": PAGE, "labelSelector": f"!{LABEL_SERVICE}"}
            if token:
                query["continue"] = token
            page = await self._client.list(
                PODS.all(), resource="pods", accept=METADATA_LIST, **query
            )
            for meta in strays_in(page):
                self.suspect(meta.uid, meta.namespace, meta.name)
            token = msgspec.json.decode(page, type=_Meta).metadata.get("continue") or ""
            if not token:
                return

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            for uid, (namespace, name, tries) in list(self._suspects.items()):
                del self._suspects[uid]
                try:
                    if not await self.look(uid, namespace, name):
                        self.pods.forget(uid)
                except NotLeader:
                    raise
                except (ApiError, msgspec.DecodeError, msgspec.ValidationError) as error:
                    log.info("not claimed", namespace=namespace, pod=name, error=str(error))
                    if tries < TRIES:
                        self._suspects[uid] = (namespace, name, tries + 1)
            if self._suspects:
                await asyncio.sleep(1.0)
                self._news.set()

    async def look(self, uid: str, namespace: str, name: str) -> bool:
        """Claim one pod back if it is a lost instance of a service that lives.

        False if it is gone or none of ours.
        """
        owner = service_of(name)
        candidates = (s for s in self._services if (s.namespace, s.name) == (namespace, owner))
        service = next(candidates, None)
        if service is None or service.deleting:
            return False  # the garbage collector's, or nobody's
        path = PODS.item(namespace, name)
        try:
            answer = await self._client.get(path, resource="pods")
        except NotFound:
            return False
        metadata = msgspec.json.decode(answer, type=_Meta).metadata
        read = {key: value for key, value in metadata.items() if key != "managedFields"}
        meta = msgspec.convert(read, type=ObjectMeta)
        if meta.uid != uid or not is_lost(meta, service):
            return meta.uid == uid
        body = claim_body(service, meta, metadata, time.time())
        if body is None:
            log.warning("a pod looks like an instance and is none", namespace=namespace, pod=name)
            return False
        # Before the patch: its echo must find whose it is.
        self.pods.adopt(uid, service.uid)
        await self._client.patch(path, body, resource="pods", manager=FIELD_MANAGER)
        self._metrics.claims.inc()
        log.warning("claimed back", namespace=namespace, pod=name, service=service.name)
        return True
