"""The ValidatingAdmissionPolicies that must be on the API server, and their bindings. Pure.

``policies/<guard>.yaml`` is the ``spec`` of one policy, with every field that the API server
would default, so that what is served can be compared with what is wanted. The chart installs a
copy of these files (``python -m immutable_operator.admission.chart``). No policy takes
parameters: one with parameters refuses everything while the API server has not read them yet.
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
"""The ids of all guards, which are the values of the label ``immutable.dev/guard``."""

VALIDATION_ACTIONS: Final[dict[Mode, list[str]]] = {
    "Deny": ["Deny", "Audit"],
    "Warn": ["Warn", "Audit"],
    "Audit": ["Audit"],
    "Off": [],
}
"""What a violation leads to, by the chart's value ``enforcement.mode``; Off has no policies."""


def object_name(guard: str) -> str:
    """Name of the policy and of its binding; a refusal shows it to the person refused."""
    return f"{guard}.{GROUP}"


def source(guard: str) -> str:
    """Text of a policy's spec as it lies in the package, with the placeholder in it."""
    return (FOLDER / f"{guard}.yaml").read_text(encoding="utf-8")


def policies(operator_user: str) -> dict[str, dict[str, Any]]:
    """``spec`` of every ValidatingAdmissionPolicy, by guard.

    Parameters
    ----------
    operator_user
        ``system:serviceaccount:<namespace>:<name>``: who may do what only the operator may.
    """
    return {
        guard: yaml.safe_load(source(guard).replace(PLACEHOLDER, operator_user)) for guard in GUARDS
    }


def bindings(
    operator_namespace: str, mode: Mode = "Deny", exclude: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """``spec`` of every ValidatingAdmissionPolicyBinding, by guard; none where the mode is Off.

    Namespaces are excluded by the label that the API server itself writes. Objects without a
    namespace (nodes/proxy) are bound whatever the selector says.
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
