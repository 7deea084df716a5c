"""What only nodes have: facts, verification, and the pods that run on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from immutable_operator.domain.model.because import Because

__all__ = ["FACTS", "REACHED_INTO", "Guest", "GuestKind", "Machine", "OnDrift", "PoolSpec"]

FACTS = (
    "machineID",
    "bootID",
    "osImage",
    "kernelVersion",
    "kubeletVersion",
    "containerRuntimeVersion",
)
"""The fields of ``status.nodeInfo`` that must not change after a node was verified."""


REACHED_INTO = "reachedInto"


class OnDrift(StrEnum):
    """What happens to a node if one of its facts changes."""

    REPLACE = "Replace"
    REPORT = "Report"
    IGNORE = "Ignore"


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """What a user wants of a node pool beyond what every owner has; durations in seconds.

    ``drift`` is by name of a fact (`FACTS`, ``declaredLabels``, ``declaredTaints``,
    ``reachedInto``) what happens if it changes. ``smoke`` is the spec of the pod that must
    succeed on a new node; None if there is none. ``delete_after`` says that pods that are left
    ``drain_timeout`` after the beginning of a drain are deleted; otherwise the drain waits.
    ``drains`` says that deleting the pool drains and deletes its nodes.
    """

    settle_seconds: float = 60.0
    smoke: Mapping[str, Any] | None = None
    drift: Mapping[str, OnDrift] = field(default_factory=dict)
    drain_timeout: float = 3600.0
    delete_after: bool = False
    drains: bool = False

    def on_drift(self, fact: str) -> OnDrift:
        """Return what happens if a fact changes, also where the user did not say it."""
        return self.drift.get(fact, OnDrift.REPLACE if fact in FACTS else OnDrift.REPORT)


class GuestKind(StrEnum):
    """What a drain does with a pod."""

    EVICTED = "evicted"
    # An instance of an ImmutableService: its own planner moves it, successor first.
    INSTANCE = "instance"
    # Of a DaemonSet, of the kubelet itself, or ended: it stays until the node is gone.
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class Guest:
    """A pod on a node of a pool.

    ``critical`` pods are evicted last. ``keeps`` is a sentence about why it may not be evicted
    at all (an annotation of its owner), ``homeless`` about why it could not run on any other
    node; "" if neither.
    """

    namespace: str
    name: str
    uid: str
    kind: GuestKind
    terminating: bool = False
    critical: bool = False
    keeps: str = ""
    homeless: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """The state of a node beyond that of every instance; times in seconds since the epoch.

    ``ready_since`` is since when the node is Ready (its instance is ready only when it was
    verified, too). ``facts`` are those of now, ``birth_facts`` those that were recorded when it
    was verified at ``verified``; ``steady_since`` is since when the facts are as they are.
    ``held`` says that the taint of unverified nodes is still there. ``lacks`` says in one sentence
    each what the node needs before it counts as verified. ``smoke`` is the phase of its smoke pod,
    "" if there is none. ``labels`` and ``taints`` (key, value, effect) are those of the node.
    ``reached`` is a sentence about a pod that has, or had, access to the node itself, ``marked``
    says that this is recorded on the node. ``retiring`` is since when it is drained, ``because``
    why; ``is_open`` says that its taint was taken off since. ``deleted`` is since when its object
    is being deleted, ``kept_by`` are the finalizers that this waits for. ``guests`` are the pods
    on it.
    """

    ready_since: float | None = None
    facts: tuple[tuple[str, str], ...] = ()
    birth_facts: tuple[tuple[str, str], ...] = ()
    verified: float | None = None
    steady_since: float = 0.0
    held: bool = False
    lacks: tuple[str, ...] = ()
    smoke: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[tuple[str, str, str], ...] = ()
    reached: str = ""
    marked: bool = False
    retiring: float | None = None
    because: Because | None = None
    is_open: bool = False
    deleted: float | None = None
    kept_by: tuple[str, ...] = ()
    guests: tuple[Guest, ...] = ()

    @property
    def waits_for(self) -> str:
        """What a node that is not verified needs first, in a sentence; "" if nothing is known."""
        if self.verified is not None:
            return ""
        smokes = self.smoke not in ("", "Succeeded")
        return next(iter(self.lacks), "its smoke pod has not ended" if smokes else "")
