"""People and programs that try things on instances, and what they are told.

Whoever is here has every right that RBAC can give, so that what refuses them is a policy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from immutable_operator.admission.policies import object_name
from immutable_operator.api.names import BREAK_GLASS_GROUP
from tests.cluster.guards import refused_by
from tests.cluster.operator_process import USER
from tests.controlplane import ControlPlane
from tests.controlplane.api import STRATEGIC_PATCH, ApiError, Json

__all__ = [
    *("BREAK_GLASS", "OPERATOR", "PERSONS", "Attempt"),
    *("full_rights", "refused", "refused_to_all", "run"),
]

PERSONS = ("alice", "admin")
"""A user with all rights in the namespace and on nodes/proxy; a member of system:masters."""
# All rights, and the name that the policies know; only an administrator can log in like this.
OPERATOR = (f"--as={USER}", "--as-group=system:masters")
BREAK_GLASS = ("--as=jane", "--as-group=system:masters", f"--as-group={BREAK_GLASS_GROUP}")
RBAC = "/apis/rbac.authorization.k8s.io/v1"
EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
NODE_PROXY = {"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["*"]}


@dataclass(frozen=True)
class Attempt:
    """One request. ``path`` is below the namespace, or absolute with a leading slash."""

    method: str
    path: str
    body: Any = None
    content_type: str = STRATEGIC_PATCH


def run(plane: ControlPlane, namespace: str, attempt: Attempt, actor: str) -> Json:
    """Send it as the actor; ApiError where it is refused, {} where the answer is no JSON."""
    path = attempt.path
    if not path.startswith("/"):
        path = f"/api/v1/namespaces/{namespace}/{path}"
    kind = attempt.content_type if attempt.method == "PATCH" else "application/json"
    assert urlsplit(path).path.startswith("/api")
    text = plane.api(actor).text(attempt.method, path, attempt.body, kind)
    try:
        answer: Json = json.loads(text)
    except ValueError:
        answer = {}
    return answer


def refused(plane: ControlPlane, namespace: str, attempt: Attempt, actor: str, guard: str) -> str:
    """Assert that this guard refuses it, with 403 or 422; gives the sentence that is read."""
    with pytest.raises(ApiError) as caught:
        run(plane, namespace, attempt, actor)
    assert refused_by(caught.value) == object_name(guard), str(caught.value)
    assert caught.value.status in (403, 422)
    return str(caught.value).partition("denied request: ")[2]


def refused_to_all(plane: ControlPlane, namespace: str, attempt: Attempt, guard: str) -> str:
    """As `refused`, to each of the persons; gives what the last one is told."""
    return [refused(plane, namespace, attempt, person, guard) for person in PERSONS][-1]


def full_rights(plane: ControlPlane, namespace: str, actor: str = "alice") -> None:
    """Every right on everything in the namespace, and nodes/proxy."""
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": actor}]
    for kind, where, rule in (
        ("Role", f"{RBAC}/namespaces/{namespace}/", EVERYTHING),
        ("ClusterRole", f"{RBAC}/", NODE_PROXY),
    ):
        name = f"{actor}-in-{namespace}"
        role = {"metadata": {"name": name}, "rules": [rule]}
        plane.api().request("POST", f"{where}{kind.lower()}s", role)
        binding: Mapping[str, Any] = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": subjects,
        }
        plane.api().request("POST", f"{where}{kind.lower()}bindings", binding)
