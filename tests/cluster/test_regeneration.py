"""Nothing lives longer than it may: by age, by schedule, on request; never during a freeze.

Ages are seconds here. Kubernetes tells births in whole seconds, so a second more is allowed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from immutable_operator.domain.staleness.requested import ALL_REPLACED, no_service
from tests.cluster.audit import OperatorRequests
from tests.cluster.history import History
from tests.cluster.services import Service, annotation, condition, pin
from tests.controlplane.api import Json

REPLICAS = 3


def names(service: Service) -> set[str]:
    return {pod["metadata"]["name"] for pod in service.active()}


def spec(**regeneration: Any) -> Json:
    return {"regeneration": regeneration}


def stamp(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def born(pod: Json) -> float:
    return datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp()


def test_instances_are_replaced_before_their_age_one_at_a_time(web: Service) -> None:
    web.apply(replicas=REPLICAS, rollout={"maxSurge": 2}, spec=spec(maxAge="25s", jitter="0%"))
    web.until_ready()
    first = names(web)
    with History(web) as history:
        web.until("all were replaced", lambda: not first & names(web), 60)
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        for change, pods in history.states():
            old = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
            assert all(time.time() - born(p) < 60 for p in old), change
            ages = [born(change.pod) - born(p) for p in old if p["metadata"]["name"] in first]
            assert all(age <= 26 for age in ages), ages
        reasons = [annotation(birth.pod, "because") or "" for birth in history.births()]
        assert all(reason.startswith("Expired: ") for reason in reasons), reasons
    assert web.images() == [pin("a")] * REPLICAS
    assert len(web.revisions()) == 1
    status = web.status()
    assert condition(web.get(), "Ready")["status"] == "True"
    assert status["nextRegeneration"]


def test_it_is_ready_all_the_time_and_says_what_goes_on(web: Service) -> None:
    web.apply(replicas=2, sim={"ready-delay": "2s"}, spec=spec(maxAge="20s"))
    web.until_ready()
    web.until("it regenerates", lambda: condition(web.get(), "Regenerating")["status"] == "True")
    body = web.get()
    assert condition(body, "Ready")["status"] == "True"
    assert condition(body, "Ready")["reason"] == "Regenerating"
    assert "being replaced" in condition(body, "Regenerating")["message"]
    assert "Regenerating" in web.kubectl("get", "imsvc", "web")


def test_nothing_starts_outside_windows_and_the_status_says_when_it_does(web: Service) -> None:
    now = datetime.now(UTC)
    opens = (now + timedelta(hours=3)).replace(minute=0)
    window = {"schedule": f"0 {opens.hour} * * *", "duration": "1h"}
    web.apply(replicas=2, spec=spec(maxAge="15s", windows=[window]))
    web.until_ready()
    before = names(web)
    web.until(
        "both are due and wait",
        lambda: "2 due and waiting" in condition(web.get(), "Regenerating")["message"],
        60,
    )
    message = condition(web.get(), "Regenerating")["message"]
    assert f"no window is open until {opens:%Y-%m-%dT%H}:00" in message
    assert condition(web.get(), "CannotMeetMaxAge")["status"] == "True"
    assert "maxAge 15s cannot be met" in condition(web.get(), "CannotMeetMaxAge")["message"]
    assert names(web) == before
    # The ceiling does not ask windows.
    web.apply(spec=spec(maxAge="15s", hardMaxAge="20s", windows=[window]))
    web.until("all were replaced", lambda: not before & names(web), 60)


def test_a_slot_of_the_schedule_replaces_each_once(web: Service) -> None:
    web.apply(replicas=2, spec=spec(schedule="* * * * *"))
    web.until_ready()
    before = names(web)
    with History(web) as history:
        web.until("all were replaced", lambda: not before & names(web), 100)
        births = history.births()
        assert len(births) == 2, history.story()
        because = annotation(births[0].pod, "because") or ""
        assert because.startswith("Expired: scheduled regeneration of "), because


@pytest.fixture
def freeze(web: Service) -> Iterator[Json]:
    """A freeze of the test's namespace, applied; it is gone after the test."""
    document = {
        "apiVersion": "immutable.dev/v1alpha1",
        "kind": "ImmutableFreeze",
        "metadata": {"name": f"freeze-{web.namespace}"},
        "spec": {
            "namespaces": [web.namespace],
            "until": stamp(datetime.now(UTC) + timedelta(hours=1)),
            "reason": "the quarter is being closed",
        },
    }
    yield document
    web.plane.kubectl("delete", "imfrz", f"freeze-{web.namespace}", "--ignore-not-found")


def put(web: Service, document: Json) -> None:
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def action(web: Service, name: str, **more: Any) -> None:
    document = {
        "apiVersion": "immutable.dev/v1alpha1",
        "kind": "ImmutableAction",
        "metadata": {"name": name, "namespace": web.namespace},
        "spec": {"type": "Regenerate", "service": "web", **more},
    }
    web.plane.kubectl("create", "-f", "-", stdin=json.dumps(document))


