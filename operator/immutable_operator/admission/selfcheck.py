"""Checks that the API server enforces the policies: compares the installed with the required ones.

Pure. An administrator can remove or weaken any policy, and no policy can prevent that. It is
reported in the condition ``Guarded`` of every service and pool and in a metric, with the cause.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from immutable_operator.admission.fault import Chosen, Door, Fault, Found, NodeScope, Trouble
from immutable_operator.admission.policies import (
    CLUSTER_WIDE,
    GUARDS,
    NODE_GUARDS,
    POOL_RECORDS,
    WARNS,
    node_policies,
    object_name,
    policies,
)
from immutable_operator.admission.selectors import NAMESPACE_LABEL, read_selector
from immutable_operator.domain.model import REACHED_INTO, Guard, OnDrift
from immutable_operator.kube.reading import READ_ERRORS

__all__ = [
    *("ALLOWABLE", "BREAK_GLASS", "LEFT_OPEN", "UNREACHABLE"),
    *("door_of", "faults", "guard_of", "guard_of_pool"),
]

BREAK_GLASS = "break-glass"
INSTEAD = "upgrade the chart to restore it"
REFUSING = tuple(guard for guard in NODE_GUARDS if guard != WARNS)
"""The policies of node pools that refuse; the other one only warns."""
NAMESPACED = "node-access"
"""The one that is about objects in the namespaces of users; the namespaces that a binding excludes
have no effect for cluster-scoped objects."""
LOOKS = {
    OnDrift.REPLACE: "leads to a replacement",
    OnDrift.REPORT: "is reported",
    OnDrift.IGNORE: "is ignored",
}
BINDING_REST = {"matchPolicy": "Equivalent", "objectSelector": {}}
HTTPS = 443
UNREACHABLE = "the webhook for break-glass cannot be reached at"
LEFT_OPEN = "until then, break-glass access marks no instance as tainted"
MENDING = {
    "WebhookUnreachable": "make sure that its address leads to ready operator pods, and that the"
    " network allows connections from API servers and from the operator",
    "WebhookCertificate": "make sure that only the operator writes its caBundle and answers at its"
    " address",
}
ALLOWABLE = ("portforward",)
"""The verbs that ``enforcement.allowedVerbs`` can let through: they change nothing in a pod."""
WATCHED = {"pods/exec", "pods/attach", "pods/portforward", "pods/proxy"}


def door_of(webhooks: Any) -> Door | None:
    """The address in a webhook configuration; None if it has no usable one."""
    client = (webhooks[0].get("clientConfig") or {}) if webhooks else {}
    try:
        authorities = base64.b64decode(client.get("caBundle") or "").decode()
        if url := client.get("url"):
            address = urlsplit(url)
            host, port = address.hostname or "", address.port or HTTPS
        else:
            service = client.get("service") or {}
            host = f"{service.get('name', '')}.{service.get('namespace', '')}.svc"
            port = int(service.get("port") or HTTPS)
    except ValueError:
        return None
    return Door(host, port, authorities) if authorities and host else None


def faults(
    found: Found,
    operator_user: str,
    *,
    break_glass: bool,
    trouble: Trouble | None = None,
    nodes: NodeScope | None = None,
    chosen: Chosen | None = None,
) -> tuple[Fault, ...]:
    """All faults, in the order of the guards: of services, of node pools, of the webhook.

    ``break_glass``: this operator serves the webhook; ``trouble``: why API servers cannot reach it.
    ``nodes`` is None if this operator does not serve node pools.
    """
    chosen = chosen or Chosen()
    wanted = policies(operator_user, chosen.allowed)
    wrong = [
        fault
        for guard in GUARDS
        for fault in _read(guard, _wrong(guard, wanted[guard], found, by_label=chosen.by_label))
    ]
    if nodes:
        wanted = node_policies(operator_user, break_glass=break_glass)
        for guard in REFUSING:
            wrong += _read(guard, _wrong(guard, wanted[guard], found, nodes))
    if break_glass:
        webhooks = found.webhooks.get(BREAK_GLASS)
        unwatched = _read(BREAK_GLASS, _unwatched(webhooks, chosen.allowed.verbs))
        wrong += unwatched or _read(BREAK_GLASS, _unanswered(door_of(webhooks), trouble))
    return tuple(wrong)


def _read(guard: str, wrong: Iterator[Fault]) -> list[Fault]:
    """The faults of one guard; an unreadable object is a fault and does not hide other faults."""
    try:
        return list(wrong)
    except READ_ERRORS:
        text = f"{object_name(guard)} cannot be read; {INSTEAD}"
        return [Fault(guard, "GuardUnreadable", text)]


def _wrong(
    guard: str,
    wanted: Mapping[str, Any],
    found: Found,
    nodes: NodeScope | None = None,
    *,
    by_label: bool = False,
) -> Iterator[Fault]:
    """The faults of one policy and its binding; ``nodes`` if it is one of node pools."""
    name = object_name(guard)
    if guard not in found.policies:
        yield Fault(guard, "PolicyMissing", f"policy {name} does not exist; {INSTEAD}")
        return
    if found.policies[guard] != wanted:
        text = f"policy {name} differs from the one in the chart; {INSTEAD}"
        yield Fault(guard, "PolicyWeakened", text)
    binding = found.bindings.get(guard)
    if binding is None:
        yield Fault(guard, "BindingMissing", f"policy {name} has no binding; {INSTEAD}")
        return
    if by_label and _namespaces(binding, name, "NotIn") is None:
        yield from _wrong_by_label(guard, name, found)
        return
    actions = binding.get("validationActions") or []
    if "Deny" not in actions:
        value = "enforcement.nodes" if nodes else "enforcement.mode"
        text = f"policy {name} does not deny ({', '.join(actions)}); set {value}: Deny"
        yield Fault(guard, "NotDenied", text)
    named = _namespaces(binding, name, "In" if guard in POOL_RECORDS else "NotIn")
    if named is None or (nodes and guard in POOL_RECORDS and nodes.home not in named):
        text = f"binding {name} differs from the one in the chart; {INSTEAD}"
        yield Fault(guard, "BindingWeakened", text)
    elif nodes is None and named:
        text = f"policy {name} does not apply in this namespace (enforcement.excludeNamespaces)"
        yield Fault(guard, "NamespaceExcluded", text, named)
    elif nodes and guard == NAMESPACED and (more := [n for n in named if n not in nodes.exempt]):
        text = (
            f"policy {name} does not apply in {', '.join(more)}, although pods there are not exempt"
            " (nodes.exemptNamespaces); upgrade the chart and restart the operator"
        )
        yield Fault(guard, "NamespaceExcluded", text)


def _wrong_by_label(guard: str, name: str, found: Found) -> Iterator[Fault]:
    """The faults of the bindings of one policy that select namespaces by labels."""
    bound = [b for b in found.bindings.values() if b.get("policyName") == name]
    if any(b.get("paramRef") or _rest(b) != BINDING_REST for b in bound):
        text = f"binding {name} differs from the one in the chart; {INSTEAD}"
        yield Fault(guard, "BindingWeakened", text)
        return
    denying = [b for b in bound if "Deny" in (b.get("validationActions") or ())]
    if not denying:
        text = f"policy {name} does not deny; set enforcement.mode: Deny"
        yield Fault(guard, "NotDenied", text)
    elif guard != CLUSTER_WIDE:
        text = (
            f"policy {name} does not deny in this namespace, because of its name or its labels"
            " (enforcement.namespaceSelector, modeLabel, excludeNamespaces)"
        )
        selectors = (read_selector(b["matchResources"].get("namespaceSelector")) for b in denying)
        yield Fault(guard, "NamespaceExcluded", text, denied=tuple(sorted(selectors)))


def _rest(binding: Mapping[str, Any]) -> dict[str, Any]:
    """What a binding selects, without its selector of namespaces."""
    resources = binding.get("matchResources") or {}
    return {key: value for key, value in resources.items() if key != "namespaceSelector"}


def _namespaces(binding: Mapping[str, Any], name: str, operator: str) -> tuple[str, ...] | None:
    """The namespaces that a binding names; None if it selects in another way."""
    selector = (binding.get("matchResources") or {}).get("namespaceSelector") or {}
    expressions = selector.get("matchExpressions") or []
    by_name = (
        binding.get("policyName") == name
        and _rest(binding) == BINDING_REST
        and not binding.get("paramRef")
        and not selector.get("matchLabels")
        and len(expressions) == 1
        and expressions[0].get("key") == NAMESPACE_LABEL
        and expressions[0].get("operator") == operator
    )
    return tuple(expressions[0].get("values") or ()) if by_name else None


def _unwatched(webhooks: Any, allowed: Collection[str]) -> Iterator[Fault]:
    """Break-glass access is not marked if the API server does not call the webhook."""
    name = "the webhook for break-glass"
    if not webhooks:
        yield Fault(BREAK_GLASS, "WebhookMissing", f"{name} does not exist; {INSTEAD}")
        return
    [webhook, *_] = webhooks
    watched = {r for rule in webhook.get("rules") or () for r in rule.get("resources") or ()}
    wanted = WATCHED - {f"pods/{verb}" for verb in allowed}
    if not watched >= wanted:
        text = f"{name} is not called for {', '.join(sorted(wanted - watched))}; {INSTEAD}"
        yield Fault(BREAK_GLASS, "WebhookWeakened", text)
    elif not (webhook.get("clientConfig") or {}).get("caBundle"):
        text = f"{name} has no caBundle yet, so the API server cannot call it"
        yield Fault(BREAK_GLASS, "WebhookUnreachable", text)


def _unanswered(door: Door | None, trouble: Trouble | None) -> Iterator[Fault]:
    if trouble and trouble.door == door:
        text = (
            f"{UNREACHABLE} {door.host}:{door.port}"
            f" ({trouble.said}); {MENDING[trouble.reason]}; {LEFT_OPEN}"
        )
        yield Fault(BREAK_GLASS, trouble.reason, text)


def guard_of(
    wrong: tuple[Fault, ...], namespace: str, labels: Mapping[str, str] | None = None
) -> Guard:
    """The state that is reported for services in one namespace with these labels."""
    here = [
        fault
        for fault in wrong
        if fault.guard not in NODE_GUARDS and fault.affects(namespace, labels or {})
    ]
    return _broken(here) or Guard(
        True, "Enforced", f"{len(GUARDS)} admission policies prevent changes in place"
    )


def guard_of_pool(wrong: tuple[Fault, ...], nodes: NodeScope, reached: OnDrift) -> Guard:
    """The state that is reported for node pools; ``reached``: what access to a node leads to.

    No policy refuses a pod that the scheduler places, so the message says what becomes of it.
    """
    text = (
        f"{len(REFUSING)} admission policies prevent access to nodes and changes of their records,"
        f" except by pods in {', '.join(sorted(nodes.exempt))}; access by pods that the scheduler"
        f" places {LOOKS[reached]} (spec.drift.{REACHED_INTO})"
    )
    mine = [fault for fault in wrong if fault.guard in NODE_GUARDS]
    return _broken(mine) or Guard(True, "Enforced", text)


def _broken(wrong: Sequence[Fault]) -> Guard | None:
    if not wrong:
        return None
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return Guard(False, wrong[0].reason, f"{wrong[0].message}{more}")
