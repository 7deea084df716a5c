"""Nothing lives longer than it may: by age, by schedule, on request; never during a freeze.

Ages are seconds here. Kubernetes tells births in whole seconds, so a second more is allowed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from immutable_operator.api.names import API_VERSION
from immutable_operator.domain.staleness.requested import ALL_REPLACED, no_owner
from tests.cluster.actions import act, freeze_of, phase
from tests.cluster.audit import OperatorRequests
from tests.cluster.history import History
from tests.cluster.operator_process import Operators
from tests.cluster.services import Service, annotation, born, condition, names, pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

REPLICAS = 3


def spec(**regeneration: Any) -> Json:
    return {"regeneration": regeneration}


@dataclass(frozen=True)
class Scheduled:
    """A service that every minute replaces, with what has happened to it since."""

    web: Service
    before: set[str]
    history: History


@pytest.fixture(scope="module")
def lonely(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Service:
    """A service of the module's own, in a namespace in which there is no other."""
    running_operators.main.until_leading()
    return Service(control_plane, module_namespace)


@pytest.fixture(scope="module", autouse=True)
def orphan_action(lonely: Service) -> OperatorRequests:
    """The action `wrong`, to a service that is not there; gives what was asked since."""
    asked = OperatorRequests.from_now(lonely.plane, lonely.namespace)
    act(lonely, "wrong", service="nothing")
    return asked


@pytest.fixture(scope="module", autouse=True)
def scheduled(lonely: Service) -> Iterator[Scheduled]:
    # Far from the next slot, so that all are there before it.
    lonely.until("the next slot is far", lambda: time.time() % 60 < 45)
    lonely.apply(replicas=2, spec=spec(schedule="* * * * *"))
    lonely.until_ready()
    before = names(lonely)
    with History(lonely) as history:
        yield Scheduled(lonely, before, history)


def test_max_age_replaces_instances_one_at_a_time(web: Service) -> None:
    web.apply(replicas=REPLICAS, rollout={"maxSurge": 2}, spec=spec(maxAge="25s", jitter="0%"))
    web.until_ready()
    first = names(web)
    oldest = min(map(born, web.active()))
    with History(web) as history:
        # So early that none gets older: one after the other, a replacement is to last 2 s here.
        begins = datetime.fromisoformat(web.status()["nextRegeneration"]).timestamp()
        assert begins <= oldest + 25 - 2 * REPLICAS
        web.until("all were replaced", lambda: not first & names(web))
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        assert all(born(birth.pod) >= begins for birth in history.births()), history.story()
        reasons = [annotation(birth.pod, "because") or "" for birth in history.births()]
        assert all(reason.startswith("Expired: ") for reason in reasons), reasons
    assert web.images() == [pin("a")] * REPLICAS
    assert len(web.revisions()) == 1
    status = web.status()
    assert condition(web.get(), "Ready")["status"] == "True"
    assert status["nextRegeneration"]


def test_regenerating_service_stays_ready(web: Service) -> None:
    web.apply(replicas=2, sim={"ready-delay": "4s"}, spec=spec(maxAge="20s"))
    web.until_ready()
    body = web.once(
        "it regenerates", lambda it: condition(it, "Regenerating").get("status") == "True"
    )
    assert condition(body, "Ready")["status"] == "True"
    assert condition(body, "Ready")["reason"] == "Regenerating"
    assert "being replaced" in condition(body, "Regenerating")["message"]
    assert "Regenerating" in web.kubectl("get", "imsvc", "web")


def test_regeneration_waits_for_window_and_reports_it(web: Service) -> None:
    now = datetime.now(UTC)
    opens = (now + timedelta(hours=3)).replace(minute=0)
    window = {"schedule": f"0 {opens.hour} * * *", "duration": "1h"}
    web.apply(replicas=2, spec=spec(maxAge="15s", windows=[window]))
    web.until_ready()
    before = names(web)
    web.until(
        "both are due and wait",
        lambda: (
            "2 instances are due and waiting" in condition(web.get(), "Regenerating")["message"]
        ),
        60,
    )
    message = condition(web.get(), "Regenerating")["message"]
    assert f"no window is open until {opens:%Y-%m-%dT%H}:00" in message
    assert condition(web.get(), "CannotMeetMaxAge")["status"] == "True"
    assert "maxAge 15s cannot be met" in condition(web.get(), "CannotMeetMaxAge")["message"]
    assert names(web) == before
    # The ceiling does not ask windows.
    web.apply(spec=spec(maxAge="15s", hardMaxAge="20s", windows=[window]))
    web.until("all were replaced", lambda: not before & names(web))


