"""Read-your-writes: no new plan for an owner until the view shows all writes for it.

It opens when the view shows a write, or when a list that began after it is complete; never because
time has passed. A write without a response is awaited in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Barrier", "Lists"]

Seen = Callable[[], bool]
# Seconds until a list is requested: a watch mostly shows a write within milliseconds.
PATIENCE = 10.0
PATIENCE_UNKNOWN = 2.0


class Lists(Protocol):
    """Lists of the collections that make up the view."""

    def mark(self, resource: str) -> Seen:
        """Return a check whether a list of a collection that begins after this call is complete."""
        ...

    def relist(self, resource: str) -> None:
        """Request a list now."""
        ...


@dataclass(slots=True)
class _Awaited:
    resource: str
    seen: Seen
    until: float
    listed: Seen | None = None

    @property
    def is_over(self) -> bool:
        return self.seen() or (self.listed is not None and self.listed())


class Barrier:
    """Writes of one owner that the view does not show yet. Times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._awaited: list[_Awaited] = []

    def expect(self, resource: str, seen: Seen, now: float, *, unknown: bool = False) -> None:
        """Note a write: ``seen`` checks whether the view shows it; ``unknown`` means no
        response.
        """
        patience = PATIENCE_UNKNOWN if unknown else PATIENCE
        self._awaited.append(_Awaited(resource, seen, now + patience))

    def is_open(self) -> bool:
        """Return whether the view shows all writes; forget those that it shows."""
        self._awaited = [awaited for awaited in self._awaited if not awaited.is_over]
        return not self._awaited

    def ask(self, now: float, lists: Lists) -> int:
        """Request lists for writes that are late; return the number of collections to list."""
        late = {a.resource for a in self._awaited if a.until <= now and a.listed is None}
        for resource in late:
            listed = lists.mark(resource)
            for awaited in self._awaited:
                if awaited.resource == resource:
                    awaited.listed = listed
            lists.relist(resource)
        return len(late)

    def due(self, now: float) -> float:
        """Return when to check again, at the latest."""
        waits = [a.until for a in self._awaited if a.listed is None]
        return max(now, min([*waits, now + 0.5]))
