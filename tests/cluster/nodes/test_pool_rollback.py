"""An image of nodes that fails is remembered, and the pool goes back to the previous one."""

from __future__ import annotations

from tests.cluster.node_pools import NodeHistory, Pool, is_verified
from tests.cluster.operator_process import NAMESPACE
from tests.cluster.services import KIND_PATH
from tests.controlplane.api import Json

ROLLOUT = {"verify": {"settle": "1s"}, "progressDeadlineSeconds": 15}


def records(pool: Pool) -> list[Json]:
    """The records of a pool, by number."""
    found = pool.plane.api().get(f"{KIND_PATH}/{NAMESPACE}/immutablerevisions")["items"]
    own = [r for r in found if r["metadata"]["name"].startswith(f"{pool.name}-im")]
    return sorted(own, key=lambda r: r["spec"]["number"])


def test_image_whose_nodes_never_become_ready_fails_once_and_costs_no_working_node(
    three: Pool,
) -> None:
    before, works = set(three.nodes()), three.spec["template"]
    with NodeHistory(three) as history:
        three.apply(
            image={"id": "image-2"},
            template={**works, "labels": {"sim/node": "not-ready"}},
            rollout=ROLLOUT,
        )
        three.until(
            "it goes back", lambda: three.condition("Stalled")["reason"] == "RolledBack", 90
        )
        three.until("what failed is gone", lambda: set(three.nodes()) == before)
        for _ in range(3):
            three.apply()  # as Git does
        three.until("it is seen", lambda: three.status()["observedGeneration"] >= 2)
        # The image that works again is asked for again: it ends without a move.
        three.apply(image={"id": "image-1"}, template=works)
        three.until_ready()
        history.assert_successor_first(most=4, fewest=3)
    # A single machine may be broken: when its time is over, which is the deadline, too, another one
    # may have been tried already.
    assert len(history.births()) in (1, 2)
    assert set(three.nodes()) == before
    assert all(is_verified(node) for node in three.nodes().values())
    good, failed = (record["status"] for record in records(three))
    assert good["phase"] == "Good"
    assert (failed["phase"], failed["reason"]) == ("Failed", "ProgressDeadlineExceeded")
    assert failed["fallback"] == records(three)[0]["spec"]["revision"]
