"""What is assumed about a cluster, and what a forecast finds; see `forecast`."""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.model import Because, CreateRevision, Status

__all__ = ["Assumed", "Forecast", "Hold", "Limit", "Step"]


@dataclass(frozen=True, slots=True)
class Limit:
    """A PodDisruptionBudget that covers the instances: the least number of ready ones."""

    name: str
    least: int


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is assumed about the cluster: seconds from birth to readiness, and from retirement to
    the end; the budgets of others; how many more instances the quotas admit (None: any number)."""

    start: float = 10.0
    end: float = 30.0
    limits: tuple[Limit, ...] = ()
    room: int | None = None
    quota: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One move of the planner.

    ``at`` is in seconds since the epoch, ``kind`` is ``record``, ``create``, ``retire``,
    ``quarantine``, ``switch`` (a Service selects a revision), ``weight`` (an HTTPRoute gives it a
    share) or ``step`` (one of a canary is done);
    ``available`` is the number of available instances when it is made. ``replaces`` is the
    predecessor of an instance that is created.
    """

    at: float
    kind: str
    name: str
    revision: str
    available: int
    slot: int = -1
    replaces: str = ""
    because: Because | None = None

    @property
    def moves_instance(self) -> bool:
        return self.kind in ("create", "retire", "quarantine")


@dataclass(frozen=True, slots=True)
class Hold:
    """What holds the replacement, in the words of the status; ``until`` None: as far as the
    forecast goes."""

    reason: str
    message: str
    since: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the planner would do. Times are in seconds since the epoch.

    ``ends`` is when all is as the spec wants it, None if that is not foreseeable. ``revision`` is
    the new revision, if there is one. ``before`` and ``least`` are the numbers of available
    instances now, and the least one from then on; ``most`` is the highest number of instances.
    ``is_cut`` says that it was given up before the end, because there are too many steps.
    """

    steps: tuple[Step, ...]
    holds: tuple[Hold, ...]
    status: Status
    before: int
    least: int
    most: int
    ends: float | None
    revision: CreateRevision | None = None
    is_cut: bool = False
