"""PodDisruptionBudgets on the wire: which cover the pods of a service, and the operator's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from immutable_operator.api.names import LABEL_SERVICE
from immutable_operator.domain.model import DisruptionBudget, budget_name
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.placement import LabelSelector
from immutable_operator.wire.revision import owned_metadata

__all__ = ["BUDGETS", "BudgetRecord", "budget_body", "covering", "decode_budget"]

BUDGETS = ApiPath("apis/policy/v1", "poddisruptionbudgets")


class _Spec(msgspec.Struct, rename="camel", frozen=True):
    min_available: int | str | None = None
    selector: LabelSelector | None = None


class _Budget(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: _Spec = _Spec()


class BudgetRecord(msgspec.Struct, frozen=True):
    """A budget, by namespace (``owner`` of the store): whose it is, and which pods it selects."""

    uid: str
    owner: str
    name: str
    service: str
    content: _Spec

    @property
    def namespace(self) -> str:
        return self.owner


def decode_budget(raw: bytes | msgspec.Raw) -> BudgetRecord:
    """Bytes of a PodDisruptionBudget to its record; its status is not read."""
    budget = msgspec.json.decode(raw, type=_Budget)
    meta = budget.metadata
    return BudgetRecord(meta.uid, meta.namespace, meta.name, meta.controller, budget.spec)


def covering(service: OwnerRecord, known: Iterable[BudgetRecord]) -> tuple[DisruptionBudget, ...]:
    """Return the budgets of a service's namespace that cover its pods, and those with its name."""
    template = service.spec.template or {}
    labels = {
        **((template.get("metadata") or {}).get("labels") or {}),
        LABEL_SERVICE: service.name,
    }
    found = []
    for record in known:
        own = record.service == service.uid
        selector = record.content.selector
        covers = selector is not None and selector.matches(labels)
        if own or covers or record.name == budget_name(service.name):
            least = record.content.min_available
            number = least if isinstance(least, int) else None
            found.append(DisruptionBudget(record.name, record.uid, number, own, covers))
    return tuple(sorted(found, key=lambda budget: budget.name))


def budget_body(service: OwnerRecord, least: int) -> dict[str, Any]:
    """Return the object to create.

    A pod that is not ready can always be evicted, so that it does not block a drain. Pods in
    quarantine have another label and do not count.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owned_metadata(service, budget_name(service.name)),
        "spec": {
            "minAvailable": least,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {LABEL_SERVICE: service.name}},
        },
    }
