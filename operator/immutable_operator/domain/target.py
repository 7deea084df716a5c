"""Choosing: which revision is worked towards, and why not the one that the spec asks for.

The first of the five steps of a plan. What a service asked for is in its spec; what became of
each revision is in that revision's record. The status of the service is not read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from immutable_operator.domain.config.hashing import find_revision, is_made_of, revision_hash
from immutable_operator.domain.config.references import config_author, config_change
from immutable_operator.domain.config.snapshots import (
    Copies,
    Obstacle,
    Reading,
    pins,
    plan_snapshots,
    read_config,
)
from immutable_operator.domain.freezing import Frozen, active_freeze
from immutable_operator.domain.model import (
    Action,
    Announcement,
    CreateRevision,
    Move,
    Phase,
    Refusal,
    Revision,
    View,
    next_number,
    revision_id,
)

__all__ = [
    "FROZEN",
    "INVALID_SPEC",
    "SUSPENDED",
    "Target",
    "choose",
    "is_proven",
    "latest_completed",
    "ran",
]

INVALID_SPEC = "InvalidSpec"
SUSPENDED = "Suspended"
FROZEN = "Frozen"


@dataclass(frozen=True, slots=True)
class Target:
    """What is worked towards.

    ``wanted`` is the revision that the service is to become, ``is_asked`` whether the spec asks for
    it now; ``lacking`` says what keeps the one that is asked for from being it, or from being born.
    ``fallback`` is another revision that has proved itself: what is lost is born from it as long as
    ``wanted`` does not work. ``unborn`` says by revision id why nothing of it can be born now.
    ``moves`` are to be made first (records and copies); ``is_open`` says that the answer to them
    decides what is told, so that nothing is told before.
    """

    wanted: Revision | None
    is_asked: bool
    freeze: Frozen
    fallback: Revision | None = None
    lacking: tuple[Obstacle, ...] = ()
    unborn: Mapping[str, str] = field(default_factory=dict)
    moves: tuple[Action, ...] = ()
    is_open: bool = False
    due: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    announcements: tuple[Announcement, ...] = ()

    @property
    def is_recording(self) -> bool:
        """Whether what is asked for is only being recorded: the next plan works towards it."""
        return any(isinstance(move, CreateRevision) for move in self.moves)

    @property
    def is_frozen(self) -> bool:
        """Whether a freeze keeps the service from what its spec asks for."""
        return self.freeze.holds and not self.is_asked


def choose(view: View, now: float) -> Target:
    """Which revision is worked towards, now and with what is known."""
    spec, held = view.spec, active_freeze(view.freezes, view.requests, now)
    running = _running(view)
    asked = _Asked.of(view)
    if asked.is_unread:
        note = f"{', '.join(asked.config.unread)} is being read"
        return _grown(view, Target(running, False, held, is_open=True, notes=(note,)), now)
    if asked.lacking:
        return _grown(view, Target(running, False, held, lacking=asked.lacking), now)
    if held.holds and _moves_on(view, asked.revision, running):
        return _grown(view, Target(running, False, held), now)
    if asked.revision is not None:
        return _grown(view, Target(asked.revision, True, held), now)
    if spec.suspend:
        return _grown(view, Target(running, False, held), now)
    return _grown(view, _recorded(view, asked, running, held, now), now)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the spec asks for: the revision on record that it is, if it is on record."""

    revision: Revision | None
    config: Reading
    lacking: tuple[Obstacle, ...] = ()

    @property
    def is_unread(self) -> bool:
        return bool(self.config.unread)

    @classmethod
    def of(cls, view: View) -> _Asked:
        template = view.spec.template
        if template is None:
            text = view.invalid or "the spec cannot be read"
            return cls(None, Reading({}), (Obstacle(INVALID_SPEC, text, None),))
        config = read_config(view.spec.pinned, view.configs)
        if config.unread or config.lacking:
            return cls(None, config, config.lacking)
        return cls(find_revision(template, view.revisions, config.digests), config)


def _moves_on(view: View, asked: Revision | None, running: Revision | None) -> bool:
    """Whether what is asked for would be a rollout, which a freeze holds back.

    Going back to the revision that worked last is none, and neither is the birth of a service.
    """
    if asked is not None and asked in (running, latest_completed(view)):
        return False
    return running is not None or any(i.active for i in view.instances)


def _running(view: View) -> Revision | None:
    """The revision that is worked towards already; where no record tells, the commonest one."""
    started = [r for r in view.revisions if r.verdict.started is not None]
    if started:
        return max(started, key=lambda r: (r.verdict.started or 0.0, r.number))
    counts = {r.id: sum(i.revision == r.id for i in view.instances) for r in view.revisions}
    seen = [r for r in view.revisions if counts[r.id]]
    return max(seen, key=lambda r: (counts[r.id], r.number), default=None)


def latest_completed(view: View) -> Revision | None:
    """The last good revision: the one that was complete last."""
    good = [
        r
        for r in view.revisions
        if r.verdict.completed is not None and r.verdict.phase is not Phase.FAILED
    ]
    return max(good, key=lambda r: (r.verdict.completed or 0.0, r.number), default=None)


