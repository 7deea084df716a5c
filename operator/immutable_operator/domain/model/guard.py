"""Whether the cluster enforces what the operator relies on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Guard"]


@dataclass(frozen=True, slots=True)
class Guard:
    """Whether the cluster enforces what this operator relies on, and what is wrong if not."""

    holds: bool
    reason: str
    message: str
