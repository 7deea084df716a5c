"""The API server's clock, as its answers bound it."""

from __future__ import annotations

import functools
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from immutable_operator.kube.clock import ServerClock

START = 1_800_000_000.0


class Clocks:
    """A local clock, and a server's that is ``ahead`` seconds ahead of it."""

    def __init__(self) -> None:
        self.day = self.local = START
        self.ahead = 0.0

    @functools.cached_property
    def server(self) -> ServerClock:
        return ServerClock()

    def ask(self, at: float, way: float = 0.01) -> None:
        """One request and its answer, at this local time, ``way`` seconds there and back each."""
        self.local = sent = START + at
        date = formatdate(int(sent + way + self.ahead), usegmt=True)
        self.local = sent + 2 * way
        self.server.note(sent, date)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    now = SimpleNamespace(time=lambda: made.day, monotonic=lambda: made.local - START)
    monkeypatch.setattr("immutable_operator.kube.clock.time", now)
    assert made.server.local() == START
    return made


def test_server_clock_is_the_local_one_before_any_answer(clocks: Clocks) -> None:
    assert clocks.server.offset == 0.0


@pytest.mark.parametrize("way", [0.01, 3.0])
def test_clocks_that_agree_are_not_corrected(clocks: Clocks, way: float) -> None:
    for tenth in range(50):
        clocks.ask(tenth / 10, way)
    assert clocks.server.offset == 0.0


@pytest.mark.parametrize("ahead", [-3600.0, -60.0, -2.5, 2.5, 60.0, 86_400.0])
def test_server_clock_is_followed_within_a_second_at_the_first_answer(
    clocks: Clocks, ahead: float
) -> None:
    clocks.ahead = ahead
    clocks.ask(0.3)
    assert clocks.server.offset == pytest.approx(ahead, abs=1.0)


@pytest.mark.parametrize("ahead", [-60.0, 60.0])
def test_many_answers_narrow_the_bounds(clocks: Clocks, ahead: float) -> None:
    clocks.ahead = ahead
    for tenth in range(50):
        clocks.ask(tenth / 10)
    assert clocks.server.offset == pytest.approx(ahead, abs=0.15)


def test_local_clock_that_is_set_moves_nothing(clocks: Clocks) -> None:
    clocks.ask(0.0)
    before = clocks.server.time()
    clocks.day += 3600.0
    assert clocks.server.time() == before


def test_server_clock_that_is_set_is_noticed_at_the_next_answer(clocks: Clocks) -> None:
    clocks.ask(0.0)
    clocks.ahead = 30.0
    clocks.ask(1.0)
    assert clocks.server.offset == pytest.approx(30.0, abs=1.0)
    clocks.ahead = 0.0
    clocks.ask(2.0)
    assert clocks.server.offset == pytest.approx(0.0, abs=1.0)


def test_slow_answer_does_not_move_the_clock(clocks: Clocks) -> None:
    clocks.ask(0.0, way=10.0)
    assert clocks.server.offset == 0.0


@pytest.mark.parametrize("date", [None, "", "yesterday", "Fri, 99 Nov 2026 00:00:00 GMT"])
def test_unreadable_date_is_ignored(clocks: Clocks, date: str | None) -> None:
    clocks.server.note(START, date)
    assert clocks.server.offset == 0.0
