"""Conversion of times between seconds and the API server's text."""

from __future__ import annotations

import functools
import re
from datetime import UTC, date, datetime

__all__ = ["moment", "second", "stamp"]

# The API server's check of `format: date-time` accepts any separator before the fraction.
_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\D(\d+))?(?:[Zz]|([+-])(\d{2}):(\d{2}))",
    re.ASCII,
)
# The last second that RFC 3339 can express: an age of thousands of years ends later.
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
_EPOCH = date(1970, 1, 1).toordinal()
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097


def stamp(seconds: float) -> str:
    """Return RFC 3339 in UTC with microseconds, as in MicroTime."""
    return datetime.fromtimestamp(min(seconds, _LAST), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> float:
    """Return the seconds since the epoch of any RFC 3339 time that an API server stores.

    Raises ValueError, and nothing else, for any other value.
    """
    if not isinstance(text, str):
        raise ValueError(f"{str(text)[:40]!r} is not an RFC 3339 time")
    return _moment(text)


@functools.lru_cache(maxsize=4096)  # each version of an object comes with the same times
def _moment(text: str) -> float:
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not an RFC 3339 time")
    year, month, day, hours, minutes, seconds = (int(part) for part in found.groups()[:6])
    if hours > 23 or minutes > 59 or seconds > 60:
        raise ValueError(f"{text!r} is not a valid time of day")
    # RFC 3339 allows the year 0, Python does not; the calendar repeats every 400 years.
    shift = 0 if year else 1
    days = date(year + shift * _CYCLE_YEARS, month, day).toordinal() - shift * _CYCLE_DAYS
    fraction, sign, ahead_hours, ahead_minutes = found.groups()[6:]
    ahead = int(ahead_hours or 0) * 3600 + int(ahead_minutes or 0) * 60
    whole = (days - _EPOCH) * 86_400 + hours * 3600 + minutes * 60 + seconds
    return whole - (-ahead if sign == "-" else ahead) + float(f"0.{fraction or 0}")


def second(seconds: float) -> str:
    """Return RFC 3339 to the second, as in metav1.Time."""
    return datetime.fromtimestamp(min(int(seconds), _LAST), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
