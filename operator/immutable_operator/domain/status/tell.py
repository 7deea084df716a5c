"""Reporting: the one place that builds a status, with its conditions, blockers and events.

Nothing here changes by itself: the same observation gives the same status. The previous status is
read only to keep its times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

from immutable_operator.domain.failing import excused_until, is_judged
from immutable_operator.domain.fleet import Fleet, being, count_current, remain
from immutable_operator.domain.goal import is_previewing, is_stepping
from immutable_operator.domain.model import (
    SECRET,
    Announcement,
    Blocker,
    Deviation,
    FailedRevision,
    Revision,
    Rollout,
    Status,
    Verdict,
)
from immutable_operator.domain.routing import unrouted
from immutable_operator.domain.status.blockers import Waits, waits
from immutable_operator.domain.status.conditions import Saying, conditions
from immutable_operator.domain.status.disrupted import DISRUPTED, disruptions
from immutable_operator.domain.status.events import announcements
from immutable_operator.domain.status.notices import notices
from immutable_operator.domain.status.progress import progress
from immutable_operator.domain.status.promoting import promotion_waits
from immutable_operator.domain.status.proving import proving
from immutable_operator.domain.status.regeneration import regeneration_conditions, routine
from immutable_operator.domain.status.stepping import at_step, step_waits
from immutable_operator.domain.target import (
    FROZEN,
    HELD,
    NOTHING_ELSE,
    ROLLED_BACK,
    SUSPENDED,
)
from immutable_operator.domain.turn import RESUME, Turn
from immutable_operator.domain.verdict import last_good

__all__ = ["Told", "modified_in_place", "prepared", "same_but_for_counts", "tell"]

DEVIATIONS_SHOWN = 16
FAILED_SHOWN = 10
SECRETS_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Told:
    """A status, its events, and when its deadline expires (or None)."""

    status: Status
    announcements: tuple[Announcement, ...] = ()
    deadline: float | None = None


def tell(turn: Turn, fleet: Fleet) -> Told:
    """Return what is to be reported about what was observed."""
    complete = fleet.is_complete and turn.target.is_asked and not turn.target.lacking
    proving = complete and is_judged(turn) and turn.spec.proves
    complete = complete and not proving and not _asked_failed(turn)
    complete = complete and not is_previewing(turn) and not is_stepping(turn)
    restored = turn.target.goes_back and fleet.is_complete
    waited = waits(turn, fleet)
    status = _counted(turn, fleet)
    status = replace(
        status,
        blockers=waited.blockers,
        rollout=None if complete or restored else progress(turn, fleet),
        deviations=_deviations(turn, fleet),
        failed_revisions=failed_revisions(turn),
    )
    deadline = _deadline(turn, fleet, status.rollout)
    overdue = deadline is not None and turn.now >= deadline
    saying = _say(turn, fleet, waited, overdue=overdue, complete=complete)
    told = conditions(turn, fleet, saying) + regeneration_conditions(turn, fleet) + notices(turn)
    status = replace(status, conditions=told)
    return Told(status, announcements(turn, status), None if overdue else deadline)


def _deadline(turn: Turn, fleet: Fleet, rollout: Rollout | None) -> float | None:
    """Return when a lack of progress is reported that is not the failure of a revision.

    A rollout that something else delays does not fail, but the delay must be visible.
    """
    if is_judged(turn):
        return excused_until(turn, fleet)
    if rollout is None or rollout.progressed_at is None:
        return None
    return rollout.progressed_at + turn.spec.progress_deadline_seconds


def _counted(turn: Turn, fleet: Fleet) -> Status:
    view, good = turn.view, last_good(turn, fleet)
    again = fleet.aging.again
    return Status(
        observed_generation=max(view.generation, view.prior.observed_generation),
        desired=turn.budget.desired,
        replicas=len(fleet.active),
        ready=sum(i.ready_since is not None for i in fleet.active),
        available=fleet.available,
        current=len(fleet.current),
        stale=len(fleet.stale) + len(fleet.held),
        quarantined=len(fleet.quarantined),
        selector=f"{turn.words.label}={view.name}",
        current_revision=turn.wanted.id if turn.wanted else None,
        last_good_revision=good.id if good else None,
        oldest_instance=min((i.born for i in fleet.active), default=None),
        next_regeneration=float(int(again)) if again else None,
        live_secrets=_live_secrets(turn),
    )


def _live_secrets(turn: Turn) -> tuple[str, ...]:
    """Return the Secrets that the wanted revision reads live, though they are to be pinned."""
    if turn.wanted is None:
        return ()
    asked = {*turn.view.spec.pinned, *turn.view.withheld} - turn.wanted.digests.keys()
    names = sorted(name for kind, name in asked if kind == SECRET)
    return tuple(names[:SECRETS_SHOWN])


def _say(turn: Turn, fleet: Fleet, waited: Waits, *, overdue: bool, complete: bool) -> Saying:
    """Return which of the conditions is True (or ``Suspended``), with reason and message."""
    target, spec = turn.target, turn.spec
    counts = _counts(turn, fleet)
    if turn.wanted is None and spec.suspend:
        text = f"suspended before its first revision: no instance is created; {RESUME}"
        return Saying(SUSPENDED, SUSPENDED, text)
    if spec.suspend:
        kind = "Ready" if complete else SUSPENDED
        text = f"{counts}suspended: no instance is created or replaced; {RESUME}"
        return Saying(kind, SUSPENDED, text)
    if complete and (lacking := unrouted(turn)) is not None:
        reason, text = lacking
        return Saying("Stalled", reason, f"{counts}{text}")
    if complete and spec.counts_terminating and fleet.terminating:
        first = next(iter(waited.blockers), None)
        waiting = f"; blocked by {first.reason}: {first.message}" if first else ""
        leave = f"{counts}{being(len(fleet.terminating), 'removed')}{waiting}"
        return Saying("Ready", turn.words.leaving, leave)
    if complete:
        return Saying("Ready", "Current", f"{counts}{_apart(turn, fleet)}".removesuffix("; "))
    if target.goes_back and target.asked is not None:
        text = gone_back(turn, fleet, target.asked, next(iter(waited.blockers), None))
        return Saying("Stalled", ROLLED_BACK, text)
    if _asked_failed(turn):
        return _held(turn, waited, counts)
    if (worst := waited.worst) is not None:
        return Saying("Stalled", worst.reason, f"{counts}{worst.message}")
    if target.is_frozen or (target.freeze.repairs and fleet.held):
        return Saying("Reconciling", FROZEN, f"{counts}{target.freeze.message}")
    held = promotion_waits(turn, fleet) or step_waits(turn, fleet, counts)
    if held is not None and not overdue:
        return Saying("Reconciling", *held)
    first = next(iter(waited.blockers), None)
    if turn.wanted is None:
        reason, text = (
            (first.reason, first.message)
            if first
            else ("Progressing", "no revision is recorded yet")
        )
        return Saying("Reconciling", reason, text)
    counts = counts.removesuffix("; ")
    waiting = f"; blocked by {first.reason}: {first.message}" if first else ""
    if overdue:
        late = f"no progress for {spec.progress_deadline_seconds} s"
        return Saying("Stalled", "ProgressDeadlineExceeded", f"{counts}; {late}{waiting}")
    if reason := routine(turn, fleet):
        # Nothing is wrong: enough instances of the wanted revision stay available.
        text = f"{counts}, {being(len(fleet.stale), 'replaced')}{waiting}"
        return Saying("Ready", reason, text)
    if fleet.is_complete and turn.wanted.verdict.baking is not None:
        return Saying("Reconciling", *proving(turn, turn.wanted.verdict, counts))
    taken = disruptions(turn.view, turn.wanted)
    left = f", {remain(len(fleet.stale))}" if fleet.stale else ""
    lost = f"; disrupted: {', '.join(map(str, taken))}" if taken else ""
    reason = "Replacing" if fleet.stale else DISRUPTED if taken else "Progressing"
    return Saying("Reconciling", reason, f"{counts}{left}{lost}{waiting}")


def _asked_failed(turn: Turn) -> bool:
    return turn.target.asked is not None and turn.target.asked.verdict.is_failed


def gone_back(turn: Turn, fleet: Fleet, failed: Revision, first: Blocker | None) -> str:
    """Say what failed, what runs instead, what delays that, and the two ways to continue."""
    verdict, runs = failed.verdict, turn.wanted
    how = f"failed: {verdict.reason}: {verdict.message}"
    if verdict.rejected_by:
        how = f"was {verdict.message}"
    have = count_current(fleet)
    have += f"; blocked by {first.reason}: {first.message}" if first else ""
    restored = fleet.available_current >= turn.budget.desired
    runs_now = "runs instead" if restored else "is being restored"
    return f"{failed} {how}; {runs} {runs_now}: {have}; {_ways_on(verdict)}"


def _ways_on(verdict: Verdict) -> str:
    """Return what to do about a revision that failed or was rejected."""
    action = "Resume" if verdict.rejected_by else "Retry"
    return f"change the spec, or create an ImmutableAction of type {action} to roll it out again"


def _held(turn: Turn, waited: Waits, counts: str) -> Saying:
    """Say that a failed revision is kept, and the two ways to continue."""
    asked = turn.target.asked
    verdict = asked.verdict if asked else Verdict()
    message = verdict.message
    if (worst := waited.worst) is not None and worst.reason != verdict.reason:
        message += f"; blocked by {worst.reason}: {worst.message}"
    kept = HELD if turn.target.holds_failed else NOTHING_ELSE
    text = f"{counts}the revision failed and is kept ({kept}): {message}; {_ways_on(verdict)}"
    return Saying("Stalled", verdict.reason, text)


def failed_revisions(turn: Turn) -> tuple[FailedRevision, ...]:
    """Return the revisions on record that failed, latest first; the list is bounded."""
    failed = [r for r in turn.view.revisions if r.verdict.is_failed]
    failed.sort(key=lambda r: (r.verdict.failed or 0.0, r.number), reverse=True)
    return tuple(
        FailedRevision(r.id, r.verdict.reason, r.verdict.message, _second(r.verdict.failed))
        for r in failed[:FAILED_SHOWN]
    )


def _second(at: float | None) -> float:
    """Return a time as the status stores it, so that a new process writes it no second time."""
    return float(int(at or 0.0))


def modified_in_place(count: int, field: str = "onTaint") -> str:
    """Return the part of a message that counts modified instances that are only reported.

    ``field`` is the field of the spec that says so.
    """
    instances = "instance" if count == 1 else "instances"
    return f"{count} {instances} modified in place ({field}: Report)"


def prepared(count: int) -> str:
    """Return the part of a message that counts instances which a drain may remove."""
    if count == 1:
        return "1 pod on a cordoned node has a successor and can be evicted"
    return f"{count} pods on cordoned nodes have successors and can be evicted"


def _apart(turn: Turn, fleet: Fleet) -> str:
    seen = len(fleet.deviations.keys() & {i.name for i in fleet.active})
    reported = f"{modified_in_place(seen, turn.words.reporting)}; " if seen else ""
    reported += f"{prepared(len(fleet.prepared))}; " if fleet.prepared else ""
    count = len(fleet.quarantined)
    return f"{reported}{count} in quarantine" if count else reported


def _counts(turn: Turn, fleet: Fleet) -> str:
    """Return the start of each message, with its separator; "" if no revision is wanted yet."""
    if turn.wanted is None:
        return ""
    return f"{turn.wanted}: {at_step(turn)}{count_current(fleet)}; "


def _deviations(turn: Turn, fleet: Fleet) -> tuple[Deviation, ...]:
    """Return the modified instances that are not gone yet, by name; the list is bounded."""
    found = (
        Deviation(i.name, why.reason, why.cause)
        for i in sorted(turn.view.instances, key=lambda i: i.name)
        if not i.terminating and (why := fleet.deviations.get(i.name))
    )
    return tuple(islice(found, DEVIATIONS_SHOWN))


def same_but_for_counts(old: Status, new: Status) -> bool:
    """Return whether only numbers and wording changed: such a write may wait for the next one."""

    def essence(status: Status) -> object:
        return (
            status.observed_generation,
            status.selector,
            status.desired,
            status.current_revision,
            status.last_good_revision,
            [(b.reason, b.subject) for b in status.blockers],
            [(c.type, c.status, c.reason) for c in status.conditions],
            status.deviations,
            status.failed_revisions,
            status.live_secrets,
            status.rollout is None,
        )

    return essence(old) == essence(new)
