"""A pool says whether the API server refuses access to its nodes, and what is missing if not."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.cluster.guards import BINDINGS, POLICIES, changed, removed
from tests.cluster.node_pools import Pool
from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.services import Service, condition
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.namespaces import fresh_namespace

POLICY = f"{POLICIES}/node-access.immutable.dev"
BINDING = f"{BINDINGS}/node-access.immutable.dev"
SANDBOX = {
    "key": "kubernetes.io/metadata.name",
    "operator": "NotIn",
    "values": ["kube-system", "immutable-system", "sandbox"],
}
EXEMPT = {"name": "friends", "expression": "request.userInfo.username != 'friend'"}
FLAWS: dict[str, tuple[str, Json | None, str, str]] = {
    "the policy is missing": (
        POLICY,
        None,
        "PolicyMissing",
        "policy node-access.immutable.dev does not exist; upgrade the chart",
    ),
    "its binding is missing": (BINDING, None, "BindingMissing", "has no binding"),
    "it only warns": (
        BINDING,
        {"validationActions": ["Warn", "Audit"]},
        "NotDenied",
        "set enforcement.nodes: Deny",
    ),
    "a friend is exempt": (
        POLICY,
        {"matchConditions": [EXEMPT]},
        "PolicyWeakened",
        "differs from the one in the chart",
    ),
    "a namespace is left out": (
        BINDING,
        {"matchResources": {"namespaceSelector": {"matchExpressions": [SANDBOX]}}},
        "NamespaceExcluded",
        "does not apply in sandbox, although pods there are not exempt",
    ),
    "it selects by labels": (
        BINDING,
        {"matchResources": {"namespaceSelector": {"matchLabels": {"team": "a"}}}},
        "BindingWeakened",
        "binding node-access.immutable.dev differs",
    ),
}


@pytest.fixture(scope="module")
def shared(control_plane: ControlPlane, running_operators: Operators) -> Iterator[Pool]:
    running_operators.main.until_leading()
    pool = Pool(control_plane, f"guard{secrets.token_hex(2)}")
    pool.apply(replicas=1)
    pool.until_ready()
    yield pool
    pool.remove()


def guarded(pool: Pool) -> tuple[str, str]:
    found = pool.condition("Guarded")
    return found.get("status", ""), found.get("reason", "")


@pytest.fixture
def running(shared: Pool, operators: Operators) -> Pool:
    """A pool that is guarded; each test leaves it so, and its node as it is."""
    shared.until("it is guarded", lambda: guarded(shared) == ("True", "Enforced"))
    return shared


def test_guarded_pool_says_what_is_not_refused(running: Pool) -> None:
    said = running.condition("Guarded")["message"]
    assert "except by pods in immutable-system, kube-system;" in said
    assert "access by pods that the scheduler places is reported (spec.drift.reachedInto)" in said
    running.apply(drift={"reachedInto": "Replace"})
    running.until(
        "it says what becomes of them",
        lambda: "leads to a replacement" in running.condition("Guarded")["message"],
    )
    running.apply(drift={"reachedInto": "Report"})


@pytest.mark.parametrize("flaw", FLAWS)
def test_weakened_policy_of_nodes_is_reported_with_cause_by_pools(
    running: Pool, operator: OperatorProcess, flaw: str
) -> None:
    path, body, reason, cause = FLAWS[flaw]
    plane, before = running.plane, {*running.nodes()}
    with removed(plane, path) if body is None else changed(plane, path, body):
        running.until("it is told", lambda: guarded(running) == ("False", reason))
        assert cause in running.condition("Guarded")["message"]
        metrics = operator.get("/metrics")[1]
        assert f'immutable_guard_faults{{guard="node-access",reason="{reason}"}} 1.0' in metrics
        assert running.condition("Ready")["status"] == "True"
    running.until("it is guarded again", lambda: guarded(running) == ("True", "Enforced"))
    assert {*running.nodes()} == before


def test_services_do_not_report_the_policies_of_nodes(running: Pool) -> None:
    plane = running.plane
    with fresh_namespace(plane) as namespace:
        web = Service(plane, namespace)
        web.apply(replicas=1)
        with removed(plane, BINDING):
            running.until("it is told", lambda: guarded(running) == ("False", "BindingMissing"))
            web.until(
                "it is guarded",
                lambda: condition(web.get(), "Guarded").get("reason") == "Enforced",
            )
