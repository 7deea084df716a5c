"""What a receiver outside of the cluster is told, while users roll out, break and enter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.actions import act
from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.receivers import EventReceiver, receiving
from tests.cluster.rollbacks import CRASH, until_back
from tests.cluster.services import Service
from tests.cluster.webhook import LET_IN, behind_glass, member, unmarked
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def receiver(
    running_operators: Operators, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EventReceiver]:
    """A receiver to which the shared operator sends during this module."""
    with (
        receiving(tmp_path_factory.mktemp("receiver")) as receiver,
        running_operators.usually(*receiver.flags),
    ):
        yield receiver


def test_rollout_and_failure_and_rejection_are_told(
    receiver: EventReceiver, web: Service, operator: OperatorProcess
) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    [first] = receiver.until(web.namespace, "good")
    assert first["subject"] == f"{web.namespace}/web/{web.revision()}"
    assert first["data"]["revision"]["number"] == 1

    web.apply(image="b", sim=CRASH)
    until_back(web)
    _, failed, back = receiver.until(web.namespace, "good", "failed", "rolledback")
    [event] = web.events("RevisionFailed")
    assert failed["data"]["message"] == back["data"]["message"] == event["message"]
    assert (failed["data"]["reason"], failed["data"]["revision"]["number"]) == ("CrashLoop", 2)

    web.apply(image="c", sim={})
    web.until_ready()
    act(web, "back", type="RollBack", reason="it is slow")
    once = ("good", "failed", "rolledback")
    told = receiver.until(web.namespace, *once, *once)
    assert told[-1]["data"]["by"] == "admin"
    assert "it is slow" in told[-1]["data"]["message"]
    assert [event["data"]["revision"]["number"] for event in told] == [1, 2, 2, 3, 3, 3]
    assert receiver.refused == 0


def test_access_by_break_glass_is_told_with_the_user(
    receiver: EventReceiver, web: Service, operators: Operators
) -> None:
    behind_glass(web, 1)
    receiver.until(web.namespace, "good")
    [pod] = unmarked(web)
    entered = web.kubectl("exec", *member(), pod, "--", "true", check=False)
    assert LET_IN in entered
    *_, tainted = receiver.until(web.namespace, "good", "tainted")
    assert (tainted["data"]["by"], tainted["data"]["instance"]) == ("jane", pod)
    assert f"{pod}: exec by jane at " in tainted["data"]["message"]


def test_stalled_rollout_is_told(
    receiver: EventReceiver, web: Service, operators: Operators
) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    web.apply(image="b", sim={"fault": "image-pull"})
    web.until_stalled("ImagePull")
    _, stalled = receiver.until(web.namespace, "good", "stalled")
    assert stalled["data"]["reason"] == "ImagePull"
    assert stalled["data"]["revision"]["number"] == 2


def test_what_a_leader_could_not_send_is_sent_by_the_next_one(
    receiver: EventReceiver, web: Service, operators: Operators
) -> None:
    receiver.status = 503
    web.apply(image="a", replicas=1)
    web.until_ready()
    wait_for("the log says so", lambda: operators.main.records("notifications cannot be sent"))
    assert receiver.events(web.namespace) == {}
    operators.main.kill()
    operators.free_lease()
    receiver.status = 204
    operators.restart(*receiver.flags).until_leading()
    receiver.until(web.namespace, "good")
    status, text = operators.main.get("/metrics")
    assert status == 200
    assert 'immutable_notifications_total{result="failed"} 0.0' in text
