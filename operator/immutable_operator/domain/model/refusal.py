"""Writes that the API server refused: which move, why, and when it may be retried."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Cause", "Move", "Refusal"]


class Move(StrEnum):
    """The kind of a write that can be refused."""

    CREATE = "create"
    RETIRE = "retire"
    RECORD = "record"
    QUARANTINE = "quarantine"
    SNAPSHOT = "snapshot"
    VERDICT = "verdict"
    FORGET = "forget"
    BUDGET = "budget"
    ROUTE = "route"
    WEIGHTS = "weights"
    ADMIT = "admit"
    MARK = "mark"
    PROBE = "probe"
    EVICT = "evict"
    END = "end"
    PROTECT = "protect"


class Cause(StrEnum):
    """Why the API server refused a write; status and events use these words."""

    DISRUPTION_BUDGET = "PodDisruptionBudget"
    QUOTA = "QuotaExceeded"
    # TEMPLATE is for a birth; ADMISSION for other moves that a policy or webhook denies.
    TEMPLATE = "TemplateRefused"
    ADMISSION = "AdmissionRefused"
    # Something that others create does not exist yet: an account, a class, a definition.
    DEPENDENCY = "DependencyMissing"
    # Settings of a provider are missing or wrong; the same word as the trouble of an instance.
    CONFIG = "Config"
    # The operator lacks a permission.
    FORBIDDEN = "Forbidden"
    NAME_TAKEN = "NameTaken"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    # Admission changed an instance although the spec refuses that.
    CHANGED = "AdmissionChanged"
    API_SERVER = "ApiServer"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that was refused and may be retried at ``retry_at``.

    ``subject`` is the name of the instance; ``revision`` is its revision if it was to be created. A
    refusal that is ``shared`` applies to all moves of its kind (births: of its revision): no other
    subject is tried before ``retry_at`` either, and then one at a time until one succeeds.
    """

    move: Move
    subject: str
    cause: Cause
    message: str
    since: float
    retry_at: float
    attempts: int = 1
    revision: str | None = None
    shared: bool = False
