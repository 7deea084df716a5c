"""Regeneration: which instances have reached their age, and which of them may be replaced now.

An instance becomes due for one of four reasons: its share of maxAge is over (maxAge minus a jitter
that is derived from its uid), a slot of the schedule has passed since its birth, its replacement
must start early, or hardMaxAge leaves no more time. Due instances start oldest first and while a
window is open; only hardMaxAge does not wait for a window. The planner decides how many start at
once and respects budgets and PodDisruptionBudgets.

*Early*: the start times are computed backwards from the deadlines. The youngest instance must start
one replacement before its deadline; each older instance must start before its own deadline and
before the next younger one takes its place, maxConcurrent at a time, in open windows only. An
instance that would otherwise miss that moment starts at it. Deadlines are taken one replacement
earlier than they are, and each instance starts one replacement earlier than it must, because
another instance may just have taken the place. So neither a fleet that was created at once nor a
window that closes before the age is reached leads to a burst of replacements, and no replacement
starts earlier than needed.

If an age cannot be met (see ``feasibility.py``), the operator comes as close as possible: an
instance that is already too late is due no later than the next younger one, and is replaced before
it.

Births are timed by the clock of the API server, and ``now`` is an estimate of it. The operator acts
on a slot at least half a minute late (or a hundredth of the distance to the next slot), so
that a successor is younger than the slot even if the clocks differ by that much.
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
    """What the user wants, checked by ``problems``. Ages are in seconds; ``jitter`` is a share.

    Slots of the ``schedule`` up to ``schedule_since``, the time at which it was written, do not
    count.
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
    """An instance that is to be replaced: since when, why (for people), and whether it may start.

    ``overrides`` says that hardMaxAge requires the replacement and windows do not apply; ``slot``
    is the slot of the schedule that requires it.
    """

    uid: str
    since: float
    reason: str
    may_start: bool
    overrides: bool = False
    slot: float | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """The ``due`` instances, in the order in which they should start, and when to look ``again``.

    ``window`` is a sentence about the windows; empty if there are none.
    """

    due: tuple[Due, ...] = ()
    again: float | None = None
    window: str = ""


def expires_at(regeneration: Regeneration, uid: str, born: float) -> float | None:
    """Return when the instance's share of maxAge is over: always the same, never after maxAge."""
    if regeneration.max_age is None:
        return None
    return born + regeneration.max_age * (1 - regeneration.jitter * _fraction(uid))


def hard_at(regeneration: Regeneration, born: float) -> float | None:
    """Return when an instance reaches hardMaxAge."""
    return None if regeneration.hard_max_age is None else born + regeneration.hard_max_age


def scheduled_at(
    regeneration: Regeneration, service_uid: str, now: float, born: float
) -> float | None:
    """Return when the schedule makes an instance due; it is due if that is not later than ``now``.

    The result is the last slot before ``now`` that is later than the birth of the instance (so that
    it catches up once, however many slots were missed), else the next slot; plus a delay derived
    from the service's uid of at most 5 minutes or a tenth of the distance to the following slot, so
    that a thousand services with the same schedule do not start at once.
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

    ``swap_seconds`` is how long a replacement takes, from the birth of the successor to the end of
    the predecessor; an estimate that is too high is better than one that is too low.
    """
    opened = is_open(regeneration.windows, now)
    due, times = [], []
    for uid, birth, starts in _starts(regeneration, born, service_uid, now, swap_seconds):
        times += [t for _, t in starts if t > now]
        why = next((why for why, t in starts if t <= now), None)
        if why is not None:
            overrides = why is _Why.HARD
            reason, slot = _reason(regeneration, why, uid, now, birth), None
            if why is _Why.SCHEDULED:
                written = max(birth, regeneration.schedule_since)
                slot = _slot(regeneration.schedule, service_uid, now, written)
                reason = _slot_reason(regeneration, slot)
            first = min(t for _, t in starts)
            due.append(Due(uid, first, reason, opened or overrides, overrides, slot))
    if due and not opened:
        times += [t for t in (next_open(regeneration.windows, now),) if t is not None]
    return Outlook(tuple(due), min(times, default=None), _window(regeneration.windows, now, opened))


class _Why(Enum):
    """The reasons to be due; the first one that applies is reported."""

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
) -> Iterator[tuple[str, float, list[tuple[_Why, float]]]]:
    """Yield for each instance, oldest first: uid, birth, and when each reason makes it due."""
    fleet = sorted(born.items(), key=lambda item: (item[1], item[0]))
    births = [birth for _, birth in fleet]
    soft = _latest(births, regeneration.max_age, swap_seconds, regeneration, regeneration.windows)
    hard = _latest(births, regeneration.hard_max_age, swap_seconds, regeneration, ())
    for (uid, birth), early, forced in zip(fleet, soft, hard, strict=True):
        found = (
            (_Why.HARD, _earlier(forced, hard_at(regeneration, birth))),
            (_Why.EXPIRED, expires_at(regeneration, uid, birth)),
            (_Why.SCHEDULED, scheduled_at(regeneration, service_uid, now, birth)),
            (_Why.EARLY, early),
        )
        yield uid, birth, [(why, t) for why, t in found if t is not None]


def _latest(
    births: list[float],
    age: float | None,
    swap_seconds: float,
    regeneration: Regeneration,
    windows: tuple[Window, ...],
) -> list[float | None]:
    """Return when each must start at the latest, one replacement early; None if before its birth.

    ``births`` are in order, oldest first. If the age of an instance cannot be met any more, the
    start time of the next younger one applies to it.
    """
    starts: list[float | None] = [None] * len(births)
    if age is None:
        return starts
    swap, last = whole_swap(swap_seconds), [inf] * max(1, regeneration.max_concurrent)
    known = inf if windows else -inf  # a window is open from here to the time looked at last
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
            return f"replacement starts now to finish before hardMaxAge {spell(hard)}"
        return f"older than hardMaxAge {spell(hard)}"
    if why is _Why.EARLY:
        return f"replacement starts early to finish before maxAge {spell(soft)}"
    share = (expires_at(regeneration, uid, birth) or 0.0) - birth
    if now - birth < soft:
        return f"older than {spell(share)} (maxAge {spell(soft)} minus jitter)"
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
    """Return the slot for an instance: the last that is due, one due soon, or the next."""
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
    """Return a number from 0 to below 1 that looks random and is always the same for a uid."""
    return int.from_bytes(sha256(uid.encode()).digest()[:6], "big") / 2.0**48


def whole_swap(swap_seconds: float) -> float:
    """Return the duration of a replacement in whole seconds, so that messages stay the same."""
    return float(max(1, ceil(swap_seconds)))


def spell(seconds: float) -> str:
    """Return a duration as ``90s``, ``32m``, ``24h`` or ``7d``; rounded from ten up."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        count = seconds / size
        if count >= (4 if unit == "d" else 2) or (
            count >= 1 and count.is_integer() and unit != "d"
        ):
            return (
                f"{count:.0f}{unit}" if count >= 10 or count.is_integer() else f"{count:.1f}{unit}"
            )
    return f"{seconds:.0f}s"
