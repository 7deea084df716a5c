"""Everything that a plan wants done."""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.model.because import Because
from immutable_operator.domain.model.command import Outcome
from immutable_operator.domain.model.config import Pin
from immutable_operator.domain.model.revision import Revision, Verdict
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
    "SetVerdict",
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
class SetVerdict:
    """Write on a revision's record what became of it."""

    revision: Revision
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Create:
    """Give birth to an instance. All but the name goes into its birth certificate.

    ``purpose`` names the request or the slot of
    the schedule that asked for it (`purpose_of_request`, `purpose_of_slot`). ``replaces`` and
    ``replaces_uid`` say whose successor it is. ``heals`` and
    ``tries`` count the births in a row whose predecessors were reached into, or ended.
    """

    name: str
    revision: str
    slot: int
    incarnation: int
    replaces: str | None
    because: Because
    heals: int = 0
    tries: int = 0
    purpose: str = ""
    replaces_uid: str = ""


@dataclass(frozen=True, slots=True)
class Retire:
    """Take an instance away, this very one (``uid``).

    It is evicted, so that PodDisruptionBudgets are asked. ``by_will`` deletes it instead, because
    the owner's will is the reason (scaling down); ``while_unready`` does so as long as it is not
    ready, because no budget can be hurt.
    """

    name: str
    uid: str
    because: Because
    by_will: bool = False
    while_unready: bool = False


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Take an instance, this very one, out of all traffic and keep it for people to look at."""

    name: str
    uid: str
    because: Because


Action = (
    CreateRevision | CreateSnapshot | DeleteRevision | SetVerdict | Create | Retire | Quarantine
)


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
