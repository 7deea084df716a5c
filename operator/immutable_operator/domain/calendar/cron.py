"""Slots: the moments at which a cron expression occurs in a time zone.

A slot occurs at the first moment at which the local clock shows its time or a later one. A slot
that daylight saving time skips therefore occurs right after the gap, and a slot that the clock
shows twice occurs once, the first time.

No function here raises: an expression that cannot be read or never occurs has no slots, and
``problem_of`` says why. Times outside the years 1970 to 9000 are moved to the nearest bound.
``tzdata`` is a dependency, so that zone data is available even if the system has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import ceil, floor, inf
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

__all__ = ["Cron", "problem_of", "wall"]

_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
_EXAMPLE = 'write five fields (minute hour day-of-month month day-of-week), such as "0 3 * * SUN"'
_MOST_CHARACTERS = 200
_LATEST = datetime(9000, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression of five fields in an IANA time zone.

    Times are seconds since the epoch, slots are whole seconds.
    """

    expression: str
    time_zone: str = "UTC"

    def next_after(self, t: float) -> float | None:
        """Return the first slot later than ``t``; None if there is none within 50 years."""
        second, gap = floor(_bounded(t)), _gaps(self.expression, self.time_zone)
        if gap.passed <= second < gap.following:
            return gap.following
        slot = _next_after(self.expression, self.time_zone, second)
        if slot is not None:
            gap.passed, gap.following = second, slot
        return slot

    def last_before(self, t: float) -> float | None:
        """Return the last slot earlier than ``t``; None if there is none within 50 years."""
        second, gap = ceil(_bounded(t)), _gaps(self.expression, self.time_zone)
        if gap.last < second <= gap.ahead:
            return gap.last
        slot = _last_before(self.expression, self.time_zone, second)
        if slot is not None:
            gap.last, gap.ahead = slot, second
        return slot

    def last_until(self, t: float) -> float | None:
        """Return the last slot that is not later than ``t``."""
        return self.last_before(floor(_bounded(t)) + 1)

    def slots_after(self, t: float) -> Iterator[float]:
        """Return all slots later than ``t``, in order; cheaper than repeated `next_after` calls."""
        return _slots_after(self.expression, self.time_zone, floor(_bounded(t)))


@dataclass(slots=True)
class _Gaps:
    """The stretches without a slot that were found last: plans ask again and again between two.

    The first slot after ``passed`` is ``following``, the last one before ``ahead`` is ``last``.
    """

    passed: float = inf
    following: float = -inf
    last: float = inf
    ahead: float = -inf


@lru_cache(maxsize=1024)
def _gaps(expression: str, time_zone: str) -> _Gaps:
    return _Gaps()


def wall(t: float, time_zone: str) -> str:
    """Return the local time for people: ``2026-11-22T03:00 Europe/Berlin``."""
    zone = _zone(time_zone)
    shown = datetime.fromtimestamp(_bounded(t), zone or UTC)
    return f"{shown:%Y-%m-%dT%H:%M} {time_zone if zone else 'UTC'}"


def problem_of(
    expression: str, time_zone: str, duration_seconds: float | None = None
) -> str | None:
    """Return why these are not a valid schedule or window, and what to do; None if they are."""
    if duration_seconds is not None and not 0 < duration_seconds < inf:
        return f"a window of {duration_seconds:g} s never opens; set its duration to 1s or more"
    if _zone(time_zone) is None:
        return (
            f'time zone "{time_zone[:64]}" is not known; use one of the IANA names, '
            "such as Europe/Berlin or UTC"
        )
    shown = expression[:_MOST_CHARACTERS]
    parts = expression.split()
    if len(parts) == 6:
        return f'schedule "{shown}" has six fields, and seconds are not supported; {_EXAMPLE}'
    if len(parts) != 5 or len(expression) > _MOST_CHARACTERS:
        return f'schedule "{shown}" cannot be read; {_EXAMPLE}'
    if field := _unreadable(expression):
        text = parts[_FIELDS.index(field)]
        return f'schedule "{shown}" cannot be read: "{text}" is not a valid {field}; {_EXAMPLE}'
    if Cron(expression, time_zone).next_after(0) is None:
        return (
            f'schedule "{shown}" never matches: none of its months has such a day; '
            "use another day, or L for the last day of each month"
        )
    return None


