"""Pinned configuration: the current content of what a service reads, and the copies to create.

The digests are part of the wanted state, so that a changed ConfigMap or Secret leads to a new
revision. Instances read copies ("snapshots") that the revision owns, and are created only after all
copies exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from immutable_operator.domain.model import (
    ABSENT,
    SECRET,
    Cause,
    ConfigKey,
    CreateSnapshot,
    Digests,
    Move,
    Obstacle,
    Pin,
    Revision,
    Source,
    View,
    snapshot_name,
)

__all__ = [
    "CONFIG_MISSING",
    "CONFIG_UNREADABLE",
    "SNAPSHOT_LOST",
    "Copies",
    "Reading",
    "as_recorded",
    "pins",
    "plan_snapshots",
    "read_config",
]

CONFIG_MISSING = "ConfigMissing"
CONFIG_UNREADABLE = "ConfigUnreadable"
SNAPSHOT_LOST = "SnapshotLost"


@dataclass(frozen=True, slots=True)
class Reading:
    """The current content of what is pinned.

    ``unread`` are still being read: nothing is known of them yet; each is named with its kind.
    ``digests`` are complete only if nothing is unread or lacking. ``authors`` are the field
    managers that last wrote the content of the pinned objects. ``same`` are digests under other
    keys that stand for the same content.
    """

    digests: Digests
    unread: tuple[str, ...] = ()
    lacking: tuple[Obstacle, ...] = ()
    authors: Mapping[ConfigKey, str] = field(default_factory=dict)
    same: Mapping[ConfigKey, frozenset[str]] = field(default_factory=dict)


def read_config(pinned: Mapping[ConfigKey, bool], sources: Mapping[ConfigKey, Source]) -> Reading:
    """Sort what is known of the ``pinned`` objects: kind and name, and whether optional."""
    digests: dict[ConfigKey, str] = {}
    missing: list[ConfigKey] = []
    unreadable: list[ConfigKey] = []
    for key, optional in sorted(pinned.items()):
        source = sources.get(key)
        if source is None:
            continue
        if source.digest is None:
            unreadable.append(key)
        elif source.digest == ABSENT and not optional:
            missing.append(key)
        else:
            digests[key] = source.digest
    lacking = []
    if missing:
        text = f"{_named(missing)} not found, but the template requires it"
        text += "; create it, or make the reference optional"
        lacking.append(Obstacle(CONFIG_MISSING, text, _subject(*missing[0])))
    if unreadable:
        lacking.append(_unreadable(unreadable, sources))
    unread = tuple(" ".join(key) for key in sorted(pinned) if key not in sources)
    authors = {key: source.author for key, source in sorted(sources.items()) if key in digests}
    same = {key: source.same for key, source in sources.items() if source.same}
    return Reading(digests, unread, tuple(lacking), authors, same)


def _unreadable(keys: list[ConfigKey], sources: Mapping[ConfigKey, Source]) -> Obstacle:
    """Return why objects cannot be read; a missing permission comes first: only users grant it."""
    first = next((key for key in keys if sources[key].denied), keys[0])
    ordered = [first, *(key for key in keys if key != first)]
    problem, reason = sources[first].problem, _reason(sources[first])
    text = f"{_named(ordered)} cannot be read; the operator retries: {problem}"
    return Obstacle(reason, text, _subject(*first))


def _reason(source: Source) -> str:
    return Cause.FORBIDDEN if source.denied else CONFIG_UNREADABLE


def _named(keys: list[ConfigKey]) -> str:
    (kind, first), *others = keys
    rest = [name if other == kind else f"{other} {name}" for other, name in others]
    return f"{kind} {first}" + (f" (and {', '.join(rest)})" if rest else "")


def _subject(kind: str, name: str) -> str:
    return f"{kind.lower()}/{name}"


def as_recorded(revision: Revision, config: Reading, view: View) -> Digests:
    """Return the digests by which a revision is to be compared with what is wanted now.

    A Secret that it did not pin is left out: that the operator may pin Secrets replaces nothing,
    only the next revision pins it. One that it did pin, and that the operator may not read any
    more, counts as unchanged as long as its copy exists. Content that was recorded under another
    key counts as unchanged if its copy has the same.
    """
    recorded, digests = revision.digests, {}
    for key, digest in config.digests.items():
        before = recorded.get(key)
        if before is None and key[0] == SECRET:
            continue
        digests[key] = before if before and before in config.same.get(key, ()) else digest
    for pin in revision.config:
        kept = pin.digest == ABSENT or pin.snapshot in view.snapshots
        if pin.key in view.withheld and kept:
            digests[pin.key] = pin.digest
    return digests


def pins(view: View, revision: str, digests: Digests) -> tuple[Pin, ...]:
    """Return what a new revision records of its configuration."""
    return tuple(
        Pin(key[1], snapshot_name(view.name, view.uid, revision, key), digest, kind=key[0])
        for key, digest in sorted(digests.items())
    )


@dataclass(frozen=True, slots=True)
class Copies:
    """The copies of a revision that do not exist: those to create now, and what blocks them.

    ``unread`` are objects of which nothing is known yet; ``due`` is when a refused copy may be
    retried.
    """

    create: tuple[CreateSnapshot, ...] = ()
    lacking: tuple[Obstacle, ...] = ()
    unread: tuple[str, ...] = ()
    due: float | None = None

    @property
    def complete(self) -> bool:
        return not (self.create or self.lacking or self.unread)

    def __str__(self) -> str:
        if self.lacking:
            return self.lacking[0].message
        waiting = [" ".join(copy.pin.key) for copy in self.create] or self.unread
        return f"waiting for the copies of {', '.join(waiting)}"


def plan_snapshots(view: View, wanted: Revision, now: float) -> Copies:
    """Decide about the copies of ``wanted`` that are not known to exist.

    A copy is made of the current content of the object, and only while that is the content that was
    recorded.
    """
    create: list[CreateSnapshot] = []
    lacking: dict[str, Obstacle] = {}
    unread: list[str] = []
    due: list[float] = []
    refused = {r.subject: r for r in view.refusals if r.move is Move.SNAPSHOT}
    for pin in wanted.config:
        if pin.digest == ABSENT or pin.snapshot in view.snapshots:
            continue
        subject = _subject(pin.kind, pin.snapshot)
        source = view.configs.get(pin.key)
        if source is None:
            unread.append(" ".join(pin.key))
            continue
        if source.digest is None:
            text = f"{pin.kind} {pin.name} cannot be read to copy it: {source.problem}"
            lacking.setdefault(_reason(source), Obstacle(_reason(source), text, subject))
            continue
        if source.digest != pin.digest:
            lacking.setdefault(SNAPSHOT_LOST, Obstacle(SNAPSHOT_LOST, _lost(pin, wanted), subject))
            continue
        refusal = refused.get(pin.snapshot)
        if refusal is not None and refusal.retry_at > now:
            due.append(refusal.retry_at)
            lacking.setdefault(refusal.cause, Obstacle(refusal.cause, refusal.message, subject))
            continue
        create.append(CreateSnapshot(pin, wanted))
    return Copies(tuple(create), tuple(lacking.values()), tuple(unread), min(due, default=None))


def _lost(pin: Pin, wanted: Revision) -> str:
    return (
        f"{pin.kind} {pin.snapshot}, the copy of {pin.kind} {pin.name} for revision"
        f" {wanted.number} ({wanted.id}), was deleted, and {pin.name} has changed since it was"
        f" copied, so no more instances of that revision can be created; restore the former"
        f" content of {pin.name}, or roll out a revision with its present content"
    )
