"""Choosing: which revision is the target, and why it is not the one that the spec asks for.

This is the first of the five steps of a plan. The spec of the service says what is asked for; the
record of each revision says what became of it. The status of the service is not read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from immutable_operator.domain.config.hashing import find_revision, is_made_of, revision_hash
from immutable_operator.domain.config.references import (
    config_author,
    config_change,
    config_kinds,
)
from immutable_operator.domain.config.snapshots import (
    Copies,
    Reading,
    as_recorded,
    pins,
    plan_snapshots,
    read_config,
)
from immutable_operator.domain.desired import desired_number, kept_state
from immutable_operator.domain.families import Family
from immutable_operator.domain.freezing import Frozen, active_freeze
from immutable_operator.domain.model import (
    Action,
    Announcement,
    CreateRevision,
    Move,
    Obstacle,
    Refusal,
    Revision,
    View,
    next_number,
    revision_id,
)
from immutable_operator.domain.standing import (
    fallback_of,
    going_back,
    is_held,
    latest_completed,
    live_revision,
    proven,
    running_revision,
)

__all__ = [
    "FROZEN",
    "HELD",
    "INVALID_SPEC",
    "NOTHING_ELSE",
    "ROLLED_BACK",
    "SUSPENDED",
    "Target",
    "choose",
]

INVALID_SPEC = "InvalidSpec"
SUSPENDED = "Suspended"
FROZEN = "Frozen"
ROLLED_BACK = "RolledBack"
# Why a revision that failed is kept.
HELD = "onFailure is Hold"
NOTHING_ELSE = "there is no revision to go back to"


@dataclass(frozen=True, slots=True)
class Target:
    """The revision to work towards, and what goes with it.

    ``wanted`` is that revision, ``is_asked`` says whether the spec asks for it now; ``lacking``
    says why the revision that the spec asks for is not the target, or why no instance of it can be
    created. ``fallback`` is another revision that has proved itself: lost instances are created
    from it as long as ``wanted`` does not work. ``unborn`` says by revision id why no instance of
    it can be created now. ``moves`` are to be made first (records and copies); ``is_open`` says
    that their outcome decides the status, so that no status is written before.

    ``asked`` is the revision that the spec asks for, if it is on record, and ``asked_id`` its id
    also if it is not; "" if it is not known yet. If that revision failed,
    ``goes_back`` says that ``wanted`` is the revision that runs instead. ``holds_failed`` says that
    ``wanted`` itself failed and is kept as it is, though there is a revision to go back to.
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
    asked: Revision | None = None
    asked_id: str = ""
    goes_back: bool = False
    holds_failed: bool = False

    @property
    def began(self) -> float | None:
        """When the way to the wanted revision began: with its start, or as another one failed."""
        if self.goes_back and self.asked is not None:
            return self.asked.verdict.failed
        return None if self.wanted is None else self.wanted.verdict.started

    @property
    def is_recording(self) -> bool:
        """Whether the revision that is asked for is only being recorded, and targeted next."""
        return any(isinstance(move, CreateRevision) for move in self.moves)

    @property
    def is_frozen(self) -> bool:
        """Whether a freeze keeps the service from what its spec asks for."""
        return self.freeze.holds and not self.is_asked


def choose(view: View, now: float, family: Family) -> Target:
    """Return the revision to work towards, given what is known now."""
    asked = _Asked.of(view)
    return replace(_chosen(view, now, family, asked), asked_id=asked.id_in(view, family))


