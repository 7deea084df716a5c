"""Retries the tests that docs/contributing/flaky.md lists, and says which needed it.

More than `MOST` that passed only the second time fail the run: then something is wrong.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

__all__ = ["LISTED", "MOST", "Retries"]

MOST = 3
LIST = Path(__file__).parents[1] / "docs" / "contributing" / "flaky.md"
LISTED: tuple[str, ...] = tuple(
    re.findall(r"^\| `([^`]+)` \|", LIST.read_text(encoding="utf-8"), re.MULTILINE)
)


class Retries:
    """A plug-in of pytest, beside pytest-rerunfailures, which does the second run."""

    def __init__(self) -> None:
        self.failed_once: dict[str, str] = {}
        self.passed_then: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if item.nodeid.startswith(LISTED):
                item.add_marker(pytest.mark.flaky(reruns=1))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if str(report.outcome) == "rerun":
            self.failed_once[report.nodeid] = _last_line(report)
        elif report.when == "call" and report.passed and report.nodeid in self.failed_once:
            self.passed_then.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if len(self.passed_then) > MOST and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.passed_then:
            return
        terminalreporter.section("passed the second time (docs/contributing/flaky.md)")
        for nodeid in self.passed_then:
            terminalreporter.line(f"{nodeid}: {self.failed_once[nodeid]}")
        if len(self.passed_then) > MOST:
            terminalreporter.line(f"at most {MOST} may: the run failed")


def _last_line(report: pytest.TestReport) -> str:
    """Why it failed the first time, in a line."""
    text = str(report.longrepr or "").strip()
    errors = re.findall(r"^E +(.*)$", text, re.MULTILINE)
    return (errors[0] if errors else text.rpartition("\n")[2])[:200]
