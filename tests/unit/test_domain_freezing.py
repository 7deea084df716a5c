"""Change freezes: when one holds, which one is named, and who may pass it."""

from __future__ import annotations

from dataclasses import replace

from immutable_operator.domain.freezing import active_freeze
from immutable_operator.domain.model import Freeze, Request
from immutable_operator.domain.planner import plan
from tests.unit.given import NOW, seen, template, view

CLOSING = Freeze("closing", "the quarter ends", begins=NOW - 60, ends=NOW + 600)
STRICT = Freeze("strict", "an incident", ends=NOW + 60, repairs=True)
WHOLE = Request("go", "r1", NOW - 10, "jane", override_freeze=True)
ONE = replace(WHOLE, name="one", uid="r2", instance="web-1")


def test_a_freeze_holds_from_its_beginning_to_its_end() -> None:
    held = active_freeze([CLOSING], [], NOW)
    assert (held.holds, held.by, held.until, held.again) == (True, CLOSING, NOW + 600, NOW + 600)
    assert "ImmutableFreeze closing holds until 2027-01-15T08:10:00Z" in held.message


def test_before_it_begins_it_does_not_hold_and_says_when_it_will() -> None:
    before = active_freeze([CLOSING], [], NOW - 61)
    assert (before.holds, before.by, before.again) == (False, None, NOW - 60)
    assert active_freeze([CLOSING], [], NOW - 60).holds, "from its first moment on"


def test_after_its_end_it_does_not_hold_and_nothing_is_due() -> None:
    after = active_freeze([CLOSING], [], NOW + 600)
    assert (after.holds, after.by, after.again) == (False, None, None)


def test_one_without_bounds_holds_for_good() -> None:
    held = active_freeze([Freeze("all", "closed")], [], NOW)
    assert (held.holds, held.until, held.again) == (True, None, None)


def test_of_several_the_one_that_ends_last_is_named_and_the_strictest_counts() -> None:
    held = active_freeze([STRICT, CLOSING], [], NOW)
    assert (held.by, held.repairs, held.again) == (CLOSING, True, NOW + 60)


def test_an_override_of_the_service_lets_all_of_it_pass() -> None:
    held = active_freeze([STRICT, CLOSING], [WHOLE], NOW)
    assert (held.holds, held.repairs, held.overridden) == (False, False, WHOLE)


def test_an_override_of_an_instance_lets_that_instance_pass_and_nothing_else() -> None:
    held = active_freeze([STRICT], [ONE], NOW)
    assert (held.holds, held.repairs, held.exempt) == (True, True, frozenset({"web-1"}))


def test_a_request_without_override_passes_nothing() -> None:
    plain = replace(ONE, override_freeze=False)
    held = active_freeze([STRICT], [plain, replace(WHOLE, override_freeze=False)], NOW)
    assert (held.holds, held.exempt) == (True, frozenset())


def test_frozen_time_does_not_count_towards_the_progress_deadline() -> None:
    given = replace(view("A ##.", wanted="B", recorded="A"), freezes=(CLOSING,))
    decided = plan(given, NOW)
    assert decided.status is not None
    assert decided.status.rollout is not None
    assert decided.status.rollout.progressed_at is None
    assert decided.due == NOW + 600, "when the freeze ends, and not when a deadline does"
    # Back to what runs: the clock starts again, however long the freeze was.
    later = seen(given, NOW, spec={"template": template("A")})
    status = plan(later, NOW + 500).status
    assert status is not None
    assert status.rollout is not None
    assert status.rollout.progressed_at == NOW + 500
