"""Retries the tests that docs/contributing/flaky.md lists, and says which needed it.

More than `MOST` that passed only the second time fail the run: then something is wrong. The
lanes of ``make test`` are one run: they count in a file that ``RETRIED`` names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

__all__ = ["LISTED", "MOST", "Retries"]

MOST = 3
ROOT = Path(__file__).parents[1]
LIST = ROOT / "docs" / "contributing" / "flaky.md"
LISTED = frozenset(re.findall(r"^\| `([^`]+)` \|", LIST.read_text(encoding="utf-8"), re.MULTILINE))


class Retries:
    """A plug-in of pytest, beside pytest-rerunfailures, which does the second run."""

    def __init__(self) -> None:
        self.failed_once: dict[str, str] = {}
        self.passed_then: list[str] = []
        self.in_all = 0

    def pytest_configure(self) -> None:
        gone = sorted(name for name in LISTED if not _exists(name))
        if gone:
            raise pytest.UsageError(f"{LIST.name} lists tests that do not exist: {', '.join(gone)}")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if item.nodeid.partition("[")[0] in LISTED:
                item.add_marker(pytest.mark.flaky(reruns=1))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if str(report.outcome) == "rerun":
            self.failed_once[report.nodeid] = _last_line(report)
        elif report.when == "call" and report.passed and report.nodeid in self.failed_once:
            self.passed_then.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.in_all = _counted(self.passed_then)
        if self.in_all > MOST and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.passed_then:
            return
        terminalreporter.section("passed the second time (docs/contributing/flaky.md)")
        for nodeid in self.passed_then:
            terminalreporter.line(f"{nodeid}: {self.failed_once[nodeid]}")
        if self.in_all > MOST:
            terminalreporter.line(f"{self.in_all} in all, at most {MOST} may: the run failed")


def _exists(name: str) -> bool:
    path, _, function = name.partition("::")
    file = ROOT / path
    return file.is_file() and f"def {function}(" in file.read_text(encoding="utf-8")


def _counted(passed_then: list[str]) -> int:
    """How many there are with those of the lanes that have ended before."""
    ledger = os.environ.get("RETRIED")
    if not ledger:
        return len(passed_then)
    with Path(ledger).open("a+", encoding="utf-8") as file:
        file.writelines(f"{nodeid}\n" for nodeid in passed_then)
        file.seek(0)
        return len(file.readlines())


def _last_line(report: pytest.TestReport) -> str:
    """Why it failed the first time, in a line."""
    text = str(report.longrepr or "").strip()
    errors = re.findall(r"^E +(.*)$", text, re.MULTILINE)
    return (errors[0] if errors else text.rpartition("\n")[2])[:200]
