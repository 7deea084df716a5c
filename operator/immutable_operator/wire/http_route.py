"""HTTPRoutes and ReferenceGrants of the Gateway API on the wire.

Lists of an HTTPRoute have no keys: server-side apply could only own all of its rules. So weights
are written by a JSON patch that names their positions, bound to the version that was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import msgspec

from immutable_operator.api.names import FIELD_MANAGER, GROUP, SERVICE_KIND
from immutable_operator.domain.model import HttpRoute, RouteLack, preview_name
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import version_of
from immutable_operator.wire.owner import OwnerRecord

__all__ = [
    "GRANTS",
    "HTTP_ROUTES",
    "GrantRecord",
    "HttpRouteRecord",
    "decode_grant",
    "decode_http_route",
    "http_route_key",
    "is_granted",
    "lacking",
    "observed",
    "weights_change",
]

HTTP_ROUTES = ApiPath("apis/gateway.networking.k8s.io/v1", "httproutes")
GRANTS = ApiPath("apis/gateway.networking.k8s.io/v1beta1", "referencegrants")
_GATEWAY = "gateway.networking.k8s.io"
_TRUE = "True"
_FALSE = "False"


class _Backend(msgspec.Struct, frozen=True):
    """A backendRef; ``body`` is all of it."""

    name: str = ""
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
    weight: int = 1


class _Rule(msgspec.Struct, rename="camel", frozen=True):
    backend_refs: list[msgspec.Raw] | None = None


class _Spec(msgspec.Struct, frozen=True):
    rules: list[_Rule] | None = None


class _Condition(msgspec.Struct, rename="camel", frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    observed_generation: int = 0


class _Parent(msgspec.Struct, frozen=True):
    conditions: list[_Condition] | None = None


class _Status(msgspec.Struct, frozen=True):
    parents: list[_Parent] | None = None


class _Route(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _Spec = _Spec()
    status: _Status = _Status()


class _Content(msgspec.Struct, frozen=True):
    """What plans depend on. ``rules`` are the backendRefs of each rule, as they are written."""

    version: int
    rules: tuple[tuple[bytes, ...], ...]
    is_observed: bool
    refused: str
    editor: str


class HttpRouteRecord(msgspec.Struct, frozen=True):
    """An HTTPRoute by namespace and name (``owner`` of the store)."""

    uid: str
    owner: str
    namespace: str
    name: str
    content: _Content


def http_route_key(namespace: str, name: str) -> str:
    """Return the key of an HTTPRoute in the store."""
    return f"{namespace}/{name}"


def decode_http_route(raw: bytes | msgspec.Raw) -> HttpRouteRecord:
    """Bytes of an HTTPRoute to its record; of its rules only the backendRefs are read."""
    body = msgspec.json.decode(raw, type=_Route)
    meta, editor = body.metadata, body.metadata.last_writer("f:spec")
    parents = [parent.conditions or [] for parent in body.status.parents or ()]
    content = _Content(
        version=version_of(meta.resource_version),
        rules=tuple(tuple(map(bytes, rule.backend_refs or ())) for rule in body.spec.rules or ()),
        is_observed=bool(parents) and all(_accepts(p, meta.generation) for p in parents),
        refused=next(_refusals(parents, meta.generation), ""),
        editor="" if editor == FIELD_MANAGER else editor,
    )
    key = http_route_key(meta.namespace, meta.name)
    return HttpRouteRecord(meta.uid, key, meta.namespace, meta.name, content)


def _accepts(conditions: Iterable[_Condition], generation: int) -> bool:
    return any(c.type == "Accepted" and c.observed_generation >= generation for c in conditions)


def _refusals(parents: Iterable[Iterable[_Condition]], generation: int) -> Iterator[str]:
    """Yield in sentences why a gateway does not use the present rules."""
    for condition in (c for conditions in parents for c in conditions):
        is_about_it = condition.type in ("Accepted", "ResolvedRefs")
        if is_about_it and condition.status == _FALSE:
            yield f"{condition.type} is False: {condition.reason}: {condition.message}"


def lacking(namespace: str, name: str, lack: RouteLack) -> HttpRoute:
    """Return an HTTPRoute that cannot be used."""
    return HttpRoute(name, namespace, lack=lack)


def observed(service: OwnerRecord, record: HttpRouteRecord) -> HttpRoute:
    """Return what an HTTPRoute does with the traffic of a service."""
    shares, sends, rules = set(), False, 0
    for rule in record.content.rules:
        pairs = list(_own(service, record, rule))
        if not any(name == service.name for _, name, _ in pairs):
            continue
        rules += 1
        whole = sum(backend.weight for _, _, backend in pairs)
        shown = sum(b.weight for _, name, b in pairs if name != service.name)
        sends = sends or shown > 0
        shares.add(Fraction(100 * shown, whole) if whole else None)
    share = shares.pop() if len(shares) == 1 else None
    percent = int(share) if share is not None and share.denominator == 1 else None
    content = record.content
    return HttpRoute(
        name=record.name,
        namespace=record.namespace,
        uid=record.uid,
        version=content.version,
        rules=rules,
        percent=percent,
        sends=sends,
        is_observed=content.is_observed,
        refused=content.refused,
        editor=content.editor,
    )


def _own(
    service: OwnerRecord, record: HttpRouteRecord, rule: Iterable[bytes]
) -> Iterator[tuple[int, str, _Backend]]:
    """Yield the backendRefs to the two Services of a service: position, name, and content."""
    names = (service.name, preview_name(service.name))
    for number, raw in enumerate(rule):
        backend = msgspec.json.decode(raw, type=_Backend)
        where = backend.namespace or record.namespace
        is_service = (backend.group, backend.kind) == ("", "Service")
        if is_service and where == service.namespace and backend.name in names:
            yield number, backend.name, backend


def weights_change(
    service: OwnerRecord, record: HttpRouteRecord, percent: int
) -> list[dict[str, Any]]:
    """Return the JSON patch that gives ``percent`` of the traffic to the preview Service.

    In each rule that refers to the Service; if it does not refer to the preview Service yet, a
    backendRef like that of the Service is added.
    """
    change: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/uid", "value": record.uid},
        # Another version than this one is a conflict, so that the positions are right.
        {
            "op": "replace",
            "path": "/metadata/resourceVersion",
            "value": str(record.content.version),
        },
    ]
    for number, rule in enumerate(record.content.rules):
        pairs = list(_own(service, record, rule))
        left = {service.name: 100 - percent, preview_name(service.name): percent}
        if not any(name == service.name for _, name, _ in pairs):
            continue
        path = f"/spec/rules/{number}/backendRefs"
        for position, name, _ in pairs:
            weight, left[name] = left[name], 0
            change.append({"op": "add", "path": f"{path}/{position}/weight", "value": weight})
        if not left[preview_name(service.name)]:
            continue
        like = next(position for position, name, _ in pairs if name == service.name)
        added = {**msgspec.json.decode(rule[like]), "name": preview_name(service.name)}
        added["weight"] = percent
        change.append({"op": "add", "path": f"{path}/-", "value": added})
    return change


class _Reference(msgspec.Struct, frozen=True):
    group: str = ""
    kind: str = ""
    namespace: str = ""
    name: str | None = None


class _GrantSpec(msgspec.Struct, frozen=True):
    sources: list[_Reference] | None = msgspec.field(name="from", default=None)
    targets: list[_Reference] | None = msgspec.field(name="to", default=None)


class _Grant(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _GrantSpec = _GrantSpec()


class _Permitted(msgspec.Struct, frozen=True):
    """Namespaces of ImmutableServices, and names of HTTPRoutes to which they may refer.

    "" as a name stands for all.
    """

    namespaces: frozenset[str]
    names: frozenset[str]


class GrantRecord(msgspec.Struct, frozen=True):
    """A ReferenceGrant by its namespace (``owner`` of the store)."""

    uid: str
    owner: str
    namespace: str
    name: str
    content: _Permitted


def decode_grant(raw: bytes | msgspec.Raw) -> GrantRecord:
    """Bytes of a ReferenceGrant to what it permits ImmutableServices."""
    body = msgspec.json.decode(raw, type=_Grant)
    meta, spec = body.metadata, body.spec
    sources = [r for r in spec.sources or () if (r.group, r.kind) == (GROUP, SERVICE_KIND)]
    targets = [r for r in spec.targets or () if (r.group, r.kind) == (_GATEWAY, "HTTPRoute")]
    content = _Permitted(
        frozenset(r.namespace for r in sources), frozenset(r.name or "" for r in targets)
    )
    return GrantRecord(meta.uid, meta.namespace, meta.namespace, meta.name, content)


def is_granted(grants: Iterable[GrantRecord], namespace: str, name: str) -> bool:
    """Return whether services of a namespace may refer to the HTTPRoute ``name``.

    ``grants`` are those in the namespace of the HTTPRoute.
    """
    return any(
        namespace in grant.content.namespaces and {name, ""} & grant.content.names
        for grant in grants
    )
