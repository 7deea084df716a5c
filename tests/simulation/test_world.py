"""The whole operator under attack, by seed, in a world of its own (`tests.simulation.world`).

``SEEDS=4711 pytest tests/simulation/test_world.py`` plays one seed again; ``SEEDS=0-5000`` searches
longer, and a seed that fails shows its story. ``MUTANTS=1`` plants bugs and looks whether the world
notices them.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.world.adversary import Adversary
from tests.simulation.world.mutants import MUTANTS, planted
from tests.simulation.world.rest import comes_to_rest
from tests.simulation.world.seeds import chosen
from tests.simulation.world.world import Broken, World, world

# What each of these once showed: an old instance replaced without end; a release that does not work
# and drains; two evictions whose answers were lost; what a standby did not hear of; a barrier that
# opened by time; a status that came late; a scale-down by what was known before a cut; a leader
# that took lost instances for a service scaled to 0; a revision that was complete when it was
# asked for no longer; a rollout that stood still for a successor that was gone; pods of strangers
# that counted as available, because they had names that the operator computes; a successor of a
# tainted instance that was surplus in each next plan. And faults of the watcher: numbers that left
# the spec before any operator saw them, a refusal whose date the model forgot, what no operator
# could know.
ONCE_FAILED = [34, 3, 1102, 1226, 1177, 1241, 1114, 15, 62, 68, 115, 319, 542]
ONCE_FAILED += [1054, 3051, 1093, 1279, 3195, 1393, 20575, 60068]
ONCE_FAILED += [60736, 61487, 62548, 63658, 31295, 31604, 31723]
WITH_STRANGERS = [20, 62, 125]
MUTANT_SEEDS = 150
CHECKED = range(100, 106)


def _play(seed: int, *more: str) -> World:
    """One run: attacked for a while, with ``more`` kinds of trouble than the seed picks, then left
    in peace. Raises `Broken`.
    """
    with world(seed, replicas=1 + seed % 2) as run:
        adversary = Adversary(run, seed)
        adversary.kinds += [getattr(adversary, kind) for kind in more]
        run.say("seed", f"{seed}: {', '.join(adversary.picked)}")
        adversary.begin()
        adversary.attack(25)
        adversary.stop()
        comes_to_rest(run, adversary.people)
    return run


def _outcome(seed: int) -> str:
    """The rule that a seed breaks, "" if it breaks none."""
    try:
        _play(seed)
    except Broken as broken:
        return broken.rule
    return ""


@pytest.mark.parametrize("seed", chosen("0-19", ONCE_FAILED))
def test_attacked_operator_keeps_the_rules_and_comes_to_rest(seed: int) -> None:
    try:
        _play(seed)
    except Broken as broken:
        again = f"SEEDS={seed} pytest tests/simulation/test_world.py"
        pytest.fail(f"{broken}\n\nto play it again: {again}", pytrace=False)


@pytest.mark.parametrize("seed", WITH_STRANGERS)
def test_foreign_pod_never_counts_as_an_instance(seed: int) -> None:
    """Where no policy refuses it, anybody can give a pod a name that the operator computes."""
    try:
        _play(seed, "stranger", "stranger")
    except Broken as broken:
        pytest.fail(str(broken), pytrace=False)


@pytest.mark.parametrize("seed", CHECKED)
def test_checked_releases_keep_the_rules_and_come_to_rest(seed: int) -> None:
    """A check without a result delays a release, and nothing else."""
    try:
        _play(seed, "check", "check", "change_image", "change_image")
    except Broken as broken:
        pytest.fail(str(broken), pytrace=False)


def test_seed_gives_the_same_story_each_time() -> None:
    first, second = (_play(3).story.lines for _ in range(2))
    assert first == second


@pytest.mark.skipif(not os.environ.get("MUTANTS"), reason="takes minutes: MUTANTS=1")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_planted_bug_is_detected(name: str) -> None:
    """Some seed breaks a rule with the bug that it does not break without it."""
    for seed in range(MUTANT_SEEDS):
        with planted(name):
            rule = _outcome(seed)
        if rule and rule != _outcome(seed):
            return
    pytest.fail(f"{name} lives: none of {MUTANT_SEEDS} seeds notices it")
