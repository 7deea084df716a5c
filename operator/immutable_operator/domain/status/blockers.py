"""Blockers: all that is waited for, one a reason, each since it was first said."""

from __future__ import annotations

from dataclasses import dataclass, field

from immutable_operator.domain.config.snapshots import CONFIG_MISSING, SNAPSHOT_LOST
from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.model import Blocker, Cause, Instance, Move, Refusal, Trouble
from immutable_operator.domain.target import FROZEN, INVALID_SPEC
from immutable_operator.domain.turn import Turn

__all__ = ["STALLING", "TAINT_RETURNS", "Waits", "waits"]

TAINT_RETURNS = "TaintReturns"
REGENERATION_UNREADABLE = "RegenerationUnreadable"
# What no waiting mends: the service is stalled as soon as it is seen.
STALLING: frozenset[str] = frozenset(
    {
        INVALID_SPEC,
        TAINT_RETURNS,
        REGENERATION_UNREADABLE,
        CONFIG_MISSING,
        SNAPSHOT_LOST,
        Cause.QUOTA,
        Cause.TEMPLATE,
        Cause.FORBIDDEN,
        Cause.NAMESPACE_TERMINATING,
    }
)


@dataclass
class Waits:
    """What is waited for, by reason, and which of the reasons no waiting mends.

    The instances of a service mostly share their trouble, and the list must not change with every
    pod that comes and goes: so there is one blocker a reason.
    """

    turn: Turn
    found: dict[str, Blocker] = field(default_factory=dict)
    stalling: set[str] = field(default_factory=set)

    def add(
        self, reason: str, message: str, subject: str | None, begun: float | None = None
    ) -> None:
        if reason in self.found:
            return
        told = {b.reason: b.since for b in self.turn.view.prior.blockers}
        begun = told.get(reason, self.turn.now if begun is None else begun)
        self.found[reason] = Blocker(reason, message, begun, subject)
        if reason in STALLING:
            self.stalling.add(reason)

    @property
    def blockers(self) -> tuple[Blocker, ...]:
        return tuple(self.found.values())

    @property
    def worst(self) -> Blocker | None:
        """The first that no waiting mends."""
        return next((b for b in self.blockers if b.reason in self.stalling), None)


def waits(turn: Turn, fleet: Fleet) -> Waits:
    """All that is waited for, freezes and what the spec lacks first."""
    found = Waits(turn)
    target = turn.target
    frozen = target.is_frozen or fleet.aging.waiting or _kept_by_freeze(turn, fleet)
    if target.freeze.holds and frozen:
        found.add(FROZEN, target.freeze.message, None)
    for problem in turn.spec.problems:
        found.add(REGENERATION_UNREADABLE, problem, None)
    for item in target.lacking:
        found.add(item.reason, item.message, item.subject)
    if fleet.is_complete:
        return found
    for refusal in sorted(turn.view.refusals, key=lambda r: (r.since, r.subject, r.move)):
        if _holds_back(turn, fleet, refusal) and not _is_passing(refusal):
            # A birth's name says nothing to people: the pod does not exist.
            subject = None if refusal.revision else refusal.subject
            found.add(refusal.cause, refusal.message, subject, refusal.since)
    if fleet.healing.held & fleet.held:
        found.add(TAINT_RETURNS, _taint_returns(fleet), None)
    for instance, trouble in _troubles(turn, fleet):
        found.add(trouble.kind, f"{instance.name}: {trouble.message}", instance.name)
        if trouble.settled or _was_settled(turn, trouble):
            found.stalling.add(trouble.kind)
    return found


def _kept_by_freeze(turn: Turn, fleet: Fleet) -> bool:
    return turn.target.freeze.repairs and bool(fleet.held)


def _was_settled(turn: Turn, trouble: Trouble) -> bool:
    """Whether the same trouble stalled the service already: a further try does not end that."""
    stalled = turn.view.prior.condition("Stalled")
    return stalled is not None and (stalled.status, stalled.reason) == ("True", trouble.kind)


def _holds_back(turn: Turn, fleet: Fleet, refusal: Refusal) -> bool:
    """Whether what was refused is still wanted: the spec may have changed its mind since."""
    missing = turn.budget.desired - len(fleet.current)
    match refusal.move:
        case Move.CREATE:
            growing = {r.id for r in (turn.wanted, turn.target.fallback) if r is not None}
            taken = refusal.cause is Cause.NAME_TAKEN
            return missing > 0 and refusal.revision in growing and not taken
        case Move.RETIRE | Move.QUARANTINE:
            return refusal.subject in fleet.why or missing < 0
        case Move.VERDICT | Move.FORGET:
            return True
        case Move.RECORD | Move.SNAPSHOT:
            return False  # said elsewhere


def _is_passing(refusal: Refusal) -> bool:
    """Whether it may well be gone at the next try, as when an object changed under a write."""
    return refusal.cause is Cause.API_SERVER and refusal.attempts < 3


def _taint_returns(fleet: Fleet) -> str:
    """Why healing is held back, and what a person can do. It says the same until the next try."""
    first = min(fleet.healing.held & fleet.held)
    row = fleet.healing.relapses
    times = "once" if row == 1 else f"{row} times in a row"
    return (
        f"{first}: {fleet.deviations[first].cause}; replacing was tried {times} and each successor"
        " was changed, too: find out who changes every new pod (a webhook, a controller, an"
        " autoscaler) and exempt this service from it, or set immutability.onTaint: Report; it is"
        " tried again ever later, in the end once an hour"
    )


def _troubles(turn: Turn, fleet: Fleet) -> list[tuple[Instance, Trouble]]:
    """Troubles, the settled and then the oldest instance's first, so that the pick is stable.

    That an instance ended is no trouble: it has a successor. That this one ended, too, is.
    """
    wanted = turn.wanted.id if turn.wanted else ""
    ended = (i for i in fleet.ended if i.revision == wanted and i.tries > 0)
    pairs = [(i, i.trouble) for i in (*fleet.current, *ended) if i.trouble]
    pairs.sort(key=lambda p: (p[1].kind, not p[1].settled, p[0].born, p[0].name))
    return pairs
