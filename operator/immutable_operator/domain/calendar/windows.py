"""Windows: the periods, opened by cron schedules, in which a replacement may start.

A window is open from each of its slots for a number of real seconds; windows that touch or overlap
are one. No windows at all means always open. ``cron.py`` defines what a slot is, also where the
clock changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from heapq import merge
from itertools import chain, islice
from math import inf

from immutable_operator.domain.calendar.cron import Cron, problem_of, wall

__all__ = [
    "Cron",
    "Window",
    "is_open",
    "last_open",
    "least_open",
    "next_close",
    "next_open",
    "problem_of",
    "wall",
]

_YEAR = 366 * 86400.0
_MOST_JOINED = 400
_MOST_SLOTS = 2000


@dataclass(frozen=True, slots=True)
class Window:
    """Open from each slot of ``cron`` for ``duration_seconds``."""

    cron: Cron
    duration_seconds: float


def is_open(windows: tuple[Window, ...], t: float) -> bool:
    """Return whether a replacement may start at ``t``. The moment of closing is outside."""
    if not windows:
        return True
    for window in windows:
        slot = window.cron.last_until(t)
        if slot is not None and t < slot + window.duration_seconds:
            return True
    return False


def next_open(windows: tuple[Window, ...], t: float) -> float | None:
    """Return the first moment from ``t`` on at which a window is open."""
    if is_open(windows, t):
        return t
    slots = (window.cron.next_after(t) for window in windows)
    return min((slot for slot in slots if slot is not None), default=None)


def next_close(windows: tuple[Window, ...], t: float) -> float | None:
    """Return when the window that is open at ``t`` closes; None while closed, or if no end is
    found.

    The search stops after 400 windows that follow each other without a gap.
    """
    if not windows or not is_open(windows, t):
        return None
    slots = (window.cron.last_until(t) for window in windows)
    end = _close_after(windows, max(slot for slot in slots if slot is not None))
    return None if end == inf else end


@lru_cache(maxsize=1024)
def _close_after(windows: tuple[Window, ...], slot: float) -> float:
    """Return the end of the period that is open at ``slot``, a slot of one of the windows.

    Each service that a freeze selects asks for it in each plan, and joined windows take tens of
    milliseconds; between two slots the answer is the same.
    """
    _, end = next(_stretches(windows, slot))
    return end


def last_open(windows: tuple[Window, ...], t: float) -> tuple[float, float] | None:
    """Return the last period that was open until ``t`` or closed before: its beginning and end.

    The end is at most ``t``; None if no window was open within 50 years. The beginning is that of
    one window, even if other windows adjoin it.
    """
    if not windows:
        return -inf, t
    found = []
    for window in windows:
        slot = window.cron.last_until(t)
        if slot is not None:
            found.append((min(t, slot + window.duration_seconds), -slot))
    if not found:
        return None
    end, begin = max(found)
    return -begin, end


@lru_cache(maxsize=1024)
def least_open(windows: tuple[Window, ...], span: float, start: float) -> tuple[float, float]:
    """Return the least open seconds in any ``span`` seconds of the year from ``start``, and where.

    For windows that open more often than 2000 times a year, only the first 2000 are counted. The
    computation takes some milliseconds for daily windows and tens of milliseconds for hourly ones;
    the answer is cached.
    """
    if not windows or span <= 0:
        return max(0.0, span), start
    stretches, horizon = _year(windows, span, start)
    if span > horizon - start:
        known = sum(end - begin for begin, end in stretches)
        return known * (span // (horizon - start)), start
    begins = [begin for begin, _ in stretches]
    before = [0.0]
    for begin, end in stretches:
        before.append(before[-1] + end - begin)

    def opened(t: float) -> float:
        at = bisect_right(begins, t)
        return before[at] - (max(0.0, stretches[at - 1][1] - t) if at else 0.0)

    # Open time is least in a span that begins when a window closes or ends when one opens.
    moments = chain((start,), (end for _, end in stretches), (begin - span for begin in begins))
    inside = (t for t in moments if start <= t <= horizon - span)
    return min((opened(t + span) - opened(t), t) for t in inside)


def _stretches(
    windows: tuple[Window, ...], t: float, most_slots: int | None = None
) -> Iterator[tuple[float, float]]:
    """Yield the open periods that end after ``t``, in order and joined where they touch.

    A period that joins more than 400 windows ends at infinity.
    """
    every = merge(*(_intervals(window, t) for window in windows))
    begin, end, joined = -inf, -inf, 0
    for slot, close in islice(every, most_slots):
        if slot <= end:
            end, joined = max(end, close), joined + 1
            if joined > _MOST_JOINED:
                yield begin, inf
                return
            continue
        if end > t:
            yield begin, end
        begin, end, joined = slot, close, 0
    if end > t:
        yield begin, end


def _intervals(window: Window, t: float) -> Iterator[tuple[float, float]]:
    last = window.cron.last_until(t)
    if last is not None:
        yield last, last + window.duration_seconds
    for slot in window.cron.slots_after(t):
        yield slot, slot + window.duration_seconds


def _year(
    windows: tuple[Window, ...], span: float, start: float
) -> tuple[list[tuple[float, float]], float]:
    """Return the open periods of the year (and ``span``) from ``start``, and up to when known."""
    horizon = start + _YEAR + span
    found: list[tuple[float, float]] = []
    for begin, end in _stretches(windows, start, _MOST_SLOTS):
        if begin >= horizon:
            return found, horizon
        found.append((max(begin, start), min(end, horizon)))
    return found, found[-1][1] if found else horizon
