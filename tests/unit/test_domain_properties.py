"""The rules of safety hold for any view whatsoever: random ones, and all small ones.

``HYPOTHESIS_EXAMPLES=10000`` searches longer.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from immutable_operator.domain.model import Status, View
from immutable_operator.domain.planner import plan
from tests.unit import both_families
from tests.unit.any_view import any_view
from tests.unit.examples import examples
from tests.unit.given import NOW, view
from tests.unit.rules import Case, check

any_time = settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@any_time
@given(any_view())
def test_rules_hold_for_any_view(given_view: View) -> None:
    check(Case(given_view, both_families.plan(given_view, NOW), NOW))


@any_time
@given(any_view(), st.integers(0, 2**16))
def test_plan_does_not_depend_on_the_order_of_the_view(given_view: View, seed: int) -> None:
    """Rule 16."""
    shuffler = random.Random(seed)
    shuffled: dict[str, Any] = {}
    for field in ("instances", "departed", "revisions", "refusals", "requests", "freezes"):
        items = list(getattr(given_view, field))
        shuffler.shuffle(items)
        shuffled[field] = tuple(items)
    assert plan(replace(given_view, **shuffled), NOW) == plan(given_view, NOW)


def _drawings(most: int) -> list[str]:
    sizes = range(most + 1)
    return ["".join(f) for n in sizes for f in itertools.combinations_with_replacement("#.", n)]


BUDGETS = [(1, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_rules_hold_for_every_small_fleet_of_three_revisions(replicas: int) -> None:
    """A is the last good revision, B was wanted before it could be proved, C is wanted."""
    for surge, unavailable in BUDGETS:
        for marks in itertools.product(_drawings(3), _drawings(2), _drawings(2)):
            drawn = " ".join(f"{r} {m}" for r, m in zip("ABC", marks, strict=True) if m)
            given_view = view(
                drawn,
                wanted="C",
                prior=Status(),
                replicas=replicas,
                max_surge=surge,
                max_unavailable=unavailable,
            )
            try:
                check(Case(given_view, plan(given_view, NOW), NOW))
            except AssertionError as error:
                case = f"{drawn!r}, {replicas} wanted, surge {surge}, unavailable {unavailable}"
                raise AssertionError(case) from error
