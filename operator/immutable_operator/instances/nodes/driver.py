"""The driver of nodes: births and ends through a provider, everything between on the Node.

What a provider must do is small (`Provider`). Verification and drain are the same for all of them:
they are recorded on the Node, in the same write that changes its taints.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from immutable_operator.api.names import (
    ANNOTATION_RETIRING,
    ANNOTATION_TAINTED,
    ANNOTATION_VERIFIED,
    FIELD_MANAGER,
    FINALIZER_POOL,
    LABEL_POOL,
    TAINT_RETIRING,
    TAINT_UNVERIFIED,
)
from immutable_operator.domain.model import (
    Admit,
    Cause,
    Create,
    End,
    Evict,
    Instance,
    Mark,
    Move,
    Probe,
    Protect,
    Quarantine,
    Retire,
)
from immutable_operator.instances.driver import InstanceMove, Refused, Seen, Template, outcome_of
from immutable_operator.instances.nodes.observe import smoke_name
from immutable_operator.instances.nodes.watched import Guests, Nodes
from immutable_operator.instances.pods.codec import PODS
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.kube.reading import written_version
from immutable_operator.kube.times import stamp
from immutable_operator.wire.node import NODES, NodeRecord
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.placement import Taint

__all__ = ["NodeDriver", "Provider"]

NO_SCHEDULE = "NoSchedule"
MOVES = {
    Retire: Move.RETIRE,
    Admit: Move.ADMIT,
    Mark: Move.MARK,
    Probe: Move.PROBE,
    Evict: Move.EVICT,
    End: Move.END,
    Protect: Move.PROTECT,
}


class Provider(Protocol):
    """Creates and deletes machines. ``name`` is its field in ``spec.provider`` of a pool."""

    name: str
    resource: str

    def observe(self, owner: OwnerRecord) -> Iterable[Instance]:
        """Yield the instances of a pool that this provider created."""
        ...

    def gone(self, owner: OwnerRecord) -> Iterable[Instance]:
        """Yield instances that vanished before they were verified, each once and once explained.

        As ended ones, in their last state.
        """
        ...

    def node(self, uid: str) -> NodeRecord | None:
        """Return the node of an instance; None if it has none (yet)."""
        ...

    def has(self, uid: str) -> bool:
        """Return whether an instance exists and is not being deleted."""
        ...

    async def create(self, owner: OwnerRecord, template: Template, birth: Create) -> Seen:
        """Start a machine; it is born with the taint of unverified nodes."""
        ...

    async def delete(self, name: str, uid: str) -> None:
        """Delete a machine, exactly this one. Raises `ApiError`."""
        ...


class NodeDriver:
    """Writes nodes. ``home`` is the namespace of smoke pods, ``pool`` returns a pool by its uid."""

    def __init__(
        self,
        client: KubeClient,
        nodes: Nodes,
        guests: Guests,
        providers: Iterable[Provider],
        home: str,
        pool: Callable[[str], OwnerRecord | None],
    ) -> None:
        self._pool = pool
        self._client, self._clock = client, client.clock.time
        self._nodes, self._guests, self._home = nodes, guests, home
        self._providers = {provider.name: provider for provider in providers}

    def observe(self, owner: OwnerRecord) -> tuple[Instance, ...]:
        return tuple(i for provider in self._providers.values() for i in provider.observe(owner))

    def gone(self, owner: OwnerRecord) -> Mapping[str, Instance]:
        return {i.name: i for provider in self._providers.values() for i in provider.gone(owner)}

    def resource(self, owner: OwnerRecord, move: Create | InstanceMove) -> str:
        match move:
            case Create():
                provider = self._providers.get(_provider_in(owner.spec.template or {}))
            case End():
                provider = self._of(move.uid)
            case Retire() if self._node(move.uid) is None:
                provider = self._of(move.uid)
            case Probe() | Evict():
                return PODS.resource
            case _:
                provider = None
        return provider.resource if provider else NODES.resource

    async def create(self, owner: OwnerRecord, template: Template, birth: Create) -> Seen:
        name = _provider_in(template)
        provider = self._providers.get(name)
        if provider is None:
            text = (
                f"provider {name} is not enabled; enable it in the values of the chart"
                " (nodes.simulated, nodes.karpenter.enabled)"
            )
            raise Refused(Cause.DEPENDENCY, text)
        return await provider.create(owner, template, birth)

    async def write(self, owner: OwnerRecord, move: InstanceMove) -> Seen:
        try:
            return await self._write(owner, move)
        except NotFound:
            return self.shows(owner, move)  # gone already; the view will show it
        except ApiError as error:
            raise outcome_of(MOVES[type(move)], error) from error

    async def _write(self, owner: OwnerRecord, move: InstanceMove) -> Seen:
        match move:
            case Retire():
                return await self._retire(owner, move)
            case Admit():
                return await self._admit(owner, move)
            case Mark():
                return await self._mark(owner, move)
            case Probe():
                await self._probe(owner, move)
            case Evict():
                await self._evict(move)
            case End():
                await self._end(move)
            case Protect():
                await self._protect(owner, move)
            case Quarantine():
                raise TypeError(f"no move for nodes: {move}")
        return self.shows(owner, move)

    async def _retire(self, owner: OwnerRecord, order: Retire) -> Seen:
        """Keep new pods off a node and record why; without a node delete its instance at once."""
        provider = self._of(order.uid)
        node = provider.node(order.uid) if provider else None
        if node is None:
            if provider is not None:
                await provider.delete(order.name, order.uid)
            return self.shows(owner, order)
        mark = {"since": stamp(self._clock()), "because": str(order.because)[:1024]}
        text = node.meta.annotations.get(ANNOTATION_RETIRING) or msgspec.json.encode(mark).decode()
        taint = Taint(TAINT_RETIRING, order.because.reason, NO_SCHEDULE)
        body = _change(node, {ANNOTATION_RETIRING: text}, TAINT_RETIRING, taint)
        body["spec"]["unschedulable"] = True
        return await self._patch(owner, node, body, order)

    async def _admit(self, owner: OwnerRecord, move: Admit) -> Seen:
        """Let workloads on a node, and record its facts, in one write."""
        node = self._node(move.uid)
        if node is None:
            return self.shows(owner, move)
        found = {"at": stamp(self._clock()), "facts": dict(node.facts)}
        text = node.meta.annotations.get(ANNOTATION_VERIFIED) or msgspec.json.encode(found).decode()
        body = _change(node, {ANNOTATION_VERIFIED: text}, TAINT_UNVERIFIED)
        return await self._patch(owner, node, body, move)

    async def _mark(self, owner: OwnerRecord, move: Mark) -> Seen:
        node = self._node(move.uid)
        if node is None:
            return self.shows(owner, move)
        mark = {"what": move.what[:512], "at": stamp(self._clock())}
        text = msgspec.json.encode(mark).decode()
        metadata = {"uid": node.uid, "annotations": {ANNOTATION_TAINTED: text}}
        return await self._patch(owner, node, {"metadata": metadata}, move)

    async def _patch(
        self, owner: OwnerRecord, node: NodeRecord, body: Mapping[str, Any], move: InstanceMove
    ) -> Seen:
        path = NODES.item("", node.name)
        answer = await self._client.patch(path, body, resource="nodes", manager=FIELD_MANAGER)
        version = written_version(answer)
        shows = self.shows(owner, move)
        return lambda: self._nodes.version >= version or shows()

    async def _probe(self, owner: OwnerRecord, move: Probe) -> None:
        node, pool = self._node(move.uid), owner.spec.pool
        if node is None or pool is None or pool.smoke is None:
            return
        body = smoke_pod(owner, node, move.name, pool.smoke, self._home)
        with contextlib.suppress(Conflict):
            path = PODS.collection(self._home)
            await self._client.create(path, body, resource=PODS.resource)

    async def _evict(self, move: Evict) -> None:
        precondition = {"preconditions": {"uid": move.uid}}
        if move.by_force:
            path = PODS.item(move.namespace, move.pod)
            await self._client.delete(path, precondition, resource=PODS.resource)
            return
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": move.pod, "namespace": move.namespace},
            "deleteOptions": precondition,
        }
        path = PODS.item(move.namespace, move.pod, "eviction")
        await self._client.create(path, body, resource="pods/eviction")

    async def _end(self, move: End) -> None:
        if (provider := self._of(move.uid)) is not None:
            await provider.delete(move.name, move.uid)

    async def _protect(self, owner: OwnerRecord, move: Protect) -> None:
        """Add or remove the finalizer; those of others stay."""
        others = [name for name in owner.finalizers if name != FINALIZER_POOL]
        body = {
            "metadata": {
                "uid": owner.uid,
                "resourceVersion": str(owner.version),
                "finalizers": [*others, FINALIZER_POOL] if move.waits else others,
            }
        }
        resource = owner.kind.path.resource
        await self._client.patch(owner.path(), body, resource=resource, manager=FIELD_MANAGER)

    def shows(self, owner: OwnerRecord, move: Create | InstanceMove) -> Seen:
        match move:
            case Create():
                return lambda: any(i.name == move.name for i in self.observe(owner))
            case Retire():
                return lambda: self._shows_mark(move.uid, ANNOTATION_RETIRING)
            case Admit():
                return lambda: self._shows_mark(move.uid, ANNOTATION_VERIFIED)
            case Mark():
                return lambda: self._shows_mark(move.uid, ANNOTATION_TAINTED)
            case Probe():
                return lambda: self._has_smoke_pod(move)
            case Evict():
                return lambda: self._is_leaving(move.uid)
            case End():
                return lambda: not any(p.has(move.uid) for p in self._providers.values())
            case Protect():
                return lambda: self._is_protected(owner.uid) in (None, move.waits)
            case Quarantine():
                raise TypeError(f"no move for nodes: {move}")

    def _is_protected(self, uid: str) -> bool | None:
        """Return whether the deletion of a pool waits for its nodes; None if it is gone."""
        known = self._pool(uid)
        return None if known is None else FINALIZER_POOL in known.finalizers

    def _shows_mark(self, uid: str, key: str) -> bool:
        """Return whether an instance is gone (or going), or its node has this annotation."""
        node = self._node(uid)
        return self._of(uid) is None or (node is not None and key in node.meta.annotations)

    def _node(self, uid: str) -> NodeRecord | None:
        provider = self._of(uid)
        return provider.node(uid) if provider else None

    def _has_smoke_pod(self, move: Probe) -> bool:
        node = self._node(move.uid)
        if node is None:
            return True
        return self._guests.named(node.name, self._home, smoke_name(move.name)) is not None

    def _is_leaving(self, uid: str) -> bool:
        pod = self._guests.get(uid)
        return pod is None or pod.terminating

    def _of(self, uid: str) -> Provider | None:
        return next((p for p in self._providers.values() if p.has(uid)), None)


def _provider_in(template: Template) -> str:
    return next(iter(template.get("provider") or {}), "")


def _change(
    node: NodeRecord, annotations: Mapping[str, str], key: str, taint: Taint | None = None
) -> dict[str, Any]:
    """Return a merge patch of this very version of a node; ``taint`` replaces that with ``key``."""
    kept = [other for other in node.taints if other.key != key]
    taints = [*kept, *([taint] if taint else [])]
    return {
        "metadata": {
            "uid": node.uid,
            "resourceVersion": node.meta.resource_version,
            "annotations": dict(annotations),
        },
        "spec": {"taints": msgspec.to_builtins(taints)},
    }


def smoke_pod(
    owner: OwnerRecord, node: NodeRecord, instance: str, spec: Mapping[str, Any], home: str
) -> dict[str, Any]:
    """Return the pod that must succeed on a new node; it is gone when the node is."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": smoke_name(instance),
            "namespace": home,
            "labels": {LABEL_POOL: owner.name},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.uid}
            ],
        },
        # Bound without the scheduler, which would respect the taint of unverified nodes.
        "spec": {**spec, "nodeName": node.name, "restartPolicy": "Never"},
    }
