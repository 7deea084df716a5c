"""Durations as users write them: ``90s``, ``15m``, ``24h``, ``7d``."""

from typing import Annotated, Final

from pydantic import Field

__all__ = ["Duration", "seconds", "seconds_rule"]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Duration = Annotated[str, Field(pattern="^[1-9][0-9]{0,7}[smhd]$", max_length=9)]
"""A whole number and a unit: s, m, h or d."""


def seconds(duration: str) -> float:
    """Convert a duration that matches the pattern to seconds."""
    return float(int(duration[:-1]) * _UNITS[duration[-1]])


def seconds_rule(field: str) -> str:
    """Return the CEL expression for the seconds of ``field``, which must match the pattern."""
    number = f"int({field}.substring(0, size({field}) - 1))"
    unit = f"{field}.substring(size({field}) - 1)"
    return f"{number} * {{'s': 1, 'm': 60, 'h': 3600, 'd': 86400}}[{unit}]"
