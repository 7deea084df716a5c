"""The admission policies in tests: waiting until they hold, and doing without them for a while.

Without them is for tests of what the operator does where nothing is refused: a cluster whose
administrator chose ``enforcement.mode: Off``, or objects from before the chart was installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from immutable_operator.api.names import API_VERSION, LABEL_GUARD, LABEL_SERVICE
from tests.cluster.services import Service, Wish, condition, pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json
from tests.waiting import wait_for

__all__ = [
    *("BINDING", "BINDINGS", "POLICIES", "POLICY"),
    *("changed", "guarded", "refused_by", "removed"),
    *("until_in_force", "until_kinds_are_known", "until_lifted", "without_guards"),
]

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{ADMISSION}/validatingadmissionpolicies"
BINDINGS = f"{ADMISSION}/validatingadmissionpolicybindings"
# The policy that keeps running instances as they are.
POLICY = f"{POLICIES}/running-pod.immutable.dev"
BINDING = f"{BINDINGS}/running-pod.immutable.dev"
OURS = f"labelSelector={LABEL_GUARD.replace('/', '%2F')}"
# Nothing of this name exists: what no policy refuses ends in 404.
NAME = "probe-im00000000-aaaaa"
IN = "/api/v1/namespaces/default"
MARKED = {"name": NAME, "labels": {LABEL_SERVICE: "probe"}}
# Per guard a request that changes nothing and that it refuses to everybody who tries here.
PROBES: Mapping[str, tuple[str, str, Json | None]] = {
    "pod-create": (
        "POST",
        f"{IN}/pods?dryRun=All",
        {"metadata": MARKED, "spec": {"containers": [{"name": "web", "image": pin("probe")}]}},
    ),
    "connect": ("POST", f"{IN}/pods/{NAME}/exec?command=true&stdout=true", None),
    "node-proxy": ("GET", f"/api/v1/nodes/probe/proxy/exec/default/{NAME}/web", None),
    "configmap": ("POST", f"{IN}/configmaps?dryRun=All", {"metadata": MARKED}),
    "secret": ("POST", f"{IN}/secrets?dryRun=All", {"metadata": MARKED}),
    "service": (
        "POST",
        f"{IN}/services?dryRun=All",
        {"metadata": MARKED, "spec": {"ports": [{"port": 80}]}},
    ),
}


def refused_by(error: ApiError) -> str:
    """Name of the policy that refused a request, "" where it was not a policy."""
    _, _, rest = str(error).partition("ValidatingAdmissionPolicy '")
    return rest.partition("'")[0]


def _held(plane: ControlPlane) -> set[str]:
    """The guards whose probe is refused by a policy."""
    held = set()
    for guard, (method, path, body) in PROBES.items():
        try:
            plane.api().request(method, path, body)
        except ApiError as error:
            if refused_by(error):
                held.add(guard)
    return held


# The admission plugin that checks owners asks nobody who may do everything.
OWNED: Json = {
    "apiVersion": API_VERSION,
    "kind": "ImmutableRevision",
    "metadata": {
        "name": "probe-im00000000",
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": "ImmutableService",
                "name": "probe",
                "uid": "00000000-0000-0000-0000-000000000000",
                "blockOwnerDeletion": True,
            }
        ],
    },
    "spec": {
        "service": "probe",
        "number": 1,
        "revision": "00000000",
        "hash": f"v1:{'0' * 64}",
        "reason": "Created",
        "by": "probe",
        "image": "probe",
        "template": {"spec": {"containers": [{"name": "web", "image": pin("probe")}]}},
    },
}


def _kinds_are_known(plane: ControlPlane, operator: str) -> bool:
    """Whether a kind can own an object, and a policy that mutates can read its schema."""
    api, path = plane.api(), f"/apis/{API_VERSION}/namespaces/default"
    unset = Wish(replicas=None).manifest("probe", "default")
    api.request("POST", f"{path}/immutableservices?dryRun=All", unset)
    owning = replace(api, impersonated=operator)
    return bool(owning.request("POST", f"{path}/immutablerevisions?dryRun=All", OWNED))


def until_in_force(plane: ControlPlane) -> None:
    """Until the API server has read the policies: it does so within about a second."""
    wait_for("all policies hold", lambda: _held(plane) == {*PROBES}, describe=lambda: _held(plane))


def until_kinds_are_known(plane: ControlPlane, operator: str) -> None:
    """After the definitions are new, until the API server knows the kinds everywhere.

    The admission plugins that check owners and that apply mutating policies learn of new kinds up
    to half a minute later. Started again, the API server knows them almost at once.
    """
    plane.kill("kube-apiserver")
    plane.revive("kube-apiserver")
    wait_for("kinds are known as owners", lambda: _kinds_are_known(plane, operator))


def until_lifted(plane: ControlPlane) -> None:
    """Until no policy refuses anything any more."""
    wait_for("no policy holds", lambda: not _held(plane), describe=lambda: _held(plane))


@contextmanager
def without_guards(plane: ControlPlane) -> Iterator[None]:
    """No policy is bound inside of the block; afterwards all are as they were."""
    api = plane.api()
    bindings: list[Json] = api.get(f"{BINDINGS}?{OURS}")["items"]
    assert bindings, "there are no bindings to remove: is the chart installed?"
    api.request("DELETE", f"{BINDINGS}?{OURS}")
    try:
        until_lifted(plane)
        yield
    finally:
        for binding in bindings:
            api.request("POST", BINDINGS, {**binding, "metadata": _portable(binding)})
        until_in_force(plane)


def _portable(item: Json) -> dict[str, Any]:
    kept = ("name", "labels", "annotations")
    return {key: item["metadata"][key] for key in kept if key in item["metadata"]}


def guarded(service: Service) -> tuple[str, str]:
    """Status and reason of the condition that says whether the policies are in force."""
    found = condition(service.get(), "Guarded")
    return found.get("status", ""), found.get("reason", "")


@contextmanager
def changed(plane: ControlPlane, path: str, body: Json) -> Iterator[None]:
    """One object's ``spec`` with a merge patch, until the end of the block."""
    before = plane.api().get(path)
    plane.api().merge_patch(path, {"spec": body})
    try:
        yield
    finally:
        now = plane.api().get(path)
        whole = {**before, "metadata": {**before["metadata"]}}
        whole["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"]
        plane.api().request("PUT", path, whole)
        until_in_force(plane)


@contextmanager
def removed(plane: ControlPlane, path: str) -> Iterator[None]:
    before = plane.api().get(path)
    kept = {key: before["metadata"][key] for key in ("name", "labels", "annotations")}
    plane.api().request("DELETE", path)
    try:
        yield
    finally:
        plane.api().request("POST", path.rpartition("/")[0], {**before, "metadata": kept})
        until_in_force(plane)
