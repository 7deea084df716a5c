"""Moments and spans of time, in seconds, as the tests of calendars write them."""

from __future__ import annotations

from datetime import datetime

__all__ = ["DAY", "HOUR", "MINUTE", "at"]

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def at(text: str) -> float:
    """Seconds since the epoch of a time with its offset, ``2026-03-29T01:00+00:00``."""
    return datetime.fromisoformat(text).timestamp()
