"""The whole operator under attack, by seed, in a world of its own (`tests.simulation.world`).

``SEEDS=4711 pytest tests/simulation/test_world.py`` plays one seed again; ``SEEDS=0-5000`` searches
longer. ``IGNORE=22,storm`` goes on beyond rules that are known to be broken. Seeds that once failed
stay in ``ONCE_FAILED``.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.world.adversary import Adversary
from tests.simulation.world.rest import comes_to_rest
from tests.simulation.world.world import Broken, World, world

ONCE_FAILED: list[int] = []
IGNORED = frozenset(filter(None, os.environ.get("IGNORE", "").split(",")))


def _seeds() -> list[int]:
    first, _, last = os.environ.get("SEEDS", "0-39").partition("-")
    return [*ONCE_FAILED, *range(int(first), int(last or first) + 1)]


def play(seed: int, run: World) -> None:
    """One run: attacked for a while, then left in peace."""
    run.ignored = IGNORED
    adversary = Adversary(run, seed)
    run.say("seed", f"{seed}: {', '.join(adversary.picked)}")
    adversary.begin()
    adversary.attack(25)
    adversary.stop()
    comes_to_rest(run, adversary.people)


@pytest.mark.parametrize("seed", _seeds())
def test_the_rules_hold_under_attack_and_peace_brings_rest(seed: int) -> None:
    with world(seed, replicas=1 + seed % 2) as run:
        try:
            play(seed, run)
        except Broken as broken:
            again = f"SEEDS={seed} pytest tests/simulation/test_world.py"
            pytest.fail(f"{broken}\n\nto play it again: {again}", pytrace=False)
