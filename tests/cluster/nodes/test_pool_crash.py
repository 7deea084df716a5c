"""Crash safety of pools: the operator is killed at every write of one replacement."""

from __future__ import annotations

import pytest

from tests.cluster.node_pools import NodeHistory, Pool, Workload
from tests.cluster.operator_process import Operators
from tests.cluster.write_proxy import WriteProxy

# How many writes the undisturbed replacement makes; the first case counts them.
WRITES = 13


def until_replaced(pool: Pool, app: Workload) -> None:
    """Until the only node was replaced, and the pod runs on the successor."""
    pool.until_ready(120)
    pool.until(
        "the pod runs on the successor",
        lambda: {p["spec"].get("nodeName") for p in app.pods()} == set(pool.nodes()),
    )


@pytest.mark.parametrize("number", range(WRITES + 1))
def test_operator_that_is_killed_at_a_write_ends_as_undisturbed(
    pool: Pool, operators: Operators, namespace: str, number: int
) -> None:
    pool.apply(replicas=1)
    pool.until_ready()
    app = Workload(pool, namespace)
    app.apply()
    before = set(pool.nodes())
    with WriteProxy(pool.plane) as proxy, NodeHistory(pool) as history:
        operators.restart(server=proxy.url).until_leading()
        proxy.writes.clear()
        proxy.fatal, proxy.kill = number, operators.main.kill
        pool.apply(image={"id": "image-2"})
        if number:
            assert proxy.killed.wait(60), proxy.writes
            operators.free_lease()
            operators.restart().until_leading()
        until_replaced(pool, app)
        history.assert_successor_first(most=2, fewest=1)
        assert len(history.births()) == 1, proxy.writes
        if not number:
            assert len(proxy.writes) == WRITES, proxy.writes
            operators.restart().until_leading()
    assert not before & set(pool.nodes())
    path = "/apis/immutable.dev/v1alpha1/namespaces/immutable-system/immutablerevisions"
    records = pool.plane.api().get(path)["items"]
    assert len([r for r in records if r["spec"].get("pool") == pool.name]) == 2
    assert pool.status()["blockers"] == []
