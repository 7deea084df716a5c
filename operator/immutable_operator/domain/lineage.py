"""Lineage: what is recorded of each instance, and what of it is kept when the instance is gone.

The birth certificate of an instance says what it replaces and why; the record keeps that for the
most recent instances, together with when they were retired.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from immutable_operator.domain.model import (
    Action,
    Instance,
    Reason,
    Retire,
    View,
    purpose_of_request,
)

__all__ = ["MOST", "Entry", "Retirement", "births", "in_order", "merged", "reasons", "retirements"]

MOST = 100
MOST_TEXT = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """One instance on record; times in whole seconds since the epoch.

    ``because`` is a `Because` as text, ``by`` the user or the tool that asked for it. ``retired``
    is when it was first seen to be deleted or gone, None while it exists.
    """

    slot: int
    name: str
    uid: str
    born: float
    revision: str = ""
    because: str = ""
    replaces: str = ""
    replaces_uid: str = ""
    by: str = ""
    retired: float | None = None
    retired_because: str = ""


@dataclass(frozen=True, slots=True)
class Retirement:
    """That an instance was seen to be deleted or gone; ``because`` is "" if it is not known why."""

    uid: str
    at: float
    because: str = ""


def births(view: View, seen: Collection[str]) -> tuple[Entry, ...]:
    """Return the entries of the instances whose uids are not in ``seen``."""
    return tuple(_entry(i, view) for i in view.instances if i.uid not in seen)


def retirements(
    view: View, alive: Iterable[str], why: Mapping[str, str], now: float
) -> tuple[Retirement, ...]:
    """Return which of the instances that were ``alive`` (uids) are being deleted or gone at
    ``now``.

    ``why`` says by uid why the operator retired it (see `reasons`). Otherwise the reason is what
    the cluster reports of it.
    """
    there = {i.uid: i for i in view.instances}
    departed = {i.uid: i for i in view.departed}
    found = []
    for uid in alive:
        instance = there.get(uid)
        if instance is not None and not instance.terminating:
            continue
        last = instance or departed.get(uid)
        because = why.get(uid) or (last.leaving if last and last.leaving else "")
        found.append(Retirement(uid, float(int(now)), because[:MOST_TEXT]))
    return tuple(found)


def reasons(actions: Iterable[Action]) -> dict[str, str]:
    """Return by uid why the instances that a plan retires are retired."""
    return {a.uid: str(a.because) for a in actions if isinstance(a, Retire)}


def merged(
    recorded: Iterable[Entry],
    born: Iterable[Entry],
    retired: Iterable[Retirement],
    existing: Collection[str],
    now: float,
) -> tuple[Entry, ...]:
    """Return the record after what was observed: the newest `MOST` entries, the oldest first.

    An instance is on record once; what is recorded of it stays, because the requests and revisions
    that explain it may be gone. ``existing`` are the uids of the instances that exist and are not
    being deleted: any other one without a retirement was retired while no operator was watching,
    and the retirement of one of these (a node whose drain was ended) was taken back.
    """
    entries = {entry.uid: entry for entry in (*born, *recorded)}
    for end in retired:
        entry = entries.get(end.uid)
        if entry is not None and entry.retired is None:
            entries[end.uid] = replace(entry, retired=end.at, retired_because=end.because)
    kept = [_ended(entry, entry.uid in existing, now) for entry in entries.values()]
    # In the order of those that are left: that is how the record is read again.
    return in_order(in_order(kept)[-MOST:])


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return entries with the oldest first, also of those that were created in one second."""
    by_uid = {entry.uid: entry for entry in entries}

    def ancestors(entry: Entry) -> int:
        count, before = 0, by_uid.get(entry.replaces_uid)
        # The bound ends a circle, which only forged certificates can state.
        while before is not None and count < len(by_uid):
            count, before = count + 1, by_uid.get(before.replaces_uid)
        return count

    return tuple(
        sorted(by_uid.values(), key=lambda e: (e.born, ancestors(e), e.slot, e.name, e.uid))
    )


def _ended(entry: Entry, exists: bool, now: float) -> Entry:
    if exists:
        return entry if entry.retired is None else replace(entry, retired=None, retired_because="")
    return replace(entry, retired=float(int(now))) if entry.retired is None else entry


def _entry(instance: Instance, view: View) -> Entry:
    return Entry(
        slot=max(0, instance.slot),
        name=instance.name,
        uid=instance.uid,
        born=float(int(instance.born)),
        revision=instance.revision,
        because=str(instance.because or "")[:MOST_TEXT],
        replaces=instance.replaces or "",
        replaces_uid=instance.replaces_uid,
        by=_author(instance, view)[:MOST_TEXT],
    )


def _author(instance: Instance, view: View) -> str:
    """Return the user or tool that asked for an instance; "" if the operator decided it."""
    reason = instance.because.reason if instance.because else None
    if reason is Reason.REQUESTED:
        asked = (r.actor for r in view.requests if purpose_of_request(r.uid) == instance.purpose)
        return next(asked, "")
    if reason in (Reason.CREATED, Reason.OUTDATED):
        return next((r.author for r in view.revisions if r.id == instance.revision), "")
    return ""
