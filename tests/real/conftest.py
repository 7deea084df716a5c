"""Fixtures of the tests that need real nodes: kubelet, containerd, registry; root and Linux.

Everything below this folder gets the marker ``real``. Where the machine cannot run real nodes
the tests are skipped with the reason; with REQUIRE_REAL_NODES=1 they fail with it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.build import BuildError, binaries
from tests.controlplane.components import COMPONENTS
from tests.controlplane.real.nodes import PROGRAMS, RealNodes
from tests.controlplane.real.requirements import missing
from tests.real.pods import Pods

HERE = Path(__file__).parent
REQUIRED = "REQUIRE_REAL_NODES"
REASON = pytest.StashKey[str | None]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real: needs real nodes (root, Linux, packages.sh)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    if not ours:
        return
    config.stash[REASON] = reason = missing()
    for item in ours:
        item.add_marker(pytest.mark.real)
        if reason is not None and os.environ.get(REQUIRED) != "1":
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: a test's time limit is not for building containerd."""
    wanted = any(item.get_closest_marker("real") for item in session.items)
    if session.config.option.collectonly or not wanted or session.config.stash[REASON]:
        return
    with _shown(session.config):
        try:
            binaries([*COMPONENTS, *PROGRAMS])
        except BuildError as error:
            pytest.exit(f"the test bed cannot be built: {error}", returncode=3)


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


def _say(text: str) -> None:
    print(f"\n{text}", end="", flush=True)


def _shown(config: pytest.Config) -> contextlib.AbstractContextManager[None]:
    """Let what is printed through: starting and building take long enough to be seen."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        return contextlib.nullcontext()
    shown: contextlib.AbstractContextManager[None] = capture.global_and_fixture_disabled()
    return shown
