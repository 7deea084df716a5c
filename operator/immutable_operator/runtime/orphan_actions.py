"""Answers actions on owners that do not exist, which would otherwise stay pending forever.

An action may be created shortly before its owner (one commit, two objects), so it is given a
while. Only the leader answers, and each answer is written once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import structlog

from immutable_operator.api.names import ACTION_PLURAL, FIELD_MANAGER
from immutable_operator.domain.model import Backoff
from immutable_operator.domain.staleness.requested import elsewhere, no_owner, orphaned
from immutable_operator.kube.client import METADATA_LIST, KubeClient
from immutable_operator.kube.errors import Conflict, NotFound
from immutable_operator.kube.store import Children, Owners
from immutable_operator.runtime.inquiry import Inquiry
from immutable_operator.wire.action import ACTIONS, ActionRecord, action_status
from immutable_operator.wire.owner import SERVICE, OwnerKind, OwnerRecord

__all__ = ["OrphanActions"]

log = structlog.get_logger()
RETRY = Backoff(10.0, 60.0)


class _List(msgspec.Struct):
    # The API server writes null for an empty list of metadata.
    items: list[dict[str, Any]] | None = None


class OrphanActions:
    """Checks whether the owners of actions exist, when either changes.

    Keys are those of the owners; ``kinds`` are the kinds that this operator watches,
    ``home`` is its namespace.
    """

    def __init__(
        self,
        client: KubeClient,
        owners: Owners[OwnerRecord],
        actions: Children[ActionRecord],
        kinds: Iterable[OwnerKind] = (SERVICE,),
        home: str = "",
    ) -> None:
        self._client = client
        self._owners, self._actions = owners, actions
        self._home = home
        self._kinds = {kind.word: kind for kind in kinds}
        self._clock = client.clock.time
        self._inquiry = Inquiry("outcome of an action cannot be written", self.step, retry=RETRY)
        self._heard: dict[str, str] = {}
        self._answered: dict[str, set[str]] = {}

    def look_at(self, concerned: str) -> None:
        """Note that an action on this owner came, went or changed."""
        self._inquiry.renew(concerned)

    def owner_changed(self, uid: str) -> None:
        """Note that the owner with this uid changed; if it is gone, its actions are orphans."""
        if uid in self._heard and self._owners.get(uid) is None:
            self._inquiry.renew(self._heard.pop(uid))

    async def run(self) -> None:
        """Run forever; only on the leader."""
        await self._inquiry.run()

    async def step(self, key: str) -> float | None:
        """Check once; return in how many seconds to check again, None to wait for news."""
        waiting = {a.uid: a for a in self._actions.of(key) if not a.ended}
        answered = self._answered.pop(key, set()) & waiting.keys()
        if answered:
            self._answered[key] = answered
        requests = [a.content for a in waiting.values() if a.uid not in answered]
        if not requests:
            return None
        if self._has_owner(key):
            return None
        word, namespace, name = key.split("/")
        now = self._clock()
        outcomes, due = orphaned(self._message(word, namespace, name), requests, now)
        kind = self._kinds.get(word)
        here = kind is not None and (kind.is_namespaced or namespace == self._home)
        if outcomes and kind is not None and here and await self._exists(kind, namespace, name):
            return RETRY.first  # the watch has not shown it yet
        for outcome in outcomes:
            path = ACTIONS.item(namespace, outcome.name, "status")
            body = action_status(waiting[outcome.uid], outcome, now)
            try:
                resource = f"{ACTION_PLURAL}/status"
                await self._client.apply(path, body, resource=resource, manager=FIELD_MANAGER)
            except (NotFound, Conflict):
                continue  # it is another one by now: the watch shows it
            self._answered.setdefault(key, set()).add(outcome.uid)
            log.info("action", name=outcome.name, phase=outcome.phase, message=outcome.message)
        return None if due is None else max(0.0, due - now)

    def _message(self, word: str, namespace: str, name: str) -> str:
        kind = self._kinds.get(word)
        if kind is not None and not kind.is_namespaced and namespace != self._home:
            return elsewhere(self._home)
        lacks = no_owner(word, name)
        return f"{lacks}; create it, or correct the name, and create another action"

    def _has_owner(self, key: str) -> bool:
        """Return whether there is such an owner, whose own turn then answers."""
        owner = self._owners.named(key)
        if owner is not None:
            self._heard[owner.uid] = key
        return owner is not None

    async def _exists(self, kind: OwnerKind, namespace: str, name: str) -> bool:
        """Ask the API server itself, since the answer that follows is final."""
        page = await self._client.list(
            kind.path.collection(namespace if kind.is_namespaced else ""),
            resource=kind.path.resource,
            accept=METADATA_LIST,
            fieldSelector=f"metadata.name={name}",
        )
        return bool(msgspec.json.decode(page, type=_List).items)
