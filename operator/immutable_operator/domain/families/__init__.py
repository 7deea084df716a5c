"""The pure half of each driver: what differs between kinds of instances.

Planner, ledger, strategies and status call a `Family` and never check which one it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from immutable_operator.domain.model import (
    Action,
    Backoff,
    Because,
    Deviation,
    Evidence,
    Instance,
    Move,
    Obstacle,
    Policy,
    Revision,
    Spec,
    Trouble,
    View,
)

__all__ = ["GRANT_ADVICE", "Care", "Family", "Relapse", "Words", "tried"]

# What to do if the operator lacks a permission.
GRANT_ADVICE = "run helm upgrade of the chart, or grant this permission to the operator"


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a family in messages.

    ``owner`` is how an owner is called, ``label`` the label of its instances, ``listing`` the
    command that lists them. ``reporting`` is the field of a spec that keeps modified instances,
    ``relapse`` what to do if each new instance is modified, ``leaving`` the reason while instances
    that count against the maximum are being removed. ``advice`` says what to do about causes and
    troubles whose messages are those of the API server or a kubelet, which do not say it.
    """

    owner: str
    label: str
    listing: str
    reporting: str
    relapse: str
    leaving: str
    advice: Mapping[str, str] = field(default_factory=dict)

    def advised(self, reason: str, message: str) -> str:
        """Return a message with what to do about it."""
        what = self.advice.get(reason)
        return f"{message.rstrip('.')}; {what}" if what else message


@dataclass(frozen=True, slots=True)
class Care:
    """What the instances of a family need beside births and retirements, and what they wait for."""

    moves: tuple[Action, ...] = ()
    waits: tuple[Obstacle, ...] = ()
    due: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relapse:
    """How modified instances are replaced whose predecessors were modified in the same way.

    ``memory`` is for how many seconds after its birth an instance that is modified counts as one,
    which is longer than any pause.
    """

    pause: Backoff
    memory: float


def tried(view: View, now: float, action: Action, move: Move, subject: str) -> Care:
    """Return a move, or when it may be tried again if it was refused a moment ago.

    ``subject`` is the name under which a refusal of it is noted.
    """
    refused = [r for r in view.refusals if (r.move, r.subject) == (move, subject)]
    later = [r for r in refused if r.retry_at > now]
    if not later:
        return Care(moves=(action,), notes=(f"{move} {subject}".rstrip(),))
    note = f"{move} {subject}".rstrip() + f" waits: {later[0].message}"
    return Care(due=(max(r.retry_at for r in later),), notes=(note,))


class Family(Protocol):
    """One kind of instances.

    ``is_one_to_one`` says that an instance waits for its own successor, not for that of another.
    """

    words: Words
    hash_version: str
    is_one_to_one: bool

    def name(self, owner: str, uid: str, revision: str, slot: int, incarnation: int) -> str:
        """Return the name of a new instance: always the same for the same arguments."""
        ...

    def judged(self, view: View, now: float) -> View:
        """Return the view with what follows from the time alone: instances that failed to start."""
        ...

    def deviation(
        self,
        instance: Instance,
        template: Mapping[str, Any] | None,
        evidence: Evidence,
        spec: Spec,
    ) -> Because | None:
        """Return how an instance differs from its original state, or None."""
        ...

    def available_at(self, instance: Instance, least: float) -> float | None:
        """Return when it is (or was) ready for ``least`` seconds; None while it is not ready."""
        ...

    def signals(self, because: Because) -> frozenset[str]:
        """Return what was modified, to be compared with other modifications; none if nothing."""
        ...

    def relapse(self, policy: Policy) -> Relapse:
        """Return the pace of replacements that do not help."""
        ...

    def incident(self, deviation: Deviation) -> str:
        """Return what several deviations have in common if they are one incident, told once; else
        "".
        """
        ...

    def obstacle(self, instance: Instance, spec: Spec) -> Obstacle | None:
        """Return what keeps a stale instance from being retired, whatever the budget allows."""
        ...

    def failure(self, instance: Instance, revision: Revision) -> str | None:
        """Return the reason, in one word, why the trouble of an instance proves that its revision
        cannot work; None if it does not prove it.
        """
        ...

    def excuses(self, trouble: Trouble) -> bool:
        """Return whether a trouble is not the fault of the revision: its deadline stands still."""
        ...

    def care(self, view: View, now: float) -> Care:
        """Return what instances need before they are available, and after they were retired."""
        ...
