"""Golden sequences: what a user would see, from the apply to the end. See story.py.

Regenerate with ``UPDATE_GOLDEN=1 pytest tests/simulation/test_stories.py`` and read the diff.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.calendar.windows import Cron, Window
from immutable_operator.domain.model import OnTaint, Source, instance_name
from tests.simulation.simulation import DB
from tests.simulation.story import GOLDEN, Story, begun
from tests.simulation.toy_cluster import BEHAVIOURS
from tests.unit.given import REVISIONS, SERVICE, UID

WORKS = BEHAVIOURS["A"]
HANGS = replace(WORKS, about="never becomes ready", ready_after=None)


def rolling_3_surge_1() -> Story:
    story = begun("Rolling, 3 surge 1")
    story.user("changes the image", "B")
    story.run()
    # Records, births of both revisions, retirements, verdicts (begun and good): no write more.
    assert story.cluster.writes == 2 + 3 + 3 + 3 + 4
    return story


def min_ready_seconds() -> Story:
    story = begun(
        "minReadySeconds", "2 wanted, minReadySeconds 10", replicas=2, min_ready_seconds=10
    )
    story.user("changes the image", "B")
    story.run()
    return story


def rolling_20() -> Story:
    said = "20 wanted, maxSurge 25%"
    story = begun("Rolling, surge 25% of 20", said, replicas=20, max_surge="25%")
    story.user("changes the image", "B")
    story.run()
    assert story.cluster.writes == 2 + 20 + 20 + 20 + 4
    return story


def unavailable_first() -> Story:
    said = "3 wanted, maxSurge 0, maxUnavailable 1"
    story = begun("Unavailable first", said, max_surge=0, max_unavailable=1)
    story.user("changes the image", "B")
    story.run()
    return story


def surge_and_unavailable() -> Story:
    said = "6 wanted, maxSurge 2, maxUnavailable 2"
    story = begun("Surge and unavailable", said, replicas=6, max_surge=2, max_unavailable=2)
    story.user("changes the image", "B")
    story.run()
    return story


def broken_revision_then_fixed() -> Story:
    story = begun("Broken revision, then fixed")
    story.user("changes the image to one that cannot be pulled", "D")
    story.run(60)
    story.user("mends the image", "B")
    story.run()
    return story


def crash_loop_stalls() -> Story:
    story = begun("Crash loop stalls")
    story.user("changes the image to one that crashes", "C")
    story.run()
    return story


def hanging_revision_stalls_at_its_deadline() -> Story:
    said = "3 wanted, maxSurge 1, progressDeadlineSeconds 60"
    title = "Hanging revision stalls at its deadline"
    story = begun(title, said, progress_deadline_seconds=60)
    story.cluster.behaviours["B"] = HANGS
    story.user("changes the image to one that never becomes ready", "B")
    story.run(100)
    story.user("rolls back", "A")
    story.run()
    return story


def scale_mid_rollout() -> Story:
    story = begun("Scale mid-rollout", "4 wanted, maxSurge 1", replicas=4)
    story.user("changes the image", "B")
    story.run(8)
    story.user("scales to 6", replicas=6)
    story.run(8)
    story.user("scales to 2", replicas=2)
    story.run()
    return story


def quick_succession() -> Story:
    story = begun("Quick succession")
    story.cluster.behaviours["C"] = WORKS
    story.user("changes the image", "B")
    story.run(3)
    story.user("changes it again before that is ready", "C")
    story.run()
    return story


def there_and_back_again() -> Story:
    story = begun("There and back again")
    story.user("changes the image", "B")
    story.run(8)
    story.user("changes it back", "A")
    story.run()
    return story


def quota_then_release() -> Story:
    story = begun("Quota, then release")
    story.say("user", "sets a quota of 3 pods")
    story.cluster.quota = 3
    story.user("changes the image", "B")
    story.run(60)
    story.say("user", "raises the quota to 10 pods")
    story.cluster.quota = 10
    story.run()
    return story


def pdb_blocks_then_releases() -> Story:
    story = begun("PDB blocks, then releases")
    story.say("user", "creates a PodDisruptionBudget: minAvailable 4")
    story.cluster.min_available = 4
    story.user("changes the image", "B")
    story.run(45)
    story.say("user", "lowers it: minAvailable 3")
    story.cluster.min_available = 3
    story.run()
    return story


def suspend_and_resume() -> Story:
    story = begun("Suspend and resume")
    story.user("changes the image", "B")
    story.run(7)
    story.user("suspends", suspend=True)
    story.run(20)
    story.cluster.lose(instance_name(SERVICE, UID, REVISIONS["A"].id, 2, 0))
    story.run(10)
    story.user("changes the image back, still suspended", "A")
    story.run(10)
    story.user("resumes", suspend=False)
    story.run()
    return story


def refused_template_then_mended() -> Story:
    story = begun("Refused template, then mended")
    story.user("changes the image to one that a policy forbids", "F")
    story.run(30)
    story.user("mends it", "B")
    story.run()
    return story


def refused_spec() -> Story:
    story = begun("Refused spec")
    story.user("changes the image", "B")
    story.run(7)
    story.say("user", "applies a spec that the operator refuses")
    wanted = story.cluster.spec
    story.refuse()
    story.run(1000)
    story.cluster.spec = wanted
    story.user("mends the spec")
    story.run()
    return story


def lost_deleted_and_ended_pods() -> Story:
    story = begun("Lost, deleted and ended pods")
    names = sorted(story.cluster.pods, key=lambda n: story.cluster.pods[n].slot)
    story.cluster.lose(names[0])
    story.run(20)
    story.cluster.delete(names[1])
    story.run(20)
    story.cluster.end(names[2])
    story.run()
    return story


def node_that_turns_pods_away() -> Story:
    said = "2 wanted, progressDeadlineSeconds 60"
    title = "Node that turns pods away"
    story = begun(title, said, replicas=2, progress_deadline_seconds=60)
    story.cluster.behaviours["A"] = BEHAVIOURS["E"]
    (name,) = (n for n, pod in story.cluster.pods.items() if pod.slot == 1)
    story.cluster.end(name)
    story.run(100)
    story.say("cluster", "the node lets pods in again")
    story.cluster.behaviours["A"] = WORKS
    story.run()
    return story


def name_of_a_stranger() -> Story:
    story = Story("Name of a stranger")
    story.say("user", "has a pod of his own under a name that the operator would give")
    story.cluster.strangers.add(instance_name(SERVICE, UID, REVISIONS["A"].id, 1, 0))
    story.user("applies web: 3 wanted", "A", replicas=3)
    story.run()
    story.user("changes the image", "B")
    story.run()
    return story


def scaled_to_zero_and_back() -> Story:
    story = begun("Scaled to zero and back", "2 wanted", replicas=2)
    story.user("scales to 0", replicas=0)
    story.run(30)
    story.user("changes the image", "B")
    story.run(30)
    story.user("scales to 2", replicas=2)
    story.run()
    return story


def operator_restarts_mid_rollout() -> Story:
    story = begun("Operator restarts mid-rollout")
    story.user("changes the image", "B")
    story.run(7)
    story.say("operator", "restarts, and remembers nothing")
    story.operator.restart()
    story.run()
    assert story.cluster.writes == 2 + 3 + 3 + 3 + 4
    return story


def reached_into() -> Story:
    story = begun("Reached into")
    story.cluster.reach_into(_pod(story, 1))
    story.run()
    return story


def reached_into_during_a_rollout() -> Story:
    story = begun("Reached into during a rollout")
    story.user("changes the image", "B")
    story.run(7)
    for name in sorted(story.cluster.pods):
        if not story.cluster.pods[name].terminating:
            story.cluster.reach_into(name)
    story.run()
    return story


def quarantine() -> Story:
    said = "3 wanted, onTaint Quarantine for 600 s"
    story = begun("Quarantine", said, on_taint=OnTaint.QUARANTINE, quarantine_seconds=600.0)
    story.cluster.reach_into(_pod(story, 1))
    story.run()
    return story


def something_patches_every_new_pod() -> Story:
    story = begun("Something patches every new pod")
    story.say("cluster", "from now on each pod is patched 2 s after its birth")
    story.cluster.patched_after = 2.0
    story.cluster.reach_into(_pod(story, 1))
    story.run(3 * 3600)
    story.say("cluster", "nothing patches pods any more")
    story.cluster.patched_after = None
    story.run()
    return story


def _patched_rollout(title: str, **fields: object) -> Story:
    story = begun(title, "3 wanted, maxSurge 1", Story, **fields)
    story.say("cluster", "from now on each pod is patched 2 s after its birth")
    story.cluster.patched_after = 2.0
    story.user("changes the image", "B")
    story.run(1800)
    story.say("cluster", "nothing patches pods any more")
    story.cluster.patched_after = None
    story.run(3 * 3600)
    return story


def something_patches_a_rollout() -> Story:
    return _patched_rollout("Something patches every new pod of a rollout")


def something_patches_a_rollout_in_quarantine() -> Story:
    title = "Something patches every new pod of a rollout, with quarantine"
    return _patched_rollout(title, on_taint=OnTaint.QUARANTINE)


def regeneration_by_age() -> Story:
    said = "3 wanted, maxSurge 1, maxAge 1h, jitter 10%, maxConcurrent 1"
    story = begun("Regeneration by age", said, regeneration=Regeneration(max_age=3600.0))
    story.run(2 * 3600)
    return story


def regeneration_waits_for_its_window() -> Story:
    """The stories begin at 08:00 UTC."""
    window = Window(Cron("0 12 * * *", "UTC"), 3600.0)
    said = "2 wanted, maxAge 1h, hardMaxAge 12h, a window at 12:00 for 1h"
    story = begun(
        "Regeneration waits for its window",
        said,
        replicas=2,
        regeneration=Regeneration(max_age=3600.0, hard_max_age=43200.0, windows=(window,)),
    )
    story.run(5 * 3600)
    return story


def a_config_map_changes_and_goes_missing() -> Story:
    story = Story("A ConfigMap changes and goes missing")
    pinned = {("ConfigMap", "settings"): False}
    said = "applies web: 2 wanted, maxSurge 1; it reads the ConfigMap settings"
    story.user(said, "A", replicas=2, max_surge=1, max_unavailable=0, pinned=pinned)
    story.run(60)
    story.config("creates the ConfigMap", "old")
    story.run(60)
    story.config("changes the ConfigMap", "new")
    story.run(60)
    story.config("deletes the ConfigMap", None)
    story.run(10)
    story.cluster.delete(_pod(story, 0))
    story.run(50)
    story.config("creates it again as it was first", "old")
    story.run()
    # Two records with a copy each, and births and retirements of three fleets of two.
    # And a verdict when each of the two begins, and when it is good.
    return story


def a_secret_is_granted_rotated_and_withheld() -> Story:
    story = Story("A Secret is granted, rotated and withheld")
    story.cluster.behaviours["C"] = WORKS
    story.grant(granted=False)
    story.rotate(Source("hmac-sha256:k1:old"))
    said = "applies web: 2 wanted, maxSurge 1; it reads the Secret db, which is not granted"
    story.user(said, "A", replicas=2, max_surge=1, max_unavailable=0, pinned={DB: False})
    story.run(60)
    story.say("user", "grants the namespace; nothing happens")
    story.grant(granted=True)
    story.run(60)
    story.user("applies another template, which pins the Secret", "B")
    story.run(60)
    story.say("user", "loses the key of the digests; nothing happens")
    story.rotate(Source("hmac-sha256:k2:old", same=frozenset({"hmac-sha256:k1:old"})))
    story.run(60)
    story.say("user", "rotates the Secret")
    story.rotate(Source("hmac-sha256:k2:new", author="vault"))
    story.run(60)
    story.say("user", "takes the grant back; nothing happens")
    story.grant(granted=False)
    story.run(10)
    story.cluster.delete(_pod(story, 0))
    story.run(50)
    story.user("applies another template, which reads the Secret live", "C")
    story.run()
    return story


def _pod(story: Story, slot: int) -> str:
    """The name of the pod in a slot."""
    return next(name for name, pod in story.cluster.pods.items() if pod.slot == slot)


STORIES: list[Callable[[], Story]] = [
    rolling_3_surge_1,
    min_ready_seconds,
    rolling_20,
    unavailable_first,
    surge_and_unavailable,
    broken_revision_then_fixed,
    crash_loop_stalls,
    hanging_revision_stalls_at_its_deadline,
    scale_mid_rollout,
    quick_succession,
    there_and_back_again,
    quota_then_release,
    pdb_blocks_then_releases,
    suspend_and_resume,
    refused_template_then_mended,
    refused_spec,
    lost_deleted_and_ended_pods,
    node_that_turns_pods_away,
    name_of_a_stranger,
    scaled_to_zero_and_back,
    operator_restarts_mid_rollout,
    reached_into,
    reached_into_during_a_rollout,
    quarantine,
    something_patches_every_new_pod,
    something_patches_a_rollout,
    something_patches_a_rollout_in_quarantine,
    regeneration_by_age,
    regeneration_waits_for_its_window,
    a_config_map_changes_and_goes_missing,
    a_secret_is_granted_rotated_and_withheld,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_story_equals_its_golden_file(story: Callable[[], Story]) -> None:
    story().end()


def test_every_golden_file_belongs_to_a_story() -> None:
    assert len(list(GOLDEN.glob("*.txt"))) == len(STORIES)
