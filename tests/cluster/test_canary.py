"""Canary on a real API server: steps, pauses, checks and ways back, with kubectl as users do."""

from __future__ import annotations

import pytest

from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.checked import Checked
from tests.cluster.operator_process import Operators
from tests.cluster.plugin import run
from tests.cluster.rollbacks import CRASH
from tests.cluster.services import Service, condition, pin
from tests.controlplane.api import Json

WAITS = "WaitingForPromotion"
BY_HAND: Json = {"pause": {"until": "Promoted"}}


def steps(*given: Json, **more: object) -> Json:
    return {"strategy": "Canary", "canary": {"steps": [*given]}, "maxSurge": 1, **more}


def share(web: Service) -> tuple[int, int]:
    """How many active pods are of image a, and of b."""
    return len(web.of("a")), len(web.of("b"))


def until_share(web: Service, old: int, new: int) -> None:
    web.until(f"{old} of a and {new} of b", lambda: share(web) == (old, new))


def begin(web: Service, rollout: Json, replicas: int = 5) -> None:
    web.apply(image="a", replicas=replicas, rollout=rollout)
    web.until_ready()


def paused(web: Service, *later: Json) -> None:
    """At the first pause: 1 of 5 pods is of image b."""
    begin(web, steps({"setWeight": 20}, BY_HAND, *later))
    web.apply(image="b")
    web.until("it waits", lambda: web.reason() == WAITS)
    assert share(web) == (4, 1)


def test_steps_go_on_when_somebody_promotes_and_when_time_has_passed(web: Service) -> None:
    paused(web, {"setReplicas": 3}, {"pause": {"for": "2s"}})
    told = condition(web.get(), "Reconciling")["message"]
    assert "step 2 of 4 (pause), 1 of 5 instances are current and available" in told
    assert "kubectl immutable promote web" in told
    rollout = web.get()["status"]["rollout"]
    assert (rollout["step"], rollout["steps"]) == (2, 4)
    web.until("it is an event", lambda: web.events(WAITS))
    before = web.of("b")
    done = run(web, "promote", "web", "--reason", "no errors", "--wait", "--timeout=100")
    assert done.code == 0, done
    web.until_ready()
    assert web.images() == [pin("b")] * 5
    assert before <= web.of("b"), "the first ones stay"
    messages = [event["message"] for event in web.events("StepCompleted")]
    assert len(messages) == 4
    assert any("step 3 of 4 (setReplicas 3) is done" in message for message in messages)
    record = web.revisions()[-1]["status"]
    assert (record["phase"], record["step"]) == ("Good", 4)


def test_share_stays_when_a_service_is_scaled_and_loses_pods(web: Service) -> None:
    paused(web)
    web.kubectl("scale", "imsvc", "web", "--replicas=10")
    until_share(web, 8, 2)
    web.kubectl("scale", "imsvc", "web", "--replicas=5")
    until_share(web, 4, 1)
    for image in "ab":
        victim = min(web.of(image))
        web.kubectl("delete", "pod", victim)
        until_share(web, 4, 1)
        assert victim not in web.of(image)


def test_abort_removes_the_new_pods_and_restores_the_others(web: Service) -> None:
    paused(web)
    kept = web.of("a")
    done = run(web, "abort", "web", "--reason", "slower", "--wait", "--timeout=100")
    assert done.code == 0, done
    assert "slower" in web.until_stalled("RolledBack")["message"]
    until_share(web, 5, 0)
    assert kept <= web.of("a")
    late = run(web, "promote", "web", "--wait", "--timeout=100")
    assert late.code == 1, late
    assert "failed, so there is nothing to promote" in late.err


def test_promotion_that_comes_early_waits_for_the_pause(web: Service) -> None:
    begin(web, steps({"setWeight": 20}, BY_HAND, {"setWeight": 60}, BY_HAND))
    web.apply(image="b", sim={"ready-delay": "2s"})
    early = run(web, "promote", "web", "--wait", "--timeout=100")
    assert early.code == 0, early
    web.until("it is at the second pause", lambda: share(web) == (2, 3) and web.reason() == WAITS)


def test_newer_spec_begins_anew_and_leaves_the_others(web: Service) -> None:
    paused(web)
    kept = web.of("a")
    web.apply(image="c")
    web.until("c waits", lambda: web.reason() == WAITS and len(web.of("c")) == 1)
    web.until("b is gone", lambda: not web.of("b"))
    assert web.of("a") == kept


def test_crash_at_the_first_step_costs_one_pod_for_a_while(web: Service) -> None:
    begin(web, steps({"setWeight": 20}, BY_HAND))
    kept = web.of("a")
    web.apply(image="b", sim=CRASH)
    web.until_stalled("RolledBack")
    until_share(web, 5, 0)
    assert web.of("a") == kept, "the new pod came first, so none of them went"


def test_restart_of_the_operator_keeps_the_step_and_writes_nothing(
    web: Service, operators: Operators
) -> None:
    paused(web)
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    until_quiet(asked)
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    operators.restart()
    operators.main.until_leading()
    until_quiet(asked)
    assert [r for r in asked.writes() if r.resource != "immutablelineages"] == []
    assert share(web) == (4, 1)
    assert run(web, "promote", "web", "--wait", "--timeout=100").code == 0
    web.until_ready()


def test_wait_of_a_pipeline_ends_when_a_step_needs_a_person(web: Service) -> None:
    paused(web)
    told = run(web, "status", "web", "--timeout=100")
    assert told.code == 4, told
    assert "step 2 of 2 (pause)" in told.out


@pytest.mark.parametrize(("status", "old", "new"), [(200, 2, 2), (500, 4, 0)])
def test_check_decides_at_its_step(
    web: Service, checked: Checked, status: int, old: int, new: int
) -> None:
    checked.status = 200
    http = {"url": f"{checked.url}/errors", "expect": {"status": 200}, "within": "1s"}
    checks = [{"name": "errors", "http": http}]
    given = steps({"setReplicas": 1}, {"check": "errors"}, {"setReplicas": 2}, BY_HAND)
    begin(web, {**given, "checks": checks}, 4)
    checked.status = status
    checked.asked.clear()
    web.apply(image="b")
    reason = WAITS if status == 200 else "RolledBack"
    web.until("it is decided", lambda: web.reason() == reason)
    until_share(web, old, new)
    assert checked.asked, "it was asked at its step"
    [check] = web.revisions()[-1]["status"]["checks"]
    assert check["phase"] == ("Passed" if status == 200 else "Failed")
