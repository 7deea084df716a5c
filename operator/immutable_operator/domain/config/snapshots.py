"""Pinned configuration: the current content of a service's ConfigMaps, and the copies to create.

The digests are part of the wanted state, so that a changed ConfigMap leads to a new revision.
Instances read copies ("snapshots") that the revision owns, and are created only after all copies
exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from immutable_operator.domain.model import (
    ABSENT,
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
    "pins",
    "plan_snapshots",
    "read_config",
]

CONFIG_MISSING = "ConfigMissing"
CONFIG_UNREADABLE = "ConfigUnreadable"
SNAPSHOT_LOST = "SnapshotLost"


@dataclass(frozen=True, slots=True)
class Reading:
    """The current content of the pinned ConfigMaps.

    ``unread`` are still being read: nothing is known of them yet; each is named with its kind.
    ``digests`` are complete only if nothing is unread or lacking. ``authors`` are the field
    managers that last wrote the content of the pinned objects.
    """

    digests: Digests
    unread: tuple[str, ...] = ()
    lacking: tuple[Obstacle, ...] = ()
    authors: Mapping[ConfigKey, str] = field(default_factory=dict)


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
        text = f"{_named(missing)} not found, but the template reads it"
        text += ": create it, or make the reference optional"
        lacking.append(Obstacle(CONFIG_MISSING, text, _subject(*missing[0])))
    if unreadable:
        first = unreadable[0]
        problem = sources[first].problem
        text = f"{_named(unreadable)} cannot be read; the operator retries: {problem}"
        lacking.append(Obstacle(CONFIG_UNREADABLE, text, _subject(*first)))
    unread = tuple(" ".join(key) for key in sorted(pinned) if key not in sources)
    authors = {key: source.author for key, source in sorted(sources.items()) if key in digests}
    return Reading(digests, unread, tuple(lacking), authors)


def _named(keys: list[ConfigKey]) -> str:
    (kind, first), *others = keys
    rest = [name if other == kind else f"{other} {name}" for other, name in others]
    return f"{kind} {first}" + (f" (and {', '.join(rest)})" if rest else "")


def _subject(kind: str, name: str) -> str:
    return f"{kind.lower()}/{name}"


def pins(view: View, revision: str, digests: Digests) -> tuple[Pin, ...]:
    """Return what a new revision records of its ConfigMaps."""
    return tuple(
        Pin(key[1], snapshot_name(view.name, view.uid, revision, key), digest, kind=key[0])
        for key, digest in sorted(digests.items())
    )


@dataclass(frozen=True, slots=True)
class Copies:
    """The copies of a revision that do not exist: those to create now, and what blocks them.

    ``unread`` are ConfigMaps of which nothing is known yet; ``due`` is when a refused copy may be
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

    A copy is made of the current content of the ConfigMap, and only while that is the content that
    was recorded.
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
        f" {wanted.number} ({wanted.id}), is gone, and {pin.name} has changed since: no more"
        f" instances of that revision can be created; restore the former content of {pin.name},"
        " or let its present content roll out"
    )
