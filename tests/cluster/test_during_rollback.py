"""What happens to a service while it is rolled back, or is held at the good revision since.

Each test counts the pods that were born and told to end, by an independent watcher.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from immutable_operator.api.names import LABEL_SERVICE
from tests.cluster.actions import act, freeze_of, phase
from tests.cluster.autoscaling import autoscale, scale_as_autoscaler
from tests.cluster.guards import without_guards
from tests.cluster.history import History
from tests.cluster.rollbacks import CRASH, broken, counts, ready, until_back, until_failed
from tests.cluster.services import (
    Service,
    annotation,
    condition,
    is_ready,
    names,
    pin,
)

# A place is given up before its successor is born, and pods take their time: a rollback lasts.
IN_PLACE = {"maxSurge": 0, "maxUnavailable": 1}
SLOW = {"ready-delay": "12s"}


@contextmanager
def rolling_back(web: Service, **changes: object) -> Iterator[History]:
    """Three of revision 1 work; revision 2 failed, and the place that it took is being restored."""
    web.apply(image="a", rollout=IN_PLACE, sim=SLOW, **changes)
    web.until("the number is there", lambda: web.get()["spec"].get("replicas"))
    if web.get()["spec"]["replicas"] != 3:
        scale_as_autoscaler(web, 3)
    web.until_ready()
    with History(web) as history:
        web.apply(image="b", sim=CRASH)
        until_failed(web, 2)
        web.until("a good one is born", lambda: web.images() == [pin("a")] * 3)
        assert ready(web) == 2, "the rollback is under way"
        yield history


@pytest.mark.parametrize(
    ("number", "moved"),
    # Born: one that crashes and a good one for its place; with them go what they replaced.
    [pytest.param(5, (4, 2), id="up"), pytest.param(1, (2, 4), id="down")],
)
def test_autoscaler_scales_during_a_rollback_and_its_number_is_kept(
    web: Service, number: int, moved: tuple[int, int]
) -> None:
    with rolling_back(web, replicas=None) as history:
        scale_as_autoscaler(web, number)
        until_back(web)
        assert len(web.active()) == number
        # The manifest, which has no number, is applied again.
        web.apply()
        assert web.get()["spec"]["replicas"] == number
        web.until("it is seen", lambda: web.status()["desiredReplicas"] == number)
        web.until("what failed is gone", lambda: len(web.pods()) == number)
    assert counts(history) == moved, history.story()
    assert condition(web.get(), "Stalled")["reason"] == "RolledBack"
    assert web.images() == [pin("a")] * number


def test_autoscaler_scales_a_service_that_is_held_at_the_good_revision(web: Service) -> None:
    """A real one: bounds alone move the number, without any metrics."""
    broken(web, 2)
    with History(web) as history:
        autoscale(web, least=4, most=5)
        web.until("it grew", lambda: ready(web) == 4)
    assert counts(history) == (2, 0), history.story()
    assert web.images() == [pin("a")] * 4
    assert condition(web.get(), "Stalled")["reason"] == "RolledBack"


def test_drain_during_a_rollback_restores_the_good_revision_elsewhere(web: Service) -> None:
    with rolling_back(web, replicas=3) as history:
        kept = next(pod for pod in web.active() if is_ready(pod))
        node = kept["spec"]["nodeName"]
        on_node = sum(pod["spec"].get("nodeName") == node for pod in web.active())
        selector = f"--pod-selector={LABEL_SERVICE}={web.name}"
        try:
            web.plane.kubectl("drain", node, selector, "--timeout=120s", "--ignore-daemonsets")
            web.until("none is left there", lambda: kept["metadata"]["name"] not in names(web))
            until_back(web)
        finally:
            web.plane.kubectl("uncordon", node)
        web.until("what failed is gone", lambda: len(web.pods()) == 3)
    born, ended = counts(history)
    assert (born, ended) == (2 + on_node, 2 + on_node), history.story()
    assert web.images() == [pin("a")] * 3


def test_freeze_does_not_hold_back_a_rollback(web: Service) -> None:
    freeze = freeze_of(web, "holidays")
    with rolling_back(web, replicas=3) as history:
        web.plane.kubectl("create", "-f", "-", stdin=json.dumps(freeze))
        try:
            until_back(web)
            web.until("what failed is gone", lambda: len(web.pods()) == 3)
        finally:
            web.plane.kubectl("delete", "imfrz", freeze["metadata"]["name"])
    assert counts(history) == (2, 2), history.story()


def test_modified_pod_of_the_good_revision_is_replaced_by_another_of_it(web: Service) -> None:
    broken(web, 2)
    victim = min(names(web))
    debugger = {"name": "debugger", "image": "registry.example/debugger:1"}
    with History(web) as history:
        with without_guards(web.plane):
            web.plane.api().request(
                "PATCH",
                f"/api/v1/namespaces/{web.namespace}/pods/{victim}/ephemeralcontainers",
                {"spec": {"ephemeralContainers": [debugger]}},
                "application/strategic-merge-patch+json",
            )
            web.until("it is replaced", lambda: victim not in names(web) and ready(web) == 2)
        until_back(web)
    assert counts(history) == (1, 1), history.story()


def test_pods_of_the_good_revision_are_renewed_for_their_age(web: Service) -> None:
    broken(web, 2, spec={"regeneration": {"maxAge": "25s", "jitter": "0%"}})
    before = names(web)
    with History(web) as history:
        web.until("all were renewed", lambda: not before & names(web))
        births = history.births()
    assert len(births) >= 2, history.story()
    reasons = {(annotation(birth.pod, "because") or "").partition(":")[0] for birth in births}
    assert reasons == {"Expired"}
    assert {birth.pod["spec"]["containers"][0]["image"] for birth in births} == {pin("a")}
    assert condition(web.get(), "Stalled")["reason"] == "RolledBack"


def test_rollback_of_a_rollback_returns_to_the_other_one(web: Service) -> None:
    for image in "ab":
        web.apply(image=image, replicas=2)
        web.until_ready()
    first, second = (r["spec"]["revision"] for r in web.revisions())
    with History(web) as history:
        act(web, "undo", type="RollBack", reason="too slow")
        web.until("it went back", lambda: phase(web, "undo") == "Succeeded")
        assert web.images() == [pin("a")] * 2
        act(web, "redo", type="Resume")
        web.until("it went forth", lambda: phase(web, "redo") == "Succeeded")
        assert web.images() == [pin("b")] * 2
        web.until("the others are gone", lambda: len(web.pods()) == 2)
    assert counts(history) == (4, 4), history.story()
    assert [r["spec"]["revision"] for r in web.revisions()] == [first, second]


def test_freeze_does_not_hold_back_size_and_repairs_of_what_runs_instead(web: Service) -> None:
    broken(web, 3)
    web.plane.kubectl("create", "-f", "-", stdin=json.dumps(freeze_of(web, "holidays")))
    try:
        web.kubectl("scale", "imsvc/web", "--replicas=5")
        web.until("it grew", lambda: web.images() == [pin("a")] * 5)
        with History(web) as history:
            web.kubectl("delete", "pod", web.active()[0]["metadata"]["name"])
            web.until("it is repaired", lambda: len(history.births()) == 1)
            web.until("all work", lambda: sum(map(is_ready, web.active())) == 5)
        assert web.images() == [pin("a")] * 5
        assert condition(web.get(), "Stalled")["reason"] == "RolledBack"
    finally:
        web.plane.kubectl("delete", "imfrz", f"freeze-{web.namespace}", "--ignore-not-found")
