"""HTTPRoutes of the Gateway API: what share of the traffic a new revision gets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["HttpRoute", "RouteLack", "RouteRef"]


@dataclass(frozen=True, slots=True)
class RouteRef:
    """The HTTPRoute that a spec names; ``namespace`` "" is that of the service."""

    name: str
    namespace: str = ""


class RouteLack(StrEnum):
    """Why the operator cannot use an HTTPRoute."""

    DISABLED = "Disabled"
    """The operator was installed without it."""
    UNSERVED = "Unserved"
    """The API server does not have the definition."""
    MISSING = "Missing"
    UNGRANTED = "Ungranted"
    """It is in another namespace, which does not permit the reference."""


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """An HTTPRoute that a service names, as observed.

    ``lack`` is why it cannot be written; what is known of it is observed all the same. ``rules`` is
    the number of its rules that refer to the Service of the service. In each of them ``percent`` of
    what the two Services get goes to the preview Service; None if the rules differ, or if it is no
    whole percentage. ``sends`` says that any of these rules sends something there. ``refused`` is a
    sentence if a gateway does not use the present rules, "" if all do; ``is_observed`` says that
    each has looked at them. ``version`` is the resource version, ``editor`` the last writer of the
    rules.
    """

    name: str
    namespace: str
    uid: str = ""
    version: int = 0
    lack: RouteLack | None = None
    rules: int = 0
    percent: int | None = None
    sends: bool = False
    is_observed: bool = False
    refused: str = ""
    editor: str = ""
