"""Crash safety of pools: the operator is killed at every write of one replacement."""

from __future__ import annotations

import pytest

from tests.cluster.node_pools import NodeHistory, Pool, Workload
from tests.cluster.operator_process import Operators
from tests.cluster.write_proxy import WriteProxy

# The most writes that an undisturbed replacement makes: on a busy machine two writes of the status
# may become one.
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
        try:
            proxy.writes.clear()
            proxy.fatal, proxy.kill = number, operators.main.kill
            pool.apply(image={"id": "image-2"})
            pool.until(
                "the operator was killed, or made all of its writes",
                lambda: (
                    proxy.killed.is_set() or (pool.is_ready() and not before & set(pool.nodes()))
                ),
            )
            if proxy.killed.is_set():
                operators.free_lease()
        finally:
            operators.restart().until_leading()
        until_replaced(pool, app)
        history.assert_successor_first(most=2, fewest=1)
        assert len(history.births()) == 1, proxy.writes
        assert len(proxy.writes) <= WRITES, proxy.writes
        assert proxy.killed.is_set() or number in (0, WRITES), proxy.writes
    assert not before & set(pool.nodes())
    path = "/apis/immutable.dev/v1alpha1/namespaces/immutable-system/immutablerevisions"
    records = pool.plane.api().get(path)["items"]
    assert len([r for r in records if r["spec"].get("pool") == pool.name]) == 2
    assert pool.status()["blockers"] == []
