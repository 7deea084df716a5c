"""The required ValidatingAdmissionPolicies and their bindings. Pure.

``policies/<guard>.yaml`` is the ``spec`` of one policy, including every field that the API server
defaults, so that it can be compared with the installed policy. The chart installs a copy of these
files (``python -m immutable_operator.admission.chart``). The policies have no parameters: a policy
with parameters refuses all requests until the API server has read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from immutable_operator.api.names import GROUP

__all__ = [
    "GUARDS",
    "VALIDATION_ACTIONS",
    "Mode",
    "bindings",
    "object_name",
    "policies",
    "source",
]

Mode = Literal["Deny", "Warn", "Audit", "Off"]

FOLDER: Final = Path(__file__).with_name("policies")
PLACEHOLDER: Final = "OPERATOR_USER"

GUARDS: Final = tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))
"""The ids of all policies, which are the values of the label ``immutable.dev/guard``."""

VALIDATION_ACTIONS: Final[dict[Mode, list[str]]] = {
    "Deny": ["Deny", "Audit"],
    "Warn": ["Warn", "Audit"],
    "Audit": ["Audit"],
    "Off": [],
}
"""validationActions by the chart value ``enforcement.mode``; Off installs no policies."""


def object_name(guard: str) -> str:
    """Name of the policy and of its binding; refusals show it."""
    return f"{guard}.{GROUP}"


def source(guard: str) -> str:
    """Text of the spec of a policy, with the placeholder for the operator's user."""
    return (FOLDER / f"{guard}.yaml").read_text(encoding="utf-8")


def policies(operator_user: str) -> dict[str, dict[str, Any]]:
    """``spec`` of every ValidatingAdmissionPolicy, by guard.

    Parameters
    ----------
    operator_user
        User name of the operator, ``system:serviceaccount:<namespace>:<name>``.
    """
    return {
        guard: yaml.safe_load(source(guard).replace(PLACEHOLDER, operator_user)) for guard in GUARDS
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
    return {
        guard: {
            "policyName": object_name(guard),
            "validationActions": VALIDATION_ACTIONS[mode],
            "matchResources": {
                "matchPolicy": "Equivalent",
                "namespaceSelector": {
                    "matchExpressions": [
                        {
                            "key": "kubernetes.io/metadata.name",
                            "operator": "NotIn",
                            "values": excluded,
                        }
                    ]
                },
                "objectSelector": {},
            },
        }
        for guard in GUARDS
    }
