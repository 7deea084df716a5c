"""The budget: what 25% of 3 is, and what one plan may spend of it."""

from __future__ import annotations

import pytest

from immutable_operator.domain.ledger import Budget, Counts, Ledger, resolve

# As Kubernetes rounds: maxSurge up, maxUnavailable down.
SHARES = [
    # share, of, rounded up, rounded down
    (0, 5, 0, 0),
    (3, 5, 3, 3),
    (7, 5, 7, 7),
    ("0%", 5, 0, 0),
    ("25%", 0, 0, 0),
    ("25%", 1, 1, 0),
    ("25%", 2, 1, 0),
    ("25%", 3, 1, 0),
    ("25%", 4, 1, 1),
    ("25%", 5, 2, 1),
    ("25%", 6, 2, 1),
    ("25%", 7, 2, 1),
    ("25%", 8, 2, 2),
    ("25%", 9, 3, 2),
    ("25%", 10, 3, 2),
    ("1%", 99, 1, 0),
    ("1%", 100, 1, 1),
    ("1%", 101, 2, 1),
    ("33%", 3, 1, 0),
    ("34%", 3, 2, 1),
    ("100%", 7, 7, 7),
    ("150%", 3, 5, 4),
    ("200%", 4, 8, 8),
]


@pytest.mark.parametrize(("share", "total", "up", "down"), SHARES)
def test_percentage_is_rounded_as_kubernetes_does(
    share: int | str, total: int, up: int, down: int
) -> None:
    assert resolve(share, total, round_up=True) == up
    assert resolve(share, total, round_up=False) == down


BUDGETS = [
    # desired, maxSurge, maxUnavailable → surge, unavailable, most, fewest available
    (4, "25%", 0, 1, 0, 5, 4),
    (4, "25%", "25%", 1, 1, 5, 3),
    (3, "25%", "25%", 1, 0, 4, 3),
    (1, "25%", 0, 1, 0, 2, 1),
    (1, 0, 1, 0, 1, 1, 0),
    (10, "25%", "25%", 3, 2, 13, 8),
    (2, 5, 0, 5, 0, 7, 2),
    (4, "150%", 0, 6, 0, 10, 4),
    # More unavailable than there are: all of them.
    (3, 0, 7, 0, 3, 3, 0),
    (3, 0, "200%", 0, 3, 3, 0),
    # Both come out as 0: one may be unavailable, as for a Deployment.
    (3, 0, "25%", 0, 1, 3, 2),
    (1, 0, "99%", 0, 1, 1, 0),
    (50, 0, "1%", 0, 1, 50, 49),
    # None wanted: nothing need be available, and nothing may be added.
    (0, "25%", 0, 0, 1, 0, 0),
    (0, "25%", "25%", 0, 1, 0, 0),
]


@pytest.mark.parametrize(
    ("desired", "max_surge", "max_unavailable", "surge", "unavailable", "most", "fewest"), BUDGETS
)
def test_budget_is_in_absolute_numbers(
    desired: int,
    max_surge: int | str,
    max_unavailable: int | str,
    surge: int,
    unavailable: int,
    most: int,
    fewest: int,
) -> None:
    budget = Budget.of(desired, max_surge, max_unavailable)
    assert (budget.surge, budget.unavailable) == (surge, unavailable)
    assert (budget.most, budget.fewest_available) == (most, fewest)


def _ledger(
    budget: Budget, *, active: int, available: int, proven: int = 0, unproven: int = 0
) -> Ledger:
    return Ledger(budget, Counts(active, available, proven, unproven))


def _spend(ledger: Ledger, tries: int = 10) -> int:
    return sum(ledger.retire_available() for _ in range(tries))


RETIREMENTS = [
    # surge, unavailable, available, proven → how many available ones may be retired; 4 desired
    (1, 0, 4, 0, 0),
    (1, 0, 5, 1, 1),
    (1, 0, 5, 0, 1),
    (1, 1, 4, 0, 0),  # unproven: maxUnavailable is not spent on it
    (1, 1, 5, 1, 2),
    (0, 1, 4, 0, 1),  # nothing can be proved beside the old ones: it is
    (0, 2, 3, 0, 1),
    (2, 4, 4, 0, 4),  # all may be unavailable: the user said so
    (1, 1, 2, 1, 0),
]


@pytest.mark.parametrize(("surge", "unavailable", "available", "proven", "retired"), RETIREMENTS)
def test_available_instances_are_retired_down_to_the_floor(
    surge: int, unavailable: int, available: int, proven: int, retired: int
) -> None:
    budget = Budget(4, surge, unavailable)
    ledger = _ledger(budget, active=available, available=available, proven=proven)
    assert _spend(ledger) == retired


CLEANUPS = [
    # surge, unavailable, active, unproven → how many unavailable stale ones may go; 4 desired
    (1, 0, 4, 0, 0),
    (1, 0, 5, 0, 1),
    (1, 0, 5, 1, 0),
    (1, 1, 5, 1, 1),
    (0, 1, 4, 0, 1),
    (0, 1, 4, 1, 0),
    (2, 0, 6, 1, 1),
]


@pytest.mark.parametrize(("surge", "unavailable", "active", "unproven", "retired"), CLEANUPS)
def test_unavailable_stale_instances_are_retired_while_enough_others_exist(
    surge: int, unavailable: int, active: int, unproven: int, retired: int
) -> None:
    ledger = _ledger(Budget(4, surge, unavailable), active=active, available=0, unproven=unproven)
    assert sum(ledger.retire_unavailable_stale() for _ in range(10)) == retired


def test_surge_is_for_replacing_only_and_not_freed_by_retirements_of_the_plan() -> None:
    ledger = _ledger(Budget(4, 2, 1), active=4, available=4, proven=1)
    assert ledger.room(replacing=True) == 2
    assert ledger.room(replacing=False) == 0
    assert _spend(ledger) == 1
    assert ledger.room(replacing=True) == 2  # the eviction may yet be refused


def test_excess_instances_are_counted_after_retirements() -> None:
    ledger = _ledger(Budget(2, 1, 0), active=5, available=3, unproven=2)
    assert ledger.over == 2
    assert _spend(ledger) == 1
    assert ledger.over == 1
    ledger.retire_unavailable_current()
    assert ledger.over == 0


def test_terminating_instances_count_with_termination_complete() -> None:
    budget = Budget.of(3, 1, 0)
    assert Ledger(budget, Counts(3, 3, 3, 0)).room(replacing=True) == 1
    held = Ledger(budget, Counts(3, 3, 3, 0, terminating=1))
    assert held.room(replacing=True) == 0


def test_max_unavailable_is_spent_when_the_surge_has_no_room() -> None:
    budget = Budget.of(3, 1, 1)
    assert not Ledger(budget, Counts(4, 3, 0, 1)).retire_available()
    crowded = Ledger(budget, Counts(4, 3, 0, 1, is_crowded=True))
    assert crowded.retire_available()
    assert not crowded.retire_available(), "an unproven revision costs no more than that"


def test_births_of_a_plan_are_spent_once() -> None:
    ledger = Ledger(Budget.of(3, 1, 0), Counts(2, 2, 0, 0))
    assert (ledger.room(replacing=True), ledger.room(replacing=False)) == (2, 1)
    ledger.spend(1)
    assert (ledger.room(replacing=True), ledger.room(replacing=False)) == (1, 0)
