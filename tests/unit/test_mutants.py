"""What `make mutants` and `make mutants-sample` say about runs of the tests with a bug."""

from __future__ import annotations

import signal

import pytest

from tests.mutants.__main__ import Outcome, outcome_of
from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.sample import Living, changed, report


def test_first_test_that_fails_notices_the_bug() -> None:
    printed = "..F\nFAILED tests/unit/test_domain_nodes.py::test_drift - assert 1 == 2\n1 failed"
    assert outcome_of(1, printed) == Outcome(True, "noticed by test_domain_nodes.py::test_drift")


def test_bug_lives_if_no_test_fails() -> None:
    assert outcome_of(0, "12 passed") == Outcome(False, "LIVES")


def test_run_that_a_signal_ended_says_nothing_about_the_bug() -> None:
    said = "UNKNOWN, pytest was ended by SIGKILL; try it again"
    assert outcome_of(-signal.SIGKILL, "") == Outcome(False, said)


SHOWN = """# immutable_operator.domain.ledger.xǁLedgerǁtake__mutmut_3: survived
--- src/immutable_operator/domain/ledger.py
+++ src/immutable_operator/domain/ledger.py
@@ -1,4 +1,4 @@
 def take(self, *, available: bool) -> None:
     self._available -= available
-    self._active -= 1
+    self._active = 1
"""


def test_change_of_a_bug_is_the_lines_that_differ() -> None:
    assert changed(SHOWN) == "self._active -= 1 -> self._active = 1"


@pytest.mark.parametrize(("lives", "holds"), [(5, True), (6, False)])
def test_sample_holds_if_19_of_20_were_noticed(lives: int, holds: bool) -> None:
    alive = [Living(f"m{number}", f"a -> {number}") for number in range(lives)]
    text, found = report(1, 100, 9, alive)
    assert found is holds
    assert f"{lives} live: {100 - lives}.0%" in text
    assert "**lives**: `m0`" in text


def test_bug_that_cannot_be_noticed_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EQUIVALENT, "a -> b", "it is the same number")
    text, holds = report(1, 10, 1, [Living("m1", "a -> b")])
    assert holds
    assert "cannot be noticed: `m1`: it is the same number" in text
