"""Facts: what happened to a revision or an instance of it, for programs outside of the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from immutable_operator.domain.model.revision import Revision

__all__ = ["Fact", "FactType"]


class FactType(StrEnum):
    """What can be sent to a receiver; its configuration and the events use these words."""

    GOOD = "Good"
    FAILED = "Failed"
    ROLLED_BACK = "RolledBack"
    PROMOTED = "Promoted"
    STALLED = "Stalled"
    TAINTED = "Tainted"


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact. The same ``type``, ``uid`` and ``key`` are the same fact, also after a restart.

    ``uid`` is that of the revision, or of the owner or instance if the fact is about these. ``at``
    is when it happened, in seconds since the epoch. ``by`` is the user who caused it, "" if that is
    the operator or not known.
    """

    type: FactType
    uid: str
    key: str
    revision: Revision | None
    reason: str
    message: str
    at: float
    by: str = ""
    instance: str = ""
