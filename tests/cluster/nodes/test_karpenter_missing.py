"""A cluster without Karpenter, and one in which it is installed later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from immutable_operator.instances.nodes.karpenter import NOT_SERVED
from tests.cluster.node_claims import NodeClaims
from tests.cluster.node_pools import Pool
from tests.cluster.node_providers import KARPENTER, ProvidedPool
from tests.cluster.operator_process import Operators
from tests.controlplane.karpenter import Karpenter


@pytest.fixture
def asking(pool: Pool) -> Iterator[Pool]:
    """A pool whose nodes Karpenter is to start."""
    pool.spec |= {"replicas": 1, "provider": KARPENTER.spec}
    yield pool
    pool.remove()


def test_pool_says_that_karpenter_is_missing_and_recovers_when_it_comes(
    asking: Pool, operators: Operators, karpenter_program: object
) -> None:
    asking.apply()
    asking.until("it says so", lambda: "DependencyMissing" in asking.blockers())
    said = asking.blockers()["DependencyMissing"]
    assert said == NOT_SERVED
    # A replica that starts now leads, and serves the other pools.
    operators.restart().until_leading()
    other = Pool(asking.plane, f"{asking.name}-other")
    other.apply(replicas=1)
    try:
        other.until_ready()
    finally:
        other.remove()
    with Karpenter.start(asking.plane):
        NodeClaims(asking.plane).add_class()
        asking.until_ready()
        assert not asking.blockers()
        again = ProvidedPool(KARPENTER, Pool(asking.plane, f"{asking.name}-again"))
        again.apply()
        again.until_ready()
    # Its definitions are gone again, and with them all claims and nodes.
    again.until("it says so again", lambda: "DependencyMissing" in again.blockers())
    again.remove_pool()
