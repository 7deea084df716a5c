"""Times as the API server writes them, and back."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["moment", "second", "stamp"]


def stamp(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds, as in MicroTime."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def second(seconds: float) -> str:
    """RFC 3339 to the second, as in metav1.Time."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
