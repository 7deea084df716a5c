"""Fixtures of the tests that need real nodes: kubelet, containerd, registry; root and Linux.

What needs the control plane below this folder gets the marker ``real``. Where the machine
cannot run real nodes it is skipped with the reason; with REQUIRE_REAL_NODES=1 it fails with it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.build import BuildError, binaries
from tests.controlplane.components import COMPONENTS
from tests.controlplane.real import operator_image
from tests.controlplane.real.nodes import PROGRAMS, RealNodes
from tests.controlplane.real.operator_image import ImageError, OperatorImage
from tests.controlplane.real.requirements import missing
from tests.real.pods import Pods
from tests.real.release import Release
from tests.real.web import WebService, forget

HERE = Path(__file__).parent
REQUIRED = "REQUIRE_REAL_NODES"
REASON = pytest.StashKey[str | None]()
FIGURES = "figures"
# Labels of the builds; the first is the one that everybody else builds.
BUILDS = ("unknown", "second")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real: needs real nodes (root, Linux, packages.sh)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents and _needs_nodes(item)]
    if not ours:
        return
    config.stash[REASON] = reason = missing()
    for item in ours:
        item.add_marker(pytest.mark.real)
        lacking = reason or (operator_image.missing() if _needs_image(item) else None)
        if lacking is not None and os.environ.get(REQUIRED) != "1":
            item.add_marker(pytest.mark.skip(reason=lacking))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: a test's time limit is not for building containerd."""
    wanted = any(item.get_closest_marker("real") for item in session.items)
    if session.config.option.collectonly or not wanted or session.config.stash[REASON]:
        return
    with _shown(session.config):
        try:
            asked = {name for item in session.items for name in _fixtures(item)}
            more = ["prometheus"] if "prometheus_program" in asked else []
            binaries([*COMPONENTS, *PROGRAMS, *more])
            if any(map(_needs_image, session.items)):
                for revision in BUILDS:
                    _built(revision)
        except (BuildError, ImageError) as error:
            pytest.exit(f"the test bed cannot be built: {error}", returncode=3)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what the operator said last."""
    report = yield
    release = getattr(item, "funcargs", {}).get("release")
    if report.failed and isinstance(release, Release):
        report.sections.append(("operator", release.describe()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of the tests that passed: requests, failures, latencies, seconds."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == FIGURES:
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """A control plane without simulated nodes, for all tests below this folder."""
    reason = pytestconfig.stash[REASON]
    if reason is not None:
        pytest.fail(f"{REQUIRED}=1, and {reason}")
    with _shown(pytestconfig):
        plane = ControlPlane.start(say=_say)
    with plane:
        yield plane


@pytest.fixture(scope="session")
def real(control_plane: ControlPlane, pytestconfig: pytest.Config) -> Iterator[RealNodes]:
    """Two real nodes and the registries, for the whole run."""
    with _shown(pytestconfig):
        nodes = RealNodes.start(control_plane, 2, _say)
        print()
    with nodes:
        yield nodes


@pytest.fixture
def pods(control_plane: ControlPlane, real: RealNodes, namespace: str) -> Pods:
    """Pods of a new namespace."""
    return Pods(control_plane, namespace)


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Callable[[object], None]:
    """Puts a figure into the summary at the end of the run."""
    return lambda figure: record_property(FIGURES, str(figure))


@pytest.fixture(scope="session")
def builds(real: RealNodes, pytestconfig: pytest.Config) -> tuple[str, str]:
    """Two builds of the operator's image in the bed's registry, by digest."""
    with _shown(pytestconfig):
        found = [_built(revision) for revision in BUILDS]
    first, second = (f"{image.push(real.registry)}@{image.digest}" for image in found)
    assert first != second
    return first, second


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane, builds: tuple[str, str]) -> Release:
    """The operator in two pods, from its own image."""
    release = Release(control_plane)
    release.prepare()
    release.install(builds[0])
    release.until_well()
    restarts = [s["restartCount"] for p in release.pods() for s in p["status"]["containerStatuses"]]
    assert not any(restarts), "it starts at the first attempt"
    return release


@pytest.fixture
def release(installed: Release) -> Release:
    """The operator, well, whatever the test before did to it."""
    installed.until_well()
    return installed


@pytest.fixture
def web(
    control_plane: ControlPlane, release: Release, real: RealNodes, namespace: str
) -> WebService:
    """An ImmutableService named web that is not applied yet, with the operator to see to it.

    A node that knows an image by several names reports the alphabetically first of them for all
    its containers: what tests before this one have pulled by index, or from the other registry,
    is forgotten.
    """
    versions = ("v1", "v2")
    forget(real, *(real.images.index(version) for version in versions))
    forget(real, *(real.images.digest("web", version, private=True) for version in versions))
    return WebService(control_plane, namespace)


def _fixtures(item: pytest.Item) -> list[str]:
    return list(getattr(item, "fixturenames", ()))


def _needs_nodes(item: pytest.Item) -> bool:
    return "control_plane" in _fixtures(item)


def _needs_image(item: pytest.Item) -> bool:
    """Whether a test needs the operator in a pod."""
    return "builds" in _fixtures(item)


def _built(revision: str) -> OperatorImage:
    return operator_image.build(_say, revision=revision)


def _say(text: str) -> None:
    print(f"\n{text}", end="", flush=True)


def _shown(config: pytest.Config) -> contextlib.AbstractContextManager[None]:
    """Let what is printed through: starting and building take long enough to be seen."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        return contextlib.nullcontext()
    shown: contextlib.AbstractContextManager[None] = capture.global_and_fixture_disabled()
    return shown