@pytest.fixture
def freeze(web: Service) -> Iterator[Json]:
    """A freeze of the test's namespace, not applied yet; it is gone after the test."""
    document = freeze_of(web, "the quarter is being closed")
    yield document
    web.plane.kubectl("delete", "imfrz", document["metadata"]["name"], "--ignore-not-found")


def put(web: Service, document: Json) -> None:
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def test_freeze_holds_rollout_and_regeneration_but_not_repair(web: Service, freeze: Json) -> None:
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
    act(web, "now")
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
                "apiVersion": API_VERSION,
                "kind": "ImmutableAction",
                "metadata": {"name": "x", "namespace": web.namespace},
                "spec": {"type": "Regenerate", "service": "web", "overrideFreeze": True},
            }
        ),
    )  # fmt: skip
    assert "overriding a freeze requires a reason" in refused.stderr
    act(web, "urgent", overrideFreeze=True, reason="a hole was found")
    web.until("the new image runs", lambda: web.images() == [pin("b")] * 2)
    web.until("it is on record", lambda: phase(web, "urgent") == "Succeeded")


def test_deleted_freeze_releases_rollout(web: Service, freeze: Json) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    put(web, freeze)
    web.apply(image="b")
    web.until("it waits", lambda: web.blocker("Frozen"))
    web.plane.kubectl("delete", "imfrz", freeze["metadata"]["name"])
    web.until_ready()
    assert web.images() == [pin("b")] * 2


def test_action_replaces_older_instances_and_records_actor(web: Service) -> None:
    web.apply(image="a", replicas=REPLICAS, rollout={"maxSurge": 1})
    web.until_ready()
    before = names(web)
    began = time.time()
    web.until("it is a second older", lambda: time.time() - began > 1.2)
    with History(web) as history:
        act(web, "all", reason="key rotation", actor="somebody-else")
        web.until("it is done", lambda: phase(web, "all") == "Succeeded")
        assert not before & names(web)
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        because = {annotation(birth.pod, "because") for birth in history.births()}
    assert because == {"Requested: requested by admin (all)"}, because
    row = web.kubectl("get", "imact", "all")
    assert "Regenerate" in row
    assert "admin" in row


def test_action_for_one_instance_replaces_only_it(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    victim, other = sorted(names(web))
    began = time.time()
    web.until("it is a second older", lambda: time.time() - began > 1.2)
    act(web, "one", instance=victim)
    web.until("it is done", lambda: phase(web, "one") == "Succeeded")
    assert victim not in names(web)
    assert other in names(web)
    act(web, "nobody", instance="web-im00000000-aaaaa")
    web.until("it failed", lambda: phase(web, "nobody") == "Failed")


def test_regenerate_command_waits_and_reports(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    before = names(web)
    began = time.time()
    web.until("it is a second older", lambda: time.time() - began > 1.2)
    command = [sys.executable, "-m", "immutable_operator.cli.main", "regenerate", "web"]
    login = [f"--kubeconfig={web.plane.kubeconfig()}", f"--namespace={web.namespace}"]
    done = subprocess.run(
        [*command, *login, "--reason=drill", "--wait", "--timeout=100"],
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


def test_action_waits_for_its_service(web: Service) -> None:
    """One commit may hold both."""
    act(web, "early")
    web.apply(replicas=1)
    web.until("the service answers", lambda: phase(web, "early") == "Succeeded")


# These two begin with the module and are looked at here, because a minute passes meanwhile.


def test_action_without_service_fails_once(
    orphan_action: OperatorRequests, lonely: Service
) -> None:
    """A name that is wrong must not wait for ever."""
    lonely.until("no service is there to answer", lambda: phase(lonely, "wrong") == "Failed")
    row = lonely.kubectl("get", "imact", "wrong", "-o", "wide")
    assert no_owner("service", "nothing") in row
    wrote = [r.name for r in orphan_action.writes() if r.target == "immutableactions/status"]
    assert wrote.count("wrong") == 1, "it is answered once"


def test_scheduled_regeneration_replaces_each_instance_once(scheduled: Scheduled) -> None:
    web, history = scheduled.web, scheduled.history
    web.until("a slot has replaced all", lambda: not scheduled.before & names(web))
    first = min(born(birth.pod) for birth in history.births())
    births = [b for b in history.births() if born(b.pod) // 60 == first // 60]
    assert {annotation(birth.pod, "replaces") for birth in births} == scheduled.before
    assert len(births) == len(scheduled.before), history.story()
    because = annotation(births[0].pod, "because") or ""
    assert because.startswith("Expired: scheduled regeneration of "), because
