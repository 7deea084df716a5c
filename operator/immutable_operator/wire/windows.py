"""Windows as users write them to those that can be asked."""

from __future__ import annotations

from collections.abc import Iterable

from immutable_operator.api.duration import seconds
from immutable_operator.api.service import Window
from immutable_operator.domain.calendar.windows import Cron, problem_of
from immutable_operator.domain.calendar.windows import Window as Opening

__all__ = ["windows_of", "windows_problem"]


def windows_of(windows: Iterable[Window]) -> tuple[Opening, ...]:
    """Windows as users write them to those that can be asked."""
    return tuple(
        Opening(Cron(window.schedule, window.time_zone), seconds(window.duration))
        for window in windows
    )


def windows_problem(windows: Iterable[Window], path: str) -> str | None:
    """What is wrong with the first wrong one."""
    for index, window in enumerate(windows):
        found = problem_of(window.schedule, window.time_zone, seconds(window.duration))
        if found:
            return f"{path}[{index}]: {found}"
    return None
