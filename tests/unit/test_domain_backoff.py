"""Back-off: twice as long each time, and bounded whatever the number of failures is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from immutable_operator.domain.model import Backoff


def test_backoff_doubles_up_to_its_maximum() -> None:
    backoff = Backoff(2.0, 15.0)
    assert [backoff.after(failures) for failures in range(6)] == [0.0, 2.0, 4.0, 8.0, 15.0, 15.0]


@given(st.integers(-(2**40), 2**40))
def test_backoff_is_bounded_for_any_number_of_failures(failures: int) -> None:
    assert 0.0 <= Backoff(60.0, 3600.0).after(failures) <= 3600.0
