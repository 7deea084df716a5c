"""Services: how clients reach the instances of a service."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Port", "Route", "Traffic", "preview_name"]


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a Service. ``target`` is a port of the pods, by number or name.

    ``node_port`` None leaves the choice to the API server.
    """

    number: int
    target: int | str
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""
    node_port: int | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """The part of a Service that the operator writes, apart from its selector.

    ``annotations`` are pairs of key and value, sorted by key.
    """

    ports: tuple[Port, ...]
    type: str = "ClusterIP"
    session_affinity: str = "None"
    distribution: str = ""
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A Service that has the name of one of the operator's Services for a service.

    ``is_own`` says that the operator created it for this service; only then the other fields say
    more. ``revision`` is the id of the revision whose instances it selects, "" if it selects all
    instances of the service, None if it selects anything else. ``traffic`` is what the Service is,
    with all its annotations; ``digest`` is that of what the operator wrote last, as noted on the
    Service. ``editor`` is the last writer of its spec.
    """

    name: str
    uid: str
    is_own: bool = False
    revision: str | None = None
    traffic: Traffic | None = None
    digest: str = ""
    editor: str = ""
    is_leaving: bool = False


def preview_name(service: str) -> str:
    """Return the name of the Service by which a revision is reached before its promotion."""
    return f"{service}-preview"
