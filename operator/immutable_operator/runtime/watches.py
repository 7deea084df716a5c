"""Watches: the view of the cluster of one replica, and which parts are notified of which change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
import structlog

from immutable_operator.admission.fault import Chosen
from immutable_operator.api.names import LABEL_SERVICE
from immutable_operator.domain.model import CONFIG_MAP, SECRET
from immutable_operator.instances.driver import Driver
from immutable_operator.instances.nodes.watched import Nodes
from immutable_operator.instances.pods.codec import PODS, decode_pod
from immutable_operator.instances.pods.driver import PodDriver
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reflector import Reflector, Sink
from immutable_operator.kube.store import Children, Owners
from immutable_operator.runtime.claims import Claims
from immutable_operator.runtime.contents import Contents
from immutable_operator.runtime.gateway import Gateway
from immutable_operator.runtime.guards import Guards
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.node_watches import NodeOptions, NodeWatches
from immutable_operator.runtime.orphan_actions import OrphanActions
from immutable_operator.runtime.queue import KeyQueue
from immutable_operator.runtime.readers import Readers
from immutable_operator.runtime.schedules import Schedules
from immutable_operator.runtime.secrets import PinnedSecrets, SecretOptions
from immutable_operator.wire.action import ACTIONS, ActionRecord, decode_action
from immutable_operator.wire.budget import BUDGETS, BudgetRecord, decode_budget
from immutable_operator.wire.check import CHECKS, Checks, decode_check
from immutable_operator.wire.claim import CLAIMS
from immutable_operator.wire.config import CONFIG_PATHS, ConfigRecord, Configs, decode_config
from immutable_operator.wire.freeze import FREEZES, Freezes, decode_freeze
from immutable_operator.wire.node import NODES, decode_node
from immutable_operator.wire.owner import POOL, SERVICE, OwnerRecord
from immutable_operator.wire.revision import REVISIONS, RevisionRecord, decode_revision
from immutable_operator.wire.route import ROUTES, RouteRecord, decode_route, owners_of_route

__all__ = ["Watches"]

log = structlog.get_logger()
# How long a new leader waits for its watches to show what the leader before had seen.
CATCH_UP_SECONDS = 1.0
# How long it waits for bookmarks, which tell that after a leader that said nothing.
BOOKMARK_SECONDS = 3.0
# Up to so many objects, a list takes no longer than a bookmark.
FEW = 2000
# An old view of these would do harm; one of budgets and Services costs a refused write.
LISTED = frozenset((PODS.resource, REVISIONS.resource, NODES.resource, CLAIMS.resource))
T = TypeVar("T")
Decode = Callable[[bytes | msgspec.Raw], T]


class Watches:
    """The stores of a replica, the reflectors that fill them, and the routing of changes.

    ``queue`` receives the uid of each owner whose view changed.
    """

    def __init__(
        self,
        client: KubeClient,
        metrics: Metrics,
        queue: KeyQueue[str],
        *,
        secrets: bool = False,
        pinning: SecretOptions | None = None,
        break_glass: bool = False,
        nodes: NodeOptions | None = None,
        gateway: bool = False,
        enforcement: Chosen | None = None,
    ) -> None:
        self._client, self._metrics, self._queue = client, metrics, queue
        self.few = FEW
        self.owners: Owners[OwnerRecord] = Owners(self._owner_changed)
        self.claims = Claims(client, self.owners, queue.add, metrics)
        self.pods = self.claims.pods
        self.revisions: Children[RevisionRecord] = Children(queue.add, self.owners.home)
        kinds = (CONFIG_MAP, SECRET) if secrets else (CONFIG_MAP,)
        self.configs = {kind: Configs(kind, self._config_changed) for kind in kinds}
        self.contents = Contents(client, self.configs[CONFIG_MAP], queue.add)
        self.secrets = PinnedSecrets(client, pinning or SecretOptions(), queue.add)
        self.actions: Children[ActionRecord] = Children(self._action_changed)
        self.orphan_actions = OrphanActions(
            client,
            self.owners,
            self.actions,
            (SERVICE,) if nodes is None else (SERVICE, POOL),
            home=nodes.home if nodes else "",
        )
        self.budgets: Children[BudgetRecord] = Children(self._budgets_changed)
        self.routes: Children[RouteRecord] = Children(self._routes_changed)
        self.gateway = Gateway(client, self.owners, queue.add, enabled=gateway)
        self.freezes = Freezes(self.all_again)
        self.checks = Checks(self._checks_changed)
        self.guards = Guards(
            client,
            metrics,
            self.all_again,
            break_glass=break_glass,
            nodes=nodes.scope if nodes else None,
            chosen=enforcement,
        )
        self.nodes = Nodes(self._pools_changed, self._node_ended, client.clock.time)
        self.drivers: dict[str, Driver] = {
            SERVICE.word: PodDriver(client, self.pods, client.clock.time)
        }
        self.pools: NodeWatches | None = None
        if nodes is not None:
            self.pools = NodeWatches(client, self.nodes, nodes, self.owners, self._pools_changed)
            self.drivers[POOL.word] = self.pools.driver
        self._readers = Readers()
        self.schedules = Schedules()
        self.reflectors: tuple[Reflector[Any], ...] = (
            self._reflector(PODS, decode_pod, self.pods, selector=LABEL_SERVICE),
            self._reflector(REVISIONS, decode_revision, self.revisions),
            *(
                self._reflector(CONFIG_PATHS[kind], decode_config, configs, metadata_only=True)
                for kind, configs in self.configs.items()
            ),
            *self.guards.reflectors,
            self._reflector(ACTIONS, decode_action, self.actions),
            self._reflector(FREEZES, decode_freeze, self.freezes),
            self._reflector(CHECKS, decode_check, self.checks, optional=True),
            self._reflector(BUDGETS, decode_budget, self.budgets),
            self._reflector(ROUTES, decode_route, self.routes, optional=True),
            self._reflector(NODES, decode_node, self.nodes),
            *(
                self._reflector(path, decode, sink, **options)
                for path, decode, sink, options in (
                    *self.gateway.sources,
                    *(self.pools.sources if self.pools else ()),
                )
            ),
        )

    def _reflector(
        self, path: ApiPath, decode: Decode[T], sink: Sink[T], **options: Any
    ) -> Reflector[T]:
        return Reflector(
            self._client,
            path.all(),
            path.resource,
            decode,
            sink,
            resumed=self._metrics.count_resumption,
            unreadable=self._metrics.count_unreadable,
            **options,
        )

    # Lists, for writes that stay invisible.

    def mark(self, resource: str) -> Callable[[], bool]:
        """Return a check whether a list of a collection that begins after this call is complete."""
        marks = [r.mark() for r in self.reflectors if r.resource == resource]
        return lambda: all(mark() for mark in marks)

    def relist(self, resource: str) -> None:
        """List a collection now."""
        for reflector in self.reflectors:
            if reflector.resource == resource:
                reflector.relist()

    def seen(self) -> dict[str, int]:
        """Return what the next leader must have seen: by collection the last change."""
        return {m.name: m.changed for m in self._depended_on()} | self._newest_owners()

    async def refresh(self, seen: Mapping[str, int]) -> bool:
        """Wait until the view shows the last write of the leader before.

        ``seen`` is what that one handed over (`seen`), empty if it said nothing: then the API
        server is asked. Instances and revisions that do not get so far in a moment are listed, too.
        Return whether the caller has to look whether owners are missing.
        """
        wanted = seen or await self._newest()
        until = time.monotonic() + (CATCH_UP_SECONDS if seen else BOOKMARK_SECONDS)
        while (late := self._behind(wanted)) & wanted.keys() and time.monotonic() < until:
            await asyncio.sleep(0.02)
        resources = {m.resource for m in self._depended_on() if m.name in late} & LISTED
        if self.pods.doubtful:
            resources.add(PODS.resource)
        marks = [self.mark(resource) for resource in resources]
        for resource in resources:
            self.relist(resource)
        while not all(mark() for mark in marks):
            await asyncio.sleep(0.02)
        # Where nothing had to be listed, the next leader began at once.
        log.info("view is current", told=bool(seen), listed=sorted(resources))
        return bool(late & self._newest_owners().keys())

    def hurry(self) -> None:
        """Have bookmarks come soon: this replica may be the next leader, and will wait for them."""
        if not self._is_small():
            for mirror in self._listed():
                mirror.hurry()

    async def _newest(self) -> dict[str, int]:
        """Ask up to which version instances and revisions go, and have their watches tell theirs.

        Nothing of a small view is asked: it is listed as fast.
        """
        if self._is_small():
            return {}
        mirrors = self._listed()
        before = [m.shown for m in mirrors]
        newest = await asyncio.gather(*(m.newest() for m in mirrors))
        found = {}
        for mirror, shown, version in zip(mirrors, before, newest, strict=True):
            # Versions that went back are those of a backup: only a list shows what it has.
            if version is not None and version >= shown:
                found[mirror.name] = version
                if mirror.shown < version:
                    mirror.hurry(version)
        return found

    def _is_small(self) -> bool:
        return len(self.pods) + len(self.revisions) <= self.few

    def _listed(self) -> list[Reflector[Any]]:
        return [mirror for mirror in self._depended_on() if mirror.resource in LISTED]

    def _behind(self, seen: Mapping[str, int]) -> set[str]:
        """The collections that do not show all of ``seen``."""
        shown = {m.name: m.shown for m in self._depended_on()} | self._newest_owners()
        return {name for name, at in shown.items() if name not in seen or at < seen[name]}

    def _newest_owners(self) -> dict[str, int]:
        """The highest version of an owner, by collection; kopf does not tell more."""
        kinds = (SERVICE,) if self.pools is None else (SERVICE, POOL)
        newest = {kind.path.resource: 0 for kind in kinds}
        for owner in self.owners:
            resource = owner.kind.path.resource
            newest[resource] = max(newest.get(resource, 0), owner.version)
        return newest

    def _depended_on(self) -> list[Reflector[Any]]:
        """The mirrors of what plans are about: an old view of them would do harm."""
        resources = [PODS.resource, REVISIONS.resource, BUDGETS.resource, ROUTES.resource]
        if self.pools is not None:
            resources += [NODES.resource, CLAIMS.resource]
        return [mirror for mirror in self.reflectors if mirror.resource in resources]

    @property
    def late(self) -> Iterable[str]:
        """The collections that have not been listed yet."""
        return [r.resource for r in self.reflectors if not r.synced.is_set()]

    # Routing of changes.

    def all_again(self) -> None:
        """Queue all owners: something changed that concerns every one of them."""
        for owner in self.owners:
            self._queue.add_later(owner.uid)

    def _pools_changed(self, of: str = "") -> None:
        """Plan the pools again: a node, a pod on one, or what nodes need changed.

        ``of`` is the name of the node or the uid of the pool that it concerns; it may concern
        others, too: the pods of one node need room on another.
        """
        for owner in self.owners:
            if owner.kind is POOL:
                self._queue.add(owner.uid)

    def _owner_changed(self, uid: str) -> None:
        self._queue.add(uid)
        owner = self.owners.get(uid)
        self._readers.update(uid, owner)
        if owner is not None:
            self.schedules.note(uid, owner.spec)
        self.orphan_actions.owner_changed(uid)

    def _budgets_changed(self, namespace: str) -> None:
        """Plan again the protected services of a namespace whose PodDisruptionBudgets changed."""
        for owner in self.owners:
            if owner.namespace == namespace and owner.spec.drain_protection:
                self._queue.add(owner.uid)

    def _routes_changed(self, key: str) -> None:
        """Plan again the services that have, or want, a Service of this namespace and name."""
        namespace, _, name = key.partition("/")
        for service in owners_of_route(name):
            owner = self.owners.named(SERVICE.key(namespace, service))
            if owner is not None and owner.spec.traffic is not None:
                self._queue.add(owner.uid)

    def _checks_changed(self, namespace: str) -> None:
        """Plan again the services of a namespace whose checks are in ImmutableChecks."""
        for owner in self.owners:
            if owner.namespace == namespace and any(check.ref for check in owner.spec.checks):
                self._queue.add(owner.uid)

    def _node_ended(self, name: str) -> None:
        """Plan again the services with a pod on a node whose end was announced or taken back."""
        for owner in self.owners:
            if any(pod.content.node == name for pod in self.pods.of(owner.uid)):
                self._queue.add(owner.uid)

    def _action_changed(self, concerned: str) -> None:
        self.orphan_actions.look_at(concerned)
        if owner := self.owners.named(concerned):
            self._queue.add(owner.uid)

    def _config_changed(self, kind: str, item: ConfigRecord, anew: bool) -> None:
        """Queue services that pin it or own its copy; if the object is new or another, all
        readers.
        """
        if kind == SECRET:
            self.secrets.news(item.namespace, item.name)
        if kind == CONFIG_MAP:
            for uid in self.contents.readers(item.namespace, item.name):
                self._queue.add(uid)
            if revision := self.revisions.get(item.revision):
                self._queue.add(revision.owner)
        if anew and not item.revision:
            for uid in self._readers.of(kind, item.namespace, item.name):
                self._queue.add(uid)

    def births(self) -> dict[str, list[float]]:
        """Return by kind of owner when its active instances were created (seconds since 1970)."""
        found: dict[str, list[float]] = {SERVICE.name: []}
        for owner in self.owners:
            known = self.drivers[owner.kind.word].observe(owner)
            born = [i.born for i in known if i.active]
            found.setdefault(owner.kind.name, []).extend(born)
        return found
