"""What `make mutants` says about a run of the tests with a planted bug."""

from __future__ import annotations

import signal

from tests.mutants.__main__ import Outcome, outcome_of


def test_first_test_that_fails_notices_the_bug() -> None:
    printed = "..F\nFAILED tests/unit/test_domain_nodes.py::test_drift - assert 1 == 2\n1 failed"
    assert outcome_of(1, printed) == Outcome(True, "noticed by test_domain_nodes.py::test_drift")


def test_bug_lives_if_no_test_fails() -> None:
    assert outcome_of(0, "12 passed") == Outcome(False, "LIVES")


def test_run_that_a_signal_ended_says_nothing_about_the_bug() -> None:
    said = "UNKNOWN, pytest was ended by SIGKILL; try it again"
    assert outcome_of(-signal.SIGKILL, "") == Outcome(False, said)