def _chosen(view: View, now: float, family: Family, asked: _Asked) -> Target:
    spec, held = view.spec, active_freeze(view.freezes, view.requests, now)
    running = running_revision(view)
    if asked.is_unread:
        note = f"{', '.join(asked.config.unread)} is being read"
        return _grown(view, Target(running, False, held, is_open=True, notes=(note,)), now)
    if asked.lacking:
        return _grown(view, Target(running, False, held, lacking=asked.lacking), now)
    if asked.revision is not None and asked.revision.verdict.is_failed:
        return _grown(view, _after_failure(view, asked.revision, held), now)
    if held.holds and _moves_on(view, asked.revision, running):
        return _grown(view, Target(running, False, held, asked=asked.revision), now)
    if asked.revision is not None:
        return _grown(view, Target(asked.revision, True, held, asked=asked.revision), now)
    if spec.suspend:
        return _grown(view, Target(running, False, held), now)
    return _grown(view, _recorded(view, asked, running, _Setting(family, held, now)), now)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the spec asks for: its revision, if that is recorded already."""

    revision: Revision | None
    config: Reading
    lacking: tuple[Obstacle, ...] = ()

    @property
    def is_unread(self) -> bool:
        return bool(self.config.unread)

    def full_hash(self, view: View, family: Family) -> str:
        """Return the hash of what the spec asks for."""
        return revision_hash(view.spec.template or {}, family.hash_version, self.config.digests)

    def id_in(self, view: View, family: Family) -> str:
        """Return the id of the revision, which it gets when it is recorded; "" if not known yet."""
        if self.revision is not None:
            return self.revision.id
        if self.is_unread or self.lacking:
            return ""
        return revision_id(self.full_hash(view, family), view.revisions)

    @classmethod
    def of(cls, view: View) -> _Asked:
        template = view.spec.template
        if template is None:
            text = view.invalid or "the spec cannot be read"
            return cls(None, Reading({}), (Obstacle(INVALID_SPEC, text, None),))
        config = read_config(view.spec.pinned, view.configs)
        if config.unread or config.lacking:
            return cls(None, config, config.lacking)
        compared = partial(as_recorded, config=config, view=view)
        found = find_revision(template, view.revisions, compared)
        return cls(found, config, () if found else _refused_state(view))


def _refused_state(view: View) -> tuple[Obstacle, ...]:
    """Return why a new template is not recorded; one that is on record already may go on."""
    kept = kept_state(view.spec, desired_number(view))
    if kept is None or any(is_made_of(r, view.spec.template or {}) for r in view.revisions):
        return ()
    return (Obstacle(INVALID_SPEC, kept.message),)


def _moves_on(view: View, asked: Revision | None, running: Revision | None) -> bool:
    """Return whether the asked revision would be a rollout, which a freeze holds back.

    Going back to the revision that worked last is not a rollout, nor is the start of a new service.
    """
    if asked is not None and asked in (running, latest_completed(view)):
        return False
    return running is not None or any(i.active for i in view.instances)


def _after_failure(view: View, failed: Revision, held: Frozen) -> Target:
    """Return the target while the spec asks for a revision that failed: another one, if it may be.

    A freeze does not hold it back: what works is restored.
    """
    back, lost = going_back(view, failed)
    if back is None:
        return Target(failed, True, held, lacking=lost, asked=failed)
    if is_held(view, failed):
        return Target(failed, True, held, asked=failed)
    return Target(back, False, held, lacking=lost, asked=failed, goes_back=True)


def _grown(view: View, target: Target, now: float) -> Target:
    """Return the target with what its revisions need before their instances can be created."""
    unborn: dict[str, str] = {}
    moves, due, lacking = [*target.moves], [*target.due], [*target.lacking]
    is_open = target.is_open
    if target.wanted is not None:
        copied = plan_snapshots(view, target.wanted, now)
        if not copied.complete:
            unborn[target.wanted.id] = str(copied)
            lacking += copied.lacking
            # The status waits for the next plan, which follows as soon as the copies exist.
            is_open = is_open or (bool(copied.create) and not view.spec.suspend)
        moves, due = _with(moves, due, copied)
    live, fallback = live_revision(view), None
    if live is not None and live != target.wanted:
        copied = plan_snapshots(view, live, now)
        if not copied.complete:
            unborn[live.id] = str(copied)
            moves, due = _with(moves, due, copied)
    for candidate in proven(view, target.wanted):
        if candidate == live:
            fallback = candidate
            if live.id in unborn:
                continue
            break
        copied = plan_snapshots(view, candidate, now)
        fallback = candidate
        if copied.complete:
            break
        if copied.create:
            moves, due = _with(moves, due, copied)
            unborn[candidate.id] = str(copied)
            break
        unborn[candidate.id] = str(copied)
    kept = target.wanted if target.wanted and target.wanted.verdict.is_failed else None
    return replace(
        target,
        fallback=fallback,
        lacking=tuple(lacking),
        unborn=unborn,
        moves=() if view.spec.suspend else tuple(moves),
        is_open=is_open,
        due=tuple(due),
        holds_failed=kept is not None and fallback_of(view, kept) is not None,
    )


def _with(
    moves: list[Action], due: list[float], copied: Copies
) -> tuple[list[Action], list[float]]:
    return [*moves, *copied.create], [*due, *([copied.due] if copied.due is not None else [])]


@dataclass(frozen=True, slots=True)
class _Setting:
    """What is the same for every revision in one plan."""

    family: Family
    held: Frozen
    now: float


def _recorded(view: View, asked: _Asked, running: Revision | None, setting: _Setting) -> Target:
    """Record first what is asked for; instances are created from the record."""
    digests, held, now = asked.config.digests, setting.held, setting.now
    full_hash = asked.full_hash(view, setting.family)
    short = revision_id(full_hash, view.revisions)
    refused = _refusal(view, short, now)
    if refused is not None:
        lack = Obstacle(refused.cause, refused.message, None)
        note = f"record 0 of 1 revision: {refused.message}"
        return Target(running, False, held, lacking=(lack,), due=(refused.retry_at,), notes=(note,))
    sent = (number for id_, number in view.sent_numbers.items() if id_ != short)
    number = next_number(view.revisions, sent)
    reason, change, author, kinds = _change(view, asked.config, running)
    pinned = pins(view, short, digests)
    record = CreateRevision(short, number, full_hash, reason, author, pinned)
    why = f"{reason} ({change})" if change else reason
    what = kinds if reason == "ConfigChanged" else "template"
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


def _change(view: View, config: Reading, running: Revision | None) -> tuple[str, str, str, str]:
    """Return why there is a new revision, which configuration changed ("" if none), and the author.

    The last one says of what the author is: of a ConfigMap, of a Secret, or of both.
    """
    before = running or max(view.revisions, key=lambda r: r.number, default=None)
    if before is None:
        return "Created", "", view.author, ""
    # Under another key the same content has another digest.
    old, kept = before.digests, as_recorded(before, config, view)
    new = {key: kept.get(key, digest) for key, digest in config.digests.items()}
    change = config_change(old, new, compared=True)
    if is_made_of(before, view.spec.template or {}):
        author = config_author(old, new, config.authors, view.author)
        return "ConfigChanged", change, author, config_kinds(old, new)
    return "TemplateChanged", change, view.author, ""
