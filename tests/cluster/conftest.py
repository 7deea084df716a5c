"""Fixtures of the tests that run the operator against the control plane.

Everything below this folder gets the marker ``cluster``. The chart is installed once a run,
without its pods; one operator process runs for all tests, under the chart's service account.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.checked import Checked, address_of_host, checked_server
from tests.cluster.guards import until_in_force, until_kinds_are_known, without_guards
from tests.cluster.operator_process import USER, Installation, OperatorProcess, Operators
from tests.cluster.services import Service
from tests.controlplane import ControlPlane
from tests.controlplane.build import binaries
from tests.controlplane.karpenter import Karpenter

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what the operator and Karpenter said last."""
    report = yield
    given = getattr(item, "funcargs", {})
    operators, karpenter = given.get("operators"), given.get("karpenter")
    if report.failed and isinstance(operators, Operators):
        report.sections.append(("operator", operators.tails()))
    if report.failed and isinstance(karpenter, Karpenter):
        report.sections.append(("karpenter", karpenter.log_tail()))
    return report


@pytest.fixture(scope="session")
def installation(control_plane: ControlPlane) -> Installation:
    """The chart's objects (CRDs, rights, policies in force) in immutable-system, without pods."""
    installed = Installation.install(control_plane)
    until_in_force(control_plane)
    until_kinds_are_known(control_plane, USER)
    return installed


@pytest.fixture(scope="module")
def without_policies(control_plane: ControlPlane, installation: Installation) -> Iterator[None]:
    """No policy is in force during a module."""
    with without_guards(control_plane):
        yield


@pytest.fixture(scope="session")
def running_operators(installation: Installation) -> Iterator[Operators]:
    running = Operators(installation)
    yield running
    running.stop()


@pytest.fixture
def operators(running_operators: Operators) -> Iterator[Operators]:
    """The operator processes, for tests that stop, kill, restart or add some.

    Each test finds one replica that leads, whatever the test before did; a replica that ended
    although no test asked it to fails the test in which it did.
    """
    running_operators.revive()
    running_operators.main.until_leading()
    yield running_operators
    running_operators.restore()


@pytest.fixture
def operator(operators: Operators) -> OperatorProcess:
    """The one operator process that leads when a test begins."""
    return operators.main


@pytest.fixture
def web(control_plane: ControlPlane, operators: Operators, namespace: str) -> Service:
    """An ImmutableService named web that is not applied yet, with an operator to see to it."""
    return Service(control_plane, namespace, "web")


@pytest.fixture(scope="module")
def checked() -> Iterator[Checked]:
    """A server that checks can ask."""
    try:
        address_of_host()
    except OSError as error:
        pytest.skip(f"this host has no address but loopback: {error}")
    with checked_server() as said:
        yield said


@pytest.fixture(scope="session")
def karpenter_program() -> Path:
    """Built before the first test, if one asks for this fixture (tests/conftest.py)."""
    return binaries(["karpenter-kwok"])["karpenter-kwok"]


@pytest.fixture(scope="module")
def karpenter(control_plane: ControlPlane, karpenter_program: Path) -> Iterator[Karpenter]:
    """Karpenter, during a module; afterwards its claims, nodes and CRDs are gone."""
    assert karpenter_program.exists()
    with Karpenter.start(control_plane) as running:
        yield running
