"""Since when a schedule counts, whatever else is edited by whom, and across restarts."""

from __future__ import annotations

from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.calendar.windows import Cron
from immutable_operator.domain.model import Spec
from immutable_operator.runtime.schedules import Schedules

HOURLY, HALF_HOURLY, DAILY = Cron("0 * * * *"), Cron("0,30 * * * *"), Cron("0 3 * * *")
HOUR = 3600.0
SLOT = 100 * HOUR


def spec(schedule: Cron | None, on_record: float) -> Spec:
    """As it is read: with the latest time at which its schedule can have been written."""
    return Spec({}, regeneration=Regeneration(schedule=schedule, schedule_since=on_record))


def since(schedules: Schedules, given: Spec, *slots: float) -> float:
    return schedules.applied("u", given, slots).regeneration.schedule_since


def test_an_edit_of_another_field_leaves_the_schedule_as_old_as_it_is() -> None:
    schedules = Schedules()
    assert since(schedules, spec(HOURLY, SLOT - 10)) == SLOT - 10
    for edited in (SLOT + 1, SLOT + 60, SLOT + 3 * HOUR):
        assert since(schedules, spec(HOURLY, edited)) == SLOT - 10


def test_a_new_schedule_counts_from_when_it_was_written() -> None:
    schedules = Schedules()
    since(schedules, spec(HOURLY, SLOT - 10))
    assert since(schedules, spec(DAILY, SLOT + 60)) == SLOT + 60
    assert since(schedules, spec(DAILY, SLOT + 90)) == SLOT + 60


def test_another_time_zone_is_another_schedule() -> None:
    schedules = Schedules()
    since(schedules, spec(HOURLY, SLOT - 10))
    elsewhere = Cron(HOURLY.expression, "Asia/Kolkata")
    assert since(schedules, spec(elsewhere, SLOT + 60)) == SLOT + 60


def test_the_first_schedule_of_a_service_that_had_none_does_not_fire_for_the_past() -> None:
    schedules = Schedules()
    since(schedules, spec(None, 5.0))
    assert since(schedules, spec(HOURLY, SLOT + 60)) == SLOT + 60


def test_a_schedule_that_was_taken_out_and_put_back_is_new() -> None:
    schedules = Schedules()
    since(schedules, spec(HOURLY, SLOT - 10))
    since(schedules, spec(None, SLOT + 10))
    assert since(schedules, spec(HOURLY, SLOT + 60)) == SLOT + 60


def test_changes_that_no_plan_was_made_for_count_where_they_were_noted() -> None:
    schedules = Schedules()
    schedules.note("u", spec(HOURLY, SLOT - 10))
    schedules.note("u", spec(DAILY, SLOT + 10))
    schedules.note("u", spec(HOURLY, SLOT + 20))
    assert since(schedules, spec(HOURLY, SLOT + 90)) == SLOT + 20


def test_after_a_restart_a_slot_that_has_begun_still_counts() -> None:
    """An edit of another field came between, so that the time on record is after the slot."""
    assert since(Schedules(), spec(HOURLY, SLOT + 60), SLOT) < SLOT
    schedules = Schedules()
    assert since(schedules, spec(HOURLY, SLOT + 60)) == SLOT + 60, "no instance is known yet"
    assert since(schedules, spec(HOURLY, SLOT + 60), SLOT) < SLOT
    assert since(schedules, spec(HOURLY, SLOT + 60)) < SLOT, "although they are gone meanwhile"


def test_after_a_restart_a_slot_of_long_ago_says_nothing() -> None:
    assert since(Schedules(), spec(HOURLY, SLOT + 60), SLOT - HOUR) == SLOT + 60


def test_after_a_restart_slots_of_another_schedule_do_not_count() -> None:
    """It was hourly at the full hour, and was made half-hourly since: half past is no slot yet."""
    written = SLOT + 2700
    assert since(Schedules(), spec(HALF_HOURLY, written), SLOT) == written


def test_a_change_that_was_seen_is_not_put_back_by_what_was_born_before() -> None:
    schedules = Schedules()
    since(schedules, spec(HOURLY, SLOT - 10))
    assert since(schedules, spec(DAILY, SLOT + 60), SLOT, 99 * HOUR) == SLOT + 60


def test_a_service_that_is_gone_is_forgotten() -> None:
    schedules = Schedules()
    since(schedules, spec(HOURLY, SLOT - 10))
    schedules.forget("u")
    assert since(schedules, spec(HOURLY, SLOT + 60)) == SLOT + 60
