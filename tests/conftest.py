"""Fixtures of all tests that need the cluster: one control plane a run, a namespace a test."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

from tests.controlplane import ControlPlane
from tests.controlplane.build import BuildError, binaries
from tests.controlplane.components import COMPONENTS
from tests.controlplane.real.nodes import PROGRAMS as REAL_PROGRAMS
from tests.controlplane.real.requirements import missing
from tests.flaky import Retries
from tests.namespaces import fresh_namespace
from tests.unit.examples import examples

NODES = 5
# Programs that only some tests need, by the fixture that gives them.
PROGRAMS = {
    "karpenter_program": ("karpenter-kwok",),
    "with_karpenter": ("karpenter-kwok",),
    "with_machines": REAL_PROGRAMS,
    "promtool": ("promtool",),
    "prometheus_program": ("prometheus",),
}
# The same examples in each run, so that a failure is one of the change; a search with more examples
# (HYPOTHESIS_EXAMPLES) has others each time, and prints the failing one.
# Without a deadline: how long an example takes says how busy the machine is.
settings.register_profile("random", deadline=None, print_blob=True)
settings.register_profile("fixed", deadline=None, derandomize=True)
# `make unit`: a part of the same examples.
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=examples())
SEARCH = "random" if os.environ.get("HYPOTHESIS_EXAMPLES") else "fixed"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", SEARCH))


def pytest_configure(config: pytest.Config) -> None:
    """Started in the background by a shell, all would ignore SIGINT: Ctrl-C is tested, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Retries())


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: a test's time limit is not for building Kubernetes."""
    if session.config.option.collectonly:
        return
    # Modules and tests stay until the end: a collection of garbage need not look at them each time.
    gc.collect()
    gc.freeze()
    if any(item.get_closest_marker("cluster") for item in session.items):
        asked = {name for item in session.items for name in _fixtures(item)}
        if "with_machines" in asked and missing() is not None:
            asked.remove("with_machines")
        more = (program for name in PROGRAMS if name in asked for program in PROGRAMS[name])
        wanted = [*COMPONENTS, "helm", *more]
        with _shown(session.config):
            try:
                binaries(wanted)
            except BuildError as error:
                pytest.exit(f"the test bed cannot be built: {error}", returncode=3)


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A test may silence the log, as the dashboard does; the next one may read it."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """A control plane with five roomy simulated nodes, for the whole run."""
    with _shown(pytestconfig):
        plane = ControlPlane.start(say=lambda text: print(f"\n{text}", end="", flush=True))
        print()
    with plane:
        plane.add_nodes(NODES)
        yield plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A new namespace, ready for pods; what runs in it is deleted afterwards."""
    with fresh_namespace(control_plane) as name:
        yield name


@pytest.fixture(scope="module")
def module_namespace(control_plane: ControlPlane) -> Iterator[str]:
    """One namespace for all tests of a module that do not disturb each other."""
    with fresh_namespace(control_plane) as name:
        yield name


def _fixtures(item: pytest.Item) -> list[str]:
    """The fixtures that an item needs, directly or not, or that its parameters ask for."""
    if not isinstance(item, pytest.Function):
        return []
    chosen = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return [*item.fixturenames, *filter(None, (getattr(one, "needs", None) for one in chosen))]


def _shown(config: pytest.Config) -> contextlib.AbstractContextManager[None]:
    """Let what is printed through: starting and building take long enough to be seen."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        return contextlib.nullcontext()
    shown: contextlib.AbstractContextManager[None] = capture.global_and_fixture_disabled()
    return shown
