"""What of a schedule the API server itself refuses, against what the operator can read.

The rules are evaluated here as Python does, and on the API server in tests/cluster.
"""

from __future__ import annotations

import re
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immutable_operator.api import cron
from immutable_operator.domain.calendar.cron import Cron, problem_of
from tests.unit.cron_expressions import BACKWARDS, BAD, GOOD, NEVER


def refused(text: str) -> list[str]:
    """What the rules on the syntax, and on days that never come, find."""
    if not re.search(cron.FIVE, text):
        return ["five fields"]
    found = []
    for index, (name, (field, _)) in enumerate(cron.FIELDS.items()):
        if not re.fullmatch(field, text.split()[index], re.IGNORECASE):
            found.append(name)
    if re.search(cron.NEVER, text):
        found.append("never")
    return found


@pytest.mark.parametrize("text", GOOD)
def test_valid_schedule_is_accepted_and_read(text: str) -> None:
    assert refused(text) == []
    assert problem_of(text, "UTC") is None


@pytest.mark.parametrize("text", NEVER)
def test_schedule_that_never_happens_is_refused(text: str) -> None:
    assert refused(text) == ["never"]
    assert "never matches" in str(problem_of(text, "UTC"))


@pytest.mark.parametrize("text", BAD)
def test_unreadable_schedule_is_refused(text: str) -> None:
    assert refused(text)
    assert problem_of(text, "UTC")


@pytest.mark.parametrize("text", BACKWARDS)
def test_backward_range_is_unreadable(text: str) -> None:
    """CEL refuses these too, by a rule of its own (tests/cluster/test_schedules.py)."""
    assert problem_of(text, "UTC")


def test_question_mark_means_any_as_in_a_cron_job() -> None:
    for one, other in (("0 3 ? * SUN", "0 3 * * SUN"), ("?/5 ?,? ? ? ?", "*/5 * * * *")):
        assert Cron(one).next_after(1e9) == Cron(other).next_after(1e9)


ITEM = st.one_of(
    st.sampled_from(["*", "?", "L", "LW", "SUN", "FEB", "5L", "MON#1", "MON-FRI", "W", "**", "?*"]),
    st.integers(0, 61).map(str),
    st.tuples(st.integers(0, 32), st.integers(0, 32)).map(lambda t: f"{t[0]}-{t[1]}"),
)
STEP = st.one_of(st.just(""), st.integers(0, 20).map(lambda n: f"/{n}"))
FIELD = st.lists(st.tuples(ITEM, STEP).map("".join), min_size=1, max_size=2).map(",".join)


@given(st.lists(FIELD, min_size=5, max_size=5).map(" ".join))
def test_cel_rules_accept_every_readable_schedule(text: str) -> None:
    if problem_of(text, "UTC") is None:
        assert refused(text) == []


def test_every_existing_time_zone_is_accepted() -> None:
    zones = {zone for zone in available_timezones() if zone[:1].isupper()}
    assert [zone for zone in sorted(zones) if not re.search(cron.ZONE, zone)] == []


@pytest.mark.parametrize(
    "zone",
    ["", "Mars/Olympus", "europe/berlin", "Europe/", "Europe/Berlin ", "+02:00", "UTC/", "../x"],
)
def test_malformed_time_zone_is_refused(zone: str) -> None:
    assert not re.search(cron.ZONE, zone)
    assert problem_of("0 3 * * *", zone)
