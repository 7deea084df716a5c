"""The hand-over of a namespace between shards (docs/scale.md): never two at once, and it ends."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tests.simulation.sharding import Broken, Handover, Rules
from tests.unit.examples import examples

SEEDS = 300
STEPS = 1000


def test_no_two_shards_work_for_a_namespace_at_once() -> None:
    moved = 0
    seeds = examples(SEEDS)
    for seed in range(seeds):
        world = Handover(seed)
        world.run(STEPS)
        moved += sum(a != b for a, b in zip(world.history, world.history[1:], strict=False))
    assert moved > seeds, "namespaces were handed over"


@pytest.mark.parametrize("owner", ["a", "b", "c"])
def test_hand_over_ends(owner: str) -> None:
    for seed in range(SEEDS // 10):
        world = Handover(seed)
        world.run(STEPS)
        world.calm(owner)
        assert set(world.history[-20:]) == {owner}


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_each_rule_is_needed(rule: str) -> None:
    def lasts(seed: int) -> bool:
        try:
            Handover(seed, rules=Rules(**{rule: False})).run(STEPS)
        except Broken:
            return False
        return True

    assert not all(map(lasts, range(SEEDS)))
