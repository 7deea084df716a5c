"""Which instances go for their age or on request, which wait, and what a freeze delays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.calendar.windows import Cron, Window
from immutable_operator.domain.model import CreateRevision, Freeze, Plan, Request
from immutable_operator.domain.staleness.age import start_seconds
from immutable_operator.domain.staleness.requested import ALL_REPLACED, REPLACING
from tests.unit.both_families import plan
from tests.unit.given import NOW, condition, fleet, moves, view

# Instances of `fleet` are about 5000 seconds old.
HOURLY = Regeneration(max_age=3600.0, jitter=0.0)
CLOSED = Window(Cron("0 0 1 1 *", "UTC"), 60.0)
ASKED = Request("all", "uid", NOW - 100, "jane")
FREEZE = Freeze("closing", "the quarter ends", ends=NOW + 600)
PASSES = replace(ASKED, name="urgent", override_freeze=True)


def planned(drawn: str = "A ###", **given: Any) -> Plan:
    changes = given.pop("changes", {})
    beside = {key: given.pop(key) for key in ("requests", "freezes") if key in given}
    asked = view(drawn, instances=fleet(drawn, **changes), **given)
    return plan(replace(asked, **beside), NOW)


PLANS: list[tuple[str, dict[str, Any], str]] = [
    ("too old: one at a time, the oldest, successor first", {"regeneration": HOURLY}, "create A0'"),
    (
        "two at a time where that is wanted and the surge allows it",
        {"regeneration": replace(HOURLY, max_concurrent=2), "max_surge": 2},
        "create A0' A1'",
    ),
    ("not while one is not ready", {"drawn": "A ##.", "regeneration": HOURLY}, ""),
    ("not while one is missing", {"drawn": "A ##", "regeneration": HOURLY}, "create A2"),
    ("not outside windows", {"regeneration": replace(HOURLY, windows=(CLOSED,))}, ""),
    (
        "the ceiling asks no window",
        {"regeneration": replace(HOURLY, hard_max_age=4000.0, windows=(CLOSED,))},
        "create A0'",
    ),
    ("not while suspended", {"regeneration": HOURLY, "suspend": True}, ""),
    ("not during a freeze", {"regeneration": HOURLY, "freezes": (FREEZE,)}, ""),
    (
        "after a freeze",
        {"regeneration": HOURLY, "freezes": (replace(FREEZE, ends=NOW),)},
        "create A0'",
    ),
    ("on request: as many as the surge allows", {"requests": (ASKED,)}, "create A0'"),
    ("on request, not while suspended", {"requests": (ASKED,), "suspend": True}, ""),
    ("on request, not during a freeze", {"requests": (ASKED,), "freezes": (FREEZE,)}, ""),
    ("a request that passes it", {"requests": (PASSES,), "freezes": (FREEZE,)}, "create A0'"),
    (
        "what is younger than the request is not meant",
        {"requests": (replace(ASKED, created=NOW - 6000),)},
        "",
    ),
    (
        "a rollout waits for the freeze",
        {"wanted": "B", "recorded": "A", "freezes": (FREEZE,)},
        "",
    ),
    (
        "what is missing is made of what runs",
        {"drawn": "A ##", "wanted": "B", "recorded": "A", "freezes": (FREEZE,)},
        "create A2",
    ),
    (
        "a repair goes on during a freeze",
        {
            "wanted": "B",
            "recorded": "A",
            "freezes": (FREEZE,),
            "changes": {"A1": {"taint": "exec by jane"}},
        },
        "create A1'",
    ),
    (
        "unless the freeze is of repairs, too",
        {
            "wanted": "B",
            "recorded": "A",
            "freezes": (replace(FREEZE, repairs=True),),
            "changes": {"A1": {"taint": "exec by jane"}},
        },
        "",
    ),
    (
        "also where a freeze that is not of repairs ends later",
        {
            "freezes": (replace(FREEZE, name="short", ends=NOW + 60, repairs=True), FREEZE),
            "changes": {"A1": {"taint": "exec by jane"}},
        },
        "",
    ),
]


@pytest.mark.parametrize(("given", "wanted"), [p[1:] for p in PLANS], ids=[p[0] for p in PLANS])
def test_aging_retires_and_creates(given: dict[str, Any], wanted: str) -> None:
    assert moves(planned(**given)) == wanted


def test_freeze_records_no_revision_and_is_due_at_its_end() -> None:
    held = planned(wanted="D", recorded="ABC", freezes=(FREEZE,))
    assert not [a for a in held.actions if isinstance(a, CreateRevision)]
    assert condition(held.status) == "Reconciling Frozen"
    assert held.due == NOW + 600
    assert held.status is not None
    assert "ImmutableFreeze closing is active until" in held.status.blockers[0].message


def test_freeze_of_repairs_is_a_blocker_only_when_a_repair_is_due() -> None:
    strict = replace(FREEZE, repairs=True)
    well = planned(freezes=(strict,)).status
    hurt = planned(freezes=(strict,), changes={"A1": {"taint": "exec by jane"}}).status
    assert well is not None
    assert hurt is not None
    assert [b.reason for b in well.blockers] == []
    assert [b.reason for b in hurt.blockers] == ["Frozen"]
    assert "is active until" in hurt.blockers[0].message


def test_suspended_or_frozen_regeneration_is_reported_as_waiting() -> None:
    """A suspended or frozen service reports no replacement that does not happen."""
    for waits in ({"suspend": True}, {"freezes": (FREEZE,)}):
        status = planned(regeneration=HOURLY, **waits).status
        assert status is not None
        found = status.condition("Regenerating")
        assert found is not None
        assert (found.status, found.reason) == ("False", "Waiting")
        assert status.stale == 0


OUTCOMES: list[tuple[str, dict[str, Any], tuple[str, str] | None]] = [
    ("begun", {"requests": (ASKED,)}, ("Running", REPLACING)),
    (
        "frozen",
        {"requests": (ASKED,), "freezes": (FREEZE,)},
        ("Pending", "closing is active until"),
    ),
    ("suspended", {"requests": (ASKED,), "suspend": True}, ("Pending", "is suspended")),
    (
        "done",
        {"requests": (replace(ASKED, created=NOW - 6000, phase="Running"),)},
        ("Succeeded", ALL_REPLACED),
    ),
    (
        "no instance of that name",
        {"requests": (replace(ASKED, instance="web-x"),)},
        ("Failed", "instance web-x not found"),
    ),
    (
        "told already",
        {"requests": (replace(ASKED, phase="Running", message=REPLACING),)},
        None,
    ),
]


@pytest.mark.parametrize(("given", "told"), [o[1:] for o in OUTCOMES], ids=[o[0] for o in OUTCOMES])
def test_request_outcome_has_phase_and_message(
    given: dict[str, Any], told: tuple[str, str] | None
) -> None:
    found = planned(**given).outcomes
    if told is None:
        assert found == ()
        return
    [outcome] = found
    assert outcome.phase == told[0]
    assert told[1] in outcome.message


def test_service_is_ready_during_regeneration_only_with_enough_available() -> None:
    assert condition(planned(requests=(ASKED,)).status) == "Ready Regenerating"
    fewer = planned(drawn="A ##.", requests=(ASKED,)).status
    assert fewer is not None
    assert fewer.stale > 0
    assert condition(fewer) != "Ready Regenerating"
    spared = planned(drawn="A ##.", requests=(ASKED,), max_unavailable=1).status
    assert condition(spared) == "Ready Regenerating"


def test_start_time_is_the_median_of_ready_instances() -> None:
    """Neither a single fast start nor an instance that was unready for a while decides."""
    starts = {"A0": 2.0, "A1": 5.0, "A2": 3000.0}
    made = fleet("A ###.")
    timed = [replace(i, ready_since=i.born + starts.get(f"A{i.slot}", 0.0)) for i in made[:3]]
    assert start_seconds([*timed, made[3]]) == 5.0
    assert start_seconds(made[3:]) is None
