"""An instance as the planner sees it: a pod or a node, slim and frozen.

Drivers in ``instances/`` build these from live objects; the planner works on them.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum

from immutable_operator.domain.model.because import Because
from immutable_operator.domain.model.machine import Machine

__all__ = ["Instance", "Trouble", "TroubleKind", "purpose_of_request", "purpose_of_slot", "slot_of"]


class TroubleKind(StrEnum):
    """Why an instance does not work; status and events use these words."""

    IMAGE_PULL = "ImagePull"
    CONTAINER_CONFIG = "ContainerConfig"
    CRASH_LOOP = "CrashLoop"
    UNSCHEDULABLE = "Unschedulable"
    NODE_NOT_READY = "NodeNotReady"
    NODE_RESTARTED = "NodeRestarted"
    ENDED = "Ended"
    # Of nodes: why one never became a working one.
    CAPACITY = "Capacity"
    CONFIG = "Config"
    BOOT_TIMEOUT = "BootTimeout"
    NEVER_READY = "NeverReady"
    VANISHED = "Vanished"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps an instance from working.

    ``message`` is for people and stays the same as long as the cause does. ``settled`` says that
    waiting alone does not help (back-off reached, restarted repeatedly): a rollout with such an
    instance is stalled at once instead of at its deadline. ``since`` is when its node began to work
    on it, in seconds since the epoch. ``is_final`` says that no other try can work: the registry
    does not have the image, or the container may not run as its user. ``lacks`` is the ConfigMap or
    Secret that does not exist or lacks a key.
    """

    kind: TroubleKind
    message: str
    settled: bool = False
    since: float | None = None
    is_final: bool = False
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """One pod or node of an owner.

    ``born`` and ``ready_since`` are seconds since the epoch; ``ready_since`` is None while the
    instance is not ready. ``ended`` says that it will never run again (pod phase Failed or
    Succeeded). ``replaces`` and ``replaces_uid`` name its predecessor as recorded in its birth
    certificate: a name may be reused, a uid is not. ``leaving`` says which component removes it and
    why, if the cluster reports that (taint, drain, preemption, garbage collection).

    The following fields show whether it was modified: ``taint`` is a sentence if the object itself
    shows a modification, ``tainted_by`` and ``tainted_at`` the user and the time if its mark names
    them; ``generation`` is the API server's count of changes of its spec,
    ``editor`` the user of the last one; ``images`` and ``reported`` are by container the
    image in its spec, and the image that its node reports if that is a different digest;
    ``restarted`` is the first container that was restarted in place; ``gated`` says that scheduling
    gates hold it back, ``edited`` that its spec was changed in a way that no gate explains.
    ``heals`` counts the consecutive replacements up to this one whose predecessors were modified,
    ``tries`` those whose predecessors ended. ``because`` and ``purpose`` are the reason of its
    birth as recorded in its birth certificate.

    ``differs`` and ``refused`` are sentences if admission made it different from the other
    instances of its revision, or changed it although the spec refuses that.

    ``quarantined`` is since when it is kept out of traffic. ``machine`` is what only a node has.
    """

    name: str
    uid: str
    revision: str
    slot: int
    incarnation: int
    born: float
    replaces: str | None = None
    ready_since: float | None = None
    terminating: bool = False
    ended: bool = False
    node: str | None = None
    deletion_cost: int = 0
    leaving: str | None = None
    trouble: Trouble | None = None
    taint: str | None = None
    generation: int = 0
    editor: str | None = None
    gated: bool = False
    edited: bool = False
    images: tuple[tuple[str, str], ...] = ()
    reported: tuple[tuple[str, str], ...] = ()
    restarted: str | None = None
    heals: int = 0
    tries: int = 0
    because: Because | None = None
    purpose: str = ""
    replaces_uid: str = ""
    quarantined: float | None = None
    machine: Machine | None = None
    differs: str = ""
    refused: str = ""
    tainted_by: str = ""
    tainted_at: float | None = None

    @property
    def predecessor(self) -> str:
        """The uid of the instance that it replaces, the name if no uid is recorded, or ""."""
        return self.replaces_uid or self.replaces or ""

    def is_among(self, predecessors: Container[str]) -> bool:
        """Return whether it is one of these `predecessor` values of other instances."""
        return self.uid in predecessors or self.name in predecessors

    @property
    def active(self) -> bool:
        """Whether it counts against the budget: not terminating, ended or quarantined."""
        return not self.terminating and not self.ended and self.quarantined is None

    def available_at(self, min_ready_seconds: float) -> float | None:
        """Return when it is (or was) available: ready for ``min_ready_seconds``; None if not ready.

        With 0 seconds it is available at once, even if the clock of the cluster is ahead of ours.
        """
        if self.ready_since is None or not self.active:
            return None
        return self.ready_since + min_ready_seconds if min_ready_seconds else 0.0


def purpose_of_request(uid: str) -> str:
    """Return the purpose in the birth certificate of an instance that a request asked for."""
    return f"request/{uid}"


def purpose_of_slot(slot: float) -> str:
    """Return the purpose in the birth certificate of an instance that a schedule slot asked for."""
    return f"slot/{int(slot)}"


def slot_of(purpose: str) -> float | None:
    """Return the slot of the schedule that a purpose names; None if it names none."""
    kind, _, text = purpose.partition("/")
    return float(text) if kind == "slot" and text.isdecimal() and len(text) < 12 else None
