"""Slots and windows: where the clock changes, at month ends, and for any input."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from immutable_operator.domain.calendar import cron as cron_module
from immutable_operator.domain.calendar import windows as windows_module
from immutable_operator.domain.calendar.windows import (
    Cron,
    Window,
    is_open,
    last_open,
    least_open,
    next_close,
    next_open,
    problem_of,
    wall,
)
from tests.unit.examples import examples
from tests.unit.moments import DAY, HOUR, at

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana"]


def shown(t: float | None) -> str | None:
    return None if t is None else f"{datetime.fromtimestamp(t, UTC):%Y-%m-%dT%H:%M}Z"


# Expression, zone, after when, the slots that follow (UTC).
SLOTS: dict[str, tuple[str, str, str, list[str]]] = {
    "Berlin skips 02:30: right after the gap": (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T12:00Z",
        ["2026-03-29T01:00Z", "2026-03-30T00:30Z"],
    ),
    "all that a gap swallows happens once": (
        "*/10 2 * * *",
        "Europe/Berlin",
        "2026-03-29T00:00Z",
        ["2026-03-29T01:00Z", "2026-03-30T00:00Z"],
    ),
    "Berlin has 02:30 twice: the first one": (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T12:00Z",
        ["2026-10-25T00:30Z", "2026-10-26T01:30Z"],
    ),
    "between the two 02:30 of Berlin": (
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-25T01:10Z",
        ["2026-10-26T01:30Z"],
    ),
    "New York skips 02:30": (
        "30 2 * * *",
        "America/New_York",
        "2026-03-08T00:00Z",
        ["2026-03-08T07:00Z", "2026-03-09T06:30Z"],
    ),
    "New York has 01:30 twice": (
        "30 1 * * *",
        "America/New_York",
        "2026-11-01T00:00Z",
        ["2026-11-01T05:30Z", "2026-11-02T06:30Z"],
    ),
    "Lord Howe skips half an hour": (
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T00:00Z",
        ["2026-10-03T15:30Z", "2026-10-04T15:15Z"],
    ),
    "Lord Howe repeats half an hour": (
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T00:00Z",
        ["2026-04-04T14:45Z", "2026-04-05T15:15Z"],
    ),
    "Lord Howe every second hour": (
        "15 */2 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T13:30Z",
        ["2026-04-04T15:45Z", "2026-04-04T17:45Z"],
    ),
    "Havana has no midnight": (
        "0 0 * * *",
        "America/Havana",
        "2026-03-07T12:00Z",
        ["2026-03-08T05:00Z", "2026-03-09T04:00Z"],
    ),
    "the 31st": (
        "0 0 31 * *",
        "UTC",
        "2026-01-31T00:00Z",
        ["2026-03-31T00:00Z", "2026-05-31T00:00Z"],
    ),
    "the last day": (
        "0 0 L * *",
        "UTC",
        "2028-01-31T00:00Z",
        ["2028-02-29T00:00Z", "2028-03-31T00:00Z", "2028-04-30T00:00Z"],
    ),
    "leap day": ("0 0 29 2 *", "UTC", "2026-01-01T00:00Z", ["2028-02-29T00:00Z"]),
    "2100 is no leap year": ("0 0 29 2 *", "UTC", "2096-03-01T00:00Z", ["2104-02-29T00:00Z"]),
    "leap days that are Sundays": (
        "0 0 29 2 */8",
        "UTC",
        "2028-03-01T00:00Z",
        ["2032-02-29T00:00Z"],
    ),
    "across the new year": (
        "0 0 1 1 *",
        "Europe/Berlin",
        "2026-12-31T12:00Z",
        ["2026-12-31T23:00Z", "2027-12-31T23:00Z"],
    ),
}


@pytest.mark.parametrize("case", SLOTS)
def test_slots_follow_the_local_clock(case: str) -> None:
    expression, zone, after, expected = SLOTS[case]
    cron = Cron(expression, zone)
    found, t = [], at(after.replace("Z", "+00:00"))
    for _ in expected:
        slot = cron.next_after(t)
        assert slot is not None
        assert cron.last_before(slot + 1) == cron.last_until(slot) == slot
        assert (cron.last_before(slot) or 0) < slot
        found.append(shown(slot))
        t = slot
    assert found == expected


def test_slot_in_a_repeated_hour_happens_once() -> None:
    second_pass = at("2026-10-25T02:10+01:00")
    cron = Cron("30 2 * * *", "Europe/Berlin")
    assert shown(cron.last_before(second_pass)) == "2026-10-25T00:30Z"
    assert shown(cron.next_after(second_pass)) == "2026-10-26T01:30Z"


def test_fractions_of_a_second_are_counted() -> None:
    cron = Cron("0 * * * *")
    assert cron.next_after(HOUR - 0.25) == HOUR
    assert cron.next_after(HOUR) == 2 * HOUR
    assert cron.last_before(HOUR + 0.25) == HOUR
    assert cron.last_before(HOUR) == 0.0
    assert cron.last_until(HOUR) == HOUR


def _field(first: int, last: int) -> st.SearchStrategy[str]:
    numbers = st.integers(first, last)
    some = st.lists(numbers, min_size=1, max_size=3).map(lambda ns: ",".join(map(str, ns)))
    steps = st.integers(2, 20).map(lambda n: f"*/{n}")
    return st.one_of(st.just("*"), some, steps)


def _values(field: str, first: int, last: int) -> set[int]:
    if field.startswith("*"):
        return set(range(first, last + 1, int(field[2:] or 1)))
    return {int(number) for number in field.split(",")}


# Around a change of the clock: Berlin's, New York's, Lord Howe's and Havana's lie within.
CHANGES = [datetime(2026, *d, tzinfo=UTC) for d in [(3, 7), (3, 28), (4, 4), (10, 3), (10, 24)]]
SPAN = timedelta(hours=44)


@settings(max_examples=examples(60), deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(CHANGES),
    _field(0, 59),
    _field(0, 23),
    st.integers(0, int(SPAN.total_seconds())),
)
@example("Europe/Berlin", CHANGES[4], "30", "2", int(25.2 * HOUR))
@example("Australia/Lord_Howe", CHANGES[2], "45", "1", int(15.2 * HOUR))
def test_slot_is_the_first_moment_at_which_the_local_clock_has_reached_it(
    name: str, start: datetime, minute: str, hour: str, offset: int
) -> None:
    """Compared with a clock that is read minute by minute."""
    zone = ZoneInfo(name)
    minutes, hours = _values(minute, 0, 59), _values(hour, 0, 23)
    expected, reached = set(), start.astimezone(zone).replace(tzinfo=None)
    for passed in range(int(SPAN.total_seconds()) // 60 * 2):
        now = start + timedelta(minutes=passed)
        clock = now.astimezone(zone).replace(tzinfo=None)
        while reached <= clock:
            if reached.minute in minutes and reached.hour in hours:
                expected.add(now.timestamp())
            reached += timedelta(minutes=1)
    t = start.timestamp() + offset
    cron = Cron(f"{minute} {hour} * * *", name)
    following = min((slot for slot in expected if slot > t), default=None)
    if following is not None:
        assert cron.next_after(t) == following
    before = max((slot for slot in expected if start.timestamp() < slot < t), default=None)
    if before is not None:
        assert cron.last_before(t) == before


@settings(max_examples=examples(150), deadline=None)
@given(
    st.text(alphabet="0123456789*/,-#L W?abcdMONJAN@ \n²", max_size=40),
    st.text(max_size=20) | st.sampled_from([*ZONES, "Europe", "../UTC", "/etc/passwd", "a\0b"]),
    st.floats(allow_nan=False),
)
@example("0 0 * * *", "Europe/Berlin", 1e300)
@example("0 0 * * *", "Europe/Berlin", float("-inf"))
@example("0 0 * * *", "Europe/Berlin", float("inf"))
@example("*/" + "9" * 5000 + " * * * *", "UTC", 0.0)
@example("0 0 30 2 *", "UTC", 0.0)
def test_any_expression_has_slots_or_a_problem(expression: str, zone: str, t: float) -> None:
    cron = Cron(expression, zone)
    problem = problem_of(expression, zone)
    assert (cron.next_after(t) is None) == (problem is not None), problem
    windows = (Window(cron, 60.0),)
    assert is_open(windows, t) in (True, False)
    assert (next_open(windows, t) is None) == (problem is not None)
    assert wall(t, zone)


PROBLEMS = [
    ("0 3 * *", "UTC", None, "cannot be read; write five fields"),
    ("@daily", "UTC", None, "cannot be read; write five fields"),
    ("0 0 3 * * *", "UTC", None, "has six fields, and seconds are not supported"),
    ("61 3 * * *", "UTC", None, '"61" is not a valid minute; write five fields'),
    ("0 3 * * SUNDAY", "UTC", None, '"SUNDAY" is not a valid day-of-week'),
    ("0 3 0 2 *", "UTC", None, '"0" is not a valid day-of-month'),
    ("0 3 32 2 *", "UTC", None, '"32" is not a valid day-of-month'),
    ("0 3 31 2 *", "UTC", None, "never matches: none of its months has such a day; use another"),
    ("0 3 30 2,2 *", "UTC", None, "never matches"),
    ("0 3 * * *", "Mars/Base", None, 'time zone "Mars/Base" is not known; use one of the IANA'),
    ("0 3 * * *", "Europe", None, 'time zone "Europe" is not known'),
    ("0 3 * * *", "", None, "is not known"),
    ("0 3 * * *", "localtime", None, "is not known"),
    ("0 3 * * *", "UTC", 0.0, "never opens; set its duration to 1s or more"),
    ("0 3 * * *", "UTC", -5.0, "never open"),
]


@pytest.mark.parametrize(("expression", "zone", "duration", "says"), PROBLEMS)
def test_invalid_schedule_is_refused_with_the_reason(
    expression: str, zone: str, duration: float | None, says: str
) -> None:
    assert says in (problem_of(expression, zone, duration) or "nothing")


@pytest.mark.parametrize("error", [ZoneInfoNotFoundError("no tzdata"), OSError("no such file")])
def test_zone_without_data_is_refused_and_has_no_slots(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def missing(name: str) -> ZoneInfo:
        raise error

    monkeypatch.setattr(cron_module, "ZoneInfo", missing)
    # Not asked for anywhere else: answers are remembered.
    cron = Cron("13 13 13 * *", "Europe/Tallinn")
    problem = problem_of(cron.expression, cron.time_zone)
    assert 'time zone "Europe/Tallinn" is not known' in (problem or "")
    assert cron.next_after(1_800_000_000.0 + len(str(error))) is None


@pytest.mark.parametrize("expression", ["0 3 * * sun", "*/5 1-4 L jan-mar 1#2", "0 0 29 2 *"])
def test_valid_schedule_is_accepted(expression: str) -> None:
    assert problem_of(expression, "Europe/Berlin") is None
    assert problem_of(expression, "Europe/Berlin", 90 * DAY) is None


NIGHT = (Window(Cron("0 1 * * *", "Europe/Berlin"), 4 * HOUR),)
ALWAYS = (Window(Cron("0 * * * *"), 2 * HOUR),)
TWO = (Window(Cron("0 1 * * *"), HOUR), Window(Cron("30 1 * * *"), HOUR))


def test_window_is_open_from_its_slot_for_its_duration() -> None:
    begin, end = at("2026-11-22T01:00+01:00"), at("2026-11-22T05:00+01:00")
    assert [is_open(NIGHT, t) for t in (begin - 1, begin, end - 1, end)] == [
        False,
        True,
        True,
        False,
    ]
    assert next_open(NIGHT, begin - HOUR) == begin
    assert next_open(NIGHT, begin + 5) == begin + 5
    assert next_open(NIGHT, end) == begin + DAY
    assert next_close(NIGHT, begin) == end
    assert next_close(NIGHT, end) is None
    assert last_open(NIGHT, begin + 60) == (begin, begin + 60)
    assert last_open(NIGHT, end + HOUR) == (begin, end)


def test_window_keeps_its_duration_across_a_clock_change() -> None:
    for day in ("2026-03-29", "2026-10-25"):
        noon = at(f"{day}T12:00+00:00")
        begin = next_open(NIGHT, noon - DAY)
        assert begin is not None
        assert next_close(NIGHT, begin) == begin + 4 * HOUR


def test_overlapping_windows_are_one() -> None:
    assert next_close(TWO, HOUR) == 2.5 * HOUR
    assert last_open(TWO, 2.25 * HOUR) == (1.5 * HOUR, 2.25 * HOUR)


def test_endless_windows_are_always_open() -> None:
    assert is_open(ALWAYS, 12345.0)
    assert next_close(ALWAYS, 12345.0) is None


def test_empty_windows_are_always_open() -> None:
    assert is_open((), 5.0)
    assert next_open((), 5.0) == 5.0
    assert next_close((), 5.0) is None
    assert least_open((), 9.0, 0.0) == (9.0, 0.0)


def test_windows_without_slots_are_never_open() -> None:
    never = (Window(Cron("0 0 31 2 *"), HOUR),)
    assert not is_open(never, 5.0)
    assert next_open(never, 5.0) is None
    assert last_open(never, 5.0) is None
    assert least_open(never, DAY, 0.0) == (0.0, 0.0)


LEAST = [
    (NIGHT, DAY, 4 * HOUR - HOUR),  # a day that is counted from 05:00 is 24 h, and one has 25 h
    (NIGHT, 25 * HOUR, 4 * HOUR),
    (NIGHT, 19 * HOUR, 0.0),
    (NIGHT, 22 * HOUR, HOUR),
    (TWO, DAY, 1.5 * HOUR),
    (TWO, 23 * HOUR, 0.5 * HOUR),
    (ALWAYS, DAY, DAY),
    ((Window(Cron("0 1 * * 1-5"), HOUR),), 3 * DAY, HOUR),
    ((Window(Cron("0 1 * 1-11 *"), HOUR),), 31 * DAY, 0.0),
    ((Window(Cron("0 * * * *"), 600.0),), DAY, 4 * HOUR),
    ((Window(Cron("*/5 * * * *"), 60.0),), 365 * DAY, 73 * DAY),
]


@pytest.mark.parametrize(("windows", "span", "least"), LEAST)
def test_least_open_time_is_the_minimum_over_a_year(
    windows: tuple[Window, ...], span: float, least: float
) -> None:
    found, _ = least_open(windows, span, at("2026-01-01T00:00+00:00"))
    assert found == pytest.approx(least, rel=0.02)


def test_least_open_time_includes_the_day_of_25_hours() -> None:
    found, since = least_open(NIGHT, 19 * HOUR, at("2026-01-01T00:00+00:00"))
    assert (found, wall(since, "Europe/Berlin")) == (0.0, "2026-01-01T05:00 Europe/Berlin")
    found, since = least_open(NIGHT, 20.5 * HOUR, at("2026-01-01T00:00+00:00"))
    assert (found, wall(since, "Europe/Berlin")) == (0.0, "2026-10-25T04:00 Europe/Berlin")


def test_close_of_joined_windows_is_searched_once_between_two_slots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every service that a freeze selects asks in each plan, and the search takes long."""
    joined = (Window(Cron("0 3 1 * *", "UTC"), 40 * DAY), Window(Cron("0 5 2 1 *", "UTC"), HOUR))
    t = at("2026-02-10T00:00+00:00")
    end = next_close(joined, t)
    monkeypatch.delattr(windows_module, "_stretches")
    assert next_close(joined, t + 9 * DAY) == end


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(
        st.builds(
            Window,
            st.builds(
                Cron,
                st.sampled_from(["0 1 * * *", "30 2 * * SUN", "*/20 2,3 * * *"]),
                st.sampled_from(ZONES),
            ),
            st.integers(1, 30 * 3600).map(float),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    st.floats(0, 400 * DAY),
)
def test_openings_and_closings_are_consistent(windows: tuple[Window, ...], t: float) -> None:
    t += at("2026-01-01T00:00+00:00")
    opening = next_open(windows, t)
    assert opening is not None
    assert is_open(windows, opening)
    assert opening == t or not is_open(windows, (t + opening) / 2)
    closing = next_close(windows, opening)
    if closing is not None:
        assert not is_open(windows, closing)
        assert is_open(windows, (opening + closing) / 2)
        assert next_close(windows, (opening + closing) / 2) == closing
        assert last_open(windows, closing + 0.5) is not None
    last = last_open(windows, t)
    if last is not None:
        assert last[0] <= last[1] <= t
        assert is_open(windows, t) == (last[1] == t) or last[1] == t


@pytest.mark.parametrize("zone", ZONES)
def test_slots_of_ten_years_are_the_same_in_both_directions(zone: str) -> None:
    cron, start = Cron("30 2 * * 6,0", zone), at("2025-01-01T00:00+00:00")
    slots = list(itertools.takewhile(lambda s: s < start + 3650 * DAY, cron.slots_after(start)))
    assert len(slots) == len(set(slots)) > 1000
    assert all(cron.last_before(b) == a for a, b in itertools.pairwise(slots))
    assert all(cron.next_after(a) == b for a, b in itertools.pairwise(slots))
