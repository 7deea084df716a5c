"""Crash safety of pools: the operator is killed at every write of one replacement."""

from __future__ import annotations

import json

import pytest

from tests.cluster.audit import OperatorRequests
from tests.cluster.node_pools import NodeHistory, Pool, Workload
from tests.cluster.operator_process import SHORT_LEASE, Operators

# Seen in test_undisturbed_replacement_makes_these_writes: record, verdict, create, admit, retire,
# verdict, evict, end, statuses and events between them.
WRITES = 14


def replace_one(pool: Pool, app: Workload) -> None:
    """Until the image of the only node was replaced, and the pod runs on the successor."""
    pool.until_ready(120)
    pool.until(
        "the pod runs on the successor",
        lambda: {p["spec"].get("nodeName") for p in app.pods()} == set(pool.nodes()),
    )


@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_operator_killed_at_a_write_ends_as_undisturbed(
    pool: Pool, operators: Operators, namespace: str, number: int
) -> None:
    operators.restart(*SHORT_LEASE).until_leading()
    pool.apply(replicas=1)
    pool.until_ready()
    app = Workload(pool, namespace)
    app.apply()
    before = set(pool.nodes())
    with NodeHistory(pool) as history:
        asked = OperatorRequests.from_now(pool.plane)
        pool.apply(image={"id": "image-2"})
        pool.until(f"write {number} was made", lambda: len(asked.writes()) >= number)
        operators.main.kill()
        operators.restart(*SHORT_LEASE)
        replace_one(pool, app)
        history.assert_successor_first(most=2, fewest=1)
        assert len(history.births()) == 1, "one successor, wherever it was killed"
    assert not before & set(pool.nodes())
    path = "/apis/immutable.dev/v1alpha1/namespaces/immutable-system/immutablerevisions"
    records = pool.plane.api().get(path)["items"]
    assert len([r for r in records if r["spec"].get("pool") == pool.name]) == 2
    assert json.loads(json.dumps(pool.status()["blockers"])) == []
