"""Golden sequences of BlueGreen: what a user sees of a preview, a promotion and a way back.

Regenerate with ``UPDATE_GOLDEN=1 pytest tests/simulation/test_traffic_stories.py`` and read the
diff.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from immutable_operator.domain.model import (
    BlueGreen,
    Check,
    Command,
    Finding,
    Freeze,
    HttpQuestion,
    Port,
    Traffic,
)
from tests.simulation.story import GOLDEN, Story, begun
from tests.simulation.toy_cluster import BEHAVIOURS
from tests.unit.given import REVISIONS

HTTP = Traffic((Port(80, 8080),))
MANUAL, AUTO = BlueGreen(), BlueGreen(is_auto=True, promote_after=30.0)
WORKS = BEHAVIOURS["A"]
UP = Check("up", HttpQuestion(url="http://web-preview/healthz", status=200))


class TrafficStory(Story):
    """A story in a folder of its own."""

    folder = GOLDEN / "traffic"


def _begun(
    title: str,
    way: BlueGreen = MANUAL,
    said: str = "promotion Manual",
    checks: tuple[Check, ...] = (),
) -> Story:
    told = f"3 wanted, maxSurge 1, BlueGreen, {said}"
    fields = {"strategy": "BlueGreen", "blue_green": way, "traffic": HTTP, "checks": checks}
    return begun(title, told, TrafficStory, **fields)


def _selected(story: Story, name: str = "web") -> str:
    found = story.cluster.routes[name].revision
    letters = [letter for letter, r in REVISIONS.items() if r.id == found]
    return letters[0] if letters else str(found)


def _previewed(title: str, way: BlueGreen = MANUAL, said: str = "promotion Manual") -> Story:
    story = _begun(title, way, said)
    story.user("changes the image", "B")
    story.run(20)
    assert _selected(story) == "A"
    assert _selected(story, "web-preview") == "B"
    return story


def promoted_by_a_person() -> Story:
    story = _previewed("Promoted by a person")
    previews = {
        name for name, pod in story.cluster.pods.items() if pod.revision == REVISIONS["B"].id
    }
    story.run(600)
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run()
    assert _selected(story) == "B"
    assert set(story.cluster.pods) == previews, "the very pods that were previewed"
    return story


def promoted_after_a_while() -> Story:
    story = _previewed("Promoted after a while", AUTO, "Auto after 30s")
    story.run()
    assert _selected(story) == "B"
    return story


def checked_before_the_promotion() -> Story:
    """Whoever promotes it too early does not pass the check."""
    story = _begun("Checked before the promotion", MANUAL, "promotion Manual, a check", (UP,))
    slow = [*[Finding.INCONCLUSIVE] * 3, Finding.PASSED]
    story.cluster.findings[REVISIONS["B"].id] = slow
    story.user("changes the image", "B")
    story.run(10)
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(2)
    assert _selected(story) == "A"
    story.run()
    assert _selected(story) == "B"
    return story


def check_of_a_preview_fails() -> Story:
    story = _begun("Check of a preview fails", AUTO, "Auto after 30s, a check", (UP,))
    story.cluster.findings[REVISIONS["B"].id] = [Finding.FAILED]
    story.user("changes the image to one that answers errors", "B")
    story.run()
    assert _selected(story) == "A"
    assert {p.revision for p in story.cluster.pods.values()} == {REVISIONS["A"].id}
    return story


def few_previews() -> Story:
    way = BlueGreen(preview_replicas=1)
    story = _previewed("Few previews", way, "Manual, previewReplicas 1")
    assert len(story.cluster.pods) == 4
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run()
    assert _selected(story) == "B"
    return story


def aborted() -> Story:
    story = _previewed("Aborted")
    story.act("creates an ImmutableAction of type Abort", Command.ABORT, reason="wrong colours")
    story.run()
    assert _selected(story) == "A"
    assert {p.revision for p in story.cluster.pods.values()} == {REVISIONS["A"].id}
    return story


def newer_spec_while_waiting() -> Story:
    story = _previewed("Newer spec while a preview waits")
    story.cluster.behaviours["C"] = WORKS
    before = {n for n, pod in story.cluster.pods.items() if pod.revision == REVISIONS["A"].id}
    story.user("changes the image again", "C")
    story.run(60)
    assert before <= set(story.cluster.pods)
    assert _selected(story, "web-preview") == "C"
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run()
    assert _selected(story) == "C"
    return story


def rolled_back_while_kept() -> Story:
    story = _previewed("Rolled back while the previous ones are kept")
    kept = {n for n, pod in story.cluster.pods.items() if pod.revision == REVISIONS["A"].id}
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(20)
    assert _selected(story) == "B"
    story.act("creates an ImmutableAction of type RollBack", Command.ROLL_BACK)
    story.run(1)
    assert _selected(story) == "A"
    story.run()
    assert set(story.cluster.pods) == kept
    return story


def rolled_back_later() -> Story:
    story = _previewed("Rolled back when the previous ones are gone")
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(200)
    story.act("creates an ImmutableAction of type RollBack", Command.ROLL_BACK)
    story.run()
    assert _selected(story) == "A"
    return story


def crash_after_promotion() -> Story:
    story = _begun("Crash after promotion", BlueGreen(is_auto=True), "promotion Auto")
    crashes = BEHAVIOURS["C"].trouble
    lives = replace(WORKS, trouble=crashes, trouble_after=20.0, settled_after=40.0)
    story.cluster.behaviours["B"] = lives
    story.user("changes the image to one that crashes after 20 s", "B")
    story.run()
    assert _selected(story) == "A"
    return story


def preview_fails() -> Story:
    story = _begun("Preview fails")
    story.user("changes the image to one that crashes", "C")
    story.run()
    assert _selected(story) == "A"
    return story


def drained_while_waiting() -> Story:
    story = _previewed("Drain while a preview waits")
    victim = next(n for n, p in story.cluster.pods.items() if p.revision == REVISIONS["A"].id)
    story.say("cluster", "a drain evicts one that has the traffic")
    story.cluster.delete(victim)
    story.run(60)
    live = [p for p in story.cluster.pods.values() if p.revision == REVISIONS["A"].id]
    assert len(live) == 3, "repaired from its own revision"
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run()
    return story


def scaled_while_waiting() -> Story:
    story = _previewed("Scaled while a preview waits")
    story.user("scales to 4", replicas=4)
    story.run(60)
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run()
    assert len(story.cluster.pods) == 4
    return story


def frozen_while_waiting() -> Story:
    """The action waits, too; the way back does not."""
    story = _previewed("Freeze while a preview waits")
    now = story.cluster.now
    story.say("user", "creates an ImmutableFreeze for 10 minutes")
    story.cluster.freezes = (Freeze("sale", "sale", ends=now + 600),)
    story.operator.due = now
    story.run(10)
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(500)
    assert _selected(story) == "A"
    story.run(300)
    assert _selected(story) == "B"
    return story


def frozen_after_the_promotion() -> Story:
    story = _previewed("Freeze after the promotion")
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(10)
    story.say("user", "creates an ImmutableFreeze")
    story.cluster.freezes = (Freeze("sale", "sale", ends=story.cluster.now + 86400),)
    story.act("creates an ImmutableAction of type RollBack", Command.ROLL_BACK)
    story.run(100)
    assert _selected(story) == "A"
    return story


def service_deleted_and_edited() -> Story:
    story = _previewed("Service edited and deleted while a preview waits")
    story.say("user", "points the Service to the preview")
    story.cluster.edit_route("web", revision=REVISIONS["B"].id)
    story.operator.due = story.cluster.now
    story.run(1)
    assert _selected(story) == "A"
    story.say("user", "deletes the Service")
    story.cluster.edit_route("web")
    story.operator.due = story.cluster.now
    story.run(1)
    assert _selected(story) == "A"
    return story


STORIES = [
    *(promoted_by_a_person, promoted_after_a_while, few_previews, aborted),
    *(checked_before_the_promotion, check_of_a_preview_fails),
    *(newer_spec_while_waiting, rolled_back_while_kept, rolled_back_later),
    *(crash_after_promotion, preview_fails, drained_while_waiting, scaled_while_waiting),
    *(frozen_while_waiting, frozen_after_the_promotion, service_deleted_and_edited),
]


@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_story_goes_as_before(tell: Callable[[], Story]) -> None:
    tell().end()
