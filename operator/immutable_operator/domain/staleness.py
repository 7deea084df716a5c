"""Why an instance is stale. Every reason ends in the same two moves, create and retire."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from immutable_operator.domain.instance import Instance

__all__ = ["StaleReason", "Staleness", "staleness"]


class StaleReason(StrEnum):
    """The reasons built so far; the names are those of birth certificates and metrics."""

    OUTDATED = "Outdated"
    UNHEALTHY = "Unhealthy"


@dataclass(frozen=True, slots=True)
class Staleness:
    """A reason, and its cause in words for people."""

    reason: StaleReason
    cause: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.cause}"


def staleness(instance: Instance, wanted: str, wanted_number: int) -> Staleness | None:
    """Why ``instance`` is stale when revision ``wanted`` is wanted; None while it is current."""
    if instance.revision != wanted:
        cause = f"revision {wanted_number} ({wanted}) is wanted, this was {instance.revision}"
        return Staleness(StaleReason.OUTDATED, cause)
    if instance.ended:
        cause = instance.trouble.message if instance.trouble else "it ended"
        return Staleness(StaleReason.UNHEALTHY, cause)
    return None
