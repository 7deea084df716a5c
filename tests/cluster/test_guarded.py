"""The operator says when the cluster does not enforce what it relies on, and why."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from immutable_operator.admission.selfcheck import UNREACHABLE
from tests.cluster.audit import OperatorRequests
from tests.cluster.guards import BINDING, POLICY, changed, guarded, removed, without_guards
from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.services import Service, condition
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json


@pytest.fixture(scope="module")
def shared(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Service:
    running_operators.main.until_leading()
    web = Service(control_plane, module_namespace)
    web.apply(replicas=2)
    web.until_ready()
    return web


@pytest.fixture
def running(shared: Service, operators: Operators) -> Service:
    """A service that is guarded; each test leaves it so, and its instances as they are."""
    shared.until("it is guarded", lambda: guarded(shared) == ("True", "Enforced"))
    return shared


SOMEWHERE = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}
EXEMPT = {"name": "friends", "expression": "request.userInfo.username != 'friend'"}
FLAWS: dict[str, tuple[str, Json | None, str, str]] = {
    "a policy is missing": (
        POLICY,
        None,
        "PolicyMissing",
        "policy running-pod.immutable.dev does not exist",
    ),
    "a binding is missing": (BINDING, None, "BindingMissing", "has no binding"),
    "it only warns": (BINDING, {"validationActions": ["Warn"]}, "NotDenied", "(Warn)"),
    "it only records": (BINDING, {"validationActions": ["Audit"]}, "NotDenied", "(Audit)"),
    "it fails open": (
        POLICY,
        {"failurePolicy": "Ignore"},
        "PolicyWeakened",
        "differs from the one in the chart",
    ),
    "a friend is exempt": (
        POLICY,
        {"matchConditions": [EXEMPT]},
        "PolicyWeakened",
        "differs from the one in the chart",
    ),
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
def test_weakened_policy_is_reported_with_cause(
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


def test_unanswering_webhook_is_reported(running: Service, operators: Operators) -> None:
    """Nobody listens, somebody else answers, a Service has no pods: one after the other, because
    the operator tries it every ten seconds."""
    doors: tuple[tuple[Callable[[], None], str], ...] = (
        (lambda: operators.aim_webhook(1), "WebhookUnreachable"),
        (
            lambda: operators.aim_webhook(running.plane.ports["kube-apiserver"]),
            "WebhookCertificate",
        ),
        (operators.aim_webhook_as_installed, "WebhookUnreachable"),
    )
    try:
        for aim, reason in doors:
            aim()
            running.until("it is told", lambda: guarded(running) == ("False", reason))  # noqa: B023
            said = condition(running.get(), "Guarded")["message"]
            assert UNREACHABLE in said
    finally:
        operators.aim_webhook()
    running.until("it is guarded again", lambda: guarded(running) == ("True", "Enforced"))


def test_restart_writes_nothing_while_the_webhook_does_not_answer(
    running: Service, operators: Operators
) -> None:
    """A new leader knows after ten seconds whether it answers; until then the status stays."""
    try:
        operators.aim_webhook(1)
        told = ("False", "WebhookUnreachable")
        running.until("it is told", lambda: guarded(running) == told)
        running.until_recorded()
        before = running.get()
        operators.main.stop()
        asked = OperatorRequests.from_now(running.plane, running.namespace)
        leader = operators.restart().until_leading()
        running.until("the new one knows", lambda: leader.records("protection is incomplete"))
        # It looked at all services again when it has seen to one that came after.
        last = Service(running.plane, running.namespace, "last")
        last.apply(replicas=1)
        last.until_ready()
        assert guarded(last) == told
        assert [r for r in asked.writes() if r.name == running.name] == []
        assert running.get() == before
        last.kubectl("delete", "imsvc", last.name)
    finally:
        operators.aim_webhook()


def test_missing_policies_are_reported_in_one_write(running: Service) -> None:
    asked = OperatorRequests.from_now(running.plane, running.namespace)
    with without_guards(running.plane):
        running.until("it is told", lambda: guarded(running) == ("False", "BindingMissing"))
        assert "more)" in condition(running.get(), "Guarded")["message"]
    running.until("it is guarded again", lambda: guarded(running) == ("True", "Enforced"))
    assert asked.tally()["patch immutableservices/status"] <= 4, json.dumps(asked.tally())
