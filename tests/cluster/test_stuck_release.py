"""What works stays working while what is wanted does not: drains, load, deletions, full nodes.

Kin of the reports in ../shared/cases (17, 12, 36, 01, 05, 13, 14, 21), with other numbers.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from immutable_operator.kube.times import moment
from tests.cluster.audit import OperatorRequests
from tests.cluster.history import History
from tests.cluster.operator_process import Operators
from tests.cluster.services import (
    Service,
    annotation,
    condition,
    is_active,
    is_ready,
    names,
    names_of,
    pin,
)

BROKEN: dict[str, str] = {"fault": "image-pull"}
NEVER: dict[str, str] = {"fault": "never-ready"}


def of(service: Service, image: str) -> list[Any]:
    """The active pods made from an image."""
    return [pod for pod in service.active() if pod["spec"]["containers"][0]["image"] == pin(image)]


def ready(service: Service) -> int:
    return sum(is_ready(pod) for pod in service.active())


def evict(service: Service, name: str) -> None:
    """What `kubectl drain` does with one pod."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": service.namespace},
    }
    path = f"/api/v1/namespaces/{service.namespace}/pods/{name}/eviction"
    service.plane.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def _until_gone(service: Service, name: str) -> None:
    service.until("it is gone", lambda: name not in names_of(service.pods()))


def _until_left(service: Service, name: str) -> None:
    service.until("it leaves", lambda: name not in names(service))


def _until_recorded(service: Service, number: int) -> None:
    service.until("it is recorded", lambda: service.revisions()[-1]["spec"]["number"] == number)


@contextmanager
def no_verdicts(service: Service) -> Iterator[None]:
    """A policy refuses to write the status of revisions in the namespace of the service."""
    name = f"no-verdicts-{service.namespace}"
    rules = [
        {"apiGroups": ["immutable.dev"], "resources": ["immutablerevisions/status"]},
        {"apiGroups": [""], "resources": ["configmaps"]},
    ]
    every = {"apiVersions": ["*"], "operations": ["CREATE", "UPDATE"]}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{**rule, **every} for rule in rules]},
            "validations": [
                {
                    "expression": "request.resource.resource == 'configmaps'"
                    " && object.metadata.name != 'probe'",
                    "message": "no verdicts",
                }
            ],
        },
    }
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": service.namespace}}
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": namespace},
        },
    }
    for document in (policy, binding):
        service.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    probe = ("create", "configmap", "probe", "--dry-run=server")
    try:
        service.until("in force", lambda: "no verdicts" in service.kubectl(*probe, check=False))
        yield
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            service.plane.kubectl("delete", kind, name)


def test_pods_lost_while_no_operator_ran_are_recreated(web: Service, operators: Operators) -> None:
    """It died after it had recorded the broken release, before it noted what that one replaces."""
    web.apply(image="good", replicas=3)
    web.until_ready()
    with no_verdicts(web):
        web.apply(image="broken", sim=BROKEN)
        _until_recorded(web, 2)
        web.until("the verdict is refused", lambda: "no verdicts" in json.dumps(web.status()))
        operators.main.kill()
    assert "status" not in web.revisions()[-1]
    for pod in of(web, "good"):
        evict(web, pod["metadata"]["name"])
        _until_gone(web, pod["metadata"]["name"])
    operators.free_lease()
    operators.restart()
    web.until("as many are ready as before", lambda: ready(web) == 3)
    assert len(of(web, "good")) == 3
    assert web.until_stalled("ImagePull")


def test_service_scaled_to_0_before_a_broken_release_gets_no_pods_of_the_old_one(
    web: Service,
) -> None:
    web.apply(image="good", replicas=2)
    web.until_ready()
    web.kubectl("scale", "imsvc/web", "--replicas=0")
    web.until("none is left", lambda: not web.pods())
    web.until("it is on record", lambda: web.revisions()[0]["status"].get("replicas") == 0)
    web.apply(image="broken", sim=BROKEN, replicas=2)
    web.until_stalled("ImagePull")
    web.always("only the new one", lambda: len(of(web, "broken")) == len(web.active()) == 2, 3)


