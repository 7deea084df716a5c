"""A pool replaces its nodes successor first, for each reason, on the real API server."""

from __future__ import annotations

from tests.cluster.node_pools import Pool, is_verified


def test_new_pool_gets_verified_nodes(pool: Pool) -> None:
    pool.apply()
    pool.until_ready()
    assert all(is_verified(node) for node in pool.nodes().values())


def test_changed_image_replaces_each_node(pool: Pool) -> None:
    pool.apply()
    pool.until_ready()
    before = set(pool.nodes())
    pool.apply(image={"id": "image-2"})
    pool.until_ready()
    after = pool.nodes()
    assert not before & set(after)
