"""Services on the wire: the operator's own, and others that have their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from immutable_operator.api.names import (
    ANNOTATION_DIGEST,
    FIELD_MANAGER,
    LABEL_REVISION,
    LABEL_SERVICE,
    SERVICE_KIND,
)
from immutable_operator.domain.model import Port, Route, SetRoute, Traffic, preview_name
from immutable_operator.domain.routing import digest_of
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import owned_metadata

__all__ = [
    "ROUTES",
    "RouteRecord",
    "decode_route",
    "names_of_routes",
    "owners_of_route",
    "route_body",
    "route_change",
    "route_key",
    "routes_of",
]

ROUTES = ApiPath("api/v1", "services")


class _Port(msgspec.Struct, rename="camel", frozen=True):
    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str | None = None
    app_protocol: str | None = None
    node_port: int = 0


class _Spec(msgspec.Struct, rename="camel", frozen=True):
    type: str = "ClusterIP"
    selector: dict[str, str] | None = None
    ports: list[_Port] | None = None
    session_affinity: str = "None"
    traffic_distribution: str | None = None


class _Service(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _Spec = _Spec()


class _Content(msgspec.Struct, frozen=True):
    """What is known of a Service that an ImmutableService owns.

    ``written`` are the keys of the annotations that the operator wrote.
    """

    selector: dict[str, str]
    traffic: Traffic
    digest: str
    editor: str
    is_leaving: bool
    written: frozenset[str] = frozenset()


class RouteRecord(msgspec.Struct, frozen=True):
    """A Service by namespace and name (``owner`` of the store), and whose it is.

    Of a Service of somebody else only the name is kept.
    """

    uid: str
    owner: str
    namespace: str
    name: str
    service: str = ""
    content: _Content | None = None


def route_key(namespace: str, name: str) -> str:
    """Return the key of a Service in the store."""
    return f"{namespace}/{name}"


def decode_route(raw: bytes | msgspec.Raw) -> RouteRecord:
    """Bytes of a Service to its record; its status is not read."""
    meta = msgspec.json.decode(raw, type=_Partial).metadata
    key = route_key(meta.namespace, meta.name)
    if meta.owner.kind != SERVICE_KIND:
        return RouteRecord(meta.uid, key, meta.namespace, meta.name)
    spec = msgspec.json.decode(raw, type=_Service).spec
    told = {k: v for k, v in meta.annotations.items() if k != ANNOTATION_DIGEST}
    editor = meta.last_writer("f:spec")
    content = _Content(
        selector=spec.selector or {},
        traffic=Traffic(
            ports=tuple(_port(port) for port in spec.ports or ()),
            type=spec.type,
            session_affinity=spec.session_affinity,
            distribution=spec.traffic_distribution or "",
            annotations=tuple(sorted(told.items())),
        ),
        digest=meta.annotations.get(ANNOTATION_DIGEST, ""),
        editor="" if editor == FIELD_MANAGER else editor,
        is_leaving=meta.deletion_timestamp is not None,
        written=meta.annotations_of(FIELD_MANAGER),
    )
    return RouteRecord(meta.uid, key, meta.namespace, meta.name, meta.controller, content)


class _Partial(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


def _port(given: _Port) -> Port:
    return Port(
        number=given.port,
        target=given.port if given.target_port is None else given.target_port,
        name=given.name,
        protocol=given.protocol,
        app_protocol=given.app_protocol or "",
        node_port=given.node_port or None,
    )


def names_of_routes(service: str) -> tuple[str, ...]:
    """Return the names that the operator's Services for a service can have."""
    return service, preview_name(service)


def owners_of_route(name: str) -> set[str]:
    """Return the names of the services that can have a Service of this name."""
    return {name, name.removesuffix(preview_name(""))}


def routes_of(service: OwnerRecord, known: Iterable[RouteRecord]) -> tuple[Route, ...]:
    """Return the Services that belong to a service or have the name of one of its own."""
    found = []
    for record in known:
        content = record.content
        if record.service != service.uid or content is None:
            found.append(Route(record.name, record.uid))
            continue
        found.append(
            Route(
                name=record.name,
                uid=record.uid,
                is_own=True,
                revision=_revision(service.name, content.selector),
                traffic=content.traffic,
                digest=content.digest,
                editor=content.editor,
                is_leaving=content.is_leaving,
            )
        )
    return tuple(sorted(found, key=lambda route: route.name))


def _revision(service: str, selector: Mapping[str, str]) -> str | None:
    """Return which revision a selector selects, "" for all, None if it is another selector."""
    revision = selector.get(LABEL_REVISION, "")
    return revision if selector == _selector(service, revision) else None


def _selector(service: str, revision: str) -> dict[str, str]:
    """Return the selector; a pod in quarantine has another value of the label."""
    return {LABEL_SERVICE: service, **({LABEL_REVISION: revision} if revision else {})}


def route_body(service: OwnerRecord, wanted: SetRoute) -> dict[str, Any]:
    """Return the object to create."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            **owned_metadata(service, wanted.name),
            "annotations": _annotations(wanted),
        },
        "spec": _filled(_spec(service, wanted)),
    }


def route_change(service: OwnerRecord, wanted: SetRoute, known: RouteRecord) -> dict[str, Any]:
    """Return the merge patch of a Service of the operator: its own fields and nothing else.

    A list is replaced as a whole; what is to go from a map is null. The API server keeps the
    addresses and node ports that it chose.
    """
    content = known.content
    selector: Mapping[str, str] = content.selector if content else {}
    written = content.written if content else frozenset()
    spec = _spec(service, wanted)
    return {
        "metadata": {
            "uid": known.uid,
            "annotations": {**dict.fromkeys(sorted(written)), **_annotations(wanted)},
        },
        "spec": {**spec, "selector": {**dict.fromkeys(sorted(selector)), **spec["selector"]}},
    }


def _annotations(wanted: SetRoute) -> dict[str, str]:
    return {**dict(wanted.traffic.annotations), ANNOTATION_DIGEST: digest_of(wanted)}


def _spec(service: OwnerRecord, wanted: SetRoute) -> dict[str, Any]:
    traffic = wanted.traffic
    spec: dict[str, Any] = {
        "type": traffic.type,
        "externalName": None,
        "selector": _selector(service.name, wanted.revision),
        "ports": [_filled(_port_body(port)) for port in traffic.ports],
        "sessionAffinity": traffic.session_affinity,
        "trafficDistribution": traffic.distribution or None,
    }
    # With ClientIP, the timeout that others set is kept; without, the API server refuses one.
    return (
        spec if traffic.session_affinity == "ClientIP" else {**spec, "sessionAffinityConfig": None}
    )


def _port_body(port: Port) -> dict[str, Any]:
    return {
        "name": port.name or None,
        "port": port.number,
        "targetPort": port.target,
        "protocol": port.protocol,
        "appProtocol": port.app_protocol or None,
        "nodePort": port.node_port,
    }


def _filled(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}
