"""Regeneration: when an instance falls due, what may begin, and what can be promised.

``HYPOTHESIS_EXAMPLES=1000`` searches longer.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from immutable_operator.domain.calendar.feasibility import feasibility, problems
from immutable_operator.domain.calendar.regeneration import (
    Regeneration,
    expires_at,
    hard_at,
    outlook,
    scheduled_at,
    spell,
)
from immutable_operator.domain.calendar.windows import Cron, Window, is_open
from tests.unit.examples import examples
from tests.unit.moments import DAY, HOUR, MINUTE, at
from tests.unit.toy_fleet import Swap, ToyFleet

BERLIN = "Europe/Berlin"


def searching(full: int) -> settings:
    return settings(
        max_examples=examples(full),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


BORN = at("2026-11-20T12:00+01:00")
NIGHTS = (Window(Cron("0 1 * * *", BERLIN), 4 * HOUR),)
DAILY = Regeneration(max_age=DAY, hard_max_age=3 * DAY, jitter=0, windows=NIGHTS)
SUNDAYS = Regeneration(schedule=Cron("0 3 * * SUN", BERLIN))


def test_jitter_shortens_the_age_by_a_share_derived_from_the_uid() -> None:
    regeneration = Regeneration(max_age=DAY, jitter=0.1)
    ends = [expires_at(regeneration, f"uid-{n}", BORN) for n in range(2000)]
    assert ends == [expires_at(regeneration, f"uid-{n}", BORN) for n in range(2000)]
    shares = [(BORN + DAY - (end or 0)) / (0.1 * DAY) for end in ends]
    assert 0 <= min(shares) < 0.01
    assert 0.99 < max(shares) <= 1
    tenths = Counter(int(share * 10) for share in shares)
    assert min(tenths.values()) > 140, "spread evenly"


def test_empty_regeneration_never_falls_due() -> None:
    nothing = Regeneration()
    assert expires_at(nothing, "uid", BORN) is None
    assert hard_at(nothing, BORN) is None
    assert scheduled_at(nothing, "service", BORN, BORN) is None
    seen = outlook(nothing, {"uid": BORN}, "service", BORN + 1000 * DAY, 60)
    assert (seen.due, seen.again) == ((), None)
    assert outlook(DAILY, {}, "service", BORN, 60).due == ()


def reasons(regeneration: Regeneration, now: float, **born: float) -> list[tuple[str, bool]]:
    seen = outlook(regeneration, born, "service", now, 60)
    return [(due.reason, due.may_start) for due in seen.due]


REASONS: list[tuple[str, Regeneration, float, list[tuple[str, bool]]]] = [
    ("young", replace(DAILY, windows=()), BORN + HOUR, []),
    ("old", replace(DAILY, windows=()), BORN + DAY, [("older than maxAge 24h", True)]),
    ("old, by day", DAILY, BORN + DAY, [("older than maxAge 24h", False)]),
    ("old, by night", DAILY, BORN + 38 * HOUR, [("older than maxAge 24h", True)]),
    ("very old, by day", DAILY, BORN + 3 * DAY, [("older than hardMaxAge 72h", True)]),
    (
        "nearly very old, by day",
        DAILY,
        BORN + 3 * DAY - 170,
        [("replacement starts now to finish before hardMaxAge 72h", True)],
    ),
    (
        "the last night before it is old",
        DAILY,
        at("2026-11-21T04:59:10+01:00"),
        [("replacement starts early to finish before maxAge 24h", True)],
    ),
    ("earlier that night", DAILY, at("2026-11-21T04:50+01:00"), []),
    (
        "Sunday",
        SUNDAYS,
        at("2026-11-22T03:05+01:00"),
        [("scheduled regeneration of 2026-11-22T03:00 Europe/Berlin", True)],
    ),
    ("before Sunday", SUNDAYS, at("2026-11-22T03:00+01:00"), []),
    (
        "long after Sunday",
        SUNDAYS,
        at("2026-11-28T03:00+01:00"),
        [("scheduled regeneration of 2026-11-22T03:00 Europe/Berlin", True)],
    ),
]


@pytest.mark.parametrize(
    ("case", "regeneration", "now", "says"), REASONS, ids=[r[0] for r in REASONS]
)
def test_due_instance_has_its_reason(
    case: str, regeneration: Regeneration, now: float, says: list[tuple[str, bool]]
) -> None:
    assert reasons(regeneration, now, uid=BORN) == says


def test_reason_names_the_share_of_max_age() -> None:
    jittered = Regeneration(max_age=DAY, jitter=0.5)
    end = expires_at(jittered, "uid", BORN)
    assert end is not None
    ((said, _),) = reasons(jittered, end, uid=BORN)
    assert said == f"older than {spell(end - BORN)} (maxAge 24h minus jitter)"


def test_oldest_instance_starts_first() -> None:
    seen = outlook(DAILY, {"b": BORN - 2, "a": BORN - 2, "c": BORN - 9}, "s", BORN + 2 * DAY, 60)
    assert [due.uid for due in seen.due] == ["c", "a", "b"]


def test_outlook_says_when_to_look_again() -> None:
    open_end = at("2026-11-21T05:00+01:00")
    early = open_end - 1 - MINUTE  # its maxAge is over by day: so in the night before
    assert outlook(DAILY, {"uid": BORN}, "s", BORN, MINUTE).again == early
    late = outlook(DAILY, {"uid": BORN}, "s", BORN + 2 * DAY, MINUTE)
    assert late.again == at("2026-11-23T01:00+01:00")
    assert late.window == "no window is open until 2026-11-23T01:00 Europe/Berlin"
    night = outlook(DAILY, {"uid": BORN}, "s", at("2026-11-23T02:00+01:00"), MINUTE)
    assert night.window == "window open until 2026-11-23T05:00 Europe/Berlin"
    assert outlook(SUNDAYS, {"uid": BORN}, "s", BORN, MINUTE).again == scheduled_at(
        SUNDAYS, "s", BORN, BORN
    )


def test_fleet_of_equal_age_starts_early_enough_for_its_last_swap() -> None:
    """20 swaps of a minute, one at a time: the first starts over 20 minutes before maxAge."""
    crowd = Regeneration(max_age=DAY, jitter=0)
    born = {f"uid-{n:02}": BORN for n in range(20)}
    first = outlook(crowd, born, "s", BORN, MINUTE).again
    assert first is not None
    assert 20 * MINUTE <= BORN + DAY - first <= 23 * MINUTE
    four = outlook(replace(crowd, max_concurrent=4), born, "s", BORN, MINUTE).again
    assert four is not None
    assert 5 * MINUTE <= BORN + DAY - four <= 8 * MINUTE
    assert len(outlook(crowd, born, "s", first, MINUTE).due) == 1
    assert len(outlook(replace(crowd, max_concurrent=4), born, "s", four, MINUTE).due) == 4


def test_overdue_older_instance_precedes_younger_ones() -> None:
    """20 instances that take 32 minutes, in a window of 20: only oldest first helps."""
    short = replace(DAILY, windows=(Window(Cron("0 1 * * *", BERLIN), 20 * MINUTE),))
    born = {f"uid-{n:02}": BORN + n for n in range(20)}
    closing = at("2026-11-21T01:20+01:00")
    for before in range(1, 1200, 60):
        due = [due.uid for due in outlook(short, born, "s", closing - before, 95).due]
        assert due == sorted(born)[: len(due)]
    assert due, "and it makes use of the window"


def test_max_age_shorter_than_a_swap_replaces_no_new_instance() -> None:
    hasty = Regeneration(max_age=10 * MINUTE, jitter=0)
    assert outlook(hasty, {"uid": BORN}, "s", BORN + 599, 11 * MINUTE).due == ()
    assert reasons(hasty, BORN + 600, uid=BORN) == [("older than maxAge 10m", True)]


def test_thousand_services_with_one_schedule_are_spread() -> None:
    now = at("2026-11-21T12:00+01:00")
    slot = at("2026-11-22T03:00+01:00")
    starts = [scheduled_at(SUNDAYS, f"service-{n}", now, BORN) or 0.0 for n in range(1000)]
    assert all(slot + 30 <= start <= slot + 300 for start in starts)
    busiest = Counter(int(start - slot) // 10 for start in starts).most_common(1)[0][1]
    assert busiest < 70, "1000 in 27 times 10 s"
    often = Regeneration(schedule=Cron("*/10 * * * *"))
    starts = [scheduled_at(often, f"service-{n}", BORN, BORN) or 0.0 for n in range(1000)]
    assert all(BORN + 606 <= start <= BORN + 660 for start in starts)


def test_missed_week_is_caught_up_once() -> None:
    nightly = Regeneration(schedule=Cron("0 3 * * *", BERLIN))
    back = BORN + 7 * DAY
    assert (scheduled_at(nightly, "s", back, BORN) or 0) < back
    assert (scheduled_at(nightly, "s", back, back) or 0) > back


def test_slots_before_the_schedule_was_written_do_not_count() -> None:
    written = at("2026-11-24T09:00+01:00")
    now = written + HOUR
    assert (scheduled_at(SUNDAYS, "s", now, BORN) or 0) < now
    sunday = at("2026-11-29T03:00+01:00")
    late = replace(SUNDAYS, schedule_since=written)
    assert sunday < (scheduled_at(late, "s", now, BORN) or 0) <= sunday + 300


def test_past_slot_does_not_wait_for_the_spread_of_the_next() -> None:
    often = Regeneration(schedule=Cron("*/10 * * * *"))
    start = scheduled_at(often, "s", BORN + 601, BORN - 1)
    assert start is not None
    assert start < BORN + 600, "the slot at BORN, not the one that is being spread"


FEASIBILITY: list[tuple[Regeneration, int, float, str | None]] = [
    (Regeneration(), 1000, 600, None),
    (Regeneration(max_age=DAY), 20, 95, None),
    (DAILY, 0, 95, None),
    (DAILY, 20, 95, None),
    (DAILY, 110, 95, None),
    (
        DAILY,
        120,
        95,
        "maxAge 24h cannot be met: 120 instances, one at a time at 95s each, need 3.2h of open "
        "window in any 24h minus two replacements; the windows provide 2.9h in the period that "
        "starts 2026-10-25T02:03 Europe/Berlin; decrease replicas or the time until ready, or "
        "increase maxConcurrent, the windows' duration or maxAge",
    ),
    (
        Regeneration(max_age=HOUR, max_concurrent=2),
        100,
        90,
        "maxAge 1h cannot be met: 100 instances, 2 at a time at 90s each, need 75m; 1h minus two "
        "replacements leaves 57m; decrease replicas or the time until ready, or increase "
        "maxConcurrent or maxAge",
    ),
    (
        Regeneration(hard_max_age=10 * MINUTE, windows=NIGHTS),
        1,
        250,
        "hardMaxAge 10m cannot be met: 1 instance, one at a time at 4.2m each, need 4.2m; "
        "10m minus two replacements leaves 100s; decrease replicas or the time until ready, or "
        "increase maxConcurrent or hardMaxAge",
    ),
]


@pytest.mark.parametrize(("regeneration", "size", "swap", "says"), FEASIBILITY)
def test_infeasible_regeneration_is_reported_with_its_arithmetic(
    regeneration: Regeneration, size: int, swap: float, says: str | None
) -> None:
    assert feasibility(regeneration, size, swap, BORN) == says
    assert feasibility(regeneration, size, swap, BORN + 30 * DAY) == says, "stays the same"


PROBLEMS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"max_age": DAY, "hard_max_age": DAY, "windows": NIGHTS, "schedule": SUNDAYS.schedule}, []),
    ({"max_age": 599.0}, ["maxAge: 10.0m is below the minimum of 10m; increase it"]),
    ({"hard_max_age": 90.0}, ["hardMaxAge: 90s is below the minimum of 10m; increase it"]),
    (
        {"max_age": 2 * DAY, "hard_max_age": DAY},
        [
            "maxAge: 48h is above hardMaxAge 24h, which would always apply first; "
            "decrease maxAge or increase hardMaxAge"
        ],
    ),
    ({"jitter": 0.51}, ["jitter: 51% is not between 0% and 50%; correct it"]),
    ({"jitter": -0.1}, ["jitter: -10% is not between 0% and 50%; correct it"]),
    (
        {"max_concurrent": 0},
        ["maxConcurrent: 0 would never replace an instance; set it to 1 or more"],
    ),
]


@pytest.mark.parametrize(("given_fields", "says"), PROBLEMS)
def test_contradictory_regeneration_is_refused(
    given_fields: dict[str, Any], says: list[str]
) -> None:
    assert list(problems(Regeneration(**given_fields), floor=600)) == says


def test_window_or_schedule_that_never_matches_is_refused_with_its_path() -> None:
    never = Cron("0 0 30 2 *")
    found = problems(
        Regeneration(windows=(*NIGHTS, Window(never, HOUR), Window(never, 0)), schedule=never),
        floor=600,
    )
    assert [text.partition(":")[0] for text in found] == ["windows[1]", "windows[2]", "schedule"]
    assert "never matches" in found[0]
    assert "never opens" in found[1]


def test_floor_of_max_age_can_be_lowered() -> None:
    assert problems(Regeneration(max_age=5), floor=1) == ()


SPELLED = {1: "1s", 90: "90s", 95: "95s", 600: "10m", 1900: "32m", 3600: "1h", 5400: "90m"}
SPELLED |= {8000: "2.2h", 86400: "24h", 259200: "72h", 604800: "7d"}


@pytest.mark.parametrize("seconds", SPELLED)
def test_duration_has_a_short_form(seconds: int) -> None:
    assert spell(seconds) == SPELLED[seconds]


WINDOWS = st.sampled_from(
    [
        (),
        (),
        NIGHTS,
        (Window(Cron("0 2 * * *", "America/New_York"), 2 * HOUR),),
        (Window(Cron("30 1 * * *", "Australia/Lord_Howe"), 3 * HOUR),),
        (Window(Cron("*/30 1-3 * * *", BERLIN), 10 * MINUTE), Window(Cron("0 13 * * *"), HOUR)),
        (Window(Cron("0 1 * * 1-5", BERLIN), 5 * HOUR),),
        (Window(Cron("0 3 * * SUN", BERLIN), 6 * HOUR),),
    ]
)
STARTS = st.sampled_from(["2026-03-25", "2026-04-02", "2026-10-20", "2028-02-25", "2026-12-28"])


@st.composite
def fleets(draw: st.DrawFn) -> ToyFleet:
    max_age = draw(st.sampled_from([4 * HOUR, DAY, 30 * HOUR, 3 * DAY, 8 * DAY]))
    regeneration = Regeneration(
        max_age=draw(st.sampled_from([max_age, max_age, None])),
        hard_max_age=draw(st.sampled_from([None, max_age, 1.5 * max_age])),
        jitter=draw(st.sampled_from([0.0, 0.1, 0.5])),
        max_concurrent=draw(st.integers(1, 3)),
        windows=draw(WINDOWS),
        schedule=draw(
            st.sampled_from(
                [None, Cron("30 2 * * *", BERLIN), Cron("0 */6 * * *"), SUNDAYS.schedule]
            )
        ),
    )
    start = at(f"{draw(STARTS)}T00:00+00:00") + draw(st.floats(0, DAY))
    swap = draw(st.sampled_from([20.0, 95.0, 600.0, 1500.0]))
    return ToyFleet(regeneration, draw(st.integers(1, 8)), swap, start, draw(st.integers(0, 99)))


def check_starts(fleet: ToyFleet, swaps: list[Swap]) -> None:
    """What holds for any fleet: concurrency, windows, and each slot at most once for each place."""
    regeneration = fleet.regeneration
    assert fleet.most_in_flight <= regeneration.max_concurrent
    for swap in swaps:
        assert is_open(regeneration.windows, swap.clock) or swap.due.overrides, swap
    slots = Counter((s.place, s.due.reason) for s in swaps if "scheduled" in s.due.reason)
    assert not [slot for slot, times in slots.items() if times > 1]


def check_ages(fleet: ToyFleet, swaps: list[Swap], end: float, age: float, after: float) -> None:
    """No instance that lived after ``after`` became older than ``age``."""
    for swap in swaps:
        assert swap.ended <= after or swap.age <= age, swap
    for _, _, born in fleet.living.values():
        assert end - born <= age


@searching(25)
@given(fleets())
def test_no_instance_outlives_a_feasible_age(fleet: ToyFleet) -> None:
    days = 12.0
    regeneration = fleet.regeneration
    swaps = fleet.run(days * DAY)
    check_starts(fleet, swaps)
    end = fleet.start + days * DAY
    only = {"max_age": replace(regeneration, hard_max_age=None)}
    only["hard_max_age"] = replace(regeneration, max_age=None)
    for name, one in only.items():
        age = getattr(regeneration, name)
        if (
            age is not None
            and feasibility(one, fleet.size, fleet.swap_seconds, fleet.start) is None
        ):
            event(f"{name} can be met")
            check_ages(fleet, swaps, end, age, fleet.start)


NIGHTLY = [
    Regeneration(max_age=DAY, jitter=0.1, windows=NIGHTS),
    Regeneration(max_age=DAY, jitter=0, max_concurrent=3, windows=NIGHTS),
    Regeneration(max_age=3 * HOUR, jitter=0.2),
    Regeneration(max_age=3 * HOUR, jitter=0, windows=(Window(Cron("0 * * * *"), 20 * MINUTE),)),
]


@pytest.mark.parametrize("regeneration", NIGHTLY)
def test_largest_feasible_fleet_is_kept_young_and_a_larger_one_is_not(
    regeneration: Regeneration,
) -> None:
    """The arithmetic neither accepts an infeasible fleet nor refuses a feasible one."""
    assert regeneration.max_age is not None
    start, swap, days = at("2026-10-21T13:00+00:00"), 600.0, 6
    sizes = range(1, 200)
    most = max(n for n in sizes if feasibility(regeneration, n, swap, start) is None)
    fleet = ToyFleet(regeneration, most, swap, start)
    check_ages(fleet, fleet.run(days * DAY), start + days * DAY, regeneration.max_age, start)
    crowd = ToyFleet(regeneration, 2 * most + 5, swap, start)
    assert max(gone.age for gone in crowd.run(days * DAY)) > regeneration.max_age


@searching(15)
@given(fleets(), st.sampled_from([-DAY, -HOUR, HOUR, DAY]), st.sampled_from([-DAY, 0.0, DAY]))
def test_jumping_clock_repeats_no_slot(fleet: ToyFleet, first: float, second: float) -> None:
    assume(fleet.regeneration.schedule is not None)
    jumps = ((fleet.start + 2.3 * DAY, first), (fleet.start + 4.6 * DAY, second))
    jumping = replace(fleet, jumps=jumps)
    check_starts(jumping, jumping.run(6 * DAY))


@searching(10)
@given(fleets())
def test_missed_regeneration_of_a_week_is_caught_up_once_and_paced(fleet: ToyFleet) -> None:
    down = (fleet.start + 2 * DAY, fleet.start + 9 * DAY)
    sleeping = replace(fleet, down=down)
    swaps = sleeping.run(12 * DAY)
    check_starts(sleeping, swaps)
    assert not [s for s in swaps if down[0] + 2 * HOUR < s.started < down[1]]
    regeneration = fleet.regeneration
    one = replace(regeneration, max_age=None)
    if regeneration.hard_max_age is None or feasibility(
        one, fleet.size, fleet.swap_seconds, down[0]
    ):
        return
    turnover = -(-fleet.size // regeneration.max_concurrent) * fleet.swap_seconds
    settled = down[1] + turnover + 2 * fleet.swap_seconds
    check_ages(sleeping, swaps, fleet.start + 12 * DAY, regeneration.hard_max_age, settled)


YEARS = [
    DAILY,
    replace(DAILY, jitter=0.3, max_concurrent=2),
    Regeneration(max_age=7 * DAY, schedule=Cron("30 2 * * SUN", "Australia/Lord_Howe")),
    Regeneration(schedule=Cron("30 2 * * *", BERLIN), windows=NIGHTS),
    Regeneration(schedule=Cron("0 0 L * *", "America/New_York")),
    Regeneration(schedule=Cron("0 0 29 2 *")),
]


@pytest.mark.parametrize("regeneration", YEARS)
def test_slots_of_three_years_happen_once_each(regeneration: Regeneration) -> None:
    start = at("2027-01-01T00:00+00:00")
    fleet = ToyFleet(regeneration, 2, 300, start)
    assert feasibility(regeneration, fleet.size, fleet.swap_seconds, start) is None
    swaps = fleet.run(3 * 365.25 * DAY)
    check_starts(fleet, swaps)
    if regeneration.max_age:
        check_ages(fleet, swaps, start + 3 * 365.25 * DAY, regeneration.max_age, start)
    cron = regeneration.schedule
    if cron:
        slots = list(
            itertools.takewhile(
                lambda s: s < start + 3 * 365.25 * DAY - HOUR, cron.slots_after(start)
            )
        )
        scheduled = Counter(swap.place for swap in swaps if "scheduled" in swap.due.reason)
        assert set(scheduled.values()) == {len(slots)}, "each slot exactly once for each instance"
