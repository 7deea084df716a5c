"""Golden sequences of Canary with an HTTPRoute: who gets which share of the traffic, and when.

Regenerate with ``UPDATE_GOLDEN=1 pytest tests/simulation/test_weight_stories.py`` and read the
diff.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.model import (
    AwaitCheck,
    Canary,
    CanaryStep,
    Check,
    Command,
    Finding,
    Freeze,
    HttpQuestion,
    HttpRoute,
    OnFailure,
    Pause,
    Port,
    RouteLack,
    RouteRef,
    SetReplicas,
    SetWeight,
    Traffic,
)
from tests.simulation.story import GOLDEN, Story, begun, counts_by_letter
from tests.simulation.toy_cluster import BEHAVIOURS
from tests.unit.given import REVISIONS

HTTP = Traffic((Port(80, 8080),))
UP = Check("up", HttpQuestion(url="http://web-preview/healthz", status=200))
ASKED = (SetWeight(20), Pause(), SetWeight(50), Pause(60.0))
CHECKED = (SetReplicas(1), AwaitCheck("up"), SetWeight(50), Pause())
ROUTE = HttpRoute("web", "shop", "route", 1, rules=1, percent=0, is_observed=True)


class WeightStory(Story):
    """A story in a folder of its own, with an HTTPRoute."""

    folder = GOLDEN / "weights"

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.cluster.http_route = ROUTE

    def gateway(self, what: str, *, is_there: bool) -> None:
        self.say("gateway", what)
        self.cluster.gateway(is_there=is_there)
        self.operator.due = self.cluster.now

    def weights(self, what: str, percent: int | None) -> None:
        self.say("somebody", what)
        self.cluster.edit_weights(percent)
        self.operator.due = self.cluster.now


def _begun(
    title: str, steps: tuple[CanaryStep, ...] = ASKED, replicas: int = 10, **fields: Any
) -> WeightStory:
    told = f"{replicas} wanted, maxSurge 1, Canary with an HTTPRoute"
    given = {
        "strategy": "Canary",
        "canary": Canary(steps),
        "replicas": replicas,
        "traffic": HTTP,
        "http_route": RouteRef("web"),
    }
    story = begun(title, told, WeightStory, **(given | fields))
    assert isinstance(story, WeightStory)
    return story


def _paused(title: str, **fields: Any) -> WeightStory:
    """At the first pause: 2 of the new revision beside all 10 others get 20 %."""
    story = _begun(title, **fields)
    story.user("changes the image", "B")
    story.run(100)
    assert (counts_by_letter(story), _percent(story)) == ({"A": 10, "B": 2}, 20)
    return story


def _percent(story: Story) -> int | None:
    return story.cluster.http_route.percent if story.cluster.http_route else None


def _ended(story: Story, counts: dict[str, int]) -> Story:
    assert (counts_by_letter(story), _percent(story)) == (counts, 0)
    return story


def weight_by_weight() -> Story:
    story = _paused("Weight by weight")
    story.run(600)
    assert _percent(story) == 20
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(60)
    assert (counts_by_letter(story), _percent(story)) == ({"A": 10, "B": 5}, 50)
    story.run()
    return _ended(story, {"B": 10})


def aborted_at_a_weight() -> Story:
    story = _paused("Aborted at a weight")
    story.act("creates an ImmutableAction of type Abort", Command.ABORT)
    story.run()
    return _ended(story, {"A": 10})


def newer_spec_at_a_weight() -> Story:
    story = _paused("Newer spec at a weight")
    story.cluster.behaviours["C"] = BEHAVIOURS["A"]
    story.user("changes the image again", "C")
    story.run(100)
    assert (counts_by_letter(story), _percent(story)) == ({"A": 10, "C": 2}, 20)
    return story


def check_fails_before_any_traffic() -> Story:
    story = _begun("Check fails before any traffic", CHECKED, checks=(UP,))
    story.cluster.findings[REVISIONS["B"].id] = [Finding.FAILED]
    story.user("changes the image to one that answers errors", "B")
    story.run()
    assert "50 %" not in "\n".join(story.lines)
    return _ended(story, {"A": 10})


def crash_at_a_weight() -> Story:
    story = _paused("Crash at a weight")
    story.cluster.behaviours["B"] = BEHAVIOURS["C"]
    for name, pod in list(story.cluster.pods.items()):
        if pod.revision == REVISIONS["B"].id:
            story.cluster.lose(name)
    story.run(5)
    assert _percent(story) == 0
    return story


def gateway_is_away_at_a_step() -> Story:
    story = _begun("Gateway is away at a step")
    story.gateway("ends", is_there=False)
    story.user("changes the image", "B")
    story.run(2000)
    assert (counts_by_letter(story), _percent(story)) == ({"A": 10, "B": 2}, 20)
    story.gateway("starts again", is_there=True)
    story.run(60)
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run()
    return _ended(story, {"B": 10})


def weights_are_edited() -> Story:
    story = _paused("Weights are edited")
    story.weights("sends 80 % to the preview", 80)
    story.run(10)
    assert _percent(story) == 20
    return story


def route_is_created_late() -> Story:
    story = _begun("Route is created late")
    story.weights("deletes the HTTPRoute", None)
    story.user("changes the image", "B")
    story.run(900)
    assert counts_by_letter(story) == {"A": 10, "B": 2}
    story.say("somebody", "creates the HTTPRoute")
    story.cluster.http_route = ROUTE
    story.operator.due = story.cluster.now
    story.run(60)
    assert _percent(story) == 20
    return story


def grant_is_taken_back_at_a_weight() -> Story:
    """It cannot be written any more, and still sends what was written: those that get it stay."""
    story = _paused("Grant is taken back at a weight")
    story.say("somebody", "deletes the ReferenceGrant")
    story.cluster.http_route = replace(story.cluster.http_route or ROUTE, lack=RouteLack.UNGRANTED)
    story.act("creates an ImmutableAction of type Abort", Command.ABORT)
    story.run(300)
    assert (counts_by_letter(story), _percent(story)) == ({"A": 10, "B": 2}, 20)
    story.say("somebody", "creates it again")
    story.cluster.http_route = replace(story.cluster.http_route or ROUTE, lack=None)
    story.operator.due = story.cluster.now
    story.run()
    return _ended(story, {"A": 10})


def back_after_two_canaries() -> Story:
    """The second one began while the previous pods of the first one were still kept."""
    story = _begun("Back after two canaries", (SetWeight(50), Pause(10.0)))
    story.cluster.behaviours["C"] = BEHAVIOURS["A"]
    story.user("changes the image", "B")
    story.run(40)
    story.user("changes the image again", "C")
    story.run(40)
    assert counts_by_letter(story) == {"B": 10, "C": 10}
    story.act("creates an ImmutableAction of type RollBack", Command.ROLL_BACK)
    story.run()
    return _ended(story, {"B": 10})


def preview_service_is_deleted() -> Story:
    story = _paused("Preview Service is deleted")
    story.say("somebody", "deletes Service web-preview")
    story.cluster.edit_route("web-preview")
    story.operator.due = story.cluster.now
    story.run(10)
    assert _percent(story) == 20
    return story


def freeze_at_a_weight() -> Story:
    story = _paused("Freeze at a weight")
    story.say("somebody", "creates an ImmutableFreeze")
    story.cluster.freezes = (Freeze("sale", "sale", ends=story.cluster.now + 3600),)
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run(600)
    assert (counts_by_letter(story), _percent(story)) == ({"A": 10, "B": 2}, 20)
    story.say("somebody", "deletes the ImmutableFreeze")
    story.cluster.freezes = ()
    story.operator.due = story.cluster.now
    story.run()
    return _ended(story, {"B": 10})


def freeze_before_a_weight() -> Story:
    story = _begun("Freeze before a weight")
    story.user("changes the image", "B")
    story.run(2)
    story.say("somebody", "creates an ImmutableFreeze")
    story.cluster.freezes = (Freeze("sale", "sale", ends=story.cluster.now + 3600),)
    story.run(600)
    assert _percent(story) == 0
    story.run(3600)
    assert _percent(story) == 20
    return story


def scaled_at_a_weight() -> Story:
    story = _paused("Scaled at a weight")
    story.user("scales to 20", replicas=20)
    story.run(60)
    assert (counts_by_letter(story), _percent(story)) == ({"A": 20, "B": 4}, 20)
    story.user("scales to 5", replicas=5)
    story.run(60)
    assert (counts_by_letter(story), _percent(story)) == ({"A": 5, "B": 1}, 20)
    return story


def back_while_the_previous_are_kept() -> Story:
    story = _begun("Back while the previous are kept", (SetWeight(50), Pause(10.0)))
    story.user("changes the image", "B")
    story.run(40)
    assert counts_by_letter(story) == {"A": 10, "B": 10}
    assert "revision 2 (970d3f53) gets the traffic" in "\n".join(story.lines)
    story.act("creates an ImmutableAction of type RollBack", Command.ROLL_BACK)
    story.run()
    return _ended(story, {"A": 10})


def route_is_left_out_at_a_weight() -> Story:
    story = _paused("Route is left out at a weight")
    story.user("removes traffic.route", http_route=None)
    story.run(100)
    assert counts_by_letter(story) == {"A": 8, "B": 2}
    return story


def route_is_added_in_a_pause() -> Story:
    story = _begun("Route is added in a pause", http_route=None)
    story.user("changes the image", "B")
    story.run(100)
    assert counts_by_letter(story) == {"A": 8, "B": 2}
    story.user("adds traffic.route", http_route=RouteRef("web"))
    story.run(60)
    story.act("creates an ImmutableAction of type Promote", Command.PROMOTE)
    story.run()
    return _ended(story, {"B": 10})


def held_at_a_weight() -> Story:
    """Hold keeps the instances, not the traffic."""
    steps = (SetWeight(20), AwaitCheck("up"), SetWeight(50), Pause())
    story = _begun("Held at a weight", steps, checks=(UP,), on_failure=OnFailure.HOLD)
    story.cluster.findings[REVISIONS["B"].id] = [Finding.FAILED]
    story.user("changes the image to one that answers errors", "B")
    story.run()
    return _ended(story, {"A": 10, "B": 2})


STORIES: tuple[Callable[[], Story], ...] = (
    weight_by_weight,
    aborted_at_a_weight,
    newer_spec_at_a_weight,
    check_fails_before_any_traffic,
    crash_at_a_weight,
    gateway_is_away_at_a_step,
    weights_are_edited,
    route_is_created_late,
    grant_is_taken_back_at_a_weight,
    back_after_two_canaries,
    preview_service_is_deleted,
    freeze_at_a_weight,
    freeze_before_a_weight,
    scaled_at_a_weight,
    back_while_the_previous_are_kept,
    route_is_left_out_at_a_weight,
    route_is_added_in_a_pause,
    held_at_a_weight,
)


@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_story(tell: Callable[[], Story]) -> None:
    tell().end()
