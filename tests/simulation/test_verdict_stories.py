"""Golden sequences of revisions that fail: what a user sees, and which ways on there are.

Regenerate with ``UPDATE_GOLDEN=1 pytest tests/simulation/test_verdict_stories.py`` and read the
diff.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from immutable_operator.domain.model import (
    CONFIG_MAP,
    Check,
    Command,
    Finding,
    HttpQuestion,
    OnInconclusive,
    TroubleKind,
)
from tests.simulation.story import GOLDEN, Story, begun
from tests.simulation.toy_cluster import BEHAVIOURS
from tests.unit.given import REVISIONS

WORKS = BEHAVIOURS["A"]
HANGS = replace(WORKS, about="never becomes ready", ready_after=None)
NOT_FOUND = "container web: image web cannot be pulled: manifest unknown"
SETTINGS = (CONFIG_MAP, "settings")
UP = Check("up", HttpQuestion(url="http://web/healthz", status=200))


class VerdictStory(Story):
    """A story in a folder of its own."""

    folder = GOLDEN / "verdicts"


def _begun(title: str, said: str = "3 wanted, maxSurge 1", **fields: object) -> Story:
    return begun(title, said, VerdictStory, **fields)


def _crashes_after(story: Story, letter: str, seconds: float, settles: float = 20) -> None:
    """Pods of a revision become ready and crash later, again and again after ``settles`` s more."""
    crashes = BEHAVIOURS["C"].trouble
    assert crashes is not None
    assert crashes.kind is TroubleKind.CRASH_LOOP
    lives = replace(
        WORKS,
        trouble=crashes,
        trouble_after=seconds,
        settled_after=seconds + settles,
        ready_after=5.0,
    )
    story.cluster.behaviours[letter] = lives


def broken_image() -> Story:
    """Git re-applies it for ever; nothing is tried again."""
    story = _begun("Broken image that Git applies again")
    broken = BEHAVIOURS["D"]
    assert broken.trouble is not None
    trouble = replace(broken.trouble, message=NOT_FOUND, is_final=True)
    story.cluster.behaviours["D"] = replace(broken, trouble=trouble)
    story.user("changes the image to one that does not exist", "D")
    story.run(120)
    births = len(story.cluster.pods)
    for _ in range(3):
        story.user("Git applies the same again", "D")
        story.run(300)
    assert len(story.cluster.pods) == births == 3
    story.user("writes an image that exists", "B")
    story.run()
    return story


def crash_loop_later() -> Story:
    story = _begun("Crash loop after a while")
    _crashes_after(story, "B", 12)
    story.user("changes the image to one that crashes after 12 s", "B")
    story.run()
    assert {i.revision for i in story.cluster.pods.values()} == {REVISIONS["A"].id}
    return story


def deadline() -> Story:
    """The one that was lost meanwhile is made good at once."""
    said = "3 wanted, maxSurge 1, progressDeadlineSeconds 60"
    story = _begun("Deadline", said, progress_deadline_seconds=60)
    story.cluster.behaviours["B"] = HANGS
    story.user("changes the image to one that never becomes ready", "B")
    story.run(30)
    story.cluster.lose(next(n for n, pod in story.cluster.pods.items() if pod.slot == 2))
    story.run()
    return story


def bake_fails() -> Story:
    story = _begun("Bake fails", "3 wanted, maxSurge 1, bakeSeconds 60", bake_seconds=60)
    story.run(60)
    _crashes_after(story, "B", 40)
    story.user("changes the image to one that crashes after 40 s", "B")
    story.run()
    return story


def _checked(title: str, said: str, **check: object) -> Story:
    """A service whose releases are checked; the first one passed."""
    up = replace(UP, **check)  # type: ignore[arg-type]
    return _begun(title, f"3 wanted, maxSurge 1, {said}", checks=(up,))


def check_passes() -> Story:
    """The operator dies while it asks, and asks again."""
    story = _checked("Check passes", "a check that may fail for 30 s", within=30.0)
    story.cluster.findings[REVISIONS["B"].id] = [Finding.FAILED, Finding.FAILED, Finding.PASSED]
    story.user("changes the image to one that needs 10 s to warm up", "B")
    story.run(20)
    story.say("operator", "restarts")
    story.operator.restart()
    story.run()
    return story


def check_fails() -> Story:
    story = _checked("Check fails", "a check")
    story.cluster.findings[REVISIONS["B"].id] = [Finding.FAILED]
    story.user("changes the image to one that answers errors", "B")
    story.run()
    story.say("cluster", "the answers are right now")
    story.cluster.findings.clear()
    story.act("creates an ImmutableAction of type Retry", Command.RETRY)
    story.run()
    return story


def check_waits() -> Story:
    said = "a check that waits if it is inconclusive twice"
    wait = OnInconclusive.WAIT
    story = _checked("Check waits", said, on_inconclusive=wait, inconclusive_limit=2)
    story.cluster.findings[REVISIONS["B"].id] = [Finding.INCONCLUSIVE]
    story.user("changes the image while the server that is asked does not answer", "B")
    story.run(120)
    story.say("cluster", "the server answers")
    story.cluster.findings.clear()
    story.run()
    return story


def check_has_no_result() -> Story:
    story = _checked(
        "Check has no result",
        "a check that fails if it is inconclusive 3 times",
        inconclusive_limit=3,
    )
    story.cluster.findings[REVISIONS["B"].id] = [Finding.INCONCLUSIVE]
    story.user("changes the image while the server that is asked does not answer", "B")
    story.run()
    return story


def retry_works() -> Story:
    story = _begun(
        "Retry works",
        "2 wanted, progressDeadlineSeconds 60",
        replicas=2,
        progress_deadline_seconds=60,
    )
    story.cluster.behaviours["B"] = HANGS
    story.say("cluster", "the database is down")
    story.user("changes the image to one that needs the database", "B")
    story.run(100)
    story.say("cluster", "the database works again")
    story.cluster.behaviours["B"] = WORKS
    story.act("creates an ImmutableAction of type Retry", Command.RETRY)
    story.run()
    return story


def retry_fails() -> Story:
    story = _begun("Retry fails again", "2 wanted", replicas=2)
    story.user("changes the image to one that crashes", "C")
    story.run(100)
    story.say("user", "commits the annotation immutable.dev/retry: after-the-migration")
    story.retry("after-the-migration")
    story.run(200)
    story.act("creates an ImmutableAction of type Retry", Command.RETRY)
    story.run()
    assert len([t for t in story.operator.told if t.reason == "RevisionFailed"]) == 3
    return story


def edit_during_the_rollback() -> Story:
    story = _begun("Edit during the rollback", "6 wanted, maxSurge 1", replicas=6)
    _crashes_after(story, "B", 12, settles=4)
    story.user("changes the image to one that crashes after 12 s", "B")
    story.run(18)
    assert story.operator.status.failed_revisions
    assert len({i.revision for i in story.cluster.pods.values()}) == 2
    story.cluster.behaviours["C"] = WORKS
    story.user("writes an image that works, before all are back", "C")
    story.run()
    return story


def person_rolls_back() -> Story:
    story = _begun("A person rolls back and resumes", "2 wanted", replicas=2)
    story.user("changes the image", "B")
    story.run(60)
    story.act(
        "creates an ImmutableAction of type RollBack, reason: errors in checkout",
        Command.ROLL_BACK,
        reason="errors in checkout",
    )
    story.run(60)
    story.user("Git applies the same again", "B")
    story.run(60)
    story.act("tries an ImmutableAction of type Retry", Command.RETRY)
    story.run(10)
    story.act("creates an ImmutableAction of type Resume", Command.RESUME)
    story.run()
    return story


def first_revision_fails() -> Story:
    story = VerdictStory("First revision fails and is mended")
    story.user("applies web: 2 wanted, of an image that crashes", "C", replicas=2)
    story.run(300)
    story.user("writes an image that works", "B")
    story.run()
    return story


def copy_is_lost() -> Story:
    """No instance of revision 1 can be created; those that are there stay."""
    story = VerdictStory("The copy of the fallback is lost")
    fields = {"replicas": 3, "max_surge": 1, "pinned": {SETTINGS: False}}
    story.config("creates the ConfigMap settings", "old")
    story.user("applies web: 3 wanted, maxSurge 1; it reads the ConfigMap settings", "A", **fields)
    story.run(60)
    _crashes_after(story, "A", 12)
    story.say("user", "deletes the copy of settings that revision 1 owns")
    story.cluster.forget_copies(1)
    story.config("writes values into settings with which web crashes after 12 s", "new")
    story.run(300)
    story.cluster.behaviours["A"] = WORKS
    story.config("writes the old values again", "old")
    story.run()
    return story


STORIES: list[Callable[[], Story]] = [
    broken_image,
    crash_loop_later,
    deadline,
    bake_fails,
    check_passes,
    check_fails,
    check_waits,
    check_has_no_result,
    retry_works,
    retry_fails,
    edit_during_the_rollback,
    person_rolls_back,
    first_revision_fails,
    copy_is_lost,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_story_of_a_failure_equals_its_golden_file(story: Callable[[], Story]) -> None:
    story().end()


def test_every_golden_file_of_a_failure_belongs_to_a_story() -> None:
    assert len(list(VerdictStory.folder.glob("*.txt"))) == len(STORIES)
