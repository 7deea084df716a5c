"""A change freeze."""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.calendar.windows import Window

__all__ = ["Freeze"]


@dataclass(frozen=True, slots=True)
class Freeze:
    """A change freeze that selects the service; times in seconds, None if there is no bound."""

    name: str
    reason: str
    begins: float | None = None
    ends: float | None = None
    windows: tuple[Window, ...] = ()
    repairs: bool = False