def stuck(service: Service, replicas: int, **rollout: Any) -> None:
    """A service whose next release is stuck at its image."""
    service.apply(image="good", replicas=replicas, rollout=rollout)
    service.until_ready()
    service.apply(image="broken", sim=BROKEN)
    service.until_stalled("ImagePull")


@pytest.mark.parametrize(
    ("replicas", "rollout"),
    [
        (4, {"maxSurge": 1, "maxUnavailable": 0}),
        (2, {"maxSurge": "100%"}),
        (1, {"maxSurge": 1}),
    ],
)
def test_drain_during_stuck_release_loses_no_capacity(
    web: Service, replicas: int, rollout: dict[str, Any]
) -> None:
    stuck(web, replicas, **rollout)
    for pod in [*of(web, "good")]:
        name = pod["metadata"]["name"]
        evict(web, name)
        _until_gone(web, name)
        web.until("as many are ready as are wanted", lambda: ready(web) == replicas)
    assert len(of(web, "good")) == replicas
    assert of(web, "broken"), "the release keeps its place to prove itself"
    assert {annotation(p, "because").partition(":")[0] for p in of(web, "good")} == {"Missing"}  # type: ignore[union-attr]
    # A status in which only counts moved may be a few seconds late.
    web.until("the status counts them", lambda: web.status()["readyReplicas"] == replicas)
    assert web.status()["lastGoodRevision"] == web.revisions()[0]["spec"]["revision"]


def test_scale_up_during_stuck_release_adds_good_pods(web: Service) -> None:
    stuck(web, 2, maxSurge=1)
    web.kubectl("scale", "imsvc/web", "--replicas=5")
    web.until("five are ready", lambda: ready(web) == 5)
    assert len(of(web, "good")) == 5
    web.kubectl("scale", "imsvc/web", "--replicas=1")
    web.until("one is left of what works", lambda: len(of(web, "good")) == 1)


def test_operator_restart_keeps_last_good_revision_and_replaces_missing_pods(
    web: Service, operators: Any
) -> None:
    stuck(web, 3)
    operators.main.kill()
    for pod in of(web, "good"):
        web.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
    web.until("nothing of it is left", lambda: not of(web, "good"))
    # Whoever writes over the status meanwhile changes no move.
    patch = json.dumps({"status": {"lastGoodRevision": None, "currentRevision": "00000000"}})
    web.kubectl(
        "patch", "imsvc", "web", "--subresource=status", "--type=merge", "-p", patch, check=False
    )
    operators.restart()
    web.until("three of what works are ready", lambda: len(of(web, "good")) == ready(web) == 3)
    phases = [r["status"]["phase"] for r in web.revisions()]
    assert phases == ["Good", "Progressing"]


def test_fixed_release_replaces_all_pods(web: Service) -> None:
    stuck(web, 3)
    web.apply(image="mended", sim={})
    web.until_ready()
    assert web.images() == [pin("mended")] * 3
    assert [r["status"]["phase"] for r in web.revisions()] == ["Good", "Superseded", "Good"]


def test_aged_pod_is_replaced_after_its_successors_are_deleted(web: Service) -> None:
    regeneration = {"maxAge": "40s", "jitter": "0%"}
    slow = {"ready-delay": "10s", "terminate-delay": "5s"}
    web.apply(replicas=1, sim=slow, pod={"terminationGracePeriodSeconds": 30})
    web.until_ready()
    web.apply(spec={"regeneration": regeneration})
    first = web.active()[0]["metadata"]["name"]
    for _ in range(2):
        web.until("a successor starts", lambda: len(web.active()) == 2)
        [young] = [p for p in web.active() if p["metadata"]["name"] != first]
        assert annotation(young, "replaces") == first
        assert annotation(young, "because").startswith("Expired")  # type: ignore[union-attr]
        web.kubectl("delete", "pod", young["metadata"]["name"], "--wait=false")
        _until_left(web, young["metadata"]["name"])
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.until("the aged one is replaced", lambda: first not in names(web))
    assert sum(asked.codes("create pods").values()) <= 2
    assert sum(asked.codes("create pods/eviction").values()) <= 2


