"""What the condition Guarded says, by the policies and bindings that are installed.

That the API server stores them like this is tested in tests/cluster/test_guarded.py and
tests/cluster/nodes/test_pool_guarded.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.admission.fault import Chosen, Fault, Found, NodeScope
from immutable_operator.admission.policies import (
    GUARDS,
    NODE_GUARDS,
    Allowed,
    bindings,
    node_bindings,
    node_policies,
    policies,
)
from immutable_operator.admission.selfcheck import REFUSING, faults, guard_of, guard_of_pool
from immutable_operator.domain.model import Guard, OnDrift

OPERATOR = "system:serviceaccount:here:me"
SCOPE = NodeScope("here", frozenset({"here", "kube-system", "monitoring"}))


MODE_LABEL = "immutable.dev/enforcement"


class Installed:
    """The policies and bindings of the chart, to be changed by a test."""

    def __init__(self, *, break_glass: bool = True) -> None:
        self.break_glass = break_glass
        mine = policies(OPERATOR) | node_policies(OPERATOR, break_glass=break_glass)
        bound = bindings("here") | node_bindings("here", "Deny", ["monitoring"])
        # As read from the API server: no two of them share a part.
        self.policies: dict[str, Any] = json.loads(json.dumps(mine))
        self.bindings: dict[str, Any] = json.loads(json.dumps(bound))

    def pool(self, reached: OnDrift = OnDrift.REPORT) -> Guard:
        return guard_of_pool(self._faults(SCOPE), SCOPE, reached)

    def service(self, namespace: str = "shop") -> Guard:
        return guard_of(self._faults(SCOPE), namespace)

    def _faults(self, nodes: NodeScope | None) -> tuple[Fault, ...]:
        found = Found(self.policies, self.bindings, {})
        wrong = faults(found, OPERATOR, break_glass=self.break_glass, nodes=nodes)
        return tuple(fault for fault in wrong if fault.guard != "break-glass")

    def without_nodes(self) -> Guard:
        """What an operator says about services that serves no node pools."""
        return guard_of(self._faults(None), "shop")

    def namespaces(self, guard: str) -> list[str]:
        selector = self.bindings[guard]["matchResources"]["namespaceSelector"]
        values: list[str] = selector["matchExpressions"][0]["values"]
        return values


@pytest.mark.parametrize("break_glass", [True, False])
def test_pool_is_guarded_by_the_policies_of_the_chart(break_glass: bool) -> None:
    installed = Installed(break_glass=break_glass)
    assert (installed.pool().holds, installed.pool().reason) == (True, "Enforced")
    assert installed.service().holds


@pytest.mark.parametrize(
    ("reached", "becomes"),
    [
        (OnDrift.REPLACE, "leads to a replacement"),
        (OnDrift.REPORT, "is reported"),
        (OnDrift.IGNORE, "is ignored"),
    ],
)
def test_guarded_pool_says_what_no_policy_refuses(reached: OnDrift, becomes: str) -> None:
    said = Installed().pool(reached).message
    assert "except by pods in here, kube-system, monitoring;" in said
    assert f"that the scheduler places {becomes} (spec.drift.reachedInto)" in said


@pytest.mark.parametrize("guard", REFUSING)
def test_missing_policy_of_pools_is_reported_by_pools_only(guard: str) -> None:
    installed = Installed()
    del installed.policies[guard]
    told = installed.pool()
    assert (told.holds, told.reason) == (False, "PolicyMissing")
    assert f"policy {guard}.immutable.dev does not exist; upgrade the chart" in told.message
    assert installed.service().holds


def test_missing_policy_of_services_is_reported_by_services_only() -> None:
    installed = Installed()
    del installed.bindings["running-pod"]
    assert installed.pool().holds
    assert installed.service().reason == "BindingMissing"


def test_policy_of_pools_that_warns_is_reported_with_the_value_to_set() -> None:
    installed = Installed()
    installed.bindings |= node_bindings("here", "Warn", ["monitoring"])
    told = installed.pool()
    assert told.reason == "NotDenied"
    assert "does not deny (Warn, Audit); set enforcement.nodes: Deny" in told.message
    assert told.message.endswith(f"(and {len(REFUSING) - 1} more)")


def test_warning_about_the_deletion_of_a_pool_guards_nothing() -> None:
    installed = Installed()
    del installed.bindings["pool-deletion"]
    assert installed.pool().holds
    assert {*NODE_GUARDS} - {*REFUSING} == {"pool-deletion"}


def test_policy_of_pools_with_another_break_glass_is_weakened() -> None:
    installed = Installed(break_glass=False)
    other = node_policies(OPERATOR, break_glass=True)["node-access"]
    installed.policies["node-access"] = other
    assert installed.pool().reason == "PolicyWeakened"


def test_namespace_that_is_excluded_but_not_exempt_is_reported() -> None:
    installed = Installed()
    installed.namespaces("node-access").append("sandbox")
    told = installed.pool()
    assert told.reason == "NamespaceExcluded"
    assert "node-access.immutable.dev does not apply in sandbox, " in told.message
    installed.namespaces("node-access").remove("sandbox")
    installed.namespaces("node-access").remove("monitoring")
    assert installed.pool().holds, "fewer exceptions are stricter"


def test_binding_of_records_that_misses_the_operators_namespace_is_weakened() -> None:
    installed = Installed()
    installed.namespaces("pool-revisions")[:] = ["elsewhere"]
    told = installed.pool()
    assert told.reason == "BindingWeakened"
    assert "binding pool-revisions.immutable.dev" in told.message


def test_policies_of_pools_are_not_missed_where_pools_are_not_served() -> None:
    installed = Installed()
    for guard in NODE_GUARDS:
        del installed.policies[guard], installed.bindings[guard]
    assert installed.without_nodes().holds


def by_label(installed: Installed, *others: str) -> None:
    """Let the bindings be those of the chart with ``enforcement.modeLabel``, in mode Deny.

    ``others`` are the modes with bindings of their own.
    """
    for guard, binding in list(installed.bindings.items()):
        if guard in NODE_GUARDS:
            continue
        terms = binding["matchResources"]["namespaceSelector"]["matchExpressions"]
        apart = {"key": MODE_LABEL, "operator": "NotIn", "values": list(others)}
        for mode in others:
            own = json.loads(json.dumps(binding))
            own["validationActions"] = [mode, "Audit"]
            term = {"key": MODE_LABEL, "operator": "In", "values": [mode]}
            own["matchResources"]["namespaceSelector"]["matchExpressions"].append(term)
            installed.bindings[f"{guard}-{mode.lower()}"] = own
        terms.append(apart)


def labelled(installed: Installed, **labels: str) -> Guard:
    """What a service in the namespace shop is told, whose other labels are these modes."""
    found = Found(installed.policies, installed.bindings, {})
    wrong = faults(found, OPERATOR, break_glass=False, chosen=Chosen(by_label=True))
    return guard_of(wrong, "shop", {MODE_LABEL: labels["mode"]} if labels else {})


def test_label_of_a_namespace_exempts_only_its_own_services() -> None:
    installed = Installed()
    by_label(installed, "Warn", "Audit", "Off")
    assert labelled(installed).holds
    assert labelled(installed, mode="Deny").holds
    assert labelled(installed, mode="unknown").holds, "another value has no effect"
    for mode in ("Warn", "Audit", "Off"):
        told = labelled(installed, mode=mode)
        assert (told.holds, told.reason) == (False, "NamespaceExcluded")
        assert "because of its name or its labels" in told.message


def test_label_of_a_namespace_makes_policies_deny_that_warn_elsewhere() -> None:
    installed = Installed()
    by_label(installed, "Deny")
    for guard in GUARDS:
        installed.bindings[guard]["validationActions"] = ["Warn", "Audit"]
    del installed.bindings["node-proxy-deny"]
    installed.bindings["node-proxy"]["validationActions"] = ["Deny"]
    assert labelled(installed, mode="Deny").holds
    assert not labelled(installed).holds
    installed.bindings["node-proxy"]["validationActions"] = ["Audit"]
    told = labelled(installed, mode="Deny")
    assert (told.holds, told.reason) == (False, "NotDenied"), "access through nodes is not refused"


def test_namespace_selector_is_a_weakened_binding_unless_the_chart_selects_by_label() -> None:
    installed = Installed()
    by_label(installed, "Off")
    assert (installed.service().holds, installed.service().reason) == (False, "BindingWeakened")


def test_binding_with_another_object_selector_is_weakened_also_by_label() -> None:
    installed = Installed()
    by_label(installed, "Off")
    installed.bindings["connect"]["matchResources"]["objectSelector"] = {"matchLabels": {"a": "b"}}
    assert (labelled(installed).holds, labelled(installed).reason) == (False, "BindingWeakened")


@pytest.mark.parametrize("allowed", [Allowed(("portforward",)), Allowed((), ("mesh.example/",))])
def test_policy_that_lets_more_through_is_weakened_unless_the_chart_allows_it(
    allowed: Allowed,
) -> None:
    installed = Installed()
    installed.policies |= json.loads(json.dumps(policies(OPERATOR, allowed)))
    assert (installed.service().holds, installed.service().reason) == (False, "PolicyWeakened")
    found = Found(installed.policies, installed.bindings, {})
    wrong = faults(found, OPERATOR, break_glass=False, chosen=Chosen(allowed))
    assert guard_of(wrong, "shop").holds


def test_webhook_need_not_be_called_for_verbs_that_are_allowed() -> None:
    installed = Installed()
    resources = ["pods/exec", "pods/attach", "pods/proxy"]
    webhook = [{"rules": [{"resources": resources}], "clientConfig": {"caBundle": "Y2E="}}]
    found = Found(installed.policies, installed.bindings, {"break-glass": webhook})
    told = guard_of(faults(found, OPERATOR, break_glass=True), "shop")
    assert (told.holds, told.reason) == (False, "WebhookWeakened")
    allowed = Allowed(("portforward",))
    found = Found(policies(OPERATOR, allowed), installed.bindings, found.webhooks)
    wrong = faults(found, OPERATOR, break_glass=True, chosen=Chosen(allowed))
    assert guard_of(wrong, "shop").holds
