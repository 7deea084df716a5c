"""Whether the API server enforces what the operator relies on: what is there against what must be.

Pure. An administrator can remove or weaken any policy, and no policy can prevent that; so it is
said, in the condition ``Guarded`` of every service and in a metric, with the cause.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from immutable_operator.admission.policies import GUARDS, object_name, policies
from immutable_operator.domain.model import Guard
from immutable_operator.kube.reading import READ_ERRORS

__all__ = ["BREAK_GLASS", "Door", "Fault", "Found", "Trouble", "door_of", "faults", "guard_of"]

BREAK_GLASS = "break-glass"
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
INSTEAD = "install or upgrade the chart to have it back"
BINDING_REST = {"matchPolicy": "Equivalent", "objectSelector": {}}
HTTPS = 443
LEFT_OPEN = "until then whoever breaks the glass is let in unmarked"
MENDING = {
    "WebhookUnreachable": "let its address lead to operator pods that are ready, and the network"
    " let API servers and the operator through",
    "WebhookCertificate": "let nobody but the operator write its caBundle or answer in its place",
}
WATCHED = {"pods/exec", "pods/attach", "pods/portforward", "pods/proxy"}


@dataclass(frozen=True, slots=True)
class Found:
    """What is on the API server, by guard: ``spec`` of policies and bindings, webhooks of the one
    configuration."""

    policies: Mapping[str, Any]
    bindings: Mapping[str, Any]
    webhooks: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Door:
    """Where API servers find the webhook; ``authorities`` (PEM) are whom they trust there."""

    host: str
    port: int
    authorities: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """What API servers would find at the door instead of the webhook: a word, and what was said."""

    door: Door
    reason: str
    said: str


def door_of(webhooks: Any) -> Door | None:
    """The door in a webhook configuration; None where there is none that could be knocked at."""
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


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one guard: a word for machines, a sentence, and for which namespaces.

    ``namespaces`` None means everywhere.
    """

    guard: str
    reason: str
    message: str
    namespaces: tuple[str, ...] | None = None


def faults(
    found: Found, operator_user: str, *, break_glass: bool, trouble: Trouble | None = None
) -> tuple[Fault, ...]:
    """All that is wrong, in the order of the guards.

    ``break_glass``: this operator serves it, and ``trouble`` is what is at its door instead.
    """
    wanted = policies(operator_user)
    wrong = [f for guard in GUARDS for f in _read(guard, _wrong(guard, wanted[guard], found))]
    if break_glass:
        webhooks = found.webhooks.get(BREAK_GLASS)
        unwatched = _read(BREAK_GLASS, _unwatched(webhooks))
        wrong += unwatched or _read(BREAK_GLASS, _unanswered(door_of(webhooks), trouble))
    return tuple(wrong)


def _read(guard: str, wrong: Iterator[Fault]) -> list[Fault]:
    """One guard's faults; what makes no sense guards nothing, and hides no other fault."""
    try:
        return list(wrong)
    except READ_ERRORS:
        text = f"what is there of {object_name(guard)} cannot be read; {INSTEAD}"
        return [Fault(guard, "GuardUnreadable", text)]


def _wrong(guard: str, wanted: Mapping[str, Any], found: Found) -> Iterator[Fault]:
    name = object_name(guard)
    if guard not in found.policies:
        yield Fault(guard, "PolicyMissing", f"policy {name} is not there; {INSTEAD}")
        return
    if found.policies[guard] != wanted:
        text = f"policy {name} is not as this operator's chart has it; {INSTEAD}"
        yield Fault(guard, "PolicyWeakened", text)
    binding = found.bindings.get(guard)
    if binding is None:
        yield Fault(guard, "BindingMissing", f"policy {name} is bound to nothing; {INSTEAD}")
        return
    actions = binding.get("validationActions") or []
    if "Deny" not in actions:
        text = f"policy {name} does not refuse ({', '.join(actions)}): set enforcement.mode: Deny"
        yield Fault(guard, "NotDenied", text)
    excluded = _excluded(binding, name)
    if excluded is None:
        text = f"binding {name} is not as this operator's chart has it; {INSTEAD}"
        yield Fault(guard, "BindingWeakened", text)
    elif excluded:
        text = f"policy {name} does not hold in this namespace (enforcement.excludeNamespaces)"
        yield Fault(guard, "NamespaceExcluded", text, excluded)


def _excluded(binding: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """The namespaces that a binding leaves out; None where it leaves out anything else."""
    resources = dict(binding.get("matchResources") or {})
    selector = resources.pop("namespaceSelector", None) or {}
    expressions = selector.get("matchExpressions") or []
    by_name = (
        binding.get("policyName") == name
        and resources == BINDING_REST
        and not binding.get("paramRef")
        and not selector.get("matchLabels")
        and len(expressions) == 1
        and expressions[0].get("key") == NAMESPACE_LABEL
        and expressions[0].get("operator") == "NotIn"
    )
    return tuple(expressions[0].get("values") or ()) if by_name else None


def _unwatched(webhooks: Any) -> Iterator[Fault]:
    """Whoever breaks the glass goes unnoticed where the webhook is not asked."""
    name = "the webhook for break-glass"
    if not webhooks:
        yield Fault(BREAK_GLASS, "WebhookMissing", f"{name} is not there; {INSTEAD}")
        return
    [webhook, *_] = webhooks
    watched = {r for rule in webhook.get("rules") or () for r in rule.get("resources") or ()}
    if not watched >= WATCHED:
        text = f"{name} is not asked for {', '.join(sorted(WATCHED - watched))}; {INSTEAD}"
        yield Fault(BREAK_GLASS, "WebhookWeakened", text)
    elif not (webhook.get("clientConfig") or {}).get("caBundle"):
        text = f"{name} has no caBundle yet: the API server cannot ask it"
        yield Fault(BREAK_GLASS, "WebhookUnreachable", text)


def _unanswered(door: Door | None, trouble: Trouble | None) -> Iterator[Fault]:
    if trouble and trouble.door == door:
        text = (
            f"the webhook for break-glass does not answer API servers at {door.host}:{door.port}"
            f" ({trouble.said}): {MENDING[trouble.reason]}; {LEFT_OPEN}"
        )
        yield Fault(BREAK_GLASS, trouble.reason, text)


def guard_of(wrong: tuple[Fault, ...], namespace: str) -> Guard:
    """What to say of services in one namespace."""
    here = [f for f in wrong if f.namespaces is None or namespace in f.namespaces]
    if not here:
        return Guard(True, "Enforced", f"{len(GUARDS)} admission policies refuse changes in place")
    first = here[0]
    more = f" (and {len(here) - 1} more)" if len(here) > 1 else ""
    return Guard(False, first.reason, f"{first.message}{more}")
