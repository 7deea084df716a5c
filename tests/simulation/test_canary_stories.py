"""Golden sequences of Canary: what a user sees of the steps, and what keeps the share.

Regenerate with ``UPDATE_GOLDEN=1 pytest tests/simulation/test_canary_stories.py`` and read the
diff.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.model import (
    AwaitCheck,
    Canary,
    CanaryStep,
    Check,
    Command,
    Finding,
    Freeze,
    HttpQuestion,
    OnFailure,
    OnTaint,
    Pause,
    SetReplicas,
    SetWeight,
)
from tests.simulation.story import GOLDEN, Story, begun, counts_by_letter
from tests.simulation.toy_cluster import BEHAVIOURS
from tests.unit.given import REVISIONS

WORKS = BEHAVIOURS["A"]
UP = Check("up", HttpQuestion(url="http://web/healthz", status=200))
ASKED = (SetWeight(20), Pause(), SetWeight(50), Pause(60.0))
CHECKED = (SetReplicas(1), AwaitCheck("up"), SetWeight(50), Pause())


class CanaryStory(Story):
    """A story in a folder of its own."""

    folder = GOLDEN / "canary"


def _begun(
    title: str, steps: tuple[CanaryStep, ...] = ASKED, replicas: int = 10, **fields: Any
) -> Story:
    told = f"{replicas} wanted, maxSurge 1, Canary: {'; '.join(map(_said, steps))}"
    given = {"strategy": "Canary", "canary": Canary(steps), "replicas": replicas}
    return begun(title, told, CanaryStory, **(given | fields))


def _said(step: CanaryStep) -> str:
    if not isinstance(step, Pause):
        return str(step)
    return "pause until promoted" if step.seconds is None else f"pause for {step.seconds:.0f}s"


def _paused(title: str, **fields: Any) -> Story:
    """At the first pause: 2 of 10 are of the new revision."""
    story = _begun(title, **fields)
    story.user("changes the image", "B")
    story.run(100)
    assert counts_by_letter(story) == {"A": 8, "B": 2}
    return story


def _one_of(story: Story, letter: str) -> str:
    id_ = REVISIONS[letter].id
    return min(name for name, pod in story.cluster.pods.items() if pod.revision == id_)


def step_by_step() -> Story:
    story = _paused("Step by step")
    story.run(600)
    assert counts_by_letter(story) == {"A": 8, "B": 2}
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(60)
    assert counts_by_letter(story) == {"A": 5, "B": 5}
    story.run()
    assert counts_by_letter(story) == {"B": 10}
    return story


def all_instances_before_the_last_pause() -> Story:
    """A revision is complete after its last step, not when it has all instances."""
    story = _begun("All instances before the last pause", (SetWeight(100), Pause()))
    story.user("changes the image", "B")
    story.run(600)
    assert counts_by_letter(story) == {"B": 10}
    assert "revision 2 (970d3f53) is Good" not in "\n".join(story.lines)
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run()
    return story


def promoted_before_the_pause() -> Story:
    """As a commit in Git does: the action is there before the step."""
    story = _begun("Promoted before the pause")
    story.user("changes the image", "B")
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(80)
    assert counts_by_letter(story) == {"A": 5, "B": 5}
    story.run()
    return story


def check_passes_at_its_step() -> Story:
    story = _begun("Check passes at its step", CHECKED, checks=(UP,))
    story.cluster.findings[REVISIONS["B"].id] = [Finding.INCONCLUSIVE, Finding.PASSED]
    story.user("changes the image", "B")
    story.run(200)
    assert counts_by_letter(story) == {"A": 5, "B": 5}
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run()
    assert counts_by_letter(story) == {"B": 10}
    return story


def check_fails_at_its_step() -> Story:
    story = _begun("Check fails at its step", CHECKED, checks=(UP,))
    story.cluster.findings[REVISIONS["B"].id] = [Finding.FAILED]
    story.user("changes the image to one that answers errors", "B")
    story.run()
    assert counts_by_letter(story) == {"A": 10}
    return story


def failed_canary_is_held() -> Story:
    story = _begun("Failed canary is held", CHECKED, checks=(UP,), on_failure=OnFailure.HOLD)
    story.cluster.findings[REVISIONS["B"].id] = [Finding.FAILED]
    story.user("changes the image to one that answers errors", "B")
    story.run(100)
    assert counts_by_letter(story) == {"A": 9, "B": 1}
    story.say("cluster", "one instance of the previous revision is lost")
    story.cluster.lose(_one_of(story, "A"))
    story.run(100)
    assert counts_by_letter(story) == {"A": 9, "B": 1}
    story.cluster.findings[REVISIONS["B"].id] = [Finding.PASSED]
    story.act("creates an ImmutableAction of type Retry", Command.RETRY)
    story.run(100)
    assert counts_by_letter(story) == {"A": 5, "B": 5}
    return story


def first_instance_crashes() -> Story:
    story = _begun("First instance of a canary crashes")
    story.user("changes the image to one that crashes", "C")
    story.run()
    assert counts_by_letter(story) == {"A": 10}
    return story


def aborted() -> Story:
    story = _paused("Canary aborted")
    story.act("creates an ImmutableAction of type Abort", Command.ABORT, reason="slower")
    story.run()
    assert counts_by_letter(story) == {"A": 10}
    return story


def scaled_in_a_pause() -> Story:
    """As an autoscaler does: the share stays."""
    story = _paused("Scaled in a pause")
    story.user("scales to 20", replicas=20)
    story.run(60)
    assert counts_by_letter(story) == {"A": 16, "B": 4}
    story.user("scales to 5", replicas=5)
    story.run(60)
    assert counts_by_letter(story) == {"A": 4, "B": 1}
    return story


def instances_lost_in_a_pause() -> Story:
    """Each is born again from its own revision."""
    story = _paused("Instances are lost in a pause")
    for letter in "AB":
        story.say("cluster", f"one instance of {letter} is lost")
        story.cluster.lose(_one_of(story, letter))
        story.run(60)
        assert counts_by_letter(story) == {"A": 8, "B": 2}
    return story


def modified_in_a_pause() -> Story:
    story = _paused("Instance of the previous revision is modified in a pause")
    victim = _one_of(story, "A")
    story.say("user", "runs a command in an instance of the previous revision")
    story.cluster.reach_into(victim)
    story.run(60)
    assert victim not in story.cluster.pods
    assert counts_by_letter(story) == {"A": 8, "B": 2}
    return story


def newer_spec_in_a_pause() -> Story:
    """The steps begin anew."""
    story = _paused("Newer spec in a pause")
    story.cluster.behaviours["C"] = WORKS
    before = {n for n, p in story.cluster.pods.items() if p.revision == REVISIONS["A"].id}
    story.user("changes the image again", "C")
    story.run(100)
    assert counts_by_letter(story) == {"A": 8, "C": 2}
    assert before <= set(story.cluster.pods)
    return story


def reverted_in_a_pause() -> Story:
    """Without steps: the previous revision works."""
    story = _paused("Reverted in a pause")
    story.user("changes the image back", "A")
    story.run(60)
    assert counts_by_letter(story) == {"A": 10}
    return story


def frozen_in_a_pause() -> Story:
    story = _begun("Freeze in a pause", (SetWeight(20), Pause(60.0)))
    story.user("changes the image", "B")
    story.run(30)
    story.say("user", "creates an ImmutableFreeze for 10 minutes")
    story.cluster.freezes = (Freeze("sale", "sale", ends=story.cluster.now + 600),)
    story.operator.due = story.cluster.now
    story.run(500)
    assert counts_by_letter(story) == {"A": 8, "B": 2}
    story.run()
    assert counts_by_letter(story) == {"B": 10}
    return story


def promoted_in_a_freeze() -> Story:
    """Only an action that overrides the freeze ends the pause; the step after it waits again."""
    story = _paused("Promoted in a freeze")
    story.say("user", "creates an ImmutableFreeze for an hour")
    story.cluster.freezes = (Freeze("sale", "sale", ends=story.cluster.now + 3600),)
    story.operator.due = story.cluster.now
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(60)
    assert counts_by_letter(story) == {"A": 8, "B": 2}
    story.say("user", "lets the action override the freeze")
    for uid, request in story.cluster.requests.items():
        story.cluster.requests[uid] = replace(request, override_freeze=True)
    story.operator.due = story.cluster.now
    story.run(60)
    assert counts_by_letter(story) == {"A": 5, "B": 5}
    story.run(600)
    assert counts_by_letter(story) == {"A": 5, "B": 5}
    return story


def steps_edited_in_a_pause() -> Story:
    """What is done is done; the rest is as it is written now."""
    story = _paused("Steps edited in a pause")
    story.user("sets a smaller share", canary=Canary((SetWeight(10), Pause(), SetWeight(30))))
    story.run(60)
    assert counts_by_letter(story) == {"A": 9, "B": 1}
    story.user("removes the pause", canary=Canary((SetWeight(10),)))
    story.run()
    assert counts_by_letter(story) == {"B": 10}
    return story


def all_instances_before_the_last_step() -> Story:
    """It is not complete before the check has passed."""
    steps = (SetWeight(100), AwaitCheck("up"))
    story = _begun("All instances before the last step", steps, 3, checks=(UP,))
    story.cluster.findings[REVISIONS["B"].id] = [Finding.FAILED]
    story.user("changes the image to one that answers errors", "B")
    story.run()
    assert counts_by_letter(story) == {"A": 3}
    return story


def regenerated_in_a_pause() -> Story:
    """The previous revision does not get old because the next one waits."""
    aged = Regeneration(max_age=3600.0)
    steps = (SetReplicas(1), Pause())
    story = _begun("Regenerated in a pause", steps, 3, regeneration=aged)
    story.user("changes the image", "B")
    story.run(100)
    before = set(story.cluster.pods)
    story.run(7200)
    assert counts_by_letter(story) == {"A": 2, "B": 1}
    assert not before & set(story.cluster.pods)
    return story


def without_surge() -> Story:
    steps = (SetReplicas(1), Pause(30.0))
    story = _begun("Canary without surge", steps, 3, max_surge=0, max_unavailable=1)
    story.user("changes the image", "B")
    story.run(30)
    assert counts_by_letter(story) == {"A": 2, "B": 1}
    story.run()
    assert counts_by_letter(story) == {"B": 3}
    return story


def scaled_to_zero_in_a_pause() -> Story:
    story = _paused("Scaled to zero in a pause")
    story.user("scales to 0", replicas=0)
    story.run(60)
    assert counts_by_letter(story) == {}
    story.user("scales to 10", replicas=10)
    story.run(60)
    assert counts_by_letter(story) == {"A": 8, "B": 2}
    return story


def modified_on_both_sides_in_a_pause() -> Story:
    """Each revision replaces its own, also where one place is lacking meanwhile."""
    story = _paused("Modified on both sides in a pause", max_surge="25%")
    victims = {_one_of(story, letter) for letter in "AB"}
    story.say("user", "runs a command in an instance of each revision")
    for victim in sorted(victims):
        story.cluster.reach_into(victim)
    story.operator.due = story.cluster.now
    story.run(300)
    assert counts_by_letter(story) == {"A": 8, "B": 2}
    assert not victims & set(story.cluster.pods)
    return story


def fix_of_a_canary_that_is_dead() -> Story:
    """The previous revision gets back what the dead one had, before the fix gets its share."""
    story = _paused("Fix of a canary that is dead")
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(40)
    assert counts_by_letter(story) == {"A": 5, "B": 5}
    story.say("cluster", "no instance of the new revision is ready any more")
    for name, pod in sorted(story.cluster.pods.items()):
        if pod.revision == REVISIONS["B"].id:
            story.cluster.unready(name, None)
    story.cluster.behaviours["C"] = WORKS
    story.user("changes the image to the fix", "C")
    story.run(300)
    assert counts_by_letter(story) == {"A": 8, "C": 2}
    return story


def scaled_down_before_a_larger_share() -> Story:
    """What there was before the scale does not hide that it makes progress."""
    steps = (SetWeight(20), Pause(), SetWeight(80), Pause())
    story = _begun("Scaled down before a larger share", steps, 30, progress_deadline_seconds=60)
    story.cluster.behaviours["B"] = replace(WORKS, about="starts slowly", ready_after=20.0)
    story.user("changes the image", "B")
    story.run(300)
    story.user("scales to 10", replicas=10)
    story.run(100)
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(300)
    assert counts_by_letter(story) == {"A": 2, "B": 8}
    return story


def smaller_share_and_a_budget() -> Story:
    """Nobody scaled, so what a smaller share removes is evicted."""
    steps = (SetWeight(80), Pause())
    story = _begun("Smaller share and a budget", steps, max_unavailable=3)
    story.user("changes the image", "B")
    story.run(200)
    story.say("user", "creates a PodDisruptionBudget of 9")
    story.cluster.min_available = 9
    story.user("sets a smaller share", canary=Canary((SetWeight(20), Pause())))
    for _ in range(200):
        story.run(1)
        ready = (p for p in story.cluster.pods.values() if p.active and p.ready_since is not None)
        assert sum(1 for _ in ready) >= 9
    assert counts_by_letter(story) == {"A": 8, "B": 2}
    return story


def nothing_is_shown_without_instances() -> Story:
    """Neither time nor a check goes on while the instances of the share are not available."""
    steps = (SetWeight(20), Pause(60.0), AwaitCheck("up"), Pause())
    story = _begun("Nothing is shown without instances", steps, checks=(UP,))
    story.user("changes the image", "B")
    story.run(15)
    story.say("cluster", "no instance of the new revision is ready any more")
    for name, pod in sorted(story.cluster.pods.items()):
        if pod.revision == REVISIONS["B"].id:
            story.cluster.unready(name, None)
    story.run()
    assert counts_by_letter(story) == {"A": 10}
    return story


def regenerated_with_terminating_pods_that_count() -> Story:
    story = _paused("Regenerated where terminating pods count", counts_terminating=True)
    story.act("creates an ImmutableAction of type Regenerate", Command.REGENERATE)
    for _ in range(300):
        story.run(1)
        assert len(story.cluster.pods) <= 11
    assert counts_by_letter(story) == {"A": 8, "B": 2}
    return story


def quarantined_in_a_pause() -> Story:
    """It does not delay the regeneration of the others, and goes when its time is over."""
    story = _paused(
        "Quarantined in a pause",
        on_taint=OnTaint.QUARANTINE,
        quarantine_seconds=7200.0,
        regeneration=Regeneration(max_age=3600.0),
    )
    victim = _one_of(story, "B")
    story.say("user", "runs a command in an instance of the new revision")
    story.cluster.reach_into(victim)
    story.run(60)
    before = {n for n, p in story.cluster.pods.items() if p.revision == REVISIONS["A"].id}
    story.run(6000)
    assert victim in story.cluster.pods
    assert not before & set(story.cluster.pods)
    story.run(3000)
    assert victim not in story.cluster.pods
    return story


STORIES = [
    all_instances_before_the_last_pause,
    *(step_by_step, promoted_before_the_pause, check_passes_at_its_step, check_fails_at_its_step),
    *(failed_canary_is_held, first_instance_crashes, aborted, scaled_in_a_pause),
    *(instances_lost_in_a_pause, modified_in_a_pause, newer_spec_in_a_pause, reverted_in_a_pause),
    *(
        frozen_in_a_pause,
        promoted_in_a_freeze,
        steps_edited_in_a_pause,
        all_instances_before_the_last_step,
    ),
    *(modified_on_both_sides_in_a_pause, fix_of_a_canary_that_is_dead),
    *(scaled_down_before_a_larger_share, smaller_share_and_a_budget),
    *(nothing_is_shown_without_instances, regenerated_with_terminating_pods_that_count),
    quarantined_in_a_pause,
    *(regenerated_in_a_pause, without_surge, scaled_to_zero_in_a_pause),
]


@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_story_of_a_canary_goes_as_before(tell: Callable[[], Story]) -> None:
    tell().end()
