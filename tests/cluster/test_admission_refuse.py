"""`immutability.admission: Refuse`: no pod that admission changed serves."""

from __future__ import annotations

from tests.cluster.admitted import CHANGED, PATH, pods_born, policy, recorded, until_reported
from tests.cluster.history import History
from tests.cluster.mutators import ENV, SIDECAR, mutating
from tests.cluster.operator_process import Operators
from tests.cluster.services import Service, condition, is_ready, names, pin


def test_refused_change_stalls_a_rollout_and_costs_no_working_pod(
    web: Service, operators: Operators
) -> None:
    web.apply(image="a", replicas=3, spec=policy("Refuse"))
    web.until_ready()
    good = names(web)
    with mutating(web.plane, web.namespace, ENV):
        born = pods_born(web)
        web.apply(image="b")
        stalled = web.until_stalled(CHANGED)
        assert f"{PATH} added" in stalled["message"]
        assert "immutability.acceptedChanges" in stalled["message"]
        web.until("what was refused is gone", lambda: names(web) == good)
        web.always("those that work stay", lambda: _ready(web) >= good, seconds=8)
        assert 1 <= born() <= 3
        assert web.status()["availableReplicas"] == 3
        assert condition(web.get(), CHANGED) == {}
        assert recorded(web, 2) == {}
        # A new operator comes to the same.
        operators.restart().until_leading()
        web.until_stalled(CHANGED)
        web.until("what was refused is gone", lambda: names(web) == good)
        # Accepted, it goes on at once.
        web.apply(spec=policy("Refuse", acceptedChanges={"paths": [PATH]}))
        web.until_ready()
        assert {p["spec"]["containers"][0]["image"] for p in web.active()} == {pin("b")}
        assert not names(web) & good


def test_revision_that_admission_changes_until_its_deadline_is_rolled_back(web: Service) -> None:
    """It is not excused for ever, and the verdict names what admission changed."""
    web.apply(image="a", replicas=2, spec=policy("Refuse"), rollout={"progressDeadlineSeconds": 10})
    web.until_ready()
    good = names(web)
    with mutating(web.plane, web.namespace, ENV), History(web) as history:
        born = pods_born(web)
        web.apply(image="b")
        told = web.until_stalled("RolledBack")
        web.until("what was refused is gone", lambda: names(web) == good)
        tried = born()
        web.always("nothing moves", lambda: (born(), names(web)) == (tried, good), 2)
    verdict = web.revisions()[1]["status"]
    assert (verdict["phase"], verdict["reason"]) == ("Failed", "ProgressDeadlineExceeded")
    for said in (verdict["message"], told["message"]):
        assert f"{PATH} added" in said
    assert 1 <= tried <= 3, "one at a time, with growing pauses"
    assert (len(history.births()), len(history.retirements())) == (tried, tried), history.story()
    assert condition(web.get(), "Available")["status"] == "True"
    # The cause is gone: it is tried again when somebody says so.
    web.kubectl("annotate", "imsvc/web", "immutable.dev/retry=exempted")
    web.until_ready()
    assert web.images() == [pin("b")] * 2


def _ready(web: Service) -> set[str]:
    return {p["metadata"]["name"] for p in web.active() if is_ready(p)}


def test_refused_change_of_a_new_service_lets_none_of_its_pods_stay(web: Service) -> None:
    with mutating(web.plane, web.namespace, SIDECAR):
        born = pods_born(web)
        web.apply(image="a", replicas=5, spec=policy("Refuse"))
        stalled = web.until_stalled(CHANGED)
        assert "spec.containers[mesh] added" in stalled["message"]
        web.until("none is left", lambda: not web.pods())
        assert 1 <= born() <= 2
        assert web.status()["availableReplicas"] == 0
    # The webhook exempts the namespace: it goes on.
    web.until_ready()
    assert len(web.active()) == 5


def test_refusing_later_keeps_and_repairs_what_runs(web: Service) -> None:
    with mutating(web.plane, web.namespace, ENV):
        web.apply(image="a", replicas=2)
        web.until_ready()
        until_reported(web, PATH)
        web.until("it is recorded", lambda: recorded(web))
        before = names(web)
        web.apply(spec=policy("Refuse"))
        web.until_ready()
        assert names(web) == before
        lost = min(before)
        web.kubectl("delete", "pod", lost, "--wait=false")
        web.until("it has a successor", lambda: len(web.active()) == 2 and lost not in names(web))
        web.until_ready()
        web.apply(image="b")
        web.until_stalled(CHANGED)
        web.until("what was refused is gone", lambda: len(web.active()) == 2)
        assert set(web.images()) == {pin("a")}
