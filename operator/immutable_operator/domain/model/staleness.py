"""Why an instance is stale, and what is known against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Evidence", "StaleReason", "Staleness"]


class StaleReason(StrEnum):
    """The reasons built so far; the names are those of birth certificates and metrics."""

    TAINTED = "Tainted"
    DRIFTED = "Drifted"
    EXPIRED = "Expired"
    REQUESTED = "Requested"
    OUTDATED = "Outdated"
    UNHEALTHY = "Unhealthy"


@dataclass(frozen=True, slots=True)
class Staleness:
    """A reason, its cause in words for people, and the request or slot that asked for it."""

    reason: StaleReason
    cause: str
    purpose: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.cause}"

    @property
    def deviates(self) -> bool:
        """Whether the instance is no longer what was born."""
        return self.reason in (StaleReason.TAINTED, StaleReason.DRIFTED)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a service's instances from elsewhere than from themselves.

    ``baselines`` is by uid the rightful generation of an instance, where it is not the first or
    is known by more than the instance itself; ``different`` holds pairs (pinned image, reported
    image id) that a registry proved to be different images; ``replaced`` is by uid a sentence about
    configuration that was deleted and made anew under an instance.
    """

    baselines: Mapping[str, int] = field(default_factory=dict)
    different: frozenset[tuple[str, str]] = frozenset()
    replaced: Mapping[str, str] = field(default_factory=dict)
