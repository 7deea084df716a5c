"""Why a move is made, and what is known against an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Because", "Evidence", "Reason"]


class Reason(StrEnum):
    """The reasons of births and retirements; the names are those of certificates and metrics."""

    CREATED = "Created"
    MISSING = "Missing"
    SCALED = "Scaled"
    ENDED = "Ended"
    TAINTED = "Tainted"
    DRIFTED = "Drifted"
    EXPIRED = "Expired"
    REQUESTED = "Requested"
    OUTDATED = "Outdated"
    UNHEALTHY = "Unhealthy"
    EVACUATING = "Evacuating"

    @property
    def is_stale(self) -> bool:
        """Whether it makes a living instance stale."""
        return self not in (Reason.CREATED, Reason.MISSING, Reason.SCALED, Reason.ENDED)

    @property
    def is_routine(self) -> bool:
        """Whether it replaces an instance that works by one of the same revision."""
        return self in (Reason.EXPIRED, Reason.REQUESTED, Reason.EVACUATING)


@dataclass(frozen=True, slots=True)
class Because:
    """A reason, its cause in words for people, and the request or slot that asked for it."""

    reason: Reason
    cause: str
    purpose: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.cause}"

    @classmethod
    def read(cls, text: str) -> Because | None:
        """What `str` made of one; None for a text that is none of ours."""
        reason, separator, cause = text.partition(": ")
        known = separator and reason in tuple(Reason)
        return cls(Reason(reason), cause) if known else None

    @property
    def deviates(self) -> bool:
        """Whether the instance is no longer what was born."""
        return self.reason in (Reason.TAINTED, Reason.DRIFTED)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a service's instances from elsewhere than from themselves.

    ``baselines`` is by uid the rightful generation of an instance, where it is not the first or
    is known by more than the instance itself; ``different`` holds pairs (pinned image, reported
    image id) that a registry proved to be different images; ``replaced`` is by uid a sentence about
    configuration that was deleted and recreated under an instance.
    """

    baselines: Mapping[str, int] = field(default_factory=dict)
    different: frozenset[tuple[str, str]] = frozenset()
    replaced: Mapping[str, str] = field(default_factory=dict)
