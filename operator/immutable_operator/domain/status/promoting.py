"""What is said of a revision that was created beside the running one, and of its promotion."""

from __future__ import annotations

from immutable_operator.domain.calendar.cron import wall
from immutable_operator.domain.fleet import Fleet, count_current
from immutable_operator.domain.goal import goal, is_previewing, is_stepping
from immutable_operator.domain.model import Announcement, Status
from immutable_operator.domain.promotion import is_switched, keeps_until
from immutable_operator.domain.routing import unswitched
from immutable_operator.domain.standing import going_back, live_revision
from immutable_operator.domain.status.proving import CHECKING, awaited
from immutable_operator.domain.turn import Turn

__all__ = ["WAITING", "promotion_waits", "promotions", "ways"]

WAITING = "WaitingForPromotion"
PROMOTING = "Promoting"
KEEPING = "KeepingPrevious"


def promotion_waits(turn: Turn, fleet: Fleet) -> tuple[str, str] | None:
    """Return what a promotion waits for, or what follows after it: a reason and a sentence."""
    wanted, live = turn.wanted, live_revision(turn.view)
    if turn.spec.sides is None or wanted is None or live is None:
        return None
    if not is_previewing(turn):
        return _keeping(turn, fleet)
    if is_stepping(turn):
        return None
    if not turn.target.is_asked or fleet.available_current < goal(turn):
        return None
    if (check := awaited(turn, wanted.verdict)) is not None:
        return CHECKING, f"{wanted} is not promoted before its checks have passed: {check}"
    if turn.target.freeze.holds:
        held = f"which a freeze delays: {turn.target.freeze.message}"
        return WAITING, f"{wanted} waits for its promotion, {held}"
    if wanted.verdict.approved is not None or _is_due(turn):
        return PROMOTING, f"{wanted} gets the traffic when {_all(turn)}"
    return WAITING, f"{wanted} waits for its promotion{ways(turn, _at(turn))}"


def _all(turn: Turn) -> str:
    return f"all {turn.budget.desired} instances are available"


def _at(turn: Turn) -> float | None:
    """Return when it is promoted without a command; None if it is not."""
    given, wanted = turn.spec.sides, turn.wanted
    if given is None or wanted is None or not given.is_auto:
        return None
    since = wanted.verdict.previewed
    return (turn.now if since is None else since) + given.promote_after


def _is_due(turn: Turn) -> bool:
    at = _at(turn)
    return at is not None and at <= turn.now


def ways(turn: Turn, at: float | None, when: str = "at") -> str:
    """Return when it goes on by itself, and how it is promoted and rejected."""
    name = turn.view.name
    promote, abort = (f"kubectl immutable {verb} {name}" for verb in ("promote", "abort"))
    if at is None:
        return f"; to promote it: {promote}; to reject it: {abort}"
    return f" {when} {wall(at, 'UTC')}; to promote it now: {promote}; to reject it: {abort}"


def _keeping(turn: Turn, fleet: Fleet) -> tuple[str, str] | None:
    """Say that the previous instances are kept for a while."""
    live, until = live_revision(turn.view), keeps_until(turn)
    if live is not None and not live.verdict.is_failed and not is_switched(turn, live):
        held = unswitched(turn, live)
        return (PROMOTING, held) if held else None
    if live is None or until is None or until <= turn.now or live.verdict.is_failed:
        return None
    before, _ = going_back(turn.view, live)
    kept = sum(before is not None and i.revision == before.id for i in fleet.stale)
    if not kept or fleet.available_current < turn.budget.desired:
        return None
    are = "1 instance of {} is" if kept == 1 else f"{kept} instances of {{}} are"
    text = f"{are.format(before)} kept for a rollback until {wall(until, 'UTC')}"
    return KEEPING, f"{live} has the traffic, {count_current(fleet)}; {text}"


def promotions(turn: Turn, status: Status) -> list[Announcement]:
    """Return the event that a revision waits for its promotion, if that is new."""
    now, was = status.condition("Reconciling"), turn.view.prior.condition("Reconciling")
    wanted = turn.wanted
    if wanted is None or now is None or (now.status, now.reason) != ("True", WAITING):
        return []
    if was is not None and (was.status, was.reason) == ("True", WAITING):
        return []
    key = f"{wanted.id}/{int(wanted.verdict.started or 0)}/{wanted.verdict.step}"
    return [Announcement(WAITING, now.message, key)]
