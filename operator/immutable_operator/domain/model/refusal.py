"""Writes that the API server refused: which move, why, and when it may be tried again."""

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


class Cause(StrEnum):
    """Why the API server refused a write, in the words of status and events."""

    DISRUPTION_BUDGET = "PodDisruptionBudget"
    QUOTA = "QuotaExceeded"
    # Of a birth; of other moves, a policy or webhook that does not let them pass.
    TEMPLATE = "TemplateRefused"
    ADMISSION = "AdmissionRefused"
    # Something that somebody else brings is not there yet: an account, a class, a definition.
    DEPENDENCY = "DependencyMissing"
    # A right that the operator lacks.
    FORBIDDEN = "Forbidden"
    NAME_TAKEN = "NameTaken"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    API_SERVER = "ApiServer"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that was refused and may be tried again at ``retry_at``.

    ``subject`` is the instance's name; ``revision`` the one it was to be born from. A refusal that
    is ``shared`` stands against all moves of its kind (births: of its revision): no other subject
    is tried before ``retry_at`` either, and then one at a time until it gives way.
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
