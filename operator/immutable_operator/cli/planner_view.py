"""What the planner is given, read from the cluster as the operator sees it, with an edited spec.

What the person may not read is left out, and said. Secrets count as unchanged: their digests need
the operator's key.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from immutable_operator.api.names import LABEL_SERVICE
from immutable_operator.cli.ancestry import NODES, PODS
from immutable_operator.cli.contents import Contents
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import Owner
from immutable_operator.domain.foreseen import Assumed, Limit
from immutable_operator.domain.model import (
    ABSENT,
    CONFIG_MAP,
    SECRET,
    ConfigKey,
    DisruptionBudget,
    Evidence,
    Freeze,
    HttpRoute,
    Instance,
    NodeEnd,
    Request,
    Revision,
    Route,
    RouteLack,
    Source,
    Spec,
    View,
)
from immutable_operator.instances.nodes.observe import Observer
from immutable_operator.instances.nodes.watched import Daemons, Guests, Nodes, Volumes
from immutable_operator.instances.pods.codec import PodRecord, decode_pod
from immutable_operator.kube.errors import Forbidden, NotFound
from immutable_operator.kube.paths import ApiPath
from immutable_operator.wire.action import ACTIONS, decode_action
from immutable_operator.wire.budget import BUDGETS, covering, decode_budget
from immutable_operator.wire.config import CONFIG_MAPS, decode_config
from immutable_operator.wire.freeze import FREEZES, decode_freeze
from immutable_operator.wire.http_route import (
    HTTP_ROUTES,
    decode_http_route,
    lacking,
    observed,
)
from immutable_operator.wire.node import decode_node
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import decode_revision
from immutable_operator.wire.route import (
    ROUTES,
    RouteRecord,
    decode_route,
    names_of_routes,
    routes_of,
)
from immutable_operator.wire.status import stored_status

__all__ = ["Known", "read_view", "start_seconds"]

QUOTAS = ApiPath("api/v1", "resourcequotas")
# Where nothing was observed yet.
POD_START, NODE_START = 10.0, 120.0
POD_GRACE, NODE_DRAIN = 30.0, 60.0
DRIFTED = "Drifted"


@dataclass
class Known:
    """What is known: ``view``, what is assumed beyond it, and sentences about what is not known.

    ``is_observed`` says that the time until readiness was observed.
    """

    view: View
    assumed: Assumed
    is_observed: bool = False
    unknown: list[str] = field(default_factory=list)


async def read_view(owner: Owner, records: Sequence[Json], contents: Contents, now: float) -> Known:
    """Read everything that the planner needs of one owner. Raises `ApiError`."""
    return await _Reading(owner, contents, now).read(records)


@dataclass
class _Reading:
    owner: Owner
    contents: Contents
    now: float
    unknown: list[str] = field(default_factory=list)

    async def read(self, records: Sequence[Json]) -> Known:
        owner = OwnerRecord.of(self.owner.body, self.owner.kind, self.owner.namespace)
        revisions = tuple(decode_revision(msgspec.json.encode(r)).content for r in records)
        if self.owner.kind.is_namespaced:
            pods = await self._pods(owner)
            instances = tuple(pod.content for pod in pods)
            evidence = _evidence(self.owner, pods)
        else:
            instances, evidence = await self._nodes(owner), Evidence()
        spec, withheld = _without_unknown_secrets(owner.spec, revisions)
        budgets, limits = await self._budgets(owner)
        room, quota = await self._room()
        view = View(
            name=owner.name,
            namespace=owner.namespace,
            uid=owner.uid,
            generation=owner.generation,
            spec=spec,
            invalid=owner.invalid,
            deleting=owner.deleting,
            author=owner.author,
            instances=instances,
            revisions=revisions,
            evidence=evidence,
            requests=await self._requests(owner),
            freezes=await self._freezes(owner),
            budgets=budgets,
            routes=await self._routes(owner),
            http_route=await self._http_route(owner),
            ends=await self._ends(instances),
            configs=await self._configs(spec, revisions),
            snapshots=await self._snapshots(revisions),
            withheld=withheld,
            prior=stored_status(owner),
            retry=owner.retry,
        )
        observed = start_seconds(revisions, owner.raw_status, instances)
        is_pod = self.owner.kind.is_namespaced
        start = observed if observed is not None else (POD_START if is_pod else NODE_START)
        end = _grace(spec) if is_pod else NODE_DRAIN
        assumed = Assumed(start, end, limits, room, quota)
        return Known(view, assumed, observed is not None, self.unknown)

    async def _items(self, path: str, resource: str, **query: str) -> list[msgspec.Raw]:
        """Return the objects of a collection; none, and a sentence, if that is not permitted."""
        try:
            page = await self.owner.client.list(path, resource=resource, **query)
        except Forbidden as error:
            self.unknown.append(f"{error.message}: not taken into account")
            return []
        return msgspec.json.decode(page, type=_Page).items or []

    async def _pods(self, owner: OwnerRecord) -> list[PodRecord]:
        path = PODS.collection(owner.namespace)
        selector = f"{owner.kind.label}={owner.name}"
        page = await self.owner.client.list(path, resource="pods", labelSelector=selector)
        items = msgspec.json.decode(page, type=_Page).items or []
        return [pod for pod in map(decode_pod, items) if pod.owner == owner.uid]

    async def _nodes(self, owner: OwnerRecord) -> tuple[Instance, ...]:
        """Return the nodes of a pool, without the pods on them."""
        selector = f"{owner.kind.label}={owner.name}"
        found = await self._items(NODES.all(), NODES.resource, labelSelector=selector)
        nodes = [node for node in map(decode_node, found) if node.owner == owner.uid]
        stores = (Guests(_ignored), Daemons(_nothing), Volumes(_nothing))
        clock = self.now
        observer = Observer(
            Nodes(_ignored, _ignored, lambda: clock), *stores, frozenset(), owner.namespace
        )
        instances = (observer.instance(owner, node.meta, node) for node in nodes)
        # A claim has another name than its node, which says nothing here.
        return tuple(replace(instance, taint=None) for instance in instances)

    async def _budgets(
        self, owner: OwnerRecord
    ) -> tuple[tuple[DisruptionBudget, ...], tuple[Limit, ...]]:
        if not owner.kind.is_namespaced:
            return (), ()
        items = await self._items(BUDGETS.collection(owner.namespace), BUDGETS.resource)
        found = covering(owner, map(decode_budget, items))
        least = {}
        for item in items:
            body = msgspec.json.decode(item)
            needed = (body.get("status") or {}).get("desiredHealthy")
            least[body["metadata"]["uid"]] = int(needed or 0)
        others = [b for b in found if b.covers and not b.is_own]
        return found, tuple(Limit(b.name, least.get(b.uid, 0)) for b in others)

    async def _routes(self, owner: OwnerRecord) -> tuple[Route, ...]:
        """Return the Services of a service, and others with their names, if it wants any."""
        if owner.spec.traffic is None:
            return ()
        found: list[RouteRecord] = []
        for name in names_of_routes(owner.name):
            path, named = ROUTES.collection(owner.namespace), f"metadata.name={name}"
            items = await self._items(path, ROUTES.resource, fieldSelector=named)
            found += map(decode_route, items)
        return routes_of(owner, found)

    async def _http_route(self, owner: OwnerRecord) -> HttpRoute | None:
        """Return the HTTPRoute that a service names, if it can be read; else it is supposed."""
        ref = owner.spec.http_route
        if ref is None:
            return None
        namespace = ref.namespace or owner.namespace
        path, named = HTTP_ROUTES.collection(namespace), f"metadata.name={ref.name}"
        try:
            items = await self._items(path, HTTP_ROUTES.resource, fieldSelector=named)
        except NotFound:
            return lacking(namespace, ref.name, RouteLack.UNSERVED)
        found = [observed(owner, decode_http_route(item)) for item in items]
        return next(iter(found), lacking(namespace, ref.name, RouteLack.MISSING))

    async def _room(self) -> tuple[int | None, str]:
        """Return how many more pods the quotas of the namespace admit, and which one is least."""
        if not self.owner.kind.is_namespaced:
            return None, ""
        items = await self._items(QUOTAS.collection(self.owner.namespace), QUOTAS.resource)
        rooms = []
        for item in items:
            body = msgspec.json.decode(item)
            status = body.get("status") or {}
            hard, used = status.get("hard") or {}, status.get("used") or {}
            for key in {"pods", "count/pods"} & set(hard):
                left = _whole(hard[key]) - _whole(used.get(key))
                name = body["metadata"]["name"]
                rooms.append((left, f"ResourceQuota {name} admits {hard[key]} pods"))
        return min(rooms, default=(None, ""))

    async def _requests(self, owner: OwnerRecord) -> tuple[Request, ...]:
        items = await self._items(ACTIONS.collection(owner.namespace), ACTIONS.resource)
        actions = [decode_action(item) for item in items]
        return tuple(a.content for a in actions if a.owner == owner.key and not a.ended)

    async def _freezes(self, owner: OwnerRecord) -> tuple[Freeze, ...]:
        items = await self._items(FREEZES.all(), FREEZES.resource)
        return tuple(f.content for f in map(decode_freeze, items) if f.selects(owner))

    async def _ends(self, instances: Iterable[Instance]) -> dict[str, NodeEnd]:
        """Return the nodes with pods of the service that are about to be taken away."""
        names = {i.node for i in instances if i.node and i.machine is None}
        if not names:
            return {}
        items = await self._items(NODES.all(), NODES.resource)
        ending = [n for n in map(decode_node, items) if n.cause and n.name in names]
        return {n.name: NodeEnd(self.now, n.cause, n.announced) for n in ending}

    async def _configs(
        self, spec: Spec, revisions: Iterable[Revision]
    ) -> Mapping[ConfigKey, Source]:
        """Return what is known of the pinned objects: of Secrets what the last revision pinned."""
        pinned = _newest_pins(revisions)
        found = {}
        for key in spec.pinned:
            if key[0] == SECRET:
                found[key] = Source(pinned[key])
                continue
            held = await self.contents.read(key)
            digest = held.digest or None
            found[key] = Source(digest, held.problem if digest is None else "")
        return found

    async def _snapshots(self, revisions: Iterable[Revision]) -> frozenset[str]:
        """Return the names of the copies; those of Secrets are taken to be there."""
        pins = {(r.uid, p.snapshot, p.digest) for r in revisions for p in r.config}
        names = {p.snapshot for r in revisions for p in r.config if p.kind == SECRET}
        if any(p.kind == CONFIG_MAP and p.digest != ABSENT for r in revisions for p in r.config):
            where = CONFIG_MAPS.collection(self.owner.namespace)
            selector = f"{LABEL_SERVICE}={self.owner.name}"
            items = await self._items(where, CONFIG_MAPS.resource, labelSelector=selector)
            copies = map(decode_config, items)
            names |= {c.name for c in copies if (c.revision, c.name, c.digest) in pins}
        return frozenset(names)


class _Page(msgspec.Struct):
    items: list[msgspec.Raw] | None = None


def _ignored(name: str) -> None:
    """Nothing waits for news here."""


def _nothing() -> None:
    """Nothing waits for news here."""


def _evidence(owner: Owner, pods: Iterable[PodRecord]) -> Evidence:
    """Return what the operator found out about pods beyond what they show themselves."""
    told = {
        str(d["instance"]): str(d["message"])
        for d in owner.status.get("deviations") or ()
        if d.get("reason") == DRIFTED
    }
    known = [pod.content for pod in pods]
    # Scheduling gates explain a change of the spec before the pod got its node.
    baselines = {i.uid: i.generation for i in known if i.generation > 1 and not i.edited}
    replaced = {i.uid: told[i.name] for i in known if i.name in told}
    return Evidence(baselines=baselines, replaced=replaced)


def _without_unknown_secrets(
    spec: Spec, revisions: Iterable[Revision]
) -> tuple[Spec, frozenset[ConfigKey]]:
    """Return the spec without pinned Secrets of which no revision has a digest."""
    known = _newest_pins(revisions)
    withheld = frozenset(k for k in spec.pinned if k[0] == SECRET and k not in known)
    kept = {k: optional for k, optional in spec.pinned.items() if k not in withheld}
    return replace(spec, pinned=kept), withheld


def _newest_pins(revisions: Iterable[Revision]) -> dict[ConfigKey, str]:
    found: dict[ConfigKey, str] = {}
    for revision in sorted(revisions, key=lambda r: r.number):
        found |= revision.digests
    return found


def _grace(spec: Spec) -> float:
    pod: Mapping[str, Any] = (spec.template or {}).get("spec") or {}
    return float(pod.get("terminationGracePeriodSeconds") or POD_GRACE)


def _whole(text: Any) -> int:
    try:
        return int(str(text or 0))
    except ValueError:
        return 0


def start_seconds(
    revisions: Iterable[Revision], status: Mapping[str, Any], instances: Iterable[Instance]
) -> float | None:
    """Return how long instances took from birth to readiness; None if none was ever ready.

    The record of the revision that runs says it; else the living instances do.
    """
    current = status.get("currentRevision")
    for revision in revisions:
        if revision.id == current and revision.verdict.start_seconds is not None:
            return revision.verdict.start_seconds
    took = [i.ready_since - i.born for i in instances if i.ready_since is not None]
    return max(1.0, statistics.median(took)) if took else None
