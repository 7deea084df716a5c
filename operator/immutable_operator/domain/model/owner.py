"""What a user wants of one service, checked, and what the installation configures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.model.admission import Accepted, OnAdmission
from immutable_operator.domain.model.backoff import Backoff
from immutable_operator.domain.model.check import Check
from immutable_operator.domain.model.config import ConfigKey
from immutable_operator.domain.model.http_route import RouteRef
from immutable_operator.domain.model.machine import PoolSpec
from immutable_operator.domain.model.route import Traffic

__all__ = [
    "AwaitCheck",
    "BlueGreen",
    "Canary",
    "CanaryStep",
    "OnFailure",
    "OnTaint",
    "Pause",
    "Policy",
    "SetReplicas",
    "SetWeight",
    "Spec",
]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the installation of the operator configures, not the user. Durations are in seconds.

    ``retry_ended`` is the pause before a successor is created for an ended instance whose
    predecessor ended, too; ``heal`` paces the replacement of modified instances whose predecessors
    were modified as well; an instance that stayed unmodified for ``heal_memory``, which is longer
    than any pause, starts over. ``heal_nodes`` and ``heal_nodes_memory`` are the same for nodes
    that changed in the same way as their predecessors. ``most_moves`` limits the births and the
    retirements of one plan. ``steady`` is how long instances of the wanted revision must be ready
    before the instances that filled in for lost ones are retired. ``second_try`` is how long after
    a node began to work on a pod it has tried to pull the image twice. ``own_node`` is the node on
    which the operator runs, if it is known. ``retry_check`` paces inconclusive measurements of
    checks.
    """

    retry_ended: Backoff = Backoff(2.0, 300.0)
    heal: Backoff = Backoff(60.0, 3600.0)
    heal_memory: float = 7200.0
    heal_nodes: Backoff = Backoff(86_400.0, 7 * 86_400.0)
    heal_nodes_memory: float = 14 * 86_400.0
    most_moves: int = 500
    steady: float = 30.0
    second_try: float = 20.0
    own_node: str = ""
    retry_check: Backoff = Backoff(5.0, 300.0)


class OnFailure(StrEnum):
    """What happens when a revision failed."""

    ROLL_BACK = "RollBack"
    HOLD = "Hold"


class OnTaint(StrEnum):
    """What happens to an instance that was modified."""

    REPLACE = "Replace"
    QUARANTINE = "Quarantine"
    REPORT = "Report"


@dataclass(frozen=True, slots=True)
class BlueGreen:
    """How a new revision is promoted. Durations are in seconds.

    With ``is_auto`` it is promoted ``promote_after`` after all ``preview_replicas`` (None: as many
    as are wanted) of its instances are available, else on request. The previous ones are kept for
    ``keep_for``.
    """

    is_auto: bool = False
    promote_after: float = 0.0
    preview_replicas: int | None = None
    keep_for: float = 60.0


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """So many instances are of the new revision: a number, or a percentage such as ``"25%"``."""

    count: int | str

    def __str__(self) -> str:
        return f"setReplicas {self.count}"


@dataclass(frozen=True, slots=True)
class SetWeight:
    """The new revision gets ``percent`` of the traffic, and as many of the instances."""

    percent: int

    def __str__(self) -> str:
        return f"setWeight {self.percent}"


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing changes for so many ``seconds``; None: until somebody promotes the revision."""

    seconds: float | None = None

    def __str__(self) -> str:
        return "pause"


@dataclass(frozen=True, slots=True)
class AwaitCheck:
    """The check of this name must pass."""

    name: str

    def __str__(self) -> str:
        return f"check {self.name}"


CanaryStep = SetReplicas | SetWeight | Pause | AwaitCheck


@dataclass(frozen=True, slots=True)
class Canary:
    """The steps after which all instances are of the new revision; the first one sets a share.

    With an HTTPRoute the previous instances are kept for ``keep_for`` seconds after the last one.
    """

    steps: tuple[CanaryStep, ...]
    keep_for: float = 60.0


@dataclass(frozen=True, slots=True)
class Spec:
    """What the user wants, checked. ``replicas`` None keeps the current number.

    ``pinned`` are kind and name of the objects that are part of a revision, and whether each is
    optional. ``template`` is None if the template, or the replacement strategy, cannot be read:
    then only the running instances are known. ``problems`` says in one sentence each which parts of
    the regeneration could not be read and are ignored. ``bake_seconds`` is how long all instances
    of a new revision must stay available before its rollout is complete. ``drain_protection`` says
    that a drain of a node waits for the successors of its pods. ``counts_terminating`` says that
    terminating instances count against replicas + maxSurge. ``node_local`` is a sentence if the
    template uses what stays on a node without permission, ``claim`` is one if it has a volume that
    several instances would share without permission; else they are "". ``accepted`` are changes by
    admission that are none of those that ``admission`` is about. ``pool`` is what only a node pool
    has; then ``template`` has the keys ``image``, ``template`` and ``provider`` of the pool's spec.
    ``strategy`` is how instances are replaced, ``blue_green`` and ``canary`` what only those
    strategies need; None with another one. ``traffic`` is what the operator's Services are to be;
    None if it is to have none. ``http_route`` is the HTTPRoute that divides the traffic.
    ``checks`` must pass before a rollout is complete.
    """

    template: Mapping[str, Any] | None
    replicas: int | None = None
    max_surge: int | str = "25%"
    max_unavailable: int | str = 0
    min_ready_seconds: int = 0
    progress_deadline_seconds: int = 600
    on_failure: OnFailure = OnFailure.ROLL_BACK
    bake_seconds: int = 0
    history_limit: int = 10
    suspend: bool = False
    on_taint: OnTaint = OnTaint.REPLACE
    quarantine_seconds: float = 3600.0
    replace_restarted: bool = False
    regeneration: Regeneration = field(default_factory=Regeneration)
    counts_terminating: bool = False
    drain_protection: bool = False
    pinned: Mapping[ConfigKey, bool] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    node_local: str = ""
    claim: str = ""
    admission: OnAdmission = OnAdmission.REPORT
    accepted: Accepted = field(default_factory=Accepted)
    pool: PoolSpec | None = None
    strategy: str = "Rolling"
    blue_green: BlueGreen | None = None
    canary: Canary | None = None
    traffic: Traffic | None = None
    http_route: RouteRef | None = None
    checks: tuple[Check, ...] = ()

    @property
    def proves(self) -> bool:
        """Whether a new revision must prove itself once all of its instances are available."""
        return bool(self.bake_seconds or self.checks)

    @property
    def sides(self) -> BlueGreen | None:
        """How the traffic is switched from all instances of one revision to those of another.

        None if it goes to all instances. A canary with an HTTPRoute is promoted after its last
        step.
        """
        if self.blue_green is not None or self.canary is None or self.http_route is None:
            return self.blue_green
        return BlueGreen(is_auto=True, keep_for=self.canary.keep_for)
