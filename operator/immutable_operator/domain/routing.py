"""Routing: the Services of the operator, so that clients reach the instances of a service.

A Service selects by the labels that only the operator writes. What is to be is told from the spec
and the records alone; what is observed says only what is left to write.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from immutable_operator.domain.model import (
    Announcement,
    Cause,
    DeleteRoute,
    Move,
    Port,
    Refusal,
    Revision,
    Route,
    SetRoute,
    Traffic,
    preview_name,
)
from immutable_operator.domain.standing import live_revision
from immutable_operator.domain.turn import Turn
from immutable_operator.domain.weights import previewed_by_weight

__all__ = [
    "ROUTE_REFUSED",
    "ROUTE_TAKEN",
    "Routing",
    "digest_of",
    "name_taken",
    "route_as_set",
    "routing",
    "unrouted",
    "unswitched",
]

ROUTE_TAKEN: str = Cause.NAME_TAKEN
ROUTE_REFUSED = "ServiceRefused"
ROUTE_RESTORED = "ServiceRestored"
# An API server that is busy for a moment is no obstacle.
PASSING = 3
RouteMove = SetRoute | DeleteRoute


@dataclass(frozen=True, slots=True)
class Routing:
    """What is to be written now, what is said of it, and when refused writes may be retried."""

    moves: tuple[RouteMove, ...] = ()
    due: tuple[float, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    notes: tuple[str, ...] = ()


def routing(turn: Turn) -> Routing:
    """Return the writes that make the Services of a service what they are to be."""
    needed = () if turn.spec.suspend else tuple(_needed(turn))
    waits = {r.subject: r.retry_at for r in _refused(turn) if r.retry_at > turn.now}
    moves = tuple(move for move in needed if move.name not in waits)
    due = tuple(waits[move.name] for move in needed if move.name in waits)
    return Routing(moves, due, tuple(_restored(turn, moves)), tuple(map(_noted, moves)))


def _noted(move: RouteMove) -> str:
    if isinstance(move, DeleteRoute):
        return f"Service {move.name} is deleted"
    return f"Service {move.name} selects {move.revision or 'all instances'}"


def unrouted(turn: Turn) -> tuple[str, str] | None:
    """Return a reason and a sentence if a Service is not what it is to be, else None."""
    for wanted in _wanted(turn):
        found = _found(turn, wanted.name)
        if found is not None and not found.is_own:
            return ROUTE_TAKEN, name_taken(wanted.name)
    needed = {move.name for move in _needed(turn)}
    for refusal in sorted(_refused(turn), key=lambda r: r.subject):
        passing = refusal.cause is Cause.API_SERVER and refusal.attempts < PASSING
        if refusal.subject not in needed or passing:
            continue
        if refusal.cause is Cause.NAME_TAKEN:
            return ROUTE_TAKEN, refusal.message
        return ROUTE_REFUSED, f"Service {refusal.subject}: {refusal.message}"
    return None


def unswitched(turn: Turn, live: Revision) -> str | None:
    """Return what keeps the Service from selecting a promoted revision, in a sentence."""
    lacking = unrouted(turn)
    if lacking is None:
        return None
    return f"{live} gets the traffic when Service {turn.view.name} is switched: {lacking[1]}"


def name_taken(name: str) -> str:
    """Say that another Service has the name of a Service of the operator."""
    return (
        f"Service {name} exists and does not belong to this service, so the operator cannot create"
        " its own; delete that Service, or remove spec.traffic"
    )


def digest_of(wanted: SetRoute) -> str:
    """Return a digest of what is written, which tells edits by others from a change of ours.

    Fields without a value are left out, so that a field of a later release changes no digest.
    """
    told = _filled(asdict(wanted.traffic))
    told["ports"] = [_filled(asdict(port)) for port in wanted.traffic.ports]
    text = json.dumps([wanted.revision, told], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


def route_as_set(move: SetRoute) -> Route:
    """Return the Service as it is after it was written."""
    return Route(
        name=move.name,
        uid=f"service-{move.name}",
        is_own=True,
        revision=move.revision,
        traffic=move.traffic,
        digest=digest_of(move),
    )


def _wanted(turn: Turn) -> tuple[SetRoute, ...]:
    traffic, name, live = turn.spec.traffic, turn.view.name, live_revision(turn.view)
    if turn.spec.template is None or traffic is None:
        return ()
    route = SetRoute(name, _selected(turn, live), traffic)
    if turn.spec.blue_green is None and turn.spec.canary is None:
        return (route,)
    shown = _shown(turn, live)
    # What is outside of the cluster, and fixed ports of nodes, exist once.
    ports = tuple(replace(port, node_port=None) for port in traffic.ports)
    inside = replace(traffic, ports=ports, type="ClusterIP", annotations=())
    return route, SetRoute(preview_name(name), shown, inside)


def _shown(turn: Turn, live: Revision | None) -> str:
    """Return the revision by which the preview Service is to select, "" for all.

    One that gets traffic by a weight is selected until the weight was seen to be 0.
    """
    sent = previewed_by_weight(turn)
    if sent is not None and any(r.id == sent for r in turn.view.revisions):
        return sent
    wanted = turn.wanted or live
    return wanted.id if wanted else ""


def _selected(turn: Turn, live: Revision | None) -> str:
    """Return the revision that gets the traffic, "" for all.

    The Service is not switched to a revision of which fewer instances are available, unless these
    are enough.
    """
    found = _found(turn, turn.view.name)
    if live is None:
        return ""
    if found is None or not found.is_own or found.revision in (None, live.id):
        return live.id
    there = _available(turn, live.id)
    holds = there < turn.budget.desired and there < _available(turn, found.revision)
    return found.revision if holds and found.revision is not None else live.id


def _available(turn: Turn, revision: str | None) -> int:
    return turn.count_available(i for i in turn.view.instances if revision in ("", i.revision))


def _needed(turn: Turn) -> Iterator[RouteMove]:
    """Yield the writes that are left; a Service of somebody else is never written."""
    if turn.spec.template is None:
        return  # whether there is to be a Service cannot be told
    wanted = _wanted(turn)
    names = {each.name for each in wanted}
    for route in sorted(turn.view.routes, key=lambda r: r.name):
        if route.is_own and not route.is_leaving and route.name not in names:
            yield DeleteRoute(route.name, route.uid)
    for each in wanted:
        found = _found(turn, each.name)
        if found is None or (found.is_own and not found.is_leaving and not _is_as(found, each)):
            yield each


def _found(turn: Turn, name: str) -> Route | None:
    return next((route for route in turn.view.routes if route.name == name), None)


def _refused(turn: Turn) -> list[Refusal]:
    return [r for r in turn.view.refusals if r.move is Move.ROUTE]


def _is_as(found: Route, wanted: SetRoute) -> bool:
    return found.digest == digest_of(wanted) and not any(_differences(found, wanted))


def _differences(found: Route, wanted: SetRoute) -> Iterator[str]:
    """Yield the fields of a Service that are not as wanted.

    What others fill in is left to them: addresses, ports of nodes, annotations of their own.
    """
    given, traffic = found.traffic, wanted.traffic
    if given is None:
        yield "spec"
        return
    if found.revision != wanted.revision:
        yield "selector"
    if _compared(given, traffic) != _compared(traffic, traffic):
        yield "ports"
    if given.type != traffic.type:
        yield "type"
    if given.session_affinity != traffic.session_affinity:
        yield "sessionAffinity"
    if given.distribution != traffic.distribution:
        yield "trafficDistribution"
    if not set(traffic.annotations) <= set(given.annotations):
        yield "annotations"


def _compared(traffic: Traffic, wanted: Traffic) -> list[Port]:
    """Return ports in one order, without ports of nodes that the API server chose."""
    chosen = {(p.number, p.protocol) for p in wanted.ports if p.node_port is None}
    ports = sorted(traffic.ports, key=lambda p: (p.number, p.protocol, p.name))
    return [replace(p, node_port=None) if (p.number, p.protocol) in chosen else p for p in ports]


def _restored(turn: Turn, moves: tuple[RouteMove, ...]) -> Iterator[Announcement]:
    """Yield an event for each Service that somebody else changed."""
    for move in moves:
        found = _found(turn, move.name)
        if found is None or isinstance(move, DeleteRoute) or found.digest != digest_of(move):
            continue
        fields = ", ".join(_differences(found, move))
        by = f" by {found.editor}" if found.editor else ""
        text = f"Service {found.name} was changed{by}: {fields}; the operator restores it"
        yield Announcement(ROUTE_RESTORED, text, f"{found.uid}/{fields}/{found.editor}", True)
