"""Everything that a plan can ask to be done."""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.model.admission import Change
from immutable_operator.domain.model.because import Because
from immutable_operator.domain.model.check import RunCheck
from immutable_operator.domain.model.command import Outcome
from immutable_operator.domain.model.config import Pin
from immutable_operator.domain.model.revision import Revision, Verdict
from immutable_operator.domain.model.route import Traffic
from immutable_operator.domain.model.status import Announcement, Status

__all__ = [
    "Action",
    "Admit",
    "Create",
    "CreateRevision",
    "CreateSnapshot",
    "DeleteBudget",
    "DeleteRevision",
    "DeleteRoute",
    "End",
    "Evict",
    "Mark",
    "Plan",
    "Probe",
    "Protect",
    "Quarantine",
    "Retire",
    "SetBudget",
    "SetRoute",
    "SetVerdict",
    "SetWeights",
]


@dataclass(frozen=True, slots=True)
class CreateRevision:
    """Record the wanted state, before any instance of it is created."""

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
    """Write to a revision's record what became of it."""

    revision: Revision
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Create:
    """Create an instance. All fields but the name and ``admits`` go into its birth certificate.

    ``purpose`` names the request or the slot of the schedule that asked for it
    (`purpose_of_request`, `purpose_of_slot`). ``replaces`` and ``replaces_uid`` name the instance
    that it succeeds. ``heals`` and ``tries`` count the consecutive births whose predecessors were
    modified, or ended. ``admits`` are the changes by admission with which it is accepted, beside
    none; None: all are.
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
    admits: tuple[Change, ...] | None = None


@dataclass(frozen=True, slots=True)
class Retire:
    """Remove an instance, exactly this one (``uid``).

    It is evicted, so that PodDisruptionBudgets apply. With ``by_will`` it is deleted instead,
    because the owner wants fewer instances (scaling down); with ``while_unready`` it is deleted if
    it is not ready, because that cannot violate a budget.
    """

    name: str
    uid: str
    because: Because
    by_will: bool = False
    while_unready: bool = False


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Take an instance, exactly this one, out of all traffic and keep it for inspection."""

    name: str
    uid: str
    because: Because


@dataclass(frozen=True, slots=True)
class SetBudget:
    """Create or update the operator's PodDisruptionBudget for the service.

    It selects the instances of one ``revision`` (an id), or all ("").
    """

    min_available: int
    revision: str = ""


@dataclass(frozen=True, slots=True)
class DeleteBudget:
    """Delete the operator's PodDisruptionBudget, this very one (``uid``)."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class SetRoute:
    """Create or change a Service of the operator.

    It then selects the instances of one ``revision`` (an id), or of all ("").
    """

    name: str
    revision: str
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Delete a Service of the operator, this very one (``uid``)."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class SetWeights:
    """Let the preview Service get ``percent`` of the traffic by an HTTPRoute, as of ``version``.

    Only the weights of the two Services of the operator are written.
    """

    namespace: str
    name: str
    uid: str
    version: int
    percent: int


@dataclass(frozen=True, slots=True)
class Admit:
    """Let workloads on a new node that is verified, and record the facts that must not change."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Record on a node that a pod had access to it (``what``), so that it is not forgotten."""

    name: str
    uid: str
    what: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Start the smoke pod on a new node."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Evict a pod, exactly this one (``uid``), from the retired node ``name``.

    With ``by_force`` it is deleted, because its drain has lasted too long.
    """

    name: str
    namespace: str
    pod: str
    uid: str
    by_force: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """Delete a retired node, exactly this one (``uid``), after it was drained."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Protect:
    """Let the deletion of the owner wait until its instances are gone, or no longer (False)."""

    waits: bool


Action = (
    CreateRevision
    | CreateSnapshot
    | DeleteRevision
    | SetVerdict
    | SetBudget
    | DeleteBudget
    | SetRoute
    | DeleteRoute
    | SetWeights
    | Create
    | Retire
    | Quarantine
    | Admit
    | Mark
    | Probe
    | Evict
    | End
    | Protect
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, what to report, and when to plan again (``due``; None: after the next
    change).

    ``stale`` are names and reasons of the instances that are to be replaced. ``status`` None leaves
    the stored status unchanged. ``notes`` explain the plan to people. ``checks`` are measurements
    to make beside the actions; nothing waits for them.
    """

    actions: tuple[Action, ...] = ()
    status: Status | None = None
    due: float | None = None
    notes: tuple[str, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    stale: tuple[tuple[str, str], ...] = ()
    checks: tuple[RunCheck, ...] = ()