def test_unschedulable_surge_does_not_stop_rollout(web: Service) -> None:
    nodes = len(web.plane.api().get("/api/v1/nodes")["items"])
    port = {"ports": [{"containerPort": 80, "hostPort": 31987}]}
    web.apply(
        image="a",
        replicas=nodes,
        container=port,
        rollout={"maxSurge": 1, "maxUnavailable": 1},
    )
    web.until_ready()
    with History(web) as history:
        web.apply(image="b")
        web.until_ready(120)
        history.assert_budget(most=nodes + 1, fewest=nodes - 1)
    assert web.images() == [pin("b")] * nodes


def test_fix_passes_budget_that_counts_broken_pods(web: Service) -> None:
    web.apply(image="a", replicas=3, rollout={"maxSurge": 1})
    web.until_ready()
    document = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": web.namespace},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 2},
    }
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    for pod in web.active():
        web.mark_pod(pod["metadata"]["name"], fault="not-ready")
    web.until("none is ready", lambda: ready(web) == 0)
    web.apply(image="fix")
    web.until_ready()
    assert web.images() == [pin("fix")] * 3


def test_changing_replicas_does_not_postpone_deadline(web: Service) -> None:
    web.apply(image="a", replicas=2, rollout={"progressDeadlineSeconds": 8})
    web.until_ready()
    web.apply(image="b", sim=NEVER)
    replicas = itertools.cycle((3, 2))

    def stalled_while_scaled() -> bool:
        web.kubectl("scale", "imsvc/web", f"--replicas={next(replicas)}")
        return condition(web.get(), "Stalled").get("reason") == "RolledBack"

    # Did each change begin the deadline anew, it would never pass.
    web.until("it is Stalled while its number changes", stalled_while_scaled)
    failed = web.revisions()[-1]["status"]
    assert failed["reason"] == "ProgressDeadlineExceeded"
    assert moment(failed["failedAt"]) - moment(failed["startedAt"]) >= 8


def test_termination_complete_counts_terminating_pods(web: Service) -> None:
    web.apply(
        image="a",
        replicas=3,
        rollout={"maxSurge": 1, "podReplacement": "TerminationComplete"},
        pod={"terminationGracePeriodSeconds": 30},
        sim={"terminate-delay": "4s"},
    )
    web.until_ready()
    with History(web) as history:
        web.apply(image="b")
        web.until_ready(120)
        assert max(len(pods) for _, pods in history.states()) == 4, history.story()
    assert web.images() == [pin("b")] * 3


def test_crash_loop_outranks_restart_as_reason(web: Service) -> None:
    web.apply(image="a", replicas=2, spec={"immutability": {"restarts": "Replace"}})
    web.until_ready()
    web.apply(image="b", sim={"fault": "crash-loop"})
    assert "failed: CrashLoop" in web.until_stalled("RolledBack")["message"]
    assert len(of(web, "a")) == 2
    assert all(is_active(pod) for pod in of(web, "a"))


def test_history_is_bounded_during_broken_releases(web: Service) -> None:
    web.apply(image="good", replicas=1, spec={"historyLimit": 2})
    web.until_ready()
    for number in range(8):
        web.apply(image=f"broken-{number}", sim=BROKEN)
        _until_recorded(web, number + 2)
    web.until("old records are gone", lambda: len(web.revisions()) <= 5)
    assert web.revisions()[0]["spec"]["number"] == 1, "the last good one stays"
