"""What the check of the policies finds, and what it needs to know. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from immutable_operator.admission.policies import NOTHING, Allowed
from immutable_operator.admission.selectors import NAMESPACE_LABEL, Selector, selects

__all__ = ["Chosen", "Door", "Fault", "Found", "NodeScope", "Trouble"]


@dataclass(frozen=True, slots=True)
class Found:
    """The objects on the API server, by guard: ``spec`` of policies and bindings, and the webhooks
    of the webhook configuration."""

    policies: Mapping[str, Any]
    bindings: Mapping[str, Any]
    webhooks: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Door:
    """The address of the webhook, and the CAs (PEM) that API servers trust for it."""

    host: str
    port: int
    authorities: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why API servers cannot reach the webhook: reason and error message."""

    door: Door
    reason: str
    said: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one guard: machine-readable reason, message, and the affected namespaces.

    ``namespaces`` None means all namespaces; with ``denied``, all that none of these selectors
    selects.
    """

    guard: str
    reason: str
    message: str
    namespaces: tuple[str, ...] | None = None
    denied: tuple[Selector, ...] = ()

    @property
    def everywhere(self) -> bool:
        """Whether it affects each namespace."""
        return self.namespaces is None and not self.denied

    def affects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether it affects a namespace with these labels."""
        if self.denied:
            return not any(selects(s, {NAMESPACE_LABEL: namespace, **labels}) for s in self.denied)
        return self.namespaces is None or namespace in self.namespaces


@dataclass(frozen=True, slots=True)
class Chosen:
    """Values of the chart that determine what is required.

    ``allowed``: what the policies let through. ``by_label``: bindings may select namespaces by
    labels (``enforcement.namespaceSelector`` and ``modeLabel``).
    """

    allowed: Allowed = NOTHING
    by_label: bool = False


@dataclass(frozen=True, slots=True)
class NodeScope:
    """Where the policies of node pools apply: ``home`` is the operator's namespace, ``exempt`` are
    all namespaces (with ``home``) whose pods may have access to nodes."""

    home: str
    exempt: frozenset[str]
