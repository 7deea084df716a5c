"""Conversion of windows as users write them to windows that can be evaluated."""

from __future__ import annotations

from collections.abc import Iterable

from immutable_operator.api.duration import seconds
from immutable_operator.api.regeneration import Window
from immutable_operator.domain.calendar.windows import Cron, problem_of
from immutable_operator.domain.calendar.windows import Window as Opening

__all__ = ["windows_of", "windows_problem"]


def windows_of(windows: Iterable[Window]) -> tuple[Opening, ...]:
    """Return windows as users write them as windows that can be evaluated."""
    return tuple(
        Opening(Cron(window.schedule, window.zone), seconds(window.duration)) for window in windows
    )


def windows_problem(windows: Iterable[Window], path: str) -> str | None:
    """Return what is wrong with the first invalid window, or None."""
    for index, window in enumerate(windows):
        found = problem_of(window.schedule, window.zone, seconds(window.duration))
        if found:
            return f"{path}[{index}]: {found}"
    return None
