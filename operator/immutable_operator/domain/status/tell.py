"""The status as a contract: kstatus conditions, blockers, progress, and the events told.

``Ready``, ``Reconciling`` and ``Stalled`` are always present; at most one of them is True.
Nothing here changes by itself: the same observation gives the same status.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from immutable_operator.domain.config.snapshots import CONFIG_MISSING, SNAPSHOT_LOST, Lacking
from immutable_operator.domain.freezing import Frozen
from immutable_operator.domain.ledger import Budget
from immutable_operator.domain.model import (
    Announcement,
    Blocker,
    Cause,
    Condition,
    Deviant,
    Guard,
    Instance,
    Move,
    Refusal,
    Revision,
    Rollout,
    Spec,
    Status,
    Trouble,
    View,
)
from immutable_operator.domain.status.disrupted import (
    TAKEN_AWAY,
    Taken,
    taken_announcements,
    taken_away,
)
from immutable_operator.domain.status.regeneration import is_regenerating, regeneration_conditions
from immutable_operator.domain.strategies import Fleet

__all__ = [
    "INVALID_SPEC",
    "SUSPENDED",
    "announcements",
    "is_complete",
    "lacking_blockers",
    "same_but_for_counts",
    "stall_announcements",
    "standing_status",
    "status_of",
]

INVALID_SPEC = "InvalidSpec"
TAINT_RETURNS = "TaintReturns"
SUSPENDED = "Suspended"
DEVIANTS_SHOWN = 16
GUARDED = "Guarded"
FROZEN = "Frozen"
NOT_FROZEN = Frozen()
# What no waiting mends: the service is stalled as soon as it is seen.
STALLING: frozenset[str] = frozenset(
    {
        INVALID_SPEC,
        TAINT_RETURNS,
        CONFIG_MISSING,
        SNAPSHOT_LOST,
        Cause.QUOTA,
        Cause.TEMPLATE,
        Cause.FORBIDDEN,
        Cause.NAMESPACE_TERMINATING,
    }
)


def is_complete(fleet: Fleet, budget: Budget) -> bool:
    """Whether all that is wanted is there, available, and nothing else is."""
    return (
        len(fleet.current) == budget.desired
        and not fleet.stale
        and not fleet.healing.held
        and fleet.count_available(fleet.current) == budget.desired
    )


def status_of(
    view: View,
    spec: Spec,
    fleet: Fleet,
    budget: Budget,
    now: float,
    held: Frozen = NOT_FROZEN,
    *,
    pending: bool = False,
    lacking: tuple[Lacking, ...] = (),
) -> tuple[Status, float | None]:
    """The status for what was observed, and when the progress deadline runs out (or None).

    ``pending`` says that the spec asks for a revision that suspension, a freeze, or something
    that is ``lacking`` holds back.
    """
    prior = view.prior
    complete = is_complete(fleet, budget) and not pending and not lacking
    paused = spec.suspend or (pending and held.holds) or bool(lacking)
    rollout = None if complete else _rollout(view, fleet, budget, now, paused)
    blockers, stalling = ((), None) if complete else _blockers(view, fleet, budget, now)
    if lacking:
        own = lacking_blockers(lacking, prior, now)
        blockers = (*own, *blockers)
        stalling = next((b for b in own if b.reason in STALLING), stalling)
    if held.holds and (pending or fleet.aging.waiting or (held.repairs and fleet.deviants)):
        since = next((b.since for b in prior.blockers if b.reason == FROZEN), now)
        blockers = (Blocker(FROZEN, held.message, since), *blockers)
    deadline = None
    if rollout and rollout.progressed_at is not None:
        deadline = rollout.progressed_at + spec.progress_deadline_seconds
    ready = sum(i.ready_since is not None for i in fleet.active)
    proven = complete and budget.desired > 0
    status = Status(
        observed_generation=max(view.generation, prior.observed_generation),
        desired=budget.desired,
        replicas=len(fleet.active),
        ready=ready,
        available=fleet.count_available(fleet.active),
        current=len(fleet.current),
        stale=len(fleet.stale) + len(fleet.healing.held),
        quarantined=len(fleet.quarantined),
        selector=prior.selector,
        current_revision=fleet.wanted.id,
        last_good_revision=fleet.wanted.id if proven else prior.last_good_revision,
        oldest_instance=min((i.born for i in fleet.active), default=None),
        next_regeneration=float(int(fleet.aging.again)) if fleet.aging.again else None,
        blockers=blockers,
        rollout=rollout,
        deviants=_deviants(view, fleet),
    )
    overdue = deadline is not None and now >= deadline
    if pending and held.holds and stalling is None:
        verdict = ("Reconciling", FROZEN, f"{_counts(fleet, budget)}; {held.message}")
    else:
        taken = taken_away(view, fleet.wanted)
        verdict = _verdict(spec, fleet, budget, complete, stalling, overdue, blockers, taken)
    conditions = _conditions(*verdict, prior=prior, now=now, guard=view.guard)
    conditions += regeneration_conditions(spec, fleet, budget, prior, now)
    status = replace(status, conditions=conditions)
    return status, None if overdue else deadline


def lacking_blockers(lacking: Iterable[Lacking], prior: Status, now: float) -> tuple[Blocker, ...]:
    """What is lacking as blockers, each since it was first said."""
    since = {b.reason: b.since for b in prior.blockers}
    return tuple(
        Blocker(item.reason, item.message, since.get(item.reason, now), item.subject)
        for item in lacking
    )


def standing_status(view: View, reason: str, message: str, now: float) -> Status:
    """The stored status with the news that nothing can be planned, and why.

    Used where the spec is refused or its revision cannot be recorded; what runs goes on, and
    the progress deadline stands still.
    """
    prior = view.prior
    kind = "Stalled" if reason in STALLING else "Reconciling"
    if reason == SUSPENDED:
        kind = SUSPENDED
    return replace(
        prior,
        observed_generation=max(view.generation, prior.observed_generation),
        rollout=replace(prior.rollout, progressed_at=None) if prior.rollout else None,
        conditions=_conditions(kind, reason, message, prior=prior, now=now, guard=view.guard),
    )


def same_but_for_counts(old: Status, new: Status) -> bool:
    """Whether only numbers and wording moved: such a write may wait for the next one."""

    def essence(status: Status) -> object:
        return (
            status.observed_generation,
            status.selector,
            status.desired,
            status.current_revision,
            status.last_good_revision,
            [(b.reason, b.subject) for b in status.blockers],
            [(c.type, c.status, c.reason) for c in status.conditions],
            status.deviants,
            status.rollout is None,
        )

    return essence(old) == essence(new)


def announcements(
    view: View, status: Status, wanted: Revision, now: float
) -> tuple[Announcement, ...]:
    """The events that this change of status is worth."""
    prior, told = view.prior, []
    rollout = prior.rollout
    if rollout and not status.rollout and status.last_good_revision != prior.last_good_revision:
        before = next((r for r in view.revisions if r.id == prior.last_good_revision), None)
        if before is not None:
            seconds = max(0, round(now - rollout.started_at))
            text = (
                f"revision {wanted.number} ({wanted.id}) replaced revision {before.number}"
                f" ({before.id}): {status.current} instances in {seconds} s"
            )
            # There and back again within a second: only the generation tells the two apart.
            key = f"{wanted.id}/{_since(rollout)}/{view.generation}"
            told.append(Announcement("ReplacementFinished", text, key))
    told += stall_announcements(view, status, wanted.id)
    told += _deviant_announcements(view, status)
    reconciling = status.condition("Reconciling")
    if reconciling and reconciling.reason == TAKEN_AWAY:
        was = prior.condition("Reconciling")
        told += taken_announcements(view, wanted, was, _since(status.rollout))
    stalled = status.condition("Stalled")
    known = {b.reason for b in prior.blockers}
    for reason in dict.fromkeys(b.reason for b in status.blockers):
        if reason in known or (stalled and stalled.reason == reason and stalled.status == "True"):
            continue
        message = next(b.message for b in status.blockers if b.reason == reason)
        told.append(
            Announcement(
                "Blocked",
                f"{reason}: {message}",
                f"{reason}/{wanted.id}/{_since(status.rollout)}",
                True,
            )
        )
    for refusal in sorted(view.refusals, key=lambda r: r.subject):
        if refusal.cause is Cause.NAME_TAKEN:
            told.append(Announcement("NameTaken", refusal.message, refusal.subject, True))
    return tuple(told)


def stall_announcements(view: View, status: Status, about: str) -> tuple[Announcement, ...]:
    """The warning that work cannot go on, when that (or its reason) is new."""
    stalled, was = status.condition("Stalled"), view.prior.condition("Stalled")
    if stalled is None or stalled.status != "True":
        return ()
    if was is not None and (was.status, was.reason) == (stalled.status, stalled.reason):
        return ()
    text = f"{stalled.reason}: {stalled.message}"
    key = f"{stalled.reason}/{about}/{_since(status.rollout)}"
    return (Announcement("Stalled", text, key, True),)


def _deviants(view: View, fleet: Fleet) -> tuple[Deviant, ...]:
    """Those that are no longer what was born and not gone yet, by name; the list is bounded."""
    found = [
        Deviant(i.name, why.reason, why.cause)
        for i in sorted(view.instances, key=lambda i: i.name)
        if not i.terminating and (why := fleet.deviants.get(i.name))
    ]
    return tuple(found[:DEVIANTS_SHOWN])


def _deviant_announcements(view: View, status: Status) -> list[Announcement]:
    """One warning a reason for those that are new, the first by name."""
    known = {d.name for d in view.prior.deviants}
    told = []
    for reason in dict.fromkeys(d.reason for d in status.deviants):
        new = [d for d in status.deviants if d.reason == reason and d.name not in known]
        if new:
            others = f" (and {len(new) - 1} more)" if len(new) > 1 else ""
            text = f"{new[0].name}: {new[0].message}{others}"
            told.append(Announcement(reason, text, "/".join(d.name for d in new), True))
    return told


def _since(rollout: Rollout | None) -> int:
    """What tells one replacement from a later one with the same revisions."""
    return int(rollout.started_at) if rollout else 0


def _rollout(view: View, fleet: Fleet, budget: Budget, now: float, paused: bool) -> Rollout:
    """Carry the high-water marks on; a new revision or size starts them afresh."""
    good, stale = fleet.count_available(fleet.current), len(fleet.stale)
    # What waits on purpose is not late.
    paused = paused or fleet.healing.until is not None
    before = view.prior.rollout
    if not before or (before.revision, before.desired) != (fleet.wanted.id, budget.desired):
        started = before.started_at if before and before.revision == fleet.wanted.id else now
        fresh = Rollout(fleet.wanted.id, budget.desired, good, stale, started, now)
        return replace(fresh, progressed_at=None) if paused else fresh
    better = good > before.most_current or stale < before.least_stale
    resumed = before.progressed_at is None
    progressed = now if better or resumed else before.progressed_at
    return replace(
        before,
        most_current=max(good, before.most_current),
        least_stale=min(stale, before.least_stale),
        progressed_at=None if paused else progressed,
    )


def _blockers(
    view: View, fleet: Fleet, budget: Budget, now: float
) -> tuple[tuple[Blocker, ...], Blocker | None]:
    """All that is waited for, and the first of it that waiting does not mend.

    One blocker a reason: the instances of a service mostly share their trouble, and the list
    must not change with every pod that comes and goes.
    """
    found: dict[str, Blocker] = {}
    stalling: set[str] = set()
    since = {b.reason: b.since for b in view.prior.blockers}

    def add(reason: str, message: str, begun: float, subject: str | None) -> None:
        if reason not in found:
            begun = since.get(reason, begun)
            found[reason] = Blocker(reason, message, begun, subject)

    for refusal in sorted(view.refusals, key=lambda r: (r.since, r.subject, r.move)):
        if not _holds_back(refusal, fleet, budget):
            continue
        # A birth's name says nothing to people: the pod does not exist.
        subject = None if refusal.revision else refusal.subject
        add(refusal.cause, refusal.message, refusal.since, subject)
        if refusal.cause in STALLING:
            stalling.add(refusal.cause)
    if fleet.healing.held:
        add(TAINT_RETURNS, _taint_returns(fleet), now, None)
        stalling.add(TAINT_RETURNS)
    for instance, trouble in _troubles(fleet):
        message = f"{instance.name}: {trouble.message}"
        add(trouble.kind, message, now, instance.name)
        if trouble.settled:
            stalling.add(trouble.kind)
    first = next((b for b in found.values() if b.reason in stalling), None)
    return tuple(found.values()), first


def _taint_returns(fleet: Fleet) -> str:
    """Why healing is held back, and what a person can do. It says the same until the next try."""
    first = min(fleet.healing.held)
    row = fleet.healing.relapses
    times = "once" if row == 1 else f"{row} times in a row"
    return (
        f"{first}: {fleet.deviants[first].cause}; replacing was tried {times} and each successor"
        " was changed, too: find out who changes every new pod (a webhook, a controller, an"
        " autoscaler) and exempt this service from it, or set immutability.onTaint: Report; it is"
        " tried again ever later, in the end once an hour"
    )


def _holds_back(refusal: Refusal, fleet: Fleet, budget: Budget) -> bool:
    """Whether what was refused is still wanted: the spec may have changed its mind since."""
    missing = budget.desired - len(fleet.current)
    match refusal.move:
        case Move.CREATE:
            taken = refusal.cause is Cause.NAME_TAKEN
            return missing > 0 and refusal.revision == fleet.wanted.id and not taken
        case Move.RETIRE | Move.QUARANTINE:
            return refusal.subject in fleet.why or missing < 0
        case Move.RECORD | Move.SNAPSHOT:
            return False  # said elsewhere


def _troubles(fleet: Fleet) -> list[tuple[Instance, Trouble]]:
    """Troubles, the settled and then the oldest instance's first, so that the pick is stable.

    That an instance ended is no trouble: it has a successor. That this one ended, too, is.
    """
    ended = (i for i in fleet.ended if i.revision == fleet.wanted.id and i.incarnation > 0)
    pairs = [(i, i.trouble) for i in (*fleet.current, *ended) if i.trouble]
    pairs.sort(key=lambda p: (p[1].kind, not p[1].settled, p[0].born, p[0].name))
    return pairs


def _verdict(
    spec: Spec,
    fleet: Fleet,
    budget: Budget,
    complete: bool,
    stalling: Blocker | None,
    overdue: bool,
    blockers: tuple[Blocker, ...],
    taken: tuple[Taken, ...],
) -> tuple[str, str, str]:
    """Which of the conditions is True (or ``Suspended``), with reason and message."""
    counts = _counts(fleet, budget)
    if spec.suspend:
        kind = "Ready" if complete else SUSPENDED
        return kind, SUSPENDED, f"{counts}; suspended: nothing is replaced"
    if complete:
        seen = len(fleet.deviants.keys() & {i.name for i in fleet.active})
        reported = f"; {seen} no longer as born, reported only" if seen else ""
        apart = f"; {len(fleet.quarantined)} in quarantine" if fleet.quarantined else ""
        return "Ready", "Current", f"{counts}{reported}{apart}"
    if stalling is not None:
        return "Stalled", stalling.reason, f"{counts}; {stalling.message}"
    waits = f"; waits: {blockers[0].reason}: {blockers[0].message}" if blockers else ""
    if overdue:
        deadline = f"no progress for {spec.progress_deadline_seconds} s"
        return "Stalled", "ProgressDeadlineExceeded", f"{counts}; {deadline}{waits}"
    if is_regenerating(fleet, budget):
        # Nothing is amiss: enough of the wanted revision are available all the time.
        return "Ready", "Regenerating", f"{counts}, {len(fleet.stale)} are being replaced{waits}"
    left = f", {len(fleet.stale)} stale remain" if fleet.stale else ""
    lost = f"; taken away: {', '.join(map(str, taken))}" if taken else ""
    reason = "Replacing" if fleet.stale else TAKEN_AWAY if taken else "Progressing"
    return "Reconciling", reason, f"{counts}{left}{lost}{waits}"


def _counts(fleet: Fleet, budget: Budget) -> str:
    available = fleet.count_available(fleet.current)
    have = f"{available} of {budget.desired} are current and available"
    return f"revision {fleet.wanted.number} ({fleet.wanted.id}): {have}"


def _conditions(
    true: str, reason: str, message: str, *, prior: Status, now: float, guard: Guard | None
) -> tuple[Condition, ...]:
    conditions = []
    for kind in ("Ready", "Reconciling", "Stalled"):
        value = "True" if kind == true else "False"
        before = prior.condition(kind)
        since = before.since if before and before.status == value else now
        conditions.append(Condition(kind, value, reason, message, since))
    if guard is not None:
        value = "True" if guard.holds else "False"
        before = prior.condition(GUARDED)
        since = before.since if before and before.status == value else now
        conditions.append(Condition(GUARDED, value, guard.reason, guard.message, since))
    return tuple(conditions)
