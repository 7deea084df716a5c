"""Answers actions on services that do not exist, which would otherwise stay pending forever.

An action may be created shortly before its service (one commit, two objects), so it is given a
while. Only the leader answers, and each answer is written once.
"""

from __future__ import annotations

from typing import Any

import msgspec
import structlog

from immutable_operator.api.names import ACTION_PLURAL, FIELD_MANAGER
from immutable_operator.domain.model import Backoff
from immutable_operator.domain.staleness.requested import orphaned
from immutable_operator.kube.client import METADATA_LIST, KubeClient
from immutable_operator.kube.errors import NotFound
from immutable_operator.kube.store import Children, Owners
from immutable_operator.runtime.inquiry import Inquiry
from immutable_operator.wire.action import ACTIONS, ActionRecord, action_status
from immutable_operator.wire.service import SERVICES, ServiceRecord

__all__ = ["OrphanActions"]

log = structlog.get_logger()
RETRY = Backoff(10.0, 60.0)


class _List(msgspec.Struct):
    # The API server writes null for an empty list of metadata.
    items: list[dict[str, Any]] | None = None


class OrphanActions:
    """Checks whether the services of actions exist, when either changes.

    Keys are ``<namespace>/<service>``.
    """

    def __init__(
        self,
        client: KubeClient,
        services: Owners[ServiceRecord],
        actions: Children[ActionRecord],
    ) -> None:
        self._client = client
        self._services, self._actions = services, actions
        self._clock = client.clock.time
        self._inquiry = Inquiry("action not answered", self.step, retry=RETRY)
        self._heard: dict[str, str] = {}
        self._answered: dict[str, set[str]] = {}

    def look_at(self, concerned: str) -> None:
        """Note that an action on this service came, went or changed."""
        self._inquiry.renew(concerned)

    def service_changed(self, uid: str) -> None:
        """Note that the service with this uid changed; if it is gone, its actions are orphans."""
        if uid in self._heard and self._services.get(uid) is None:
            self._inquiry.renew(self._heard.pop(uid))

    async def run(self) -> None:
        """Run forever; only on the leader."""
        await self._inquiry.run()

    async def step(self, key: str) -> float | None:
        """Check once; return in how many seconds to check again, None to wait for news."""
        requests = [a.content for a in self._actions.of(key) if not a.ended]
        answered = self._answered.pop(key, set()) & {r.uid for r in requests}
        if answered:
            self._answered[key] = answered
        requests = [r for r in requests if r.uid not in answered]
        if not requests:
            return None
        namespace, _, name = key.partition("/")
        if self._has_service(key):
            return None
        now = self._clock()
        outcomes, due = orphaned(name, requests, now)
        if outcomes and await self._exists(namespace, name):
            return RETRY.first  # the watch has not shown it yet
        by_uid = {request.uid: request for request in requests}
        for outcome in outcomes:
            path = ACTIONS.item(namespace, outcome.name, "status")
            body = action_status(namespace, by_uid[outcome.uid], outcome, now)
            try:
                resource = f"{ACTION_PLURAL}/status"
                await self._client.apply(path, body, resource=resource, manager=FIELD_MANAGER)
            except NotFound:
                continue
            self._answered.setdefault(key, set()).add(outcome.uid)
            log.info("action", name=outcome.name, phase=outcome.phase, message=outcome.message)
        return None if due is None else max(0.0, due - now)

    def _has_service(self, key: str) -> bool:
        """Return whether there is such a service, whose own turn then answers."""
        namespace, _, name = key.partition("/")
        service = self._services.named(namespace, name)
        if service is not None:
            self._heard[service.uid] = key
        return service is not None

    async def _exists(self, namespace: str, name: str) -> bool:
        """Ask the API server itself, since the answer that follows is final."""
        page = await self._client.list(
            SERVICES.collection(namespace),
            resource=SERVICES.resource,
            accept=METADATA_LIST,
            fieldSelector=f"metadata.name={name}",
        )
        return bool(msgspec.json.decode(page, type=_List).items)
