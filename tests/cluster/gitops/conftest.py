"""Fixtures of the tests with real GitOps tools: a lane of its own, ``make gitops``."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.gitops.delivery import ArgoDelivery, Delivery, FluxDelivery
from tests.cluster.services import Service
from tests.controlplane import ControlPlane
from tests.controlplane.argocd import PROGRAMS as ARGOCD
from tests.controlplane.argocd import ArgoCD
from tests.controlplane.build import BuildError, binaries
from tests.controlplane.flux import PROGRAMS as FLUX
from tests.controlplane.flux import Flux
from tests.controlplane.git import GitServer

HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: a test's time limit is not for building them."""
    ours = [item.name for item in session.items if HERE in item.path.parents]
    if session.config.option.collectonly:
        return
    wanted = {name for test in ours for name in (FLUX if "[flux" in test else ARGOCD)}
    try:
        binaries(sorted(wanted))
    except BuildError as error:
        pytest.exit(f"the GitOps tools cannot be built: {error}", returncode=3)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what the tools said last."""
    report = yield
    tool = getattr(item, "funcargs", {}).get("tool")
    if report.failed and isinstance(tool, Flux | ArgoCD):
        report.sections.append((type(tool).__name__, tool.log_tail()))
    return report


@pytest.fixture(scope="session")
def git(control_plane: ControlPlane) -> Iterator[GitServer]:
    """A server of Git repositories on loopback."""
    server = GitServer(control_plane.folder / "git")
    yield server
    server.stop()


@pytest.fixture(scope="session", params=[Flux, ArgoCD], ids=["flux", "argocd"])
def tool(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[Flux | ArgoCD]:
    """One tool after the other: pytest runs all tests with the first one, then with the other."""
    running: Flux | ArgoCD = request.param.start(control_plane)
    yield running
    running.stop()


@pytest.fixture
def delivery(tool: Flux | ArgoCD, git: GitServer, web: Service) -> Iterator[Delivery]:
    """A new repository that a tool delivers into the namespace of the test."""
    kind = FluxDelivery if isinstance(tool, Flux) else ArgoDelivery
    delivery = kind(web, git.repository(web.namespace))
    yield delivery
    delivery.stop_following()
