"""No new plan before the view shows what was written: seen or listed, never because time passed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from immutable_operator.runtime.barrier import PATIENCE, PATIENCE_UNKNOWN, Barrier

LONG = 1e6


class View:
    """What is seen of some writes, and lists that are begun and completed by the test."""

    def __init__(self) -> None:
        self.shown: set[str] = set()
        self.asked: list[str] = []
        self._begun: dict[str, int] = {}
        self._completed: dict[str, int] = {}

    def shows(self, write: str) -> Callable[[], bool]:
        return lambda: write in self.shown

    def mark(self, resource: str) -> Callable[[], bool]:
        begun = self._begun.get(resource, 0)
        return lambda: self._completed.get(resource, 0) > begun

    def relist(self, resource: str) -> None:
        self.asked.append(resource)

    def begin(self, resource: str) -> int:
        self._begun[resource] = self._begun.get(resource, 0) + 1
        return self._begun[resource]

    def complete(self, resource: str, number: int) -> None:
        self._completed[resource] = number

    def list(self, resource: str) -> None:
        self.complete(resource, self.begin(resource))


def test_barrier_is_open_at_first() -> None:
    barrier = Barrier()
    assert barrier.is_open()
    assert barrier.ask(LONG, View()) == 0


def test_barrier_opens_when_the_write_is_seen_and_stays_open() -> None:
    view, barrier = View(), Barrier()
    barrier.expect("pods", view.shows("a"), 0.0)
    assert not barrier.is_open()
    view.shown.add("a")
    assert barrier.is_open()
    view.shown.clear()
    assert barrier.is_open(), "what was seen once is not awaited again"


@pytest.mark.parametrize("unknown", [False, True])
def test_barrier_is_never_opened_by_time_alone(unknown: bool) -> None:
    view, barrier = View(), Barrier()
    barrier.expect("pods", view.shows("a"), 0.0, unknown=unknown)
    for now in (PATIENCE, 2 * PATIENCE, LONG):
        barrier.ask(now, view)
        assert not barrier.is_open()


@pytest.mark.parametrize(("unknown", "patience"), [(False, 10.0), (True, 2.0)])
def test_list_is_requested_once_after_the_timeout(unknown: bool, patience: float) -> None:
    assert (PATIENCE, PATIENCE_UNKNOWN) == (10.0, 2.0)
    view, barrier = View(), Barrier()
    barrier.expect("pods", view.shows("a"), 100.0, unknown=unknown)
    assert barrier.ask(100.0 + patience - 0.01, view) == 0
    assert barrier.ask(100.0 + patience, view) == 1
    assert barrier.ask(100.0 + patience + 50, view) == 0, "it is under way"
    assert view.asked == ["pods"]


def test_requested_list_opens_the_barrier_when_complete() -> None:
    view, barrier = View(), Barrier()
    barrier.expect("pods", view.shows("a"), 0.0)
    barrier.ask(PATIENCE, view)
    number = view.begin("pods")
    assert not barrier.is_open(), "it has begun, and is not complete"
    view.complete("pods", number)
    assert barrier.is_open()


def test_list_started_before_the_request_does_not_open_the_barrier() -> None:
    """Such a list may lack what was written while it was read."""
    view, barrier = View(), Barrier()
    under_way = view.begin("pods")
    barrier.expect("pods", view.shows("a"), 0.0)
    barrier.ask(PATIENCE, view)
    view.complete("pods", under_way)
    assert not barrier.is_open()
    view.list("pods")
    assert barrier.is_open()


def test_unrequested_list_does_not_open_the_barrier() -> None:
    view, barrier = View(), Barrier()
    barrier.expect("pods", view.shows("a"), 0.0)
    view.list("pods")
    assert not barrier.is_open()


def test_list_of_another_collection_does_not_open_the_barrier() -> None:
    view, barrier = View(), Barrier()
    barrier.expect("pods", view.shows("a"), 0.0)
    barrier.expect("revisions", view.shows("r"), 5.0)
    assert barrier.ask(PATIENCE, view) == 1
    view.list("revisions")
    assert not barrier.is_open()
    view.list("pods")
    assert not barrier.is_open(), "the record is not seen yet"
    assert barrier.ask(PATIENCE + 5.0, view) == 1
    view.list("revisions")
    assert barrier.is_open()
    assert view.asked == ["pods", "revisions"]


def test_barrier_waits_for_all_writes() -> None:
    view, barrier = View(), Barrier()
    for name in ("a", "b", "c"):
        barrier.expect("pods", view.shows(name), 0.0)
    view.shown |= {"a", "c"}
    assert not barrier.is_open()
    view.shown.add("b")
    assert barrier.is_open()


def test_one_list_covers_all_earlier_writes_to_its_collection() -> None:
    view, barrier = View(), Barrier()
    barrier.expect("pods", view.shows("a"), 0.0)
    barrier.expect("pods", view.shows("b"), 9.0)
    assert barrier.ask(PATIENCE, view) == 1
    barrier.expect("pods", view.shows("c"), PATIENCE + 1)
    view.list("pods")
    assert not barrier.is_open(), "c was written after the list was asked for"
    assert barrier.ask(2 * PATIENCE, view) == 0
    assert barrier.ask(2 * PATIENCE + 1, view) == 1
    view.list("pods")
    assert barrier.is_open()
    assert view.asked == ["pods", "pods"]


def test_barrier_is_checked_again_soon_and_never_in_the_past() -> None:
    view, barrier = View(), Barrier()
    barrier.expect("pods", view.shows("a"), 0.0)
    for now in (0.0, PATIENCE - 0.1, PATIENCE, LONG):
        assert now <= barrier.due(now) <= now + 0.5
    assert barrier.due(PATIENCE - 0.1) == PATIENCE
    barrier.ask(PATIENCE, view)
    assert barrier.due(PATIENCE) > PATIENCE, "while a list is under way there is no hurry"
