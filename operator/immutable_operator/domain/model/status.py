"""What is reported about a service: its status, and the events."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Announcement",
    "Blocker",
    "Condition",
    "Deviation",
    "FailedRevision",
    "Obstacle",
    "Rollout",
    "Status",
]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that blocks progress: one word, a sentence, and the object that it concerns."""

    reason: str
    message: str
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something that progress waits for: a machine-readable reason and a sentence for people."""

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
    """How far the rollout has come, by its best values so far.

    Only a new best value moves ``progressed_at``: an instance that flaps between ready and unready
    does not postpone the deadline. ``progressed_at`` is None while suspended. ``step`` of ``steps``
    is where a canary is, from 1; None if there is none. ``weight`` is the percentage of the traffic
    that an HTTPRoute gives to the revision; None if there is none.
    """

    revision: str
    desired: int
    most_current: int
    least_stale: int
    started_at: float
    progressed_at: float | None
    step: int | None = None
    steps: int | None = None
    weight: int | None = None


@dataclass(frozen=True, slots=True)
class Deviation:
    """An instance that was modified: its name, Tainted or Drifted, and how."""

    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class FailedRevision:
    """A revision on record that failed: its id, why, and when."""

    revision: str
    reason: str
    message: str
    at: float


@dataclass(frozen=True, slots=True)
class Status:
    """The status of an owner; counts are of active instances.

    ``live_secrets`` are the names of Secrets that instances of the current revision read live,
    although the spec wants them pinned.
    """

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
    live_secrets: tuple[str, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    rollout: Rollout | None = None
    deviations: tuple[Deviation, ...] = ()
    failed_revisions: tuple[FailedRevision, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == kind), None)


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event for people. ``key`` identifies its subject: the same key is reported once."""

    reason: str
    message: str
    key: str
    warning: bool = False
