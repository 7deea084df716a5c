"""Fixtures of the tests of faults: an operator that reaches the API server through a proxy only.

``FAULTS=all pytest tests/cluster/faults`` (`make faults`) plays every fault at every write; without
it, a few of each kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.faults.report import Report
from tests.cluster.faults.stage import Outcome, Stage
from tests.cluster.guards import until_in_force, until_kinds_are_known
from tests.cluster.http_routes import install_definitions, stand_in_gateway
from tests.cluster.operator_process import USER, Installation, Operators
from tests.cluster.write_proxy import WriteProxy
from tests.controlplane import ControlPlane

FLAGS = ("--nodes", "--simulated-nodes", "--gateway")
VALUES = "nodes.enabled=true,nodes.simulated=true,gateway.enabled=true"


@pytest.fixture(scope="session")
def installation(control_plane: ControlPlane) -> Installation:
    """The chart's objects, with the rights of node pools and of weights, without pods."""
    install_definitions(control_plane)
    installed = Installation.install(control_plane, "--set", VALUES)
    until_in_force(control_plane)
    until_kinds_are_known(control_plane, USER)
    return installed


@pytest.fixture(scope="session", autouse=True)
def gateway(installation: Installation, control_plane: ControlPlane) -> Iterator[None]:
    """What accepts HTTPRoutes."""
    with stand_in_gateway(control_plane):
        yield


@pytest.fixture(scope="session")
def proxy(control_plane: ControlPlane) -> Iterator[WriteProxy]:
    with WriteProxy(control_plane) as running:
        yield running


@pytest.fixture(scope="session")
def running_operators(installation: Installation, proxy: WriteProxy) -> Iterator[Operators]:
    running = Operators(installation, FLAGS, server=proxy.url)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Iterator[Report]:
    """What was played; written as a table at the end of the run."""
    told = Report()
    yield told
    told.write(Path(pytestconfig.rootpath, "build", "faults.md"))


@pytest.fixture(scope="session")
def references() -> dict[str, Outcome]:
    """The undisturbed run of each scenario that was played so far."""
    return {}


@pytest.fixture
def stage(
    control_plane: ControlPlane,
    operators: Operators,
    proxy: WriteProxy,
    references: dict[str, Outcome],
) -> Iterator[Stage]:
    proxy.calm()
    yield Stage(control_plane, operators, proxy, references)
    proxy.calm()
