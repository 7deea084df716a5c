"""Commands of users, and their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Command", "Outcome", "Request"]


class Command(StrEnum):
    """What a person asks for."""

    REGENERATE = "Regenerate"
    RETRY = "Retry"
    ROLL_BACK = "RollBack"
    RESUME = "Resume"
    PROMOTE = "Promote"
    ABORT = "Abort"


@dataclass(frozen=True, slots=True)
class Request:
    """A person's action that is not finished; ``created`` is in seconds since the epoch.

    Regenerate replaces the instances older than ``created``, or that ``instance`` alone. Retry
    tries the failed revision that the spec asks for again. RollBack rejects that revision and goes
    back to ``revision``, an id, or to the last good one; Resume ends that. Promote gives the
    traffic to the revision that was created beside the running one, Abort rejects it. ``phase`` is
    the phase that was last written to its status, "" before the first write. ``asked`` is the id of
    the revision that the spec asked for when the action was first observed, "" if that is not
    known.
    """

    name: str
    uid: str
    created: float
    actor: str
    instance: str | None = None
    override_freeze: bool = False
    phase: str = ""
    message: str = ""
    started: float | None = None
    command: Command = Command.REGENERATE
    revision: str = ""
    reason: str = ""
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be written to the status of a request; ``asked`` as in `Request`."""

    name: str
    uid: str
    phase: str
    message: str
    asked: str = ""
