"""Fixtures of the tests with real GitOps tools: a lane of its own, ``make gitops``."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.gitops.delivery import Delivery, FluxDelivery
from tests.cluster.services import Service
from tests.controlplane import ControlPlane
from tests.controlplane.build import BuildError, binaries
from tests.controlplane.flux import PROGRAMS, Flux
from tests.controlplane.git import GitServer

HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: a test's time limit is not for building Flux."""
    ours = any(HERE in item.path.parents for item in session.items)
    if not ours or session.config.option.collectonly:
        return
    try:
        binaries(PROGRAMS)
    except BuildError as error:
        pytest.exit(f"Flux cannot be built: {error}", returncode=3)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what Flux said last."""
    report = yield
    tool = getattr(item, "funcargs", {}).get("tool")
    if report.failed and isinstance(tool, Flux):
        report.sections.append(("Flux", tool.log_tail()))
    return report


@pytest.fixture(scope="session")
def git(control_plane: ControlPlane) -> Iterator[GitServer]:
    """A server of Git repositories on loopback."""
    server = GitServer(control_plane.folder / "git")
    yield server
    server.stop()


@pytest.fixture(scope="session", params=[Flux], ids=["flux"])
def tool(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Flux]:
    """The GitOps tool, for the whole run; a second one would be a second parameter."""
    running: Flux = request.param.start(control_plane)
    yield running
    running.stop()


@pytest.fixture
def delivery(tool: Flux, git: GitServer, web: Service) -> Delivery:
    """A new repository that the tool delivers into the namespace of the test."""
    assert isinstance(tool, Flux)
    return FluxDelivery(web, git.repository(web.namespace))
