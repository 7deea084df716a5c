"""Regeneration: which instances have lived long enough, and which of them may begin to go now.

An instance falls due for one of four reasons: its own share of maxAge is over (maxAge less a
jitter that follows from its uid), a slot of the schedule has passed since its birth, it must
begin early, or hardMaxAge leaves no more time. Whatever is due starts oldest first and while a
window is open; only hardMaxAge does not wait for one. How many at once, budgets and
PodDisruptionBudgets are the planner's part.

*Early*: count back from the end. The youngest must have begun one swap before its deadline, each
older one before its own deadline and before the next younger one takes its place, maxConcurrent
at a time, in open windows only. Whoever would otherwise miss that moment begins at it. Deadlines
are taken one swap earlier than they are, and each begins one swap earlier than it must, because
a place may just have been given to another. So a fleet that was born at once, or a window that
closes before the age is reached, never becomes a cliff, and nothing begins earlier than needed.

An age that cannot be met (see ``feasibility.py``) is met as well as can be: whoever is too late to
be in time is due no later than the next younger one, and goes before it.

Births are by the API server's clock, ``now`` is by ours: a slot is acted on no earlier than half
a minute late (or a hundredth of the distance to the next), so that a successor is younger than
the slot also where the clocks differ by that much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from math import ceil, inf

from immutable_operator.domain.calendar.windows import (
    Cron,
    Window,
    is_open,
    last_open,
    next_close,
    next_open,
    wall,
)

__all__ = [
    "Due",
    "Outlook",
    "Regeneration",
    "expires_at",
    "hard_at",
    "outlook",
    "scheduled_at",
    "spell",
    "whole_swap",
]

_MOST_SPREAD = 300.0
_SPREAD_SHARE = 0.1
_LEAST_SPREAD = 0.1
_BEFORE_CLOSE = 1.0


@dataclass(frozen=True, slots=True)
class Regeneration:
    """What the user wants, checked by ``problems``. Ages in seconds; ``jitter`` is a share.

    Slots of the ``schedule`` until ``schedule_since``, when it was written, do not count.
    """

    max_age: float | None = None
    hard_max_age: float | None = None
    jitter: float = 0.1
    max_concurrent: int = 1
    windows: tuple[Window, ...] = ()
    schedule: Cron | None = None
    schedule_since: float = 0.0


@dataclass(frozen=True, slots=True)
class Due:
    """An instance that is to be replaced: since when, why (for people), and whether it may begin.

    ``overrides`` says that hardMaxAge demands it and no window is asked; ``slot`` is the slot of
    the schedule that demands it.
    """

    uid: str
    since: float
    reason: str
    may_start: bool
    overrides: bool = False
    slot: float | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is ``due``, in the order in which it should begin, and when to look ``again``.

    ``window`` is a sentence about the windows; empty where there are none.
    """

    due: tuple[Due, ...] = ()
    again: float | None = None
    window: str = ""


def expires_at(regeneration: Regeneration, uid: str, born: float) -> float | None:
    """When an instance has had its share of maxAge; always the same, never after maxAge."""
    if regeneration.max_age is None:
        return None
    return born + regeneration.max_age * (1 - regeneration.jitter * _fraction(uid))


def hard_at(regeneration: Regeneration, born: float) -> float | None:
    """When an instance reaches hardMaxAge."""
    return None if regeneration.hard_max_age is None else born + regeneration.hard_max_age


def scheduled_at(
    regeneration: Regeneration, service_uid: str, now: float, born: float
) -> float | None:
    """When the schedule makes an instance due; it is due when that is not later than ``now``.

    That is the last slot before ``now`` that it is older than (so however many were missed, it
    catches up once), else the next slot; plus a delay by the service's uid of at most 5 minutes
    or a tenth of the distance to the following slot, so that a thousand services on one minute
    do not start at once.
    """
    slot = _slot(regeneration.schedule, service_uid, now, max(born, regeneration.schedule_since))
    if slot is None or regeneration.schedule is None:
        return None
    return slot + _spread(regeneration.schedule, service_uid, slot)


def outlook(
    regeneration: Regeneration,
    born: Mapping[str, float],
    service_uid: str,
    now: float,
    swap_seconds: float,
) -> Outlook:
    """Judge the instances of a service that nothing replaces yet: ``born`` by uid.

    ``swap_seconds`` is how long a replacement takes, from the birth of the successor to the end
    of the predecessor; better too high than too low.
    """
    opened = is_open(regeneration.windows, now)
    due, times = [], []
    for uid, birth, starts in _starts(regeneration, born, service_uid, now, swap_seconds):
        times += [t for t in starts.values() if t > now]
        why = next((why for why, t in starts.items() if t <= now), None)
        if why is not None:
            overrides = why is _Why.HARD
            reason, slot = _reason(regeneration, why, uid, now, birth), None
            if why is _Why.SCHEDULED:
                written = max(birth, regeneration.schedule_since)
                slot = _slot(regeneration.schedule, service_uid, now, written)
                reason = _slot_reason(regeneration, slot)
            first = min(starts.values())
            due.append(Due(uid, first, reason, opened or overrides, overrides, slot))
    if due and not opened:
        times += [t for t in (next_open(regeneration.windows, now),) if t is not None]
    return Outlook(tuple(due), min(times, default=None), _window(regeneration.windows, now, opened))


