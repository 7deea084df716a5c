"""Fixtures of the tests with a real browser: a lane of its own, ``make browser``."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.browser.chromium import Chromium, find_chromium

HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say at once that there is no browser, before a control plane is started."""
    ours = any(HERE in item.path.parents for item in session.items)
    if not ours or session.config.option.collectonly:
        return
    try:
        find_chromium()
    except RuntimeError as error:
        pytest.exit(f"the dashboard cannot be opened: {error}", returncode=3)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what the page said last."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.failed and report.when == "call" and isinstance(page, Chromium):
        report.sections.append(("page", page.text()))
    return report


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Chromium]:
    """A browser with an empty page; errors in the page fail the test."""
    with Chromium(tmp_path / "chromium") as browser:
        browser.look(width=1280)
        yield browser
        assert browser.problems == []
