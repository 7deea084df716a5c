"""Why a move is made, and what is known about an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from immutable_operator.domain.model.admission import Change

__all__ = ["Because", "Evidence", "Reason"]


class Reason(StrEnum):
    """The reasons of births and retirements; birth certificates and metrics use these names."""

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
    REFUSED = "Refused"

    @property
    def is_stale(self) -> bool:
        """Whether this reason makes a living instance stale."""
        return self not in (Reason.CREATED, Reason.MISSING, Reason.SCALED, Reason.ENDED)

    @property
    def is_routine(self) -> bool:
        """Whether it replaces an instance that works by one of the same revision."""
        return self in (Reason.EXPIRED, Reason.REQUESTED, Reason.EVACUATING)


@dataclass(frozen=True, slots=True)
class Because:
    """A reason, its cause in words for people, and the request or slot that asked for it.

    ``is_reported`` says that the instance is kept all the same, and only reported.
    """

    reason: Reason
    cause: str
    purpose: str = ""
    is_reported: bool = False

    def __str__(self) -> str:
        return f"{self.reason}: {self.cause}"

    @classmethod
    def read(cls, text: str) -> Because | None:
        """Return the parsed output of `str`; None for any other text."""
        reason, separator, cause = text.partition(": ")
        known = separator and reason in tuple(Reason)
        return cls(Reason(reason), cause) if known else None

    @property
    def deviates(self) -> bool:
        """Whether the instance differs from its original state."""
        return self.reason in (Reason.TAINTED, Reason.DRIFTED)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a service's instances from other sources than the instances themselves.

    ``baselines`` is by uid the legitimate generation of an instance, if it is not 1 or was
    confirmed independently of the instance; ``different`` holds pairs (pinned image, reported image
    id) that a registry proved to be different images; ``replaced`` is by uid a sentence about
    configuration that was deleted and recreated while the instance was running; ``admission`` is by
    uid what admission changed in an instance that was not changed since, if that is known.
    """

    baselines: Mapping[str, int] = field(default_factory=dict)
    different: frozenset[tuple[str, str]] = frozenset()
    replaced: Mapping[str, str] = field(default_factory=dict)
    admission: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
