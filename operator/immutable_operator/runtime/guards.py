"""Checks the guards: do the admission policies exist, are they complete, and do they refuse?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from immutable_operator.admission.fault import Chosen, Door, Fault, Found, NodeScope
from immutable_operator.admission.knock import Knocker
from immutable_operator.admission.selfcheck import (
    BREAK_GLASS,
    door_of,
    faults,
    guard_of,
    guard_of_pool,
)
from immutable_operator.api.names import LABEL_GUARD
from immutable_operator.domain.model import REACHED_INTO, Guard, PoolSpec
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError
from immutable_operator.kube.reflector import Reflector
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.wire.guard import (
    GUARD_PATHS,
    GuardStore,
    decode_guard,
    own_name,
)
from immutable_operator.wire.namespace import NAMESPACES, Namespaces, decode_namespace
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["Guards"]

log = structlog.get_logger()
# An upgrade replaces objects one after the other: intermediate states are not reported.
SETTLE_SECONDS = 2.0


class Guards:
    """What is wrong with the guards, kept up to date; ``changed`` is called when that changes."""

    def __init__(
        self,
        client: KubeClient,
        metrics: Metrics,
        changed: Callable[[], None],
        *,
        break_glass: bool,
        nodes: NodeScope | None = None,
        chosen: Chosen | None = None,
    ) -> None:
        self._client = client
        self._metrics = metrics
        self._changed = changed
        self._break_glass = break_glass
        self._nodes = nodes
        self._chosen = chosen or Chosen()
        self._namespaces = Namespaces(changed)
        self._news = asyncio.Event()
        self._stores = [GuardStore(self._news.set) for _ in GUARD_PATHS]
        heard: dict[str, Any] = {
            "resumed": metrics.count_resumption,
            "unreadable": metrics.count_unreadable,
        }
        self.reflectors: tuple[Reflector[Any], ...] = tuple(
            Reflector(
                client,
                path.all(),
                path.resource,
                decode_guard,
                store,
                selector=LABEL_GUARD,
                **heard,
            )
            for path, store in zip(GUARD_PATHS, self._stores, strict=True)
        )
        if self._chosen.by_label:
            self.reflectors += (
                Reflector(
                    client,
                    NAMESPACES.all(),
                    NAMESPACES.resource,
                    decode_namespace,
                    self._namespaces,
                    metadata_only=True,
                    **heard,
                ),
            )
        self._knocker = Knocker(self._door, self._news.set)
        self._faults: tuple[Fault, ...] | None = None
        self._user = ""

    def of(self, owner: OwnerRecord) -> Guard | None:
        """Return what to report in the status of a service or pool; None until it is known."""
        if self._faults is None:
            return None
        if self._nodes is None or owner.kind.is_namespaced:
            labels = self._namespaces.labels(owner.namespace)
            return guard_of(self._faults, owner.namespace, labels)
        pool = owner.spec.pool or PoolSpec()
        return guard_of_pool(self._faults, self._nodes, pool.on_drift(REACHED_INTO))

    async def look(self) -> None:
        """Compare once; the reflectors must have synced. Only the leader does this.

        The first probe of the webhook is waited for, which takes two seconds at most: otherwise
        each status would be written now, and again a moment later.
        """
        while not self._user:
            try:
                self._user = await own_name(self._client)
            except ApiError as error:
                log.warning("the operator's own user name is not known yet", error=str(error))
                await asyncio.sleep(5.0)
        if self._break_glass:
            await self._knocker.tried.wait()
        self._compare()

    async def probe(self) -> None:
        """Probe the webhook forever, in each replica: a new leader needs the result at once."""
        for reflector in self.reflectors:
            await reflector.synced.wait()
        await self._knocker.run()

    async def run(self) -> None:
        """Compare whenever something changed, forever."""
        while True:
            await self._news.wait()
            if self._faults is not None:  # what is not known yet is waited for already
                await asyncio.sleep(SETTLE_SECONDS)
            self._news.clear()
            self._compare()

    def _door(self) -> Door | None:
        return door_of(self._stores[-1].contents.get(BREAK_GLASS))

    def _compare(self) -> None:
        if self._break_glass and not self._knocker.known:
            return  # otherwise each status would be written now, and again a moment later
        policies, bindings, webhooks = (store.contents for store in self._stores)
        found = Found(policies, bindings, webhooks)
        trouble = self._knocker.trouble
        wrong = faults(
            found,
            self._user,
            break_glass=self._break_glass,
            trouble=trouble,
            nodes=self._nodes,
            chosen=self._chosen,
        )
        if wrong != self._faults:
            self._faults = wrong
            self._tell(wrong)

    def _tell(self, wrong: tuple[Fault, ...]) -> None:
        everywhere = [fault for fault in wrong if fault.everywhere]
        self._metrics.guarded.set(not everywhere)
        self._metrics.guard_faults.clear()
        for fault in everywhere:
            self._metrics.guard_faults.labels(fault.guard, fault.reason).set(1)
            log.warning(
                "protection is incomplete",
                guard=fault.guard,
                reason=fault.reason,
                why=fault.message,
            )
        self._changed()
