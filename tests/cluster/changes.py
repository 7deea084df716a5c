"""Requests that would change a running instance in place, with who refuses each in which words.

The ids are those of docs/enforcement.md. Data for test_policies_pods.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from immutable_operator.api.names import ANNOTATION_SLOT, LABEL_REVISION, LABEL_SERVICE
from tests.cluster.people import Attempt
from tests.cluster.services import pin
from tests.controlplane.api import Json

__all__ = [
    *(
        "DEBUGGER",
        "FINALIZER",
        "JSON_PATCH",
        "KEPT_MARK",
        "NO_ACCESS",
        "ON_THE_SPEC",
        "PATHS",
        "RESERVED",
        "RESIZE",
        "RUNNING",
    ),
    *("Path", "patch", "path_of", "status"),
]

JSON_PATCH = "application/json-patch+json"
ON_THE_SPEC = "cannot be changed; change spec.template of the ImmutableService web"
RESERVED = "only the operator can write"
NO_ACCESS = "is an immutable instance and cannot be accessed"
RESIZE = "cannot be resized in place; change spec.template of the ImmutableService"
OWNER = "cannot be changed; to remove the instance, delete it"
FINALIZER = "it would delay the replacement"
KEPT_MARK = "cannot be removed; wait until the instance is replaced, or delete it"
PHASE = "only controllers of the cluster report the phase"
KUBELET = "only the kubelet of its node reports"
BINDING = "must not add labels or annotations"
RUNNING, STATUS = "running-pod", "pod-status"
Ask = Callable[[Json], Attempt]


@dataclass(frozen=True)
class Path:
    """A row of the table: what is asked for an instance, which policy refuses it, and how."""

    row: str
    what: str
    guard: str
    says: str
    ask: Ask


def path_of(pod: Json, sub: str = "") -> str:
    return f"pods/{pod['metadata']['name']}" + (f"/{sub}" if sub else "")


def patch(body: Any, sub: str = "", kind: str = "") -> Ask:
    """A patch with a fixed body."""
    kinds = (kind,) if kind else ()
    return lambda pod: Attempt("PATCH", path_of(pod, sub), body, *kinds)


def spec(**fields: Any) -> Ask:
    return patch({"spec": fields})


def metadata(sub: str = "", **fields: Any) -> Ask:
    return patch({"metadata": fields}, sub)


def status(**fields: Any) -> Ask:
    return patch({"status": fields}, "status")


def operations(*steps: Json, sub: str = "") -> Ask:
    return lambda pod: Attempt("PATCH", path_of(pod, sub), list(steps), JSON_PATCH)


def moved_out(pod: Json) -> Attempt:
    """A PUT of the whole object without owners, as `kubectl replace` does."""
    meta = {**pod["metadata"], "ownerReferences": []}
    return Attempt("PUT", path_of(pod), {**pod, "metadata": meta})


def adopted(pod: Json) -> Attempt:
    """A further owner that exists, so that the garbage collector has nothing to say."""
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt", "uid": "some"}
    owners = [*pod["metadata"]["ownerReferences"], other]
    body = {"metadata": {"ownerReferences": owners}}
    return Attempt("PATCH", path_of(pod), body, "application/merge-patch+json")


TOLERATION = {"key": "any", "operator": "Exists"}
DEBUGGER = {"name": "debugger", "image": pin("debugger"), "command": ["sh"]}
ONE_READY = [{"type": "Ready", "status": "False"}]
GATE = [{"type": "immutable.dev/traffic", "status": "True"}]
IMAGE_ID = [{"name": "web", "imageID": pin("evil"), "image": "x", "ready": True, "restartCount": 0}]

PATHS = [
    Path(
        "P1", "image", RUNNING, ON_THE_SPEC, spec(containers=[{"name": "web", "image": pin("b")}])
    ),
    Path(
        *("P1", "init image", RUNNING, ON_THE_SPEC),
        spec(initContainers=[{"name": "init", "image": pin("b")}]),
    ),
    Path("P2", "deadline", RUNNING, ON_THE_SPEC, spec(activeDeadlineSeconds=60)),
    Path(
        *("P2", "toleration", RUNNING, ON_THE_SPEC),
        operations({"op": "add", "path": "/spec/tolerations/-", "value": TOLERATION}),
    ),
    Path(
        *("P5", "ephemeral container", RUNNING, "--as-group=immutable:break-glass"),
        patch({"spec": {"ephemeralContainers": [DEBUGGER]}}, "ephemeralcontainers"),
    ),
    Path("P9", "other service", RUNNING, RESERVED, metadata(labels={LABEL_SERVICE: "other"})),
    Path("P9", "out of service", RUNNING, RESERVED, metadata(labels={LABEL_SERVICE: None})),
    Path("P9", "revision", RUNNING, RESERVED, metadata(labels={LABEL_REVISION: "00000000"})),
    Path("P9", "new label", RUNNING, RESERVED, metadata(labels={"immutable.dev/x": "y"})),
    Path(
        *("P9", "label by status", RUNNING, RESERVED),
        metadata("status", labels={LABEL_SERVICE: None}),
    ),
    Path("P10", "slot", RUNNING, RESERVED, metadata(annotations={ANNOTATION_SLOT: "7"})),
    Path("P10", "no slot", RUNNING, RESERVED, metadata(annotations={ANNOTATION_SLOT: None})),
    Path(
        *("P10", "false taint", RUNNING, RESERVED),
        metadata(annotations={"immutable.dev/tainted": "{}"}),
    ),
    Path(
        *("P10", "annotation by status", RUNNING, RESERVED),
        metadata("status", annotations={ANNOTATION_SLOT: "7"}),
    ),
    Path(
        *("P11", "no owner", RUNNING, OWNER),
        operations({"op": "remove", "path": "/metadata/ownerReferences"}),
    ),
    Path("P11", "no owner by replace", RUNNING, OWNER, moved_out),
    Path("P11", "one more owner", RUNNING, OWNER, adopted),
    Path("P12", "finalizer", RUNNING, FINALIZER, metadata(finalizers=["a/b"])),
    Path(
        *("P12", "finalizer by status", RUNNING, FINALIZER),
        metadata("status", finalizers=["a/b"]),
    ),
    Path(
        "P13",
        "not ready",
        STATUS,
        KUBELET,
        status(conditions=ONE_READY),
    ),
    Path("P13", "our gate", STATUS, "use your own condition type", status(conditions=GATE)),
    Path(
        *("P13", "addresses", STATUS, KUBELET),
        operations(
            {"op": "replace", "path": "/status/podIPs", "value": [{"ip": "10.9.9.9"}]},
            {"op": "replace", "path": "/status/podIP", "value": "10.9.9.9"},
            sub="status",
        ),
    ),
    Path(
        *("P13", "imageID", STATUS, KUBELET),
        status(containerStatuses=IMAGE_ID),
    ),
    Path("P13", "phase", STATUS, PHASE, status(phase="Failed")),
    Path(
        *("P14", "annotation by binding", "binding", BINDING),
        lambda pod: Attempt("POST", path_of(pod, "binding"), binding(pod)),
    ),
    Path(
        *(
            "P14",
            "annotation by a binding of old",
            "binding",
            BINDING,
        ),
        lambda pod: Attempt("POST", "bindings", binding(pod)),
    ),
]


def binding(pod: Json) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod["metadata"]["name"], "annotations": {ANNOTATION_SLOT: "7"}},
        "target": {"kind": "Node", "name": "node-0"},
    }