class _Why(Enum):
    """The reasons to be due; the first that holds is told."""

    HARD = "hardMaxAge"
    EXPIRED = "maxAge"
    SCHEDULED = "schedule"
    EARLY = "early"


def _starts(
    regeneration: Regeneration,
    born: Mapping[str, float],
    service_uid: str,
    now: float,
    swap_seconds: float,
) -> Iterator[tuple[str, float, dict[_Why, float]]]:
    """For each instance, oldest first: uid, birth, and when it falls due for which reason."""
    fleet = sorted(born.items(), key=lambda item: (item[1], item[0]))
    births = [birth for _, birth in fleet]
    soft = _latest(births, regeneration.max_age, swap_seconds, regeneration, regeneration.windows)
    hard = _latest(births, regeneration.hard_max_age, swap_seconds, regeneration, ())
    for (uid, birth), early, forced in zip(fleet, soft, hard, strict=True):
        found = {
            _Why.HARD: _earlier(forced, hard_at(regeneration, birth)),
            _Why.EXPIRED: expires_at(regeneration, uid, birth),
            _Why.SCHEDULED: scheduled_at(regeneration, service_uid, now, birth),
            _Why.EARLY: early,
        }
        yield uid, birth, {why: t for why, t in found.items() if t is not None}


def _latest(
    births: list[float],
    age: float | None,
    swap_seconds: float,
    regeneration: Regeneration,
    windows: tuple[Window, ...],
) -> list[float | None]:
    """When each must begin at the latest, a swap early; None where that would be before its birth.

    ``births`` are in order, oldest first. Where the age cannot be met any more, what holds for the
    next younger one holds for it.
    """
    starts: list[float | None] = [None] * len(births)
    if age is None:
        return starts
    swap, last = whole_swap(swap_seconds), [inf] * max(1, regeneration.max_concurrent)
    known = inf if windows else -inf  # from here to what was looked at last, a window is open
    for i in reversed(range(len(births))):
        latest = min(births[i] + age - swap, last[i % len(last)]) - swap
        if latest < known:
            stretch = last_open(windows, latest)
            if stretch is None:
                break
            known, end = stretch
            latest = max(known, min(latest, end - _BEFORE_CLOSE))
        last[i % len(last)] = latest
        if latest >= births[i]:
            starts[i] = max(births[i], latest - swap)
        elif i + 1 < len(births):
            starts[i] = starts[i + 1]
    return starts


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((t for t in (one, other) if t is not None), default=None)


def _reason(regeneration: Regeneration, why: _Why, uid: str, now: float, birth: float) -> str:
    soft, hard = regeneration.max_age or 0.0, regeneration.hard_max_age or 0.0
    if why is _Why.HARD:
        if now - birth < hard:
            return f"begins now to be replaced before hardMaxAge {spell(hard)}"
        return f"older than hardMaxAge {spell(hard)}"
    if why is _Why.EARLY:
        return f"begins early to be replaced before maxAge {spell(soft)}"
    share = (expires_at(regeneration, uid, birth) or 0.0) - birth
    if now - birth < soft:
        return f"older than {spell(share)}, its share of maxAge {spell(soft)}"
    return f"older than maxAge {spell(soft)}"


def _slot_reason(regeneration: Regeneration, slot: float | None) -> str:
    if regeneration.schedule is None or slot is None:
        return "scheduled regeneration"
    return f"scheduled regeneration of {wall(slot, regeneration.schedule.time_zone)}"


def _window(windows: tuple[Window, ...], now: float, opened: bool) -> str:
    if not windows:
        return ""
    zone = windows[0].cron.time_zone
    change = next_close(windows, now) if opened else next_open(windows, now)
    until = "" if change is None else f" until {wall(change, zone)}"
    return f"window open{until}" if opened else f"no window is open{until}"


def _slot(cron: Cron | None, service_uid: str, now: float, born: float) -> float | None:
    """The slot that concerns an instance: the last that is due, one that will be soon, the next."""
    if cron is None:
        return None
    last = cron.last_until(now)
    if last is not None and last + _spread(cron, service_uid, last) > now:
        before = cron.last_before(last)
        if before is not None and born < before:
            return before
    if last is not None and born < last:
        return last
    return cron.next_after(max(now, born))


def _spread(cron: Cron, service_uid: str, slot: float) -> float:
    following = cron.next_after(slot)
    most = _MOST_SPREAD
    if following is not None:
        most = min(most, (following - slot) * _SPREAD_SHARE)
    return most * (_LEAST_SPREAD + (1 - _LEAST_SPREAD) * _fraction(service_uid))


@lru_cache(maxsize=16384)
def _fraction(uid: str) -> float:
    """A number from 0 to below 1 that looks random and always follows from the uid."""
    return int.from_bytes(sha256(uid.encode()).digest()[:6], "big") / 2.0**48


def whole_swap(swap_seconds: float) -> float:
    """How long a swap is taken to last: whole seconds, so that a sentence on it stays the same."""
    return float(max(1, ceil(swap_seconds)))


def spell(seconds: float) -> str:
    """A duration as people write it: ``90s``, ``32m``, ``24h``, ``7d``; rounded from ten up."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        count = seconds / size
        if count >= (4 if unit == "d" else 2) or (
            count >= 1 and count.is_integer() and unit != "d"
        ):
            return (
                f"{count:.0f}{unit}" if count >= 10 or count.is_integer() else f"{count:.1f}{unit}"
            )
    return f"{seconds:.0f}s"
