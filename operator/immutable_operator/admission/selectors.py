"""Label selectors of bindings: the namespaces in which a policy denies. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["NAMESPACE_LABEL", "Requirement", "Selector", "read_selector", "selects"]

NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
"""The label with the name of a namespace, which the API server sets."""


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """One requirement: ``operator`` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...]


Selector = tuple[Requirement, ...]
"""All requirements have to be met; without any, it selects everything."""


def read_selector(body: Mapping[str, Any] | None) -> Selector:
    """Read a LabelSelector as the API server stores it."""
    given = body or {}
    labels = [Requirement(k, "In", (v,)) for k, v in (given.get("matchLabels") or {}).items()]
    expressions = [
        Requirement(e["key"], e["operator"], tuple(sorted(e.get("values") or ())))
        for e in given.get("matchExpressions") or ()
    ]
    return tuple(sorted([*labels, *expressions]))


def selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether a selector selects an object with these labels."""
    return all(_met(requirement, labels) for requirement in selector)


def _met(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    there = requirement.key in labels
    match requirement.operator:
        case "Exists":
            return there
        case "DoesNotExist":
            return not there
        case "NotIn":
            return labels.get(requirement.key) not in requirement.values
        case _:
            return there and labels[requirement.key] in requirement.values
