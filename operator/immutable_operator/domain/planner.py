"""The planner: a pure, total function from what is observed to what is to be done.

It is asked again after every change and whenever a plan's ``due`` time comes; it remembers
nothing, so that a restart, a new leader and a lost event all end in the same next step.
"""

from __future__ import annotations

from dataclasses import replace

from immutable_operator.domain.config.hashing import find_revision, is_made_of, revision_hash
from immutable_operator.domain.config.references import config_change
from immutable_operator.domain.config.snapshots import Lacking, Reading, copies, pins, reading
from immutable_operator.domain.freezing import Frozen, frozen
from immutable_operator.domain.ledger import Budget
from immutable_operator.domain.model import (
    Action,
    Announcement,
    CreateRevision,
    DeleteRevision,
    Move,
    OnTaint,
    Plan,
    Policy,
    Revision,
    Spec,
    Status,
    View,
    next_number,
    revision_id,
)
from immutable_operator.domain.staleness.age import outcomes
from immutable_operator.domain.status.tell import (
    INVALID_SPEC,
    SUSPENDED,
    announcements,
    is_complete,
    lacking_blockers,
    stall_announcements,
    standing_status,
    status_of,
)
from immutable_operator.domain.strategies import Fleet, Moves, rolling

__all__ = ["plan"]


def plan(view: View, now: float, policy: Policy | None = None) -> Plan:
    """What to do for one service at ``now`` (seconds since the epoch).

    The order of instances, revisions and refusals in the view does not matter. A converged
    service plans no actions.
    """
    if view.deleting:
        return Plan(notes=("being deleted: ownerReferences clean up",))
    if view.spec is None or view.spec.template is None:
        return _invalid(view, view.invalid or "the spec cannot be read", now)
    policy = policy or Policy()
    config = reading(view.spec.pinned, view.configs)
    if config.unread:
        # What is wanted is not known before they are read, and a guess would be a rollout.
        return Plan(notes=(f"ConfigMap {', '.join(config.unread)} is being read",))
    lacking = config.lacking
    wanted = None
    if not lacking:
        wanted = find_revision(view.spec.template, view.revisions, config.digests)
    held = frozen(view.freezes, view.requests, now)
    running = _current(view)
    if (held.holds or lacking) and running is not None and wanted != running:
        # What runs goes on, and is repaired from its own record; what is wanted waits.
        return _act(view, view.spec, running, now, policy, held, pending=True, lacking=lacking)
    pending = wanted is None
    if wanted is None:
        if not view.spec.suspend:
            if lacking:
                return _lacking_at_birth(view, lacking, now)
            return _record(view, view.spec, config, now)
        wanted = running
        if wanted is None:
            return _suspended_at_birth(view, now)
    return _act(view, view.spec, wanted, now, policy, held, pending=pending)


def _act(
    view: View,
    spec: Spec,
    wanted: Revision,
    now: float,
    policy: Policy,
    held: Frozen,
    *,
    pending: bool,
    lacking: tuple[Lacking, ...] = (),
) -> Plan:
    copied = copies(view, wanted, now)
    if copied.create and not spec.suspend:
        # Instances are born from them, once they are seen; the status waits for that plan.
        return Plan(copied.create, notes=(str(copied),))
    lacking += copied.lacking
    if held.repairs:
        spec = replace(spec, on_taint=OnTaint.REPORT, replace_restarted=False)
    desired = _desired(view, spec)
    fleet = Fleet.of(
        view,
        spec,
        wanted,
        now,
        policy,
        desired=desired,
        waits=held.holds or spec.suspend,
        pending=pending,
    )
    budget = Budget.of(desired, spec.max_surge, spec.max_unavailable)
    moves = (
        Moves(notes=["suspended"]) if spec.suspend else rolling(view, spec, fleet, budget, policy)
    )
    if not copied.complete:
        moves.hold_births(fleet, str(copied))
    status, deadline = status_of(
        view, spec, fleet, budget, now, held, pending=pending, lacking=lacking
    )
    status = replace(status, selector=f"immutable.dev/service={view.name}")
    actions: list[Action] = [*moves.quarantines, *moves.retires, *moves.creates]
    if is_complete(fleet, budget) and not spec.suspend and not pending:
        actions += _beyond_history(view, spec, status)
    blocked = held.message if held.holds else None
    if spec.suspend:
        blocked = "the service is suspended; set spec.suspend: false to go on"
    times = (*moves.due, copied.due, deadline, fleet.next_available(), held.again)
    due = [t for t in times if t is not None]
    return Plan(
        actions=tuple(actions),
        status=status,
        due=min(due, default=None),
        notes=tuple(moves.notes) or ("nothing to do",),
        announcements=announcements(view, status, wanted, now),
        stale=tuple((i.name, fleet.why[i.name].reason) for i in fleet.stale),
        outcomes=outcomes(view.requests, view.instances, blocked),
    )


