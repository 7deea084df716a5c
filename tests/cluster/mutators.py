"""Admission that changes new pods: MutatingAdmissionPolicies of a test, in its namespace only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cluster.services import pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.waiting import wait_for

__all__ = [
    *("ENV", "LIMIT", "OTHER_ENV", "PATH", "PROBE", "REQUEST", "SIDECAR", "TOLERATION"),
    *("Mutator", "mutating"),
]

PATH = "/apis/admissionregistration.k8s.io/v1"


@dataclass(frozen=True)
class Mutator:
    """What a policy changes, in CEL, and a text that a changed pod has somewhere."""

    changes: str
    seen: str


def _env(name: str) -> Mutator:
    value = f'{{"name": "{name}", "value": "x"}}'
    patch = f'JSONPatch{{op: "add", path: "/spec/containers/0/env", value: [{value}]}}'
    return Mutator(patch, name)


ENV, OTHER_ENV = _env("HTTP_PROXY"), _env("OTHER_PROXY")
SIDECAR = Mutator(
    'JSONPatch{op: "add", path: "/spec/containers/-", value: '
    f'{{"name": "mesh", "image": "{pin("mesh")}"}}}}, '
    'JSONPatch{op: "add", path: "/metadata/annotations/mesh.example~1status", value: "injected"}',
    "mesh.example/status",
)
REQUEST = Mutator(
    'JSONPatch{op: "replace", path: "/spec/containers/0/resources/requests/cpu", value: "7m"}',
    '"7m"',  # as a whole: names that the API server makes up have these letters, too
)
TOLERATION = Mutator(
    'JSONPatch{op: "add", path: "/spec/tolerations/-", value: '
    '{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}}',
    "spot",
)
LIMIT: Json = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "usual"},
    "spec": {
        "limits": [
            {
                "type": "Container",
                "default": {"memory": "64Mi"},
                "defaultRequest": {"cpu": "3m", "memory": "16Mi"},
            }
        ]
    },
}
PROBE: Json = {
    "metadata": {"name": "probe", "annotations": {"probe": "yes"}},
    "spec": {
        "containers": [
            {"name": "web", "image": pin("probe"), "resources": {"requests": {"cpu": "1m"}}}
        ],
        "tolerations": [{"key": "probe", "operator": "Exists"}],
    },
}


@contextmanager
def mutating(plane: ControlPlane, namespace: str, how: Mutator) -> Iterator[None]:
    """Have each new pod of a namespace changed, until the end of the block."""
    api, name = plane.api(), f"mutate-{namespace}"

    def is_in_force() -> bool:
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        return how.seen in json.dumps(api.request("POST", path, PROBE))

    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["pods"],
                }
            ],
        },
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": f"[{how.changes}]"}}],
    }
    for kind, body in (
        ("mutatingadmissionpolicies", spec),
        ("mutatingadmissionpolicybindings", {"policyName": name}),
    ):
        api.request("POST", f"{PATH}/{kind}", {"metadata": {"name": name}, "spec": body})
    try:
        wait_for("pods are changed", is_in_force)
        yield
    finally:
        for kind in ("mutatingadmissionpolicybindings", "mutatingadmissionpolicies"):
            api.request("DELETE", f"{PATH}/{kind}/{name}")
        wait_for("pods are no longer changed", lambda: not is_in_force())
