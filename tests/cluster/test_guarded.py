"""The operator says when the cluster does not enforce what it relies on, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from immutable_operator.admission.selfcheck import UNREACHABLE
from tests.cluster.audit import OperatorRequests
from tests.cluster.guards import BINDINGS, POLICIES, until_in_force, without_guards
from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.services import Service, condition
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

BINDING = f"{BINDINGS}/running-pod.immutable.dev"
POLICY = f"{POLICIES}/running-pod.immutable.dev"


def guarded(service: Service) -> tuple[str, str]:
    """Status and reason of the condition."""
    found = condition(service.get(), "Guarded")
    return found.get("status", ""), found.get("reason", "")


@pytest.fixture
def running(web: Service) -> Service:
    web.apply(replicas=2)
    web.until_ready()
    web.until("it is guarded", lambda: guarded(web) == ("True", "Enforced"))
    return web


@contextmanager
def changed(plane: ControlPlane, path: str, body: Json) -> Iterator[None]:
    """One object's ``spec`` with a merge patch, until the end of the block."""
    before = plane.api().get(path)
    plane.api().merge_patch(path, {"spec": body})
    try:
        yield
    finally:
        now = plane.api().get(path)
        whole = {**before, "metadata": {**before["metadata"]}}
        whole["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"]
        plane.api().request("PUT", path, whole)
        until_in_force(plane)


@contextmanager
def removed(plane: ControlPlane, path: str) -> Iterator[None]:
    before = plane.api().get(path)
    kept = {key: before["metadata"][key] for key in ("name", "labels", "annotations")}
    plane.api().request("DELETE", path)
    try:
        yield
    finally:
        plane.api().request("POST", path.rpartition("/")[0], {**before, "metadata": kept})
        until_in_force(plane)


SOMEWHERE = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}
EXEMPT = {"name": "friends", "expression": "request.userInfo.username != 'friend'"}
FLAWS: dict[str, tuple[str, Json | None, str, str]] = {
    "a policy is missing": (POLICY, None, "PolicyMissing", "policy running-pod.immutable.dev is"),
    "a binding is missing": (BINDING, None, "BindingMissing", "has no binding"),
    "it only warns": (BINDING, {"validationActions": ["Warn"]}, "NotDenied", "(Warn)"),
    "it only records": (BINDING, {"validationActions": ["Audit"]}, "NotDenied", "(Audit)"),
    "it fails open": (POLICY, {"failurePolicy": "Ignore"}, "PolicyWeakened", "is not as"),
    "a friend is exempt": (POLICY, {"matchConditions": [EXEMPT]}, "PolicyWeakened", "is not as"),
    "it takes no pods": (
        BINDING,
        {"matchResources": {"objectSelector": {"matchLabels": {"a": "b"}}}},
        "BindingWeakened",
        "binding running-pod.immutable.dev",
    ),
    "only some namespaces": (
        BINDING,
        {"matchResources": {"namespaceSelector": {"matchLabels": {"team": "a"}}}},
        "BindingWeakened",
        "binding running-pod.immutable.dev",
    ),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_weakened_guard_is_told_with_its_cause(
    running: Service, operator: OperatorProcess, flaw: str
) -> None:
    path, body, reason, cause = FLAWS[flaw]
    plane = running.plane
    before = {pod["metadata"]["uid"] for pod in running.active()}
    with removed(plane, path) if body is None else changed(plane, path, body):
        running.until("it is told", lambda: guarded(running) == ("False", reason))
        assert cause in condition(running.get(), "Guarded")["message"]
        metrics = operator.get("/metrics")[1]
        assert "immutable_guarded 0.0" in metrics
        assert f'immutable_guard_faults{{guard="running-pod",reason="{reason}"}} 1.0' in metrics
        assert condition(running.get(), "Ready")["status"] == "True"
    running.until("it is guarded again", lambda: guarded(running) == ("True", "Enforced"))
    metrics = operator.get("/metrics")[1]
    assert "immutable_guarded 1.0" in metrics
    assert "immutable_guard_faults{" not in metrics
    assert {pod["metadata"]["uid"] for pod in running.active()} == before


def test_an_excluded_namespace_is_not_guarded_and_others_are(running: Service) -> None:
    values = ["kube-system", "immutable-system", running.namespace]
    selector = {"matchExpressions": [{**SOMEWHERE, "values": values}]}
    other = Service(running.plane, "default", "neighbour")
    other.apply(replicas=1)
    other.until_ready()
    body = {"matchResources": {"namespaceSelector": selector}}
    try:
        with changed(running.plane, BINDING, body):
            running.until("it is told", lambda: guarded(running) == ("False", "NamespaceExcluded"))
            assert guarded(other) == ("True", "Enforced")
    finally:
        other.kubectl("delete", "imsvc", other.name)


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        pytest.param(1, "WebhookUnreachable", id="nobody listens"),
        pytest.param(None, "WebhookUnreachable", id="a service without pods"),
        pytest.param(0, "WebhookCertificate", id="somebody else answers"),
    ],
)
def test_a_webhook_that_does_not_answer_is_told(
    running: Service, operators: Operators, port: int | None, reason: str
) -> None:
    if port is None:
        operators.aim_webhook_as_installed()
    else:
        operators.aim_webhook(port or running.plane.ports["kube-apiserver"])
    try:
        running.until("it is told", lambda: guarded(running) == ("False", reason))
        said = condition(running.get(), "Guarded")["message"]
        assert UNREACHABLE in said
    finally:
        operators.aim_webhook()
    running.until("it is guarded again", lambda: guarded(running) == ("True", "Enforced"))


def test_nothing_enforced_is_told_in_one_write_and_so_is_its_return(running: Service) -> None:
    asked = OperatorRequests.from_now(running.plane, running.namespace)
    with without_guards(running.plane):
        running.until("it is told", lambda: guarded(running) == ("False", "BindingMissing"))
        assert "more)" in condition(running.get(), "Guarded")["message"]
    running.until("it is guarded again", lambda: guarded(running) == ("True", "Enforced"))
    assert asked.tally()["patch immutableservices/status"] <= 4, json.dumps(asked.tally())
