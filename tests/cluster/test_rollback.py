"""A revision that fails is left by itself, stays failed, and what worked before is restored.

Each test counts the pods that were born and told to end, by an independent watcher.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from immutable_operator.domain import target
from tests.cluster import kstatus
from tests.cluster.actions import act, freeze_of, outcome, phase
from tests.cluster.history import History
from tests.cluster.rollbacks import (
    CRASH,
    NEVER,
    broken,
    counts,
    record,
    until_back,
    until_failed,
    verdict,
)
from tests.cluster.services import Service, condition, conditions, is_ready, pin
from tests.controlplane.api import Json


def test_crash_loop_rolls_back_and_says_what_failed_and_what_runs(web: Service) -> None:
    web.apply(image="a", replicas=3)
    web.until_ready()
    before = {pod["metadata"]["uid"] for pod in web.pods()}
    with History(web) as history:
        web.apply(image="b", sim=CRASH)
        told = until_back(web)
    assert len(history.births()) == 1, history.story()
    assert len(history.retirements()) == 1, history.story()
    assert before == {pod["metadata"]["uid"] for pod in web.pods()}, "no good one was touched"
    good, failed = record(web, 1), record(web, 2)
    assert failed["status"]["phase"] == "Failed"
    assert failed["status"]["reason"] == "CrashLoop"
    assert failed["status"]["fallback"] == good["spec"]["revision"]
    assert "keeps exiting with code 1" in failed["status"]["message"]
    for words in ("keeps exiting", f"revision 1 ({web.revision()}) runs instead", "type Retry"):
        assert words in told["message"]
    body = web.get()
    assert kstatus.compute(body) == "Failed"
    assert conditions(body)["Ready"] == "False"
    assert condition(body, "Available")["status"] == "True"
    [listed] = body["status"]["failedRevisions"]
    assert (listed["revision"], listed["reason"]) == (failed["spec"]["revision"], "CrashLoop")
    [event] = web.events("RevisionFailed")
    assert "going back to revision 1" in event["message"]
    assert not web.events("Stalled")
    assert "Failed" in web.kubectl("get", "imrev")


def test_image_that_does_not_exist_fails_after_the_second_try(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    with History(web) as history:
        web.apply(image="b", sim={"fault": "image-not-found"})
        until_back(web)
    assert verdict(web, 2)["reason"] == "ImageNotFound"
    assert counts(history) == (1, 1), history.story()


def test_registry_that_does_not_answer_is_no_failure_before_the_deadline(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    web.apply(image="b", sim={"fault": "image-pull"}, rollout={"progressDeadlineSeconds": 30})
    web.until_stalled("ImagePull")
    assert verdict(web, 2)["phase"] == "Progressing"
    until_back(web)
    assert verdict(web, 2)["reason"] == "ProgressDeadlineExceeded"
    assert "connection refused" in verdict(web, 2)["message"]


def test_rollout_that_a_budget_delays_is_reported_and_does_not_fail(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    # More than there are with all successors: it allows nothing, however many it counts.
    web.kubectl("create", "pdb", "mine", "--selector=app=web", "--min-available=9")
    web.apply(image="b", rollout={"progressDeadlineSeconds": 10})
    told = web.until_stalled("ProgressDeadlineExceeded")
    assert "blocked by PodDisruptionBudget" in told["message"]
    assert verdict(web, 2)["phase"] == "Progressing"
    web.kubectl("delete", "pdb", "mine")
    web.until_ready()
    assert web.images() == [pin("b")] * 2
    assert not web.events("RevisionFailed")


def test_deadline_rolls_back_and_edit_ends_it(web: Service) -> None:
    """The failed one is left for the next template, which is an ordinary rollout."""
    web.apply(image="a", replicas=2)
    web.until_ready()
    web.apply(image="b", sim=NEVER, rollout={"progressDeadlineSeconds": 5})
    until_back(web)
    assert "no progress for 5 s" in verdict(web, 2)["message"]
    with History(web) as history:
        web.apply(image="c", sim={}, rollout={})
        web.until_ready()
    assert counts(history) == (2, 2), history.story()
    assert web.images() == [pin("c")] * 2
    assert verdict(web, 2)["phase"] == "Failed"


def test_going_back_to_the_last_good_spec_moves_nothing(web: Service) -> None:
    broken(web)
    with History(web) as history:
        web.apply(image="a", sim={})
        web.until_ready()
        web.apply(image="b", sim=CRASH)
        until_back(web)
    assert not history.births(), history.story()
    assert len(web.events("RevisionFailed")) == 1


def test_two_edits_in_a_second_and_back(web: Service) -> None:
    """A → B → C → B: the newest wins, and B is judged by its own pods."""
    web.apply(image="a", replicas=2)
    web.until_ready()
    with History(web) as history:
        web.apply(image="b", sim=CRASH)
        web.apply(image="c", sim={})
        web.until_ready()
        web.until("the others are gone", lambda: len(web.pods()) == 2)
    born = [birth.pod["spec"]["containers"][0]["image"] for birth in history.births()]
    assert born.count(pin("c")) == 2, history.story()
    assert born.count(pin("b")) <= 1, "one may have been born in between"
    assert len(history.retirements()) == len(born), history.story()
    with History(web) as history:
        web.apply(image="b", sim=CRASH)
        until_back(web, "c")
        web.until("what failed is gone", lambda: len(web.pods()) == 2)
    assert counts(history) == (1, 1), history.story()


def test_edit_during_the_rollback(web: Service) -> None:
    web.apply(image="a", replicas=3, sim={"terminate-delay": "3s"})
    web.until_ready()
    with History(web) as history:
        web.apply(image="b", sim={**CRASH, "terminate-delay": "3s"})
        web.until_stalled("RolledBack")
        web.apply(image="c", sim={})
        web.until_ready()
        web.until("the others are gone", lambda: len(web.pods()) == 3)
    assert counts(history) == (4, 4), history.story()
    assert web.images() == [pin("c")] * 3


def test_retry_that_fails_again_and_one_that_works(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    web.apply(image="b", sim=NEVER, rollout={"progressDeadlineSeconds": 5})
    until_back(web)
    with History(web) as history:
        act(web, "again", type="Retry")
        web.until("it failed again", lambda: phase(web, "again") == "Failed")
        until_back(web)
    assert counts(history) == (1, 1), history.story()
    assert "failed again: ProgressDeadlineExceeded" in outcome(web, "again")
    web.apply(rollout={})
    web.kubectl("annotate", "imsvc/web", "immutable.dev/retry=the-database-is-up")

    def works() -> bool:
        for pod in web.active():
            if pod["spec"]["containers"][0]["image"] == pin("b") and not is_ready(pod):
                web.mark_pod(pod["metadata"]["name"], fault=None)
        return bool(conditions(web.get())["Ready"] == "True")

    with History(web) as history:
        web.until("the second retry works", works)
        web.until("the others are gone", lambda: len(web.pods()) == 2)
    # The first one of b may be there already.
    assert len(history.retirements()) == 2, history.story()
    assert web.images() == [pin("b")] * 2
    assert verdict(web, 2)["phase"] == "Good"


def test_user_rolls_back_further_and_resumes(web: Service) -> None:
    for image in ("a", "b", "c"):
        web.apply(image=image, replicas=2)
        web.until_ready()
    with History(web) as history:
        act(web, "undo", type="RollBack", reason="too slow 🐌")
        web.until("it went back", lambda: phase(web, "undo") == "Succeeded")
        assert web.images() == [pin("b")] * 2
    assert counts(history) == (2, 2), history.story()
    first = record(web, 1)["spec"]["revision"]
    act(web, "further", type="RollBack", revision=first)
    web.until("it went further", lambda: phase(web, "further") == "Succeeded")
    assert web.images() == [pin("a")] * 2
    stalled = condition(web.get(), "Stalled")
    assert stalled["reason"] == "RolledBack"
    assert "type Resume" in stalled["message"]
    assert verdict(web, 3)["rejectedBy"]
    act(web, "wrong", type="Retry")
    web.until("it is refused", lambda: phase(web, "wrong") == "Failed")
    assert "create an action of type Resume" in outcome(web, "wrong")
    with History(web) as history:
        act(web, "on", type="Resume")
        web.until("it runs what the spec asks for", lambda: phase(web, "on") == "Succeeded")
        web.until("the others are gone", lambda: len(web.pods()) == 2)
    assert counts(history) == (2, 2), history.story()
    assert web.images() == [pin("c")] * 2
    web.until_ready()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"type": "RollBack"}, "is on record, so none can be restored"),
        ({"type": "RollBack", "revision": "00000000"}, "is not on record"),
        ({"type": "Retry"}, "there is nothing to retry"),
        ({"type": "Resume"}, "there is nothing to resume"),
    ],
    ids=["nothing to go back to", "unknown revision", "nothing failed", "nothing rejected"],
)
def test_command_that_does_not_apply_says_why(web: Service, spec: Json, words: str) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    act(web, "it", **spec)
    web.until("it failed", lambda: phase(web, "it") == "Failed")
    assert words in outcome(web, "it")
    assert web.images() == [pin("a")]


@contextmanager
def suspended(web: Service) -> Iterator[None]:
    web.apply(spec={"suspend": True})
    yield
    web.apply(spec={"suspend": False})


@contextmanager
def frozen(web: Service) -> Iterator[None]:
    freeze = freeze_of(web, "audit")
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(freeze))
    try:
        yield
    finally:
        web.plane.kubectl("delete", "imfrz", freeze["metadata"]["name"])


@pytest.mark.parametrize("held", [suspended, frozen])
def test_rollback_that_was_held_rejects_no_later_spec(
    web: Service, held: Callable[[Service], AbstractContextManager[None]]
) -> None:
    for image in ("a", "b", "c"):
        web.apply(image=image, replicas=2)
        web.until_ready()
    oldest = record(web, 1)["spec"]["revision"]
    with held(web):
        # Going back further than the last good one is what a freeze holds back.
        act(web, "it", type="RollBack", revision=oldest)
        web.until("it waits", lambda: phase(web, "it") == "Pending")
        web.apply(image="d")
        web.until("it ends", lambda: phase(web, "it") == "Failed")
    assert "create another action" in outcome(web, "it")
    web.until("the correction runs", lambda: web.images() == [pin("d")] * 2)
    web.until_ready()
    assert not any("rejectedBy" in r["status"] for r in web.revisions())


def test_first_revision_that_fails_is_kept_and_may_recover(web: Service) -> None:
    web.apply(image="a", replicas=2, sim=NEVER, rollout={"progressDeadlineSeconds": 4})
    until_failed(web, 1)
    web.until(
        "it says so",
        lambda: target.NOTHING_ELSE in condition(web.get(), "Stalled").get("message", ""),
    )
    assert len(web.active()) == 2
    for pod in web.active():
        web.mark_pod(pod["metadata"]["name"], fault=None)
    web.until_ready()
    assert verdict(web, 1)["phase"] == "Good"


def test_hold_keeps_what_failed_and_repairs_what_works(web: Service) -> None:
    web.apply(image="a", replicas=3)
    web.until_ready()
    web.apply(image="b", sim=CRASH, rollout={"onFailure": "Hold"})
    until_failed(web, 2)
    web.until_stalled("CrashLoop")
    assert sorted(web.images()) == sorted([pin("a")] * 3 + [pin("b")])
    with History(web) as history:
        good = next(p for p in web.active() if p["spec"]["containers"][0]["image"] == pin("a"))
        web.kubectl("delete", "pod", good["metadata"]["name"])
        web.until("it is replaced", lambda: web.images().count(pin("a")) == 3)
    assert len(history.births()) == 1, history.story()
    web.apply(image="b", rollout={"onFailure": "RollBack"})
    until_back(web)


@pytest.mark.parametrize(
    ("replicas", "moved"),
    # At 0 the release waits for a number; the good one is gone, and is born again.
    [pytest.param(0, (2, 2), id="0"), pytest.param(1, (1, 1), id="1")],
)
def test_small_numbers(web: Service, replicas: int, moved: tuple[int, int]) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    with History(web) as history:
        web.apply(image="b", sim=CRASH, replicas=replicas)
        if not replicas:
            web.until_ready()
            web.until("nothing runs", lambda: not web.pods())
            web.kubectl("scale", "imsvc/web", "--replicas=1")
        until_back(web)
        web.until("what failed is gone", lambda: len(web.pods()) == 1)
    assert counts(history) == moved, history.story()


def test_without_surge_the_place_is_given_back(web: Service) -> None:
    rollout = {"maxSurge": 0, "maxUnavailable": 1}
    web.apply(image="a", replicas=3, rollout=rollout)
    web.until_ready()
    with History(web) as history:
        web.apply(image="b", sim=CRASH)
        until_back(web)
    assert counts(history) == (2, 2), history.story()


def test_crash_a_minute_later_while_baking_rolls_back(web: Service) -> None:
    web.apply(image="a", replicas=2, rollout={"bakeSeconds": 5})
    web.until_ready()
    with History(web) as history:
        web.apply(
            image="b",
            sim={"fault": "crash-after-ready", "crash-after": "60s"},
            rollout={"bakeSeconds": 600, "maxSurge": 2},
        )
        web.until("it bakes", lambda: condition(web.get(), "Reconciling").get("reason") == "Baking")
        web.until_stalled("RolledBack", 150)
        until_back(web)
        web.until("what failed is gone", lambda: len(web.pods()) == 2)
    assert counts(history) == (4, 4), history.story()
    assert verdict(web, 2)["reason"] in ("FailedWhileBaking", "CrashLoop")
