"""PodDisruptionBudgets on the wire: which cover the pods of a service, and the operator's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from immutable_operator.api.names import LABEL_REVISION, LABEL_SERVICE
from immutable_operator.domain.model import DisruptionBudget, SetBudget, budget_name
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.placement import LabelSelector
from immutable_operator.wire.revision import owned_metadata

__all__ = [
    "BUDGETS",
    "BudgetRecord",
    "budget_body",
    "budget_change",
    "covering",
    "decode_budget",
    "selected_revision",
]

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
            revision = selected_revision(service.name, selector)
            found.append(DisruptionBudget(record.name, record.uid, number, own, covers, revision))
    return tuple(sorted(found, key=lambda budget: budget.name))


def selected_revision(service: str, selector: LabelSelector | None) -> str | None:
    """Return which revision a selector selects, "" for all, None if it is another selector."""
    if selector is None or selector.match_expressions:
        return None
    labels = selector.match_labels or {}
    revision = labels.get(LABEL_REVISION, "")
    own = {LABEL_SERVICE: service, **({LABEL_REVISION: revision} if revision else {})}
    return revision if labels == own else None


def budget_change(service: OwnerRecord, move: SetBudget, known: BudgetRecord) -> dict[str, Any]:
    """Return the merge patch of the operator's budget: what is not wanted is null."""
    spec = budget_body(service, move)["spec"]
    selector = known.content.selector
    before = dict.fromkeys(sorted(selector.match_labels or {}) if selector else ())
    labels = {**before, **spec["selector"]["matchLabels"]}
    return {
        "metadata": {"uid": known.uid},
        "spec": {
            **spec,
            "maxUnavailable": None,
            "selector": {"matchLabels": labels, "matchExpressions": None},
        },
    }


def budget_body(service: OwnerRecord, move: SetBudget) -> dict[str, Any]:
    """Return the object to create.

    A pod that is not ready can always be evicted, so that it does not block a drain. Pods in
    quarantine have another label and do not count.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owned_metadata(service, budget_name(service.name)),
        "spec": {
            "minAvailable": move.min_available,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {
                "matchLabels": {
                    LABEL_SERVICE: service.name,
                    **({LABEL_REVISION: move.revision} if move.revision else {}),
                }
            },
        },
    }