def phase(web: Service, name: str) -> str:
    path = f"/apis/immutable.dev/v1alpha1/namespaces/{web.namespace}/immutableactions/{name}"
    return str(web.plane.api().get(path).get("status", {}).get("phase", ""))


def test_a_freeze_holds_rollouts_and_regeneration_and_lets_repairs_go_on(
    web: Service, freeze: Json
) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    before = names(web)
    put(web, freeze)
    web.apply(image="b")
    web.until(
        "it says that it is frozen",
        lambda: condition(web.get(), "Reconciling").get("reason") == "Frozen",
    )
    blocker = web.blocker("Frozen")
    assert blocker
    assert "the quarter is being closed" in blocker["message"]
    assert freeze["spec"]["until"] in blocker["message"]
    action(web, "now")
    web.until("the request waits", lambda: phase(web, "now") == "Pending")
    assert names(web) == before
    # A pod that is lost gets a successor of what runs, not of what waits.
    victim = min(before)
    web.kubectl("delete", "pod", victim, "--wait=false")
    web.until("it has a successor", lambda: victim not in names(web) and len(names(web)) == 2)
    assert web.images() == [pin("a")] * 2
    assert len(web.revisions()) == 1
    # On record: somebody passes the freeze, and says why.
    refused = web.plane.kubectl(
        *("create", "-f", "-"), check=False,
        stdin=json.dumps(
            {
                "apiVersion": "immutable.dev/v1alpha1",
                "kind": "ImmutableAction",
                "metadata": {"name": "x", "namespace": web.namespace},
                "spec": {"type": "Regenerate", "service": "web", "overrideFreeze": True},
            }
        ),
    )  # fmt: skip
    assert "overriding a freeze requires a reason" in refused.stderr
    action(web, "urgent", overrideFreeze=True, reason="a hole was found")
    web.until("the new image runs", lambda: web.images() == [pin("b")] * 2)
    web.until("it is on record", lambda: phase(web, "urgent") == "Succeeded")


def test_a_freeze_that_is_taken_away_lets_the_rollout_go(web: Service, freeze: Json) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    put(web, freeze)
    web.apply(image="b")
    web.until("it waits", lambda: web.blocker("Frozen"))
    web.plane.kubectl("delete", "imfrz", freeze["metadata"]["name"])
    web.until_ready()
    assert web.images() == [pin("b")] * 2


def test_a_request_replaces_what_is_older_and_records_actor_and_outcome(web: Service) -> None:
    web.apply(image="a", replicas=REPLICAS, rollout={"maxSurge": 1})
    web.until_ready()
    before = names(web)
    began = time.time()
    web.until("it is a second older", lambda: time.time() - began > 1.2)
    with History(web) as history:
        action(web, "all", reason="key rotation", actor="somebody-else")
        web.until("it is done", lambda: phase(web, "all") == "Succeeded")
        assert not before & names(web)
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        because = {annotation(birth.pod, "because") for birth in history.births()}
    assert because == {"Requested: requested by admin (all)"}, because
    row = web.kubectl("get", "imact", "all")
    assert "Regenerate" in row
    assert "admin" in row


def test_a_request_for_one_instance(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    victim, other = sorted(names(web))
    began = time.time()
    web.until("it is a second older", lambda: time.time() - began > 1.2)
    action(web, "one", instance=victim)
    web.until("it is done", lambda: phase(web, "one") == "Succeeded")
    assert victim not in names(web)
    assert other in names(web)
    action(web, "nobody", instance="web-im00000000-aaaaa")
    web.until("it failed", lambda: phase(web, "nobody") == "Failed")


def test_the_plug_in_asks_waits_and_tells(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    before = names(web)
    began = time.time()
    web.until("it is a second older", lambda: time.time() - began > 1.2)
    command = [sys.executable, "-m", "immutable_operator.cli.main", "regenerate", "web"]
    login = [f"--kubeconfig={web.plane.kubeconfig()}", f"--namespace={web.namespace}"]
    done = subprocess.run(
        [*command, *login, "--reason=drill", "--wait", "--timeout=40"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "created" in done.stdout
    assert f"Succeeded: {ALL_REPLACED}" in done.stderr
    assert not before & names(web)
    missing = subprocess.run([*command[:-1], "nothing", *login], capture_output=True, text=True)
    assert missing.returncode == 2
    assert "there is no ImmutableService nothing" in missing.stderr


def test_an_action_may_come_before_its_service_and_fails_where_none_comes(web: Service) -> None:
    """One commit may hold both; a name that is wrong must not wait for ever."""
    action(web, "early")
    action(web, "wrong", service="nothing")
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.apply(replicas=1)
    web.until("the service answers", lambda: phase(web, "early") == "Succeeded")
    web.until("nobody is there to answer", lambda: phase(web, "wrong") == "Failed", 90)
    row = web.kubectl("get", "imact", "wrong", "-o", "wide")
    assert no_service("nothing") in row
    wrote = [r.name for r in asked.writes() if r.target == "immutableactions/status"]
    assert wrote.count("wrong") == 1, "it is answered once"