def ran(view: View, revision: Revision) -> bool:
    """Whether a revision has instances, or had some as far as is known, when it was the target."""
    if revision.verdict.replicas != 0:
        return True
    return any(i.revision == revision.id for i in (*view.instances, *view.departed))


def is_proven(view: View, revision: Revision | None) -> bool:
    """Whether a revision worked once, and was not scaled to 0 since."""
    if revision is None:
        return False
    verdict = revision.verdict
    worked = verdict.completed is not None or verdict.first_available is not None
    return worked and ran(view, revision)


def _proven(view: View, wanted: Revision | None) -> list[Revision]:
    """Other revisions that work, the best first: the last good one, and those that do now.

    Where ``wanted`` is the last good one itself, an older one does not come back. What worked once
    and is stuck now comes last.
    """
    least, last = view.spec.min_ready_seconds, latest_completed(view)
    ready = {i.revision for i in view.instances if i.available_at(least) is not None}
    works = [
        r
        for r in view.revisions
        if r != wanted
        and r.verdict.phase is not Phase.FAILED
        and (r == last or r.id in ready or (not last and r.verdict.first_available is not None))
    ]
    stuck = {i.revision for i in view.instances if i.trouble and i.trouble.settled} - ready
    return sorted(works, key=lambda r: (r.id in stuck, r != last, r.id not in ready, -r.number))


def _grown(view: View, target: Target, now: float) -> Target:
    """The target with what its revisions need before anything of them can be born."""
    unborn: dict[str, str] = {}
    moves, due, lacking = [*target.moves], [*target.due], [*target.lacking]
    is_open = target.is_open
    if target.wanted is not None:
        copied = plan_snapshots(view, target.wanted, now)
        if not copied.complete:
            unborn[target.wanted.id] = str(copied)
            lacking += copied.lacking
            # The status waits for the plan that follows as soon as they are there.
            is_open = is_open or (bool(copied.create) and not view.spec.suspend)
        moves, due = _with(moves, due, copied)
    fallback = None
    for candidate in _proven(view, target.wanted):
        copied = plan_snapshots(view, candidate, now)
        fallback = candidate
        if copied.complete:
            break
        if copied.create:
            moves, due = _with(moves, due, copied)
            unborn[candidate.id] = str(copied)
            break
        unborn[candidate.id] = str(copied)
    return Target(
        wanted=target.wanted,
        is_asked=target.is_asked,
        freeze=target.freeze,
        fallback=fallback,
        lacking=tuple(lacking),
        unborn=unborn,
        moves=() if view.spec.suspend else tuple(moves),
        is_open=is_open,
        due=tuple(due),
        notes=target.notes,
        announcements=target.announcements,
    )


def _with(
    moves: list[Action], due: list[float], copied: Copies
) -> tuple[list[Action], list[float]]:
    return [*moves, *copied.create], [*due, *([copied.due] if copied.due is not None else [])]


def _recorded(
    view: View, asked: _Asked, running: Revision | None, held: Frozen, now: float
) -> Target:
    """Write down first what is asked for; instances are born from the record."""
    spec, digests = view.spec, asked.config.digests
    full_hash = revision_hash(spec.template or {}, config=digests)
    short = revision_id(full_hash, view.revisions)
    refused = _refusal(view, short, now)
    if refused is not None:
        lack = Obstacle(refused.cause, refused.message, None)
        note = f"record 0 of 1 revision: {refused.message}"
        return Target(running, False, held, lacking=(lack,), due=(refused.retry_at,), notes=(note,))
    number = next_number(view.revisions)
    reason, change, author = _change(view, asked.config, running)
    pinned = pins(view, short, digests)
    record = CreateRevision(short, number, full_hash, reason, author, pinned)
    why = f"{reason} ({change})" if change else reason
    what = "ConfigMap" if reason == "ConfigChanged" else "template"
    text = f"revision {number} ({short}) recorded: {why}, {what} written by {author}"
    created = Announcement("RevisionCreated", text, f"{short}/{number}")
    return Target(
        running,
        False,
        held,
        moves=(record,),
        is_open=True,
        notes=(f"record revision {number} ({short})",),
        announcements=(created,),
    )


def _refusal(view: View, short: str, now: float) -> Refusal | None:
    found = [r for r in view.refusals if (r.move, r.subject) == (Move.RECORD, short)]
    return next((r for r in found if r.retry_at > now), None)


def _change(view: View, config: Reading, running: Revision | None) -> tuple[str, str, str]:
    """Why there is a new revision, which ConfigMaps changed ("" where that is not all), by whom."""
    before = running or max(view.revisions, key=lambda r: r.number, default=None)
    if before is None:
        return "Created", "", view.author
    old, new = before.digests, config.digests
    change = config_change(old, new)
    if is_made_of(before, view.spec.template or {}):
        author = config_author(old, new, config.authors, view.author)
        return "ConfigChanged", change, author
    return "TemplateChanged", change, view.author
