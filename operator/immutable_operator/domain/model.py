"""What goes into a plan and what comes out of it.

``View`` is everything the planner knows of one ImmutableService; ``Plan`` is everything it
wants done. Both are frozen and carry no live objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from immutable_operator.domain.configuration import Pin, Source
from immutable_operator.domain.instance import Instance
from immutable_operator.domain.regeneration import Regeneration
from immutable_operator.domain.revision import Revision
from immutable_operator.domain.schedule import Window
from immutable_operator.domain.staleness import Evidence

__all__ = [
    "Action",
    "Announcement",
    "Blocker",
    "Cause",
    "Condition",
    "Create",
    "CreateRevision",
    "CreateSnapshot",
    "DeleteRevision",
    "Deviant",
    "Freeze",
    "Guard",
    "Move",
    "OnTaint",
    "Outcome",
    "Plan",
    "Policy",
    "Quarantine",
    "Refusal",
    "Request",
    "Retire",
    "Rollout",
    "Spec",
    "Status",
    "View",
]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator's installation decides, not the user. Durations in seconds.

    ``heal_*`` pace the replacement of instances whose predecessors were reached into as well;
    an instance that was left alone for ``heal_memory`` starts afresh.
    """

    retry_ended_base: float = 1.0
    retry_ended_most: float = 300.0
    heal_base: float = 60.0
    heal_most: float = 3600.0
    heal_memory: float = 3600.0


class OnTaint(StrEnum):
    """What becomes of an instance that somebody reached into."""

    REPLACE = "Replace"
    QUARANTINE = "Quarantine"
    REPORT = "Report"


@dataclass(frozen=True, slots=True)
class Spec:
    """What the user wants, checked. ``replicas`` None keeps the current number.

    ``pinned`` are the names of the ConfigMaps that are part of a revision, and whether each is
    optional.
    """

    template: Mapping[str, Any]
    replicas: int | None = None
    max_surge: int | str = "25%"
    max_unavailable: int | str = 0
    min_ready_seconds: int = 0
    progress_deadline_seconds: int = 600
    history_limit: int = 10
    suspend: bool = False
    on_taint: OnTaint = OnTaint.REPLACE
    quarantine_seconds: float = 3600.0
    replace_restarted: bool = False
    regeneration: Regeneration = field(default_factory=Regeneration)
    schedule_since: float = 0.0
    pinned: Mapping[str, bool] = field(default_factory=dict)


class Move(StrEnum):
    """The kind of a write that can be refused."""

    CREATE = "create"
    RETIRE = "retire"
    RECORD = "record"
    QUARANTINE = "quarantine"
    SNAPSHOT = "snapshot"


class Cause(StrEnum):
    """Why the API server refused a write, in the words of status and events."""

    DISRUPTION_BUDGET = "PodDisruptionBudget"
    QUOTA = "QuotaExceeded"
    TEMPLATE = "TemplateRefused"
    FORBIDDEN = "Forbidden"
    NAME_TAKEN = "NameTaken"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    API_SERVER = "ApiServer"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that was refused and may be tried again at ``retry_at``.

    ``subject`` is the instance's name; ``revision`` the one it was to be born from.
    """

    move: Move
    subject: str
    cause: Cause
    message: str
    since: float
    retry_at: float
    attempts: int = 1
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something that is waited for: a machine-readable reason and a sentence for people."""

    reason: str
    message: str
    since: float
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A kstatus condition; ``since`` is its last transition."""

    type: str
    status: str
    reason: str
    message: str
    since: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far the way to the wanted state has come, by its high-water marks.

    Only a new best moves ``progressed_at``: an instance that flaps between ready and unready
    does not put off the deadline. ``progressed_at`` is None while suspended.
    """

    revision: str
    desired: int
    most_current: int
    least_stale: int
    started_at: float
    progressed_at: float | None


@dataclass(frozen=True, slots=True)
class Deviant:
    """An instance that is no longer what was born: its name, Tainted or Drifted, and how."""

    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Request:
    """An action of a person that is not finished: replace what is older than ``created``.

    ``instance`` None means all. ``phase`` is what was written of it last, "" before that.
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be written of a request."""

    name: str
    uid: str
    phase: str
    message: str


@dataclass(frozen=True, slots=True)
class Freeze:
    """A change freeze that selects the service; times in seconds, None where there is no bound."""

    name: str
    reason: str
    begins: float | None = None
    ends: float | None = None
    windows: tuple[Window, ...] = ()
    repairs: bool = False


@dataclass(frozen=True, slots=True)
class Guard:
    """Whether the cluster enforces what this operator relies on, and what is wrong if not."""

    holds: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Status:
    """The status of an ImmutableService; counts are of active instances."""

    observed_generation: int = -1
    desired: int = 0
    replicas: int = 0
    ready: int = 0
    available: int = 0
    current: int = 0
    stale: int = 0
    quarantined: int = 0
    selector: str = ""
    current_revision: str | None = None
    last_good_revision: str | None = None
    oldest_instance: float | None = None
    next_regeneration: float | None = None
    blockers: tuple[Blocker, ...] = ()
    rollout: Rollout | None = None
    deviants: tuple[Deviant, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == kind), None)


@dataclass(frozen=True, slots=True)
class View:
    """One ImmutableService as observed, with all that belongs to it.

    ``departed`` are instances that vanished since they were last seen and whose successors are
    not born yet; after a restart they are unknown, which costs a line of lineage, no more.
    ``invalid`` is a sentence when the spec was refused by the operator's own check. ``prior``
    is the status that the last plan computed, or the stored one after a restart. ``configs`` says
    by name what is known of the pinned ConfigMaps; ``snapshots`` are the names of those copies of
    the revisions' ConfigMaps that are there, and are what their revision says. ``retired`` are
    the uids of those that this process evicted itself, as far as it remembers.
    """

    name: str
    namespace: str
    uid: str
    generation: int
    spec: Spec | None
    invalid: str | None = None
    deleting: bool = False
    author: str = "unknown"
    instances: tuple[Instance, ...] = ()
    departed: tuple[Instance, ...] = ()
    retired: frozenset[str] = frozenset()
    revisions: tuple[Revision, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    guard: Guard | None = None
    requests: tuple[Request, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    configs: Mapping[str, Source] = field(default_factory=dict)
    snapshots: frozenset[str] = frozenset()
    prior: Status = field(default_factory=Status)


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
class Announcement:
    """An event for people. ``key`` says what it is about: the same key is told once."""

    reason: str
    message: str
    key: str
    warning: bool = False


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
