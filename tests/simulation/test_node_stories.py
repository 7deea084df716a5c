"""Golden sequences of node pools, as test_stories.py has them for services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from immutable_operator.domain.model import PoolSpec
from tests.simulation.toy_cluster import BEHAVIOURS
from tests.simulation.toy_nodes import NodeStory

HANGS = replace(BEHAVIOURS["A"], about="never becomes Ready", ready_after=None)


def _begun(title: str, said: str, **fields: object) -> NodeStory:
    """A story that begins with the pool ``web`` of revision 1, all nodes verified."""
    story = NodeStory(title)
    defaults: dict[str, object] = {
        "replicas": 3,
        "max_surge": 1,
        "max_unavailable": 0,
        "counts_terminating": True,
        "progress_deadline_seconds": 120,
        "pool": PoolSpec(settle_seconds=10, drain_timeout=300),
    }
    story.user(f"applies the pool web: {said}", "A", **(defaults | fields))
    story.run(60)
    assert len(story.cluster.pods) == story.cluster.spec.replicas
    return story


def _node(story: NodeStory, slot: int, revision: int = 1) -> str:
    """The name of the node in a slot."""
    records = {r.id: r.number for r in story.cluster.revisions.values()}
    there = story.cluster.pods.items()
    return next(n for n, i in there if i.slot == slot and records[i.revision] == revision)


def image_change() -> NodeStory:
    """Each predecessor is cordoned after its successor was verified, one at a time."""
    story = _begun("Image of a pool changes", "3 wanted, maxSurge 1")
    story.cluster.place(_node(story, 0), "a", "b")
    story.user("changes the image", "B")
    story.run()
    # Six births, six admissions, three retirements and ends, two evictions, records, verdicts, and
    # what is noted of the progress, because a node takes more than a quarter of the deadline.
    assert story.cluster.writes == 2 + 6 + 6 + 3 + 3 + 2 + 4 + 2
    return story


def mass_reboot() -> NodeStory:
    """One incident, paced by the budget, told once; each node is replaced once."""
    story = _begun("All 20 nodes reboot", "20 wanted, maxSurge 2", replicas=20, max_surge=2)
    for name in list(story.cluster.pods):
        story.cluster.change(name, bootID="2")
    story.operator.due = story.cluster.now
    story.run()
    assert story.cluster.births == 40
    assert len([t for t in story.operator.told if t.reason == "Drifted"]) == 1
    return story


def stuck_image_change() -> NodeStory:
    """All working nodes stay, and a lost one is replaced from the revision that works."""
    story = _begun("Stuck image change", "3 wanted, maxSurge 1")
    story.cluster.behaviours["B"] = HANGS
    story.user("changes the image to one that never becomes Ready", "B")
    story.run(60)
    assert sum(i.ready_since is not None for i in story.cluster.pods.values()) == 3
    story.cluster.lose(_node(story, 1))
    story.operator.due = story.cluster.now
    story.run(400)
    assert sum(i.ready_since is not None for i in story.cluster.pods.values()) == 3
    story.user("writes the old image again", "A")
    story.run()
    assert len(story.cluster.pods) == 3
    return story


def budget_keeps_a_pod() -> NodeStory:
    """A drain waits for a budget; no further node is replaced meanwhile."""
    story = _begun("Budget keeps a pod on a retired node", "2 wanted, maxSurge 1", replicas=2)
    story.cluster.place(_node(story, 0), "db")
    story.cluster.protected = frozenset({"db"})
    story.user("changes the image", "B")
    story.run(100)
    assert any(b.reason == "PodDisruptionBudget" for b in story.operator.status.blockers)
    assert len(story.cluster.pods) == 3
    story.say("user", "scales the database up: its budget lets the pod go")
    story.cluster.protected = frozenset()
    story.run()
    assert len(story.cluster.pods) == 2
    return story


def restarts_in_the_middle() -> NodeStory:
    """The operator restarts at several points of one replacement; nothing happens twice."""
    story = _begun("Operator restarts while a node is replaced", "1 wanted", replicas=1)
    story.cluster.place(_node(story, 0), "a")
    story.user("changes the image", "B")
    for _ in range(30):
        story.run(1)
        story.operator.restart()
    story.run()
    assert story.cluster.births == 2
    assert story.cluster.writes == 2 + 2 + 2 + 1 + 1 + 1 + 4
    return story


def every_new_node_is_changed() -> NodeStory:
    """Replacing stops after two generations: the cause is not the node. Then once a day."""
    story = _begun("Every new node is changed", "2 wanted, maxSurge 1", replicas=2)
    story.say("user", "rolls out a tool that updates the kernel of every node")
    changed: set[str] = set()

    def update() -> None:
        for name, node in list(story.cluster.pods.items()):
            if node.uid not in changed and node.ready_since is not None and node.active:
                changed.add(node.uid)
                story.cluster.change(name, kernelVersion="2")
                story.operator.due = story.cluster.now

    def pass_time(seconds: int, step: int = 30) -> None:
        for _ in range(0, seconds, step):
            update()
            story.run(step)

    pass_time(120, step=1)
    births = story.cluster.births
    assert births == 3, "two at first, and one successor, that was changed as well"
    pass_time(3600)
    assert story.cluster.births == births, "it stopped"
    assert any(b.reason == "TaintReturns" for b in story.operator.status.blockers)
    assert len([t for t in story.operator.told if t.reason == "Stalled"]) == 1
    pass_time(86_400)
    assert story.cluster.births == births + 1, "one attempt after a day"
    story.say("user", "removes the tool")
    story.run(10 * 86_400)
    assert not story.operator.status.deviations
    return story


STORIES: list[Callable[[], NodeStory]] = [
    image_change,
    mass_reboot,
    stuck_image_change,
    budget_keeps_a_pod,
    restarts_in_the_middle,
    every_new_node_is_changed,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_story_of_a_pool_equals_its_golden_file(story: Callable[[], NodeStory]) -> None:
    story().end()


def test_every_golden_file_of_a_pool_belongs_to_a_story() -> None:
    assert len(list(NodeStory.folder.glob("*.txt"))) == len(STORIES)
