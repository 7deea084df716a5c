"""Drain protection: one budget of the operator, and none beside another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.model import (
    Cause,
    DeleteBudget,
    DisruptionBudget,
    Move,
    SetBudget,
    View,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.protection import BUDGET_CONFLICT, BUDGET_REFUSED
from tests.unit.given import NOW, condition, refusal, view

OWN = DisruptionBudget("web-drain-protection", "own", 3, is_own=True)
OTHER = DisruptionBudget("keep-web", "other", 1)
TAKEN = DisruptionBudget("web-drain-protection", "taken", 7, covers=False)


def covered(*budgets: DisruptionBudget, **spec: Any) -> View:
    given = view("A ###", **{"drain_protection": True, **spec})
    return replace(given, budgets=budgets)


TABLE: list[tuple[str, tuple[DisruptionBudget, ...], dict[str, Any], tuple[object, ...]]] = [
    ("none yet", (), {}, (SetBudget(3),)),
    ("as wanted", (OWN,), {}, ()),
    ("another number", (OWN,), {"max_unavailable": 1}, (SetBudget(2),)),
    ("changed by a user", (replace(OWN, min_available=None),), {}, (SetBudget(3),)),
    ("neither surge nor unavailable", (), {"max_surge": 0}, (SetBudget(2),)),
    ("all may be unavailable", (OWN,), {"max_unavailable": 3}, (DeleteBudget(OWN.name, "own"),)),
    ("not requested", (), {"drain_protection": False}, ()),
    ("no longer requested", (OWN,), {"drain_protection": False}, (DeleteBudget(OWN.name, "own"),)),
    ("another budget", (OTHER,), {}, ()),
    ("another budget beside it", (OTHER, OWN), {}, (DeleteBudget(OWN.name, "own"),)),
    ("another budget, not requested", (OTHER,), {"drain_protection": False}, ()),
    ("its name is taken", (TAKEN,), {}, ()),
    ("suspended", (), {"suspend": True}, ()),
]


@pytest.mark.parametrize(
    ("budgets", "spec", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_budget_is_what_it_is_to_be(
    budgets: tuple[DisruptionBudget, ...], spec: dict[str, Any], expected: tuple[object, ...]
) -> None:
    found = plan(covered(*budgets, **spec), NOW).actions
    assert tuple(a for a in found if isinstance(a, SetBudget | DeleteBudget)) == expected


def test_another_budget_is_a_blocker_that_names_it() -> None:
    status = plan(covered(OTHER), NOW).status
    assert status is not None
    assert condition(status) == "Ready Current"
    (blocker,) = status.blockers
    assert blocker.reason == BUDGET_CONFLICT
    assert blocker.message == (
        "PodDisruptionBudget keep-web covers the pods of this service; two budgets on one pod make"
        " every eviction fail, so rollout.drainProtection has no effect; delete that budget, or set"
        " drainProtection: false"
    )


def test_taken_name_is_a_blocker() -> None:
    status = plan(covered(TAKEN), NOW).status
    assert status is not None
    (blocker,) = status.blockers
    assert blocker.reason == BUDGET_CONFLICT
    assert "web-drain-protection exists and does not belong to this service" in blocker.message


def test_refused_budget_waits_for_its_next_attempt() -> None:
    no = refusal(Move.BUDGET, "web", Cause.FORBIDDEN)
    given = replace(covered(), refusals=(no,))
    waiting = plan(given, NOW)
    assert waiting.actions == ()
    assert waiting.due == no.retry_at
    assert plan(given, NOW + 60).actions == (SetBudget(3),)


def test_refused_budget_is_a_blocker_as_long_as_it_is_needed() -> None:
    no = refusal(Move.BUDGET, "web", Cause.FORBIDDEN, message="cannot create")

    def blockers(given: View) -> list[tuple[str, str]]:
        status = plan(replace(given, refusals=(no,)), NOW).status
        assert condition(status) == "Ready Current"
        assert status is not None
        return [(blocker.reason, blocker.message) for blocker in status.blockers]

    assert blockers(covered()) == [(BUDGET_REFUSED, "cannot create")]
    assert blockers(covered(drain_protection=False)) == []
    assert blockers(covered(OWN)) == []
