"""What a user wants of one service, checked, and what the installation decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.model.backoff import Backoff
from immutable_operator.domain.model.config import ConfigKey

__all__ = ["OnTaint", "Policy", "Spec"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator's installation decides, not the user. Durations in seconds.

    ``retry_ended`` is how long to wait for a successor of one that ended and was a successor of
    one that ended; ``heal`` paces the replacement of instances whose predecessors were reached into
    as well; an instance that was left alone for ``heal_memory``, which is longer than any pause,
    starts afresh. ``most_moves`` bounds the births and the retirements of one plan. ``steady`` is
    how long instances of the wanted revision are to be ready before what made good their loss goes
    again.
    """

    retry_ended: Backoff = Backoff(2.0, 300.0)
    heal: Backoff = Backoff(60.0, 3600.0)
    heal_memory: float = 7200.0
    most_moves: int = 500
    steady: float = 30.0


class OnTaint(StrEnum):
    """What becomes of an instance that somebody reached into."""

    REPLACE = "Replace"
    QUARANTINE = "Quarantine"
    REPORT = "Report"


@dataclass(frozen=True, slots=True)
class Spec:
    """What the user wants, checked. ``replicas`` None keeps the current number.

    ``pinned`` are kind and name of what is part of a revision, and whether each is optional.
    ``template`` is None where it, or how to replace instances, cannot be read: what runs is all
    that is known then. ``problems`` says in a sentence each what could not be read of the
    regeneration and is left out.
    ``drain_protection`` says that whoever drains a node waits for the successors of its pods.
    ``counts_terminating`` says that those that still terminate count against replicas + maxSurge.
    """

    template: Mapping[str, Any] | None
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
    counts_terminating: bool = False
    drain_protection: bool = False
    pinned: Mapping[ConfigKey, bool] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
