"""Since when a schedule counts, whatever else is edited, and across restarts."""

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


def test_edit_of_another_field_keeps_the_age_of_the_schedule() -> None:
    schedules = Schedules()
    assert since(schedules, spec(HOURLY, SLOT - 10)) == SLOT - 10
    for edited in (SLOT + 1, SLOT + 60, SLOT + 3 * HOUR):
        assert since(schedules, spec(HOURLY, edited)) == SLOT - 10


def test_new_schedule_counts_from_its_write() -> None:
    schedules = Schedules()
    since(schedules, spec(HOURLY, SLOT - 10))
    assert since(schedules, spec(DAILY, SLOT + 60)) == SLOT + 60
    assert since(schedules, spec(DAILY, SLOT + 90)) == SLOT + 60


def test_changed_time_zone_is_a_new_schedule() -> None:
    schedules = Schedules()
    since(schedules, spec(HOURLY, SLOT - 10))
    elsewhere = Cron(HOURLY.expression, "Asia/Kolkata")
    assert since(schedules, spec(elsewhere, SLOT + 60)) == SLOT + 60


def test_first_schedule_of_a_service_ignores_past_slots() -> None:
    schedules = Schedules()
    since(schedules, spec(None, 5.0))
    assert since(schedules, spec(HOURLY, SLOT + 60)) == SLOT + 60


def test_removed_and_restored_schedule_is_new() -> None:
    schedules = Schedules()
    since(schedules, spec(HOURLY, SLOT - 10))
    since(schedules, spec(None, SLOT + 10))
    assert since(schedules, spec(HOURLY, SLOT + 60)) == SLOT + 60


def test_noted_change_without_a_plan_counts() -> None:
    schedules = Schedules()
    schedules.note("u", spec(HOURLY, SLOT - 10))
    schedules.note("u", spec(DAILY, SLOT + 10))
    schedules.note("u", spec(HOURLY, SLOT + 20))
    assert since(schedules, spec(HOURLY, SLOT + 90)) == SLOT + 20


def test_slot_begun_before_a_restart_still_counts() -> None:
    """Another field was edited in between, so the recorded time is after the slot."""
    assert since(Schedules(), spec(HOURLY, SLOT + 60), SLOT) < SLOT
    schedules = Schedules()
    assert since(schedules, spec(HOURLY, SLOT + 60)) == SLOT + 60, "no instance is known yet"
    assert since(schedules, spec(HOURLY, SLOT + 60), SLOT) < SLOT
    assert since(schedules, spec(HOURLY, SLOT + 60)) < SLOT, "although they are gone meanwhile"


def test_old_slot_is_ignored_after_a_restart() -> None:
    assert since(Schedules(), spec(HOURLY, SLOT + 60), SLOT - HOUR) == SLOT + 60


def test_slots_of_another_schedule_are_ignored_after_a_restart() -> None:
    """The hourly schedule became half-hourly since then: half past is no slot yet."""
    written = SLOT + 2700
    assert since(Schedules(), spec(HALF_HOURLY, written), SLOT) == written


def test_observed_change_is_not_reverted_by_older_instances() -> None:
    schedules = Schedules()
    since(schedules, spec(HOURLY, SLOT - 10))
    assert since(schedules, spec(DAILY, SLOT + 60), SLOT, 99 * HOUR) == SLOT + 60


def test_deleted_service_is_forgotten() -> None:
    schedules = Schedules()
    since(schedules, spec(HOURLY, SLOT - 10))
    schedules.forget("u")
    assert since(schedules, spec(HOURLY, SLOT + 60)) == SLOT + 60
