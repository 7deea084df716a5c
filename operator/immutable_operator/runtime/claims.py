"""Claims back pods that lost their label or owner: notices them, reads them, patches them.

There are three ways to notice one: a pod leaves the watch although it was not told to end, a pod
has our label and no owner, and, every ten minutes, a list of all pods without our label. A standby
checks the noticed ones, too: those that are gone must not be in its view when it leads. Only the
leader lists, and patches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from immutable_operator.api.names import FIELD_MANAGER, LABEL_SERVICE
from immutable_operator.domain.model import Backoff
from immutable_operator.instances.pods.codec import PODS, PodRecord
from immutable_operator.instances.pods.strays import claim_body, is_lost, service_of, strays_in
from immutable_operator.instances.pods.watched import Pods
from immutable_operator.kube.client import METADATA_LIST, KubeClient
from immutable_operator.kube.errors import ApiError, NotFound
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.reading import READ_ERRORS, decoded, metadata_of
from immutable_operator.kube.store import Owners
from immutable_operator.runtime.inquiry import Inquiry
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.wire.owner import SERVICE, OwnerRecord

__all__ = ["Claims"]

log = structlog.get_logger()
SWEEP_SECONDS = 600.0
PAGE = 500
# How long a standby leaves a lost pod to the leader before it looks again.
STANDBY_SECONDS = 5.0
RETRY = Backoff(1.0, 600.0)

Suspect = tuple[str, str, str]


class _Meta(msgspec.Struct):
    metadata: dict[str, Any]


class Claims:
    """Claims back instances of known services that lost their label or owner."""

    def __init__(
        self,
        client: KubeClient,
        services: Owners[OwnerRecord],
        changed: Callable[[str], None],
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._services = services
        self._metrics = metrics
        self._leads = False
        self._inquiry: Inquiry[Suspect] = Inquiry(
            "label and owner of a pod cannot be restored", self._look, retry=RETRY
        )
        self._unanswered: set[str] = set()
        self._patched_up_to = 0
        self.pods = Pods(changed, self._suspect_record, services.home)

    def _suspect_record(self, pod: PodRecord) -> None:
        self.suspect(pod.uid, pod.namespace, pod.content.name)

    def suspect(self, uid: str, namespace: str, name: str) -> None:
        """Have a pod checked; a pod without the name of an instance is not one of ours."""
        if service_of(name):
            self._inquiry.want((uid, namespace, name))
        else:
            self.pods.forget(uid)

    def is_settled(self) -> bool:
        """Return whether the view shows all patches, and none is without an answer."""
        return not self._unanswered and self._patched_up_to <= self.pods.version

    async def check(self) -> None:
        """Run forever, in each replica: check noticed pods at once."""
        await self._inquiry.run()

    async def lead(self) -> None:
        """Run forever, in the leader: look for other lost pods every ten minutes."""
        self._leads = True
        self._inquiry.renew_all()
        while True:
            try:
                await self.sweep()
            except (ApiError, *READ_ERRORS) as error:
                log.warning("pods without the service label cannot be listed", error=str(error))
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Check the metadata of all pods that lack our label."""
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
            token = decoded(page, _Meta).metadata.get("continue") or ""
            if not token:
                return

    async def _look(self, suspect: Suspect) -> float | None:
        found = await self.look(*suspect)
        if found is None:
            return STANDBY_SECONDS
        if found:
            self.pods.settle(suspect[0])
        else:
            self._unanswered.discard(suspect[0])
            self.pods.forget(suspect[0])
        return None

    async def look(self, uid: str, namespace: str, name: str) -> bool | None:
        """Claim one pod back if it is a lost instance of an existing service.

        Return False if it is gone or not one of ours, None if the leader has to claim it.
        """
        owner = service_of(name)
        service = self._services.named(SERVICE.key(namespace, owner)) if owner else None
        if service is None or service.deleting:
            return False  # the garbage collector will delete it, or it has no service
        path = PODS.item(namespace, name)
        try:
            answer = await self._client.get(path, resource="pods")
        except NotFound:
            return False
        metadata = metadata_of(answer)
        read = {key: value for key, value in metadata.items() if key != "managedFields"}
        meta = msgspec.convert(read, type=ObjectMeta)
        if meta.uid != uid or not is_lost(meta, service):
            self._answered(uid, metadata)
            return meta.uid == uid
        body = claim_body(service, meta, metadata, self._client.clock.time())
        if body is None:
            log.warning(
                "pod name matches an instance but the operator did not create it",
                namespace=namespace,
                pod=name,
            )
            return False
        if not self._leads:
            return None
        # Before the patch, because the event of the patch needs the owner.
        self.pods.adopt(uid, service.uid)
        self._unanswered.add(uid)
        answer = await self._client.patch(path, body, resource="pods", manager=FIELD_MANAGER)
        self._answered(uid, metadata_of(answer))
        self._metrics.claims.inc()
        log.warning(
            "label and owner of a pod restored", namespace=namespace, pod=name, service=service.name
        )
        return True

    def _answered(self, uid: str, metadata: Mapping[str, Any]) -> None:
        """Note the version of a pod that shows what was patched."""
        self._patched_up_to = max(self._patched_up_to, int(metadata["resourceVersion"]))
        self._unanswered.discard(uid)