def _as_star(expression: str) -> str:
    """Replace question marks by stars: both mean any value, as in a CronJob."""
    fields = (field.split(",") for field in expression.split())
    return " ".join(
        ",".join(f"*{item[1:]}" if item.startswith("?") else item for item in field)
        for field in fields
    )


def _unreadable(expression: str) -> str | None:
    """Return the name of the field that cannot be read; None if all can be read."""
    expression = _as_star(expression)
    try:
        CronSim(expression, datetime(2000, 1, 1))
    except (CronSimError, ValueError) as error:
        field = str(error).removeprefix("Bad ")
        if field not in _FIELDS:
            return _FIELDS[0]
        minute, hour, day, month, weekday = expression.split()
        if field == "day-of-month" and month != "*":
            return _unreadable(f"{minute} {hour} {day} * {weekday}")
        return field
    return None


@lru_cache(maxsize=1024)
def _parsed(expression: str) -> CronSim | None:
    if len(expression.split()) != 5 or len(expression) > _MOST_CHARACTERS:
        return None
    try:
        return CronSim(_as_star(expression), datetime(2000, 1, 1))
    except (CronSimError, ValueError):
        return None


def _walk(expression: str, start: datetime, direction: int) -> Iterator[datetime]:
    """Yield the local slots from ``start`` (naive, exclusive) on: forward (1) or back (-1).

    cronsim's own handling of time zones is not used: it searches the past in the first of two equal
    hours, and its hourly expressions lose slots where the clock moves by half an hour.
    """
    parsed = _parsed(expression)
    if parsed is None:
        return iter(())
    steps = copy(parsed)
    steps.dt = start.replace(fold=0)
    steps.tick_direction = direction
    return steps


def _slots_after(expression: str, time_zone: str, t: int) -> Iterator[float]:
    zone = _zone(time_zone)
    if zone is None:
        return
    last = float(t)
    for shown in _walk(expression, datetime.fromtimestamp(t, zone).replace(tzinfo=None), 1):
        slot = _instant(shown, zone)
        if slot > last:
            yield slot
            last = slot


@lru_cache(maxsize=4096)
def _next_after(expression: str, time_zone: str, t: int) -> float | None:
    return next(_slots_after(expression, time_zone, t), None)


@lru_cache(maxsize=4096)
def _last_before(expression: str, time_zone: str, t: int) -> float | None:
    zone = _zone(time_zone)
    if zone is None:
        return None
    now = datetime.fromtimestamp(t, zone)
    start = now.replace(tzinfo=None)
    if now.fold:  # the second of two equal hours: all of the first one is past
        start += (now.replace(fold=0).utcoffset() or timedelta()) - (now.utcoffset() or timedelta())
    slots = (_instant(shown, zone) for shown in _walk(expression, start, -1))
    return next((slot for slot in slots if slot < t), None)


def _instant(shown: datetime, zone: ZoneInfo) -> float:
    """Return the first moment at which the clock shows ``shown`` (naive) or a later time."""
    before = shown.replace(tzinfo=zone, fold=0).timestamp()
    after = shown.replace(tzinfo=zone, fold=1).timestamp()
    if after >= before:
        return before
    low, high = floor(after), ceil(before)  # shown is in a gap, whose end lies between these
    offset = datetime.fromtimestamp(low, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return float(high)


def _zone(name: str) -> ZoneInfo | None:
    """Return the zone; None if it is unknown. ZoneInfo itself caches the zones that it has read.

    Lowercase names are not IANA names but aliases of the local machine (localtime, posixrules,
    right/UTC), and are rejected.
    """
    if not name[:1].isupper():
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, OSError, ValueError):
        return None


def _bounded(t: float) -> float:
    return min(max(t, 0.0), _LATEST)
