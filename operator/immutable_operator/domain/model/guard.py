"""Whether the cluster enforces the protections that the operator relies on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Guard"]


@dataclass(frozen=True, slots=True)
class Guard:
    """Whether the cluster enforces these protections, and what is wrong if it does not."""

    holds: bool
    reason: str
    message: str
