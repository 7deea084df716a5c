"""Whether a regeneration is valid and whether its ages can be met, computed in advance.

An age can be met if any period of that age, minus two replacements, contains enough open window
time to replace the whole fleet once. Then each instance that is replaced now can be replaced again
in time, whatever the other instances need. One of the two replacements is that of the successor
itself, the other is that of the instance that occupies the place before it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil

from immutable_operator.domain.calendar.regeneration import Regeneration, spell, whole_swap
from immutable_operator.domain.calendar.windows import Window, least_open, problem_of, wall

__all__ = ["feasibility", "problems"]

_MOST_JITTER = 0.5
_LATEST = 2e11  # seconds since the epoch, in the year 8307


def feasibility(
    regeneration: Regeneration, size: int, swap_seconds: float, now: float
) -> str | None:
    """Return why ``size`` instances cannot all be replaced in time, with numbers; None if they can.

    Windows hold maxAge back, but not hardMaxAge. They are judged by the calendar year of ``now``,
    so that the answer does not change from day to day.
    """
    soft = (regeneration.max_age, regeneration.windows)
    ages = {"maxAge": soft, "hardMaxAge": (regeneration.hard_max_age, ())}
    swap, concurrent = whole_swap(swap_seconds), max(1, regeneration.max_concurrent)
    needed = ceil(size / concurrent) * swap
    found = []
    for name, (age, windows) in ages.items():
        if age is None or not size:
            continue
        span = age - 2 * swap
        least, since = least_open(windows, span, _year(now))
        if least < needed:
            fleet = f"{_fleet(size, concurrent, swap)} need {spell(needed)}"
            have = f"{spell(age)} minus two replacements leaves {spell(max(0.0, span))}"
            if windows:
                fleet += f" of open window in any {spell(age)} minus two replacements"
                place = wall(since, windows[0].cron.time_zone)
                have = f"the windows provide {spell(least)} in the period that starts {place}"
            found.append(
                f"{name} {spell(age)} cannot be met: {fleet}; {have}; {_advice(name, windows)}"
            )
    return "; ".join(found) or None


def _fleet(size: int, concurrent: int, swap: float) -> str:
    instances = "1 instance" if size == 1 else f"{size} instances"
    pace = "one at a time" if concurrent == 1 else f"{concurrent} at a time"
    return f"{instances}, {pace} at {spell(swap)} each,"


def _advice(name: str, windows: tuple[Window, ...]) -> str:
    others = f", the windows' duration or {name}" if windows else f" or {name}"
    return f"decrease replicas or the time until ready, or increase maxConcurrent{others}"


def _year(now: float) -> float:
    this = datetime.fromtimestamp(min(max(now, 0.0), _LATEST), UTC).year
    return datetime(this, 1, 1, tzinfo=UTC).timestamp()


def problems(regeneration: Regeneration, floor: float) -> tuple[str, ...]:
    """Return why it is not valid, one sentence each; ``floor`` is the least age in seconds."""
    found = []
    soft, hard = regeneration.max_age, regeneration.hard_max_age
    for name, age in (("maxAge", soft), ("hardMaxAge", hard)):
        if age is not None and age < floor:
            found.append(
                f"{name}: {spell(age)} is below the minimum of {spell(floor)}; increase it"
            )
    if soft is not None and hard is not None and soft > hard:
        found.append(
            f"maxAge: {spell(soft)} is above hardMaxAge {spell(hard)}, which would always apply "
            "first; decrease maxAge or increase hardMaxAge"
        )
    if not 0 <= regeneration.jitter <= _MOST_JITTER:
        found.append(f"jitter: {regeneration.jitter:.0%} is not between 0% and 50%; correct it")
    if regeneration.max_concurrent < 1:
        found.append(
            f"maxConcurrent: {regeneration.max_concurrent} would never replace an instance; "
            "set it to 1 or more"
        )
    for number, window in enumerate(regeneration.windows):
        cron = window.cron
        if problem := problem_of(cron.expression, cron.time_zone, window.duration_seconds):
            found.append(f"windows[{number}]: {problem}")
    slots = regeneration.schedule
    if slots and (problem := problem_of(slots.expression, slots.time_zone)):
        found.append(f"schedule: {problem}")
    return tuple(found)
