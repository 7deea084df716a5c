"""Everything that a plan wants done."""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.model.command import Outcome
from immutable_operator.domain.model.config import Pin
from immutable_operator.domain.model.revision import Revision
from immutable_operator.domain.model.status import Announcement, Status

__all__ = [
    "Action",
    "Create",
    "CreateRevision",
    "CreateSnapshot",
    "DeleteRevision",
    "Plan",
    "Quarantine",
    "Retire",
]


@dataclass(frozen=True, slots=True)
class CreateRevision:
    """Record the wanted state, before anything is born from it."""

    id: str
    number: int
    hash: str
    reason: str
    author: str
    config: tuple[Pin, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateSnapshot:
    """Copy a ConfigMap for a recorded revision, if it still has the recorded digest."""

    pin: Pin
    revision: Revision


@dataclass(frozen=True, slots=True)
class DeleteRevision:
    """Drop a record beyond the history limit."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Create:
    """Give birth to an instance. ``because`` and ``heals`` go into its birth certificate."""

    name: str
    revision: str
    slot: int
    incarnation: int
    replaces: str | None
    because: str
    heals: int = 0


@dataclass(frozen=True, slots=True)
class Retire:
    """Evict an instance, this very one (``uid``)."""

    name: str
    uid: str
    because: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Take an instance, this very one, out of all traffic and keep it for people to look at."""

    name: str
    uid: str
    because: str


Action = CreateRevision | CreateSnapshot | DeleteRevision | Create | Retire | Quarantine


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, what to say, and when to look again (``due``, None: when told).

    ``stale`` are names and reasons of the instances that are to be replaced.

    ``status`` None leaves the stored one alone. ``notes`` explain the plan to people.
    """

    actions: tuple[Action, ...] = ()
    status: Status | None = None
    due: float | None = None
    notes: tuple[str, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    stale: tuple[tuple[str, str], ...] = ()
