"""Blockers: everything that progress waits for, one for each reason, with the time since when."""

from __future__ import annotations

from dataclasses import dataclass, field

from immutable_operator.domain.calendar.cron import wall
from immutable_operator.domain.checks import waiting
from immutable_operator.domain.config.snapshots import CONFIG_MISSING, SNAPSHOT_LOST
from immutable_operator.domain.failing import is_judged
from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.model import (
    Blocker,
    Cause,
    CheckPhase,
    Instance,
    Move,
    Refusal,
    Trouble,
)
from immutable_operator.domain.protection import obstacle
from immutable_operator.domain.routing import unrouted
from immutable_operator.domain.target import FROZEN, INVALID_SPEC
from immutable_operator.domain.turn import Turn
from immutable_operator.domain.weights import ROUTE_UNUSABLE, unweighed

__all__ = ["STALLING", "TAINT_RETURNS", "Waits", "waits"]

TAINT_RETURNS = "TaintReturns"
CHECK_INCONCLUSIVE = "CheckInconclusive"
# Reasons that waiting does not resolve: the service is stalled as soon as one is seen.
STALLING: frozenset[str] = frozenset(
    {
        INVALID_SPEC,
        TAINT_RETURNS,
        CONFIG_MISSING,
        SNAPSHOT_LOST,
        Cause.QUOTA,
        Cause.TEMPLATE,
        Cause.CONFIG,
        Cause.CHANGED,
        Cause.FORBIDDEN,
        Cause.NAMESPACE_TERMINATING,
    }
)


@dataclass
class Waits:
    """What progress waits for, by reason, and which of the reasons waiting does not resolve.

    The instances of a service mostly share their trouble, and the list must not change with every
    pod that comes and goes: so there is one blocker for each reason.
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
        """The first blocker that waiting does not resolve."""
        return next((b for b in self.blockers if b.reason in self.stalling), None)


def waits(turn: Turn, fleet: Fleet) -> Waits:
    """Return all blockers; freezes come first.

    What keeps clients from the instances delays no instance, and comes last.
    """
    found = _waits(turn, fleet)
    if (lacking := unrouted(turn)) is not None:
        found.add(*lacking, None)
    if (prevented := unweighed(turn)) is not None:
        found.add(ROUTE_UNUSABLE, prevented, None)
    return found


def _waits(turn: Turn, fleet: Fleet) -> Waits:
    found = Waits(turn)
    target = turn.target
    frozen = target.is_frozen or fleet.aging.waiting or _kept_by_freeze(turn, fleet)
    if target.freeze.holds and frozen:
        found.add(FROZEN, target.freeze.message, None)
    if (unprotected := obstacle(turn)) is not None:
        found.add(*unprotected, None)
    for item in target.lacking:
        found.add(item.reason, item.message, item.subject)
    for item in turn.care.waits:
        found.add(item.reason, item.message, item.subject)
    if (check := _stuck_check(turn)) is not None:
        found.add(CHECK_INCONCLUSIVE, *check)
    if fleet.is_complete:
        return found
    for instance in fleet.stale:
        if (kept := turn.family.obstacle(instance, turn.spec)) is not None:
            found.add(kept.reason, kept.message, kept.subject)
    for refusal in sorted(turn.view.refusals, key=lambda r: (r.since, r.subject, r.move)):
        if _holds_back(turn, fleet, refusal) and not _is_passing(refusal):
            # The name of a refused birth does not help people: the pod does not exist.
            subject = None if refusal.revision else refusal.subject
            text = turn.words.advised(refusal.cause, refusal.message)
            found.add(refusal.cause, text, subject, refusal.since)
    if fleet.healing.held & fleet.held:
        found.add(TAINT_RETURNS, _taint_returns(fleet), None)
    for instance, trouble in _troubles(turn, fleet):
        text = turn.words.advised(trouble.kind, trouble.message)
        found.add(trouble.kind, f"{instance.name}: {text}", instance.name)
        if trouble.settled or _was_settled(turn, trouble):
            found.stalling.add(trouble.kind)
    return found


def _stuck_check(turn: Turn) -> tuple[str, str] | None:
    """Return what keeps a check from a result, and its name; it is measured again."""
    if turn.wanted is None or not turn.target.is_asked or not is_judged(turn):
        return None
    check = waiting(turn.spec.checks, turn.wanted.verdict.checks)
    if check is None or check.phase is not CheckPhase.WAITING or check.last is None:
        return None
    return f"check {check.name} has no result: {check.last.message}", check.name


def _kept_by_freeze(turn: Turn, fleet: Fleet) -> bool:
    return turn.target.freeze.repairs and bool(fleet.held)


def _was_settled(turn: Turn, trouble: Trouble) -> bool:
    """Return whether this trouble stalled the service already: a retry does not end that."""
    stalled = turn.view.prior.condition("Stalled")
    return stalled is not None and (stalled.status, stalled.reason) == ("True", trouble.kind)


def _holds_back(turn: Turn, fleet: Fleet, refusal: Refusal) -> bool:
    """Return whether the refused move is still wanted: the spec may have changed since."""
    missing = turn.budget.desired - len(fleet.current)
    match refusal.move:
        case Move.CREATE:
            growing = {r.id for r in (turn.wanted, turn.target.fallback) if r is not None}
            taken = refusal.cause is Cause.NAME_TAKEN
            return missing > 0 and refusal.revision in growing and not taken
        case Move.RETIRE | Move.QUARANTINE:
            return refusal.subject in fleet.why or missing < 0
        case Move.RECORD | Move.SNAPSHOT | Move.BUDGET | Move.ROUTE | Move.WEIGHTS | Move.EVICT:
            return False  # reported with the target, or with the node that is drained
        case _:
            return True


def _is_passing(refusal: Refusal) -> bool:
    """Return whether it may succeed at the next try, as when an object changed during a write."""
    return refusal.cause is Cause.API_SERVER and refusal.attempts < 3


def _taint_returns(fleet: Fleet) -> str:
    """Say why healing is held back, and what to do; the text is stable until the next attempt."""
    first = min(fleet.healing.held & fleet.held)
    row = fleet.healing.relapses
    tries = "1 replacement was" if row == 1 else f"{row} replacements in a row were"
    until = fleet.healing.until
    attempt = "" if until is None else f"; next attempt at {wall(until, 'UTC')}"
    return (
        f"{first}: {fleet.deviations[first].cause}; {tries} modified as well{attempt};"
        f" {fleet.turn.words.relapse}"
    )


def _troubles(turn: Turn, fleet: Fleet) -> list[tuple[Instance, Trouble]]:
    """Return troubles, settled ones and then oldest instances first, so that the choice is stable.

    An instance that ended is no trouble: it has a successor. A successor that ended, too, is.
    """
    wanted = turn.wanted.id if turn.wanted else ""
    leaving = fleet.terminating if turn.spec.counts_terminating else ()
    known = (*fleet.ended, *(i for i in (*leaving, *turn.view.departed) if i.ended))
    ended = (i for i in known if i.revision == wanted and i.tries > 0)
    pairs = [(i, i.trouble) for i in (*fleet.current, *ended) if i.trouble]
    pairs.sort(key=lambda p: (p[1].kind, not p[1].settled, p[0].born, p[0].name))
    return pairs
