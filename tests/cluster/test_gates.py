"""A queue that is no part of the template puts a gate on each pod, and takes it off later.

The policies are out of the way: what follows is found out by the operator alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from immutable_operator.domain.families.pods import SPEC_CHANGED
from tests.cluster.operator_process import Operators
from tests.cluster.services import Service, annotation, condition, names
from tests.controlplane.api import Json
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("without_policies")

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
GATE = "queue.example/admission"
GATED = (
    "Object{spec: Object.spec{schedulingGates: "
    f'[Object.spec.schedulingGates{{name: "{GATE}"}}]}}}}'
)
OPEN: Json = {"spec": {"schedulingGates": None}}
PLACED: Json = {"spec": {"schedulingGates": None, "nodeSelector": {"type": "kwok"}}}


@pytest.fixture
def queued(web: Service) -> Iterator[Service]:
    """A service in a namespace where each pod is born behind a gate."""
    api, name = web.plane.api(), f"gate-{web.namespace}"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": web.namespace}}
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    policy = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"namespaceSelector": selector, "resourceRules": [rule]},
        "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": GATED}}
        ],
    }
    for plural, kind, spec in (
        ("mutatingadmissionpolicies", "MutatingAdmissionPolicy", policy),
        ("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", {"policyName": name}),
    ):
        body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind}
        api.request(
            "POST", f"{ADMISSION}/{plural}", {**body, "metadata": {"name": name}, "spec": spec}
        )
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    path = f"/api/v1/namespaces/{web.namespace}/pods?dryRun=All"
    wait_for("the queue acts", lambda: gates(api.request("POST", path, pod)))
    yield web
    for plural in ("mutatingadmissionpolicybindings", "mutatingadmissionpolicies"):
        api.request("DELETE", f"{ADMISSION}/{plural}/{name}")


def gates(pod: Json) -> list[Json]:
    found: list[Json] = pod["spec"].get("schedulingGates", [])
    return found


def admit(service: Service, body: Json) -> None:
    for pod in service.active():
        if gates(pod):
            change = json.dumps(body)
            service.kubectl("patch", "pod", pod["metadata"]["name"], "--type=merge", "-p", change)


@pytest.mark.parametrize("body", [OPEN, PLACED], ids=["opened", "opened and placed"])
def test_ungated_pod_is_not_tainted(body: Json, queued: Service, operators: Operators) -> None:
    queued.apply(replicas=2, rollout={"maxSurge": 1})
    queued.until("both wait behind the gate", lambda: len(names(queued)) == 2)
    assert all(gates(pod) for pod in queued.active())
    admit(queued, body)
    queued.until_ready()
    assert {pod["metadata"]["generation"] for pod in queued.active()} == {2}
    born = names(queued)
    queued.always("they are left alone", lambda: names(queued) == born, 2)
    operators.restart().until_leading()
    queued.always("after a restart, too", lambda: names(queued) == born, 2)
    assert queued.events("Tainted") == []


def test_edit_after_ungating_is_found_by_restarted_operator(
    queued: Service, operators: Operators
) -> None:
    queued.apply(replicas=2, rollout={"maxSurge": 1})
    queued.until("both wait behind the gate", lambda: len(names(queued)) == 2)
    admit(queued, PLACED)
    queued.until_ready()
    operators.main.stop()
    [edited, kept] = sorted(names(queued))
    # An edit in the second in which it got its node could not be told from the gate's removal.
    queued.until("a second has passed", lambda: is_over(queued, edited))
    change = json.dumps({"spec": {"activeDeadlineSeconds": 86400}})
    queued.kubectl("patch", "pod", edited, "--type=merge", "-p", change)
    operators.restart().until_leading()
    queued.until("its successor waits", lambda: len(names(queued)) == 3)
    admit(queued, OPEN)
    queued.until("it is gone", lambda: edited not in names(queued))
    assert kept in names(queued)
    [successor] = names(queued) - {kept}
    [pod] = [pod for pod in queued.active() if pod["metadata"]["name"] == successor]
    because = annotation(pod, "because")
    assert because == f"Tainted: {SPEC_CHANGED} (by kubectl-patch)"


def is_over(service: Service, name: str) -> bool:
    """Whether the API server's clock has left the second in which a pod got its node."""
    [pod] = [pod for pod in service.active() if pod["metadata"]["name"] == name]
    at = str(condition(pod, "PodScheduled")["lastTransitionTime"])
    probe = {"metadata": {"name": "clock"}}
    path = f"/api/v1/namespaces/{service.namespace}/configmaps?dryRun=All"
    made = service.plane.api().request("POST", path, probe)["metadata"]
    return str(made["creationTimestamp"]) > at
