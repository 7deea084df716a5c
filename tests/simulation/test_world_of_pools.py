"""Pools of nodes under attack, by seed: the same world and oracles as in test_world.py.

``SEEDS=4711 pytest tests/simulation/test_world_of_pools.py`` plays one seed again; ``SEEDS=0-5000``
searches longer, and a seed that fails shows its story.
"""

from __future__ import annotations

import pytest

from tests.simulation.world.node_adversary import NodeAdversary
from tests.simulation.world.rest import comes_to_rest
from tests.simulation.world.seeds import chosen
from tests.simulation.world.world import Broken, World, world

ONCE_FAILED: list[int] = []


def _play(seed: int) -> World:
    """One run: attacked for a while, then left in peace. Raises `Broken`."""
    with world(seed, replicas=1 + seed % 2, pools=True) as run:
        adversary = NodeAdversary(run, seed)
        run.say("seed", f"{seed}: {', '.join(adversary.picked)}")
        adversary.begin()
        adversary.attack(25)
        adversary.stop()
        comes_to_rest(run, adversary.people)
    return run


@pytest.mark.parametrize("seed", chosen("0-6", ONCE_FAILED))
def test_attacked_pool_keeps_the_rules_and_comes_to_rest(seed: int) -> None:
    try:
        _play(seed)
    except Broken as broken:
        again = f"SEEDS={seed} pytest tests/simulation/test_world_of_pools.py"
        pytest.fail(f"{broken}\n\nto play it again: {again}", pytrace=False)


def test_seed_of_a_pool_gives_the_same_story_each_time() -> None:
    first, second = (_play(3).story.lines for _ in range(2))
    assert first == second
