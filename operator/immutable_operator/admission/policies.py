"""The required ValidatingAdmissionPolicies and their bindings. Pure.

``policies/<guard>.yaml`` is the ``spec`` of one policy, including every field that the API server
defaults, so that it can be compared with the installed policy; ``node_policies`` are those that are
installed only if node pools are served. The chart installs a copy of these files
(``python -m immutable_operator.admission.chart``). The policies have no parameters: a policy
with parameters refuses all requests until the API server has read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
import yaml

from immutable_operator.api.names import GROUP
from immutable_operator.api.node_folders import NODE_FOLDERS

__all__ = [
    "CLUSTER_WIDE",
    "GUARDS",
    "LISTS",
    "NODE_GUARDS",
    "NOTHING",
    "POOL_RECORDS",
    "VALIDATION_ACTIONS",
    "WARNS",
    "Allowed",
    "Mode",
    "bindings",
    "node_bindings",
    "node_policies",
    "object_name",
    "policies",
    "source",
]

Mode = Literal["Deny", "Warn", "Audit", "Off"]

FOLDER: Final = Path(__file__).with_name("policies")
NODE_FOLDER: Final = Path(__file__).with_name("node_policies")
PLACEHOLDER: Final = "OPERATOR_USER"
BREAK_GLASS: Final = "BREAK_GLASS"
LISTS: Final = ("ALLOWED_VERBS", "ALLOWED_UNPINNED")
"""Placeholders for lists of strings, in the order of `Allowed`."""
WARNS: Final = "pool-deletion"
CLUSTER_WIDE: Final = "node-proxy"
"""The policy of services that is about objects without a namespace: no selector has an effect."""
POOL_RECORDS: Final = {
    "pool-actions": "actions",
    "pool-lineages": "lineages",
    "pool-revisions": "revisions",
    "pool-revision-status": "revision-status",
}
"""Guards with the same policies as others, which apply in the operator's namespace: revisions,
lineages and actions of pools are there, and the other bindings exclude it."""

GUARDS: Final = tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))
"""The ids of the policies of services, which are values of the label ``immutable.dev/guard``."""

NODE_GUARDS: Final = tuple(
    sorted([*POOL_RECORDS, *(file.stem for file in NODE_FOLDER.glob("*.yaml"))])
)
"""The ids of the policies that are installed if the operator serves node pools."""

VALIDATION_ACTIONS: Final[dict[Mode, list[str]]] = {
    "Deny": ["Deny", "Audit"],
    "Warn": ["Warn", "Audit"],
    "Audit": ["Audit"],
    "Off": [],
}
"""validationActions by the chart values ``enforcement.mode`` and ``.nodes``; Off installs none."""


def object_name(guard: str) -> str:
    """Name of the policy and of its binding; refusals show it."""
    return f"{guard}.{GROUP}"


def source(guard: str) -> str:
    """Text of the spec of a policy, with the placeholders that the chart replaces."""
    name = POOL_RECORDS.get(guard, guard)
    folder = FOLDER if name in GUARDS else NODE_FOLDER
    text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
    # The slash at the end keeps /etcd apart from /etc.
    return text.replace("NODE_FOLDERS", str([f"{folder}/" for folder in NODE_FOLDERS]))


@lru_cache(maxsize=128)
def _encoded(text: str) -> bytes:
    """Return a policy as JSON, which is read a hundred times faster than YAML at each check."""
    return msgspec.json.encode(yaml.safe_load(text))


def _parsed(text: str) -> dict[str, Any]:
    spec: dict[str, Any] = msgspec.json.decode(_encoded(text))
    return spec


class Allowed(NamedTuple):
    """What the policies let through: ``enforcement.allowedVerbs`` and ``.allowUnpinned``."""

    verbs: tuple[str, ...] = ()
    unpinned: tuple[str, ...] = ()


NOTHING: Final = Allowed()


def policies(operator_user: str, allowed: Allowed = NOTHING) -> dict[str, dict[str, Any]]:
    """``spec`` of every ValidatingAdmissionPolicy, by guard.

    Parameters
    ----------
    operator_user
        User name of the operator, ``system:serviceaccount:<namespace>:<name>``.
    allowed
        What the values of the chart let through.
    """
    texts = {guard: source(guard).replace(PLACEHOLDER, operator_user) for guard in GUARDS}
    for name, values in zip(LISTS, allowed, strict=True):
        listed = "[" + ", ".join(f"'{value}'" for value in values) + "]"
        texts = {guard: text.replace(name, listed) for guard, text in texts.items()}
    return {guard: _parsed(text) for guard, text in texts.items()}


def node_policies(operator_user: str, *, break_glass: bool) -> dict[str, dict[str, Any]]:
    """As `policies`, those of node pools; ``break_glass``: members of the group are let through."""
    allowed = "true" if break_glass else "false"
    return {
        guard: _parsed(
            source(guard).replace(PLACEHOLDER, operator_user).replace(BREAK_GLASS, allowed)
        )
        for guard in NODE_GUARDS
    }


def bindings(
    operator_namespace: str, mode: Mode = "Deny", exclude: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """``spec`` of every ValidatingAdmissionPolicyBinding, by guard; none if the mode is Off.

    Namespaces are excluded by the label that the API server sets. The selector has no effect for
    cluster-scoped objects (nodes/proxy).
    """
    if mode == "Off":
        return {}
    excluded = ["kube-system", operator_namespace, *exclude]
    return {guard: _binding(guard, VALIDATION_ACTIONS[mode], "NotIn", excluded) for guard in GUARDS}


def node_bindings(
    operator_namespace: str, mode: Mode = "Deny", exempt: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """As `bindings`, of the policies of node pools; ``exempt``: ``nodes.exemptNamespaces``.

    The one about the deletion of pools warns where the others refuse.
    """
    if mode == "Off":
        return {}
    excluded = ["kube-system", operator_namespace, *exempt]
    warned: Mode = "Warn" if mode == "Deny" else mode
    return {
        guard: _binding(guard, VALIDATION_ACTIONS[mode], "In", [operator_namespace])
        if guard in POOL_RECORDS
        else _binding(
            guard, VALIDATION_ACTIONS[warned if guard == WARNS else mode], "NotIn", excluded
        )
        for guard in NODE_GUARDS
    }


def _binding(
    guard: str, actions: list[str], operator: str, namespaces: list[str]
) -> dict[str, Any]:
    names = {"key": "kubernetes.io/metadata.name", "operator": operator, "values": namespaces}
    return {
        "policyName": object_name(guard),
        "validationActions": actions,
        "matchResources": {
            "matchPolicy": "Equivalent",
            "namespaceSelector": {"matchExpressions": [names]},
            "objectSelector": {},
        },
    }
