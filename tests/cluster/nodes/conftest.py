"""Fixtures of the tests of node pools: the chart with ``nodes.enabled``, on a control plane of the
lane's own.

The nodes of pools are tainted, so that no other pods of a test are placed there unless they
tolerate it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.guards import until_in_force, until_kinds_are_known
from tests.cluster.node_claims import NodeClaims
from tests.cluster.node_pools import Pool
from tests.cluster.operator_process import USER, Installation, Operators
from tests.controlplane import ControlPlane
from tests.controlplane.karpenter import Karpenter
from tests.controlplane.real.machines import Machines
from tests.controlplane.real.nodes import RealNodes
from tests.controlplane.real.requirements import missing

FLAGS = ("--nodes", "--simulated-nodes", "--karpenter-nodes")
VALUES = "nodes.enabled=true,nodes.simulated=true,nodes.karpenter.enabled=true"


@pytest.fixture(scope="session")
def installation(control_plane: ControlPlane) -> Installation:
    """The chart's objects, with the rights that node pools need, without pods."""
    kinds = ("kwoknodeclasses.karpenter.kwok.sh", "ec2nodeclasses.karpenter.k8s.aws")
    classes = f"nodes.karpenter.nodeClasses={{{','.join(kinds)}}}"
    installed = Installation.install(control_plane, "--set", VALUES, "--set", classes)
    until_in_force(control_plane)
    until_kinds_are_known(control_plane, USER)
    return installed


@pytest.fixture(scope="session")
def running_operators(installation: Installation) -> Iterator[Operators]:
    running = Operators(installation, FLAGS)
    yield running
    running.stop()


@pytest.fixture
def pool(control_plane: ControlPlane, operators: Operators) -> Iterator[Pool]:
    """A simulated pool that is not applied yet; its nodes are gone afterwards."""
    made = Pool(control_plane, f"p{uuid.uuid4().hex[:6]}")
    yield made
    made.remove()


@pytest.fixture
def three(pool: Pool) -> Pool:
    """The pool, with its three nodes verified."""
    pool.apply()
    pool.until_ready()
    return pool


@pytest.fixture
def with_karpenter(control_plane: ControlPlane, karpenter: Karpenter) -> Karpenter:
    """Karpenter with the node class of the tests."""
    NodeClaims(control_plane).add_class()
    return karpenter


@pytest.fixture(scope="session")
def real(control_plane: ControlPlane) -> Iterator[RealNodes]:
    """A network and registries for real nodes, without any node."""
    reason = missing()
    if reason is not None and os.environ.get("REQUIRE_REAL_NODES") != "1":
        pytest.skip(reason)
    with RealNodes.start(control_plane, 0) as nodes:
        yield nodes


@pytest.fixture
def with_machines(control_plane: ControlPlane, real: RealNodes) -> Iterator[Machines]:
    """Machines for the nodes of pools that ask for them."""
    with Machines(control_plane, real) as running:
        yield running
