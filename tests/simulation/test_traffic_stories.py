"""Golden sequences of BlueGreen: what a user sees of a preview, a promotion and a way back.

Regenerate with ``UPDATE_GOLDEN=1 pytest tests/simulation/test_traffic_stories.py`` and read the
diff.
"""

from __future__ import annotations

from collections import Counter
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
    Route,
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


def _crashes(story: Story, letter: str) -> None:
    """One instance of a revision crashes again and again from now on."""
    id_ = REVISIONS[letter].id
    pod = next(p for _, p in sorted(story.cluster.pods.items()) if p.revision == id_)
    story.say("cluster", f"one instance of {letter} crashes again and again")
    story.cluster.live([replace(pod, ready_since=None, trouble=BEHAVIOURS["C"].trouble)])


def _message(story: Story) -> str:
    return story.operator.status.conditions[0].message


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


def check_is_edited_after_it_passed() -> Story:
    """What the check asks now has not been answered."""
    story = _begun("Check is edited after it passed", MANUAL, "promotion Manual, a check", (UP,))
    story.user("changes the image", "B")
    story.run(20)
    story.cluster.findings[REVISIONS["B"].id] = [Finding.FAILED]
    other = replace(UP, question=HttpQuestion(url="http://web-preview/search", status=200))
    story.user("lets the check ask for another page, which answers errors", checks=(other,))
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(60)
    assert _selected(story) == "A"
    return story


def promoted_together_with_the_template() -> Story:
    """As a commit in Git does: the action is there before the rollout began."""
    story = _begun("Promoted together with the template", checks=(UP,))
    story.say("user", "freezes changes for 10 s")
    story.cluster.freezes = (Freeze("sale", "sale", ends=story.cluster.now + 10),)
    story.user("changes the image", "B")
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(300)
    assert _selected(story) == "B"
    return story


def scaled_to_zero_while_waiting() -> Story:
    """Nobody decided on the preview, and its check has no result yet."""
    said = "promotion Manual, a check"
    story = _begun("Scaled to zero while a preview waits", MANUAL, said, (UP,))
    story.cluster.findings[REVISIONS["B"].id] = [Finding.INCONCLUSIVE] * 40
    story.user("changes the image", "B")
    story.run(8)
    story.user("scales to 0 for the night", replicas=0)
    story.run(30)
    assert _selected(story) == "A"
    story.user("scales to 3", replicas=3)
    story.run(60)
    assert _selected(story) == "A"
    assert len([p for p in story.cluster.pods.values() if p.revision == REVISIONS["A"].id]) == 3
    return story


def fails_in_the_bake_while_kept() -> Story:
    """The bake begins with the promotion, and the previous instances stay until it is over."""
    story = _begun("Fails in the bake", BlueGreen(keep_for=30.0), "Manual, keepFor 30s, bake 300s")
    story.user("changes the image, with bakeSeconds 300", "B", bake_seconds=300)
    story.run(20)
    kept = {n for n, pod in story.cluster.pods.items() if pod.revision == REVISIONS["A"].id}
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(200)
    assert kept <= set(story.cluster.pods)
    _crashes(story, "B")
    story.run(5)
    assert _selected(story) == "A"
    assert kept <= set(story.cluster.pods)
    story.run()
    return story


def retried_while_the_failed_one_has_the_traffic() -> Story:
    """The previous instances are gone, and start slowly: the Service stays where it works."""
    way = BlueGreen(is_auto=True, keep_for=5.0)
    story = _begun("Retried while the failed one has the traffic", way, "Auto, keepFor 5s")
    story.user("changes the image", "B")
    story.run(1)
    story.cluster.behaviours["A"] = replace(WORKS, ready_after=60.0)
    story.run(60)
    story.say("user", "rejects it after its promotion")
    story.command(Command.ROLL_BACK, reason="it is slow")
    story.run(5)
    _crashes(story, "B")
    story.act("creates an ImmutableAction of type Resume", Command.RESUME)
    story.run(3)
    assert _selected(story) == "B", "two of three are better than none"
    story.run()
    return story


def service_is_taken_at_the_promotion() -> Story:
    story = _previewed("Service is taken by somebody else at the promotion")
    story.say("user", "creates another Service of this name")
    story.cluster.routes["web"] = Route("web", "foreign")
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(60)
    assert "gets the traffic when Service web is switched: Service web exists" in _message(story)
    story.say("user", "deletes it")
    del story.cluster.routes["web"]
    story.operator.due = story.cluster.now
    story.run()
    assert _selected(story) == "B"
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


def newer_spec_while_the_previous_ones_are_kept() -> Story:
    """They make room: there are never more than two sets and the surge."""
    story = _previewed("Newer spec while the previous ones are kept", BlueGreen(keep_for=86400.0))
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(20)
    story.cluster.behaviours["C"] = WORKS
    story.user("changes the image again", "C")
    story.run(60)
    assert _selected(story) == "B"
    assert Counter(p.revision for p in story.cluster.pods.values()) == {
        REVISIONS["B"].id: 3,
        REVISIONS["C"].id: 3,
    }
    return story


def rolled_back_after_two_promotions() -> Story:
    """The second one was made while the previous pods of the first one were still kept."""
    story = _previewed("Rolled back after two promotions")
    story.cluster.behaviours["C"] = WORKS
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(30)
    assert _selected(story) == "B"
    story.user("changes the image again", "C")
    story.run(20)
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(10)
    assert _selected(story) == "C"
    story.act("creates an ImmutableAction of type RollBack", Command.ROLL_BACK)
    story.run()
    assert _selected(story) == "B", "it had the traffic, and all of its pods worked"
    return story


def superseded_before_its_checks_have_passed() -> Story:
    """It has all instances and the traffic, as the first revision; that it works is not shown."""
    told = "3 wanted, maxSurge 1, BlueGreen, promotion Manual, with a check"
    story = TrafficStory("Superseded before its checks have passed")
    story.cluster.findings[REVISIONS["A"].id] = [Finding.INCONCLUSIVE] * 100
    fields = {"strategy": "BlueGreen", "blue_green": MANUAL, "traffic": HTTP, "checks": (UP,)}
    story.user(f"applies web: {told}", "A", replicas=3, max_surge=1, max_unavailable=0, **fields)
    story.run(30)
    assert _selected(story) == "A"
    story.user("changes the image", "B")
    story.run(30)
    [first] = [r for r in story.cluster.revisions.values() if r.id == REVISIONS["A"].id]
    assert first.verdict.completed is None
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
    *(checked_before_the_promotion, check_of_a_preview_fails, check_is_edited_after_it_passed),
    *(promoted_together_with_the_template, scaled_to_zero_while_waiting),
    *(fails_in_the_bake_while_kept, retried_while_the_failed_one_has_the_traffic),
    service_is_taken_at_the_promotion,
    rolled_back_after_two_promotions,
    superseded_before_its_checks_have_passed,
    *(newer_spec_while_waiting, newer_spec_while_the_previous_ones_are_kept),
    *(rolled_back_while_kept, rolled_back_later),
    *(crash_after_promotion, preview_fails, drained_while_waiting, scaled_while_waiting),
    *(frozen_while_waiting, frozen_after_the_promotion, service_deleted_and_edited),
]


@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_story_goes_as_before(tell: Callable[[], Story]) -> None:
    tell().end()
