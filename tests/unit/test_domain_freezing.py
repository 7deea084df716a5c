"""Change freezes: when one holds, which one is named, and what overrides it."""

from __future__ import annotations

from dataclasses import replace

from immutable_operator.domain.freezing import active_freeze
from immutable_operator.domain.model import Freeze, Request
from tests.unit.both_families import plan
from tests.unit.given import NOW, seen, template, view

CLOSING = Freeze("closing", "the quarter ends", begins=NOW - 60, ends=NOW + 600)
STRICT = Freeze("strict", "an incident", ends=NOW + 60, repairs=True)
WHOLE = Request("go", "r1", NOW - 10, "jane", override_freeze=True)
ONE = replace(WHOLE, name="one", uid="r2", instance="web-1")


def test_freeze_holds_between_its_begin_and_its_end() -> None:
    held = active_freeze([CLOSING], [], NOW)
    assert (held.holds, held.by, held.until, held.again) == (True, CLOSING, NOW + 600, NOW + 600)
    assert "ImmutableFreeze closing is active until 2027-01-15T08:10:00Z" in held.message


def test_freeze_does_not_hold_before_it_begins() -> None:
    before = active_freeze([CLOSING], [], NOW - 61)
    assert (before.holds, before.by, before.again) == (False, None, NOW - 60)
    assert active_freeze([CLOSING], [], NOW - 60).holds, "from its first moment on"


def test_freeze_does_not_hold_after_it_ends() -> None:
    after = active_freeze([CLOSING], [], NOW + 600)
    assert (after.holds, after.by, after.again) == (False, None, None)


def test_freeze_without_bounds_holds_forever() -> None:
    held = active_freeze([Freeze("all", "closed")], [], NOW)
    assert (held.holds, held.until, held.again) == (True, None, None)


def test_freeze_that_ends_last_is_reported_and_the_strictest_applies() -> None:
    held = active_freeze([STRICT, CLOSING], [], NOW)
    assert (held.by, held.repairs, held.again) == (CLOSING, True, NOW + 60)


def test_override_for_the_service_lifts_the_freeze() -> None:
    held = active_freeze([STRICT, CLOSING], [WHOLE], NOW)
    assert (held.holds, held.repairs, held.overridden) == (False, False, WHOLE)


def test_override_for_an_instance_exempts_only_that_instance() -> None:
    held = active_freeze([STRICT], [ONE], NOW)
    assert (held.holds, held.repairs, held.exempt) == (True, True, frozenset({"web-1"}))


def test_request_without_override_exempts_nothing() -> None:
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