def _desired(view: View, spec: Spec) -> int:
    """The wanted number: as the spec says, else as it was, else 1 at birth."""
    if spec.replicas is not None:
        return spec.replicas
    return view.prior.desired if view.prior.current_revision else 1


def _record(view: View, spec: Spec, config: Reading, now: float) -> Plan:
    """Write down the wanted state first; instances are born from the record.

    The status waits for the plan that follows at once, unless the record was refused.
    """
    full_hash = revision_hash(spec.template or {}, config=config.digests)
    short = revision_id(full_hash, view.revisions)
    refused = next((r for r in view.refusals if (r.move, r.subject) == (Move.RECORD, short)), None)
    if refused is not None and refused.retry_at > now:
        status = standing_status(view, refused.cause, refused.message, now)
        note = f"record 0 of 1 revision: {refused.message}"
        told = stall_announcements(view, status, str(view.generation))
        return Plan((), status, refused.retry_at, (note,), told)
    number = next_number(view.revisions)
    reason, change = _change(view, spec, config)
    pinned = pins(view, short, config.digests)
    record = CreateRevision(short, number, full_hash, reason, view.author, pinned)
    why = f"{reason} ({change})" if change else reason
    text = f"revision {number} ({short}) recorded: {why}, template written by {view.author}"
    created = Announcement("RevisionCreated", text, f"{short}/{number}")
    return Plan((record,), None, None, (f"record revision {number} ({short})",), (created,))


def _change(view: View, spec: Spec, config: Reading) -> tuple[str, str]:
    """Why there is a new revision, and which ConfigMaps changed; "" where that is not all."""
    before = _current(view) or max(view.revisions, key=lambda r: r.number, default=None)
    if before is None:
        return "Created", ""
    change = config_change(before.digests, config.digests)
    if is_made_of(before, spec.template or {}):
        return "ConfigChanged", change
    return "TemplateChanged", change


def _lacking_at_birth(view: View, lacking: tuple[Lacking, ...], now: float) -> Plan:
    """Nothing is recorded before all is known that is part of it."""
    first = lacking[0]
    status = standing_status(view, first.reason, first.message, now)
    status = replace(status, blockers=lacking_blockers(lacking, view.prior, now))
    told = stall_announcements(view, status, str(view.generation))
    return Plan(
        status=status, notes=(f"record 0 of 1 revision: {first.message}",), announcements=told
    )


def _invalid(view: View, message: str, now: float) -> Plan:
    """Leave everything that runs alone and say what is wrong."""
    status = standing_status(view, INVALID_SPEC, message, now)
    told = stall_announcements(view, status, str(view.generation))
    return Plan(status=status, notes=(f"spec refused: {message}",), announcements=told)


def _suspended_at_birth(view: View, now: float) -> Plan:
    """Nothing is recorded yet, so there is nothing to compare with: only say so."""
    note = "suspended before its first revision"
    return Plan(
        status=standing_status(view, SUSPENDED, f"{note}: nothing is created", now), notes=(note,)
    )


def _current(view: View) -> Revision | None:
    """While suspended, the revision that was worked on when it was suspended."""
    return next((r for r in view.revisions if r.id == view.prior.current_revision), None)


def _beyond_history(view: View, spec: Spec, status: Status) -> list[DeleteRevision]:
    """Old revisions that no instance and no rollback needs, beyond the history limit."""
    kept = {status.current_revision, status.last_good_revision}
    kept |= {i.revision for i in view.instances}
    old = sorted((r for r in view.revisions if r.id not in kept), key=lambda r: -r.number)
    return [DeleteRevision(r.name, r.uid) for r in old[spec.history_limit :]]
