"""The refusals of the model API server, as the real one words them.

`tests/cluster/test_refusals_model.py` sends the same writes to both and compares the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from immutable_operator.api.names import GROUP
from tests.simulation.world.storage import Obj

__all__ = [
    *("Refused", "already_exists", "budget_forbids", "forbidden", "invalid", "not_found"),
    *("check_metadata", "check_preconditions", "check_replacement"),
]

# Kind and group of what this world has.
KINDS = {
    "pods": ("Pod", ""),
    "nodes": ("Node", ""),
    "configmaps": ("ConfigMap", ""),
    "secrets": ("Secret", ""),
    "services": ("Service", ""),
    "events": ("Event", ""),
    "leases": ("Lease", "coordination.k8s.io"),
    "poddisruptionbudgets": ("PodDisruptionBudget", "policy"),
    "immutableservices": ("ImmutableService", GROUP),
    "immutablenodepools": ("ImmutableNodePool", GROUP),
    "immutablerevisions": ("ImmutableRevision", GROUP),
    "immutableactions": ("ImmutableAction", GROUP),
    "immutablefreezes": ("ImmutableFreeze", GROUP),
    "immutablechecks": ("ImmutableCheck", GROUP),
    "immutablelineages": ("ImmutableLineage", GROUP),
    "daemonsets": ("DaemonSet", "apps"),
    "nodeclaims": ("NodeClaim", "karpenter.sh"),
    "cloudnodeclasses": ("CloudNodeClass", "cloud.example"),
}


class Refused(Exception):
    """An answer that is a Status."""

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            **({"reason": reason} if reason else {}),
            **({"details": details} if details is not None else {}),
            "code": code,
        }


def not_found(resource: str, name: str) -> Refused:
    text = f'{_resource(resource)} "{name}" not found'
    return Refused(404, "NotFound", text, _details(resource, name))


def already_exists(resource: str, name: str) -> Refused:
    text = f'{_resource(resource)} "{name}" already exists'
    return Refused(409, "AlreadyExists", text, _details(resource, name))


def forbidden(resource: str, name: str, said: str) -> Refused:
    """Admission refuses it."""
    text = f'{_resource(resource)} "{name}" is forbidden: {said}'
    return Refused(403, "Forbidden", text, _details(resource, name))


def check_preconditions(wanted: Mapping[str, Any], resource: str, obj: Obj) -> None:
    """Those of a deletion: a refusal names the kind, not the resource."""
    for key, word, end in (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    ):
        name, found = obj["metadata"]["name"], obj["metadata"][key]
        if wanted.get(key) not in (None, found):
            text = (
                f'Operation cannot be fulfilled on {_kind(resource)} "{name}": the {word} in the'
                f" precondition ({wanted[key]}) does not match the {word} in record ({found}). The"
                f" object might have been {end}"
            )
            raise Refused(409, "Conflict", text, _details(resource, name, of_kind=True))


def check_replacement(wanted: Mapping[str, Any], resource: str, obj: Obj) -> None:
    """A uid in a body that replaces the object is a precondition, too."""
    meta = obj["metadata"]
    if wanted.get("uid") not in (None, meta["uid"]):
        where = filter(None, (resource, meta.get("namespace"), meta["name"]))
        text = (
            f'Operation cannot be fulfilled on {_resource(resource)} "{meta["name"]}": '
            f"StorageError: invalid object, Code: 4, Key: /registry/{'/'.join(where)},"
            " ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition:"
            f" {wanted['uid']}, UID in object meta: {meta['uid']}"
        )
        raise Refused(409, "Conflict", text, _details(resource, meta["name"]))


def check_metadata(wanted: Mapping[str, Any], resource: str, obj: Obj, *, bound: bool) -> None:
    """Those of a change: its version, and its uid unless that is not ``bound``."""
    meta = obj["metadata"]
    if wanted.get("resourceVersion") not in (None, meta["resourceVersion"]):
        text = (
            f'Operation cannot be fulfilled on {_resource(resource)} "{meta["name"]}": the object'
            " has been modified; please apply your changes to the latest version and try again"
        )
        raise Refused(409, "Conflict", text, _details(resource, meta["name"]))
    if bound and wanted.get("uid") not in (None, meta["uid"]):
        said = f'Invalid value: "{wanted["uid"]}": field is immutable'
        raise invalid(resource, meta["name"], "metadata.uid", said, "FieldValueInvalid")


def invalid(resource: str, name: str, field: str, said: str, why: str) -> Refused:
    text = f'{_kind(resource)} "{name}" is invalid: {field}: {said}'
    causes = [{"reason": why, "message": said, "field": field}]
    details = {**_details(resource, name, of_kind=True), "causes": causes}
    return Refused(422, "Invalid", text, details)


def budget_forbids(budget: str, said: str) -> Refused:
    """The message names neither the pod nor the budget: the cause does."""
    cause = {"reason": "DisruptionBudget", "message": f"The disruption budget {budget} {said}"}
    text = "Cannot evict pod as it would violate the pod's disruption budget."
    return Refused(429, "TooManyRequests", text, {"causes": [cause]})


def _resource(resource: str) -> str:
    group = KINDS[resource][1]
    return f"{resource}.{group}" if group else resource


def _kind(resource: str) -> str:
    return ".".join(filter(None, KINDS[resource]))


def _details(resource: str, name: str, *, of_kind: bool = False) -> Obj:
    kind, group = KINDS[resource]
    group_too = {"group": group} if group else {}
    return {"name": name, **group_too, "kind": kind if of_kind else resource}
