"""Paths into an instance: changes of its pod, connections to its processes."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from immutable_operator.api.names import (
    ANNOTATION_SLOT,
    ANNOTATION_TAINTED,
    LABEL_REVISION,
    LABEL_SERVICE,
)
from immutable_operator.cli.manifest import CONTAINER
from immutable_operator.cli.path import (
    HEALED,
    PREVENTED,
    Ask,
    Heals,
    Path,
    Target,
    edit,
    only,
    patch,
)
from immutable_operator.cli.person import JSON_PATCH, MERGE, Request

__all__ = ["CONNECTS", "EDITS"]


def _other_image(target: Target) -> Request:
    digest = hashlib.sha256(b"kubectl immutable verify").hexdigest()
    image = f"{target.image.partition('@')[0]}@sha256:{digest}"
    return patch({"spec": {"containers": [{"name": CONTAINER, "image": image}]}})(target)


def _toleration(target: Target) -> Request:
    more = {"key": "immutable-verify", "operator": "Exists", "effect": "NoSchedule"}
    tolerations = [*(target.pod["spec"].get("tolerations") or ()), more]
    return patch({"spec": {"tolerations": tolerations}}, kind=MERGE)(target)


def _debugger(target: Target) -> Request:
    container = {"name": "verify", "image": target.image, "command": ["true"]}
    return patch({"spec": {"ephemeralContainers": [container]}}, "ephemeralcontainers")(target)


def _binding(target: Target) -> Request:
    body = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": target.instance, "annotations": {ANNOTATION_SLOT: "7"}},
        "target": {"kind": "Node", "name": target.pod["spec"]["nodeName"]},
    }
    return Request("POST", target.of_pod("binding"), body)


RESIZE = {"containers": [{"name": CONTAINER, "resources": {"requests": {"cpu": "11m"}}}]}
IMAGE_ID = [
    {"name": CONTAINER, "image": "x", "imageID": "x", "ready": True, "restartCount": 0},
]
ADDRESS = [
    {"op": "replace", "path": "/status/podIPs", "value": [{"ip": "192.0.2.1"}]},
    {"op": "replace", "path": "/status/podIP", "value": "192.0.2.1"},
]
NO_RESIZE = "resize|[Rr]esizing"

EDITS = (
    edit("P1-image", "another image in a container", _other_image),
    edit("P2-deadline", "a deadline of the pod", patch({"spec": {"activeDeadlineSeconds": 86400}})),
    edit("P2-toleration", "an added toleration", _toleration),
    Path(
        *("P3-gated", "another image before it is scheduled", HEALED, _other_image, Heals.BORN),
        gated=True,
    ),
    edit("P4-resize", "resize in place", patch({"spec": RESIZE}, "resize"), NO_RESIZE),
    edit("P5-debug", "a debug container", _debugger),
    edit(
        *("P9-no-service", "the label of the service removed"),
        patch({"metadata": {"labels": {LABEL_SERVICE: None}}}),
    ),
    edit(
        *("P9-other-service", "the label of another service"),
        patch({"metadata": {"labels": {LABEL_SERVICE: "other"}}}),
    ),
    edit(
        *("P9-revision", "the label of another revision"),
        patch({"metadata": {"labels": {LABEL_REVISION: "00000000"}}}),
    ),
    edit(
        *("P9-by-status", "a label through the status subresource"),
        patch({"metadata": {"labels": {LABEL_SERVICE: None}}}, "status"),
    ),
    edit(
        *("P10-certificate", "an edited birth certificate"),
        patch({"metadata": {"annotations": {ANNOTATION_SLOT: "7"}}}),
    ),
    edit(
        *("P10-mark", "a forged taint"),
        patch({"metadata": {"annotations": {ANNOTATION_TAINTED: "{}"}}}),
    ),
    edit(
        *("P11-no-owner", "the owner removed"),
        patch({"metadata": {"ownerReferences": None}}, kind=MERGE),
    ),
    only(
        "P12-finalizer", "an added finalizer", patch({"metadata": {"finalizers": ["verify.dev/x"]}})
    ),
    only(
        *("P13-not-ready", "a status with Ready false"),
        patch({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, "status"),
    ),
    only("P13-address", "a status with another address", patch(ADDRESS, "status", JSON_PATCH)),
    only(
        *("P13-image-id", "a status with another image id"),
        patch({"status": {"containerStatuses": IMAGE_ID}}, "status"),
    ),
    only("P14-binding", "an annotation through a binding", _binding, "already assigned"),
)


def _connect(method: str, sub: str) -> Ask:
    """A request without an upgrade: it only checks authorization and never opens a session."""
    return lambda t: Request(method, t.of_pod(sub))


def _through_node(method: str, how: str, container: str = CONTAINER, query: str = "") -> Ask:
    def ask(target: Target) -> Request:
        node = quote(target.pod["spec"]["nodeName"])
        rest = f"{how}/{target.away.namespace}/{target.instance}/{container}{query}"
        return Request(method, f"/api/v1/nodes/{node}/proxy/{rest}")

    return ask


def _reach(row: str, what: str, ask: Ask) -> Path:
    return Path(row, what, PREVENTED, ask, connects=True)


EXEC = f"exec?command=true&stdout=true&container={CONTAINER}"
CONNECTS = (
    _reach("P6-exec", "kubectl exec, cp", _connect("POST", EXEC)),
    _reach("P6-websocket", "kubectl exec by WebSocket", _connect("GET", EXEC)),
    _reach("P6-attach", "kubectl attach", _connect("POST", "attach?stdout=true")),
    _reach("P6-portforward", "kubectl port-forward", _connect("POST", "portforward?ports=1")),
    _reach("P6-proxy", "a request through pods/proxy", _connect("GET", "proxy/")),
    Path(
        *("P6-break-glass", "kubectl exec with break-glass", HEALED),
        *(_connect("POST", EXEC), Heals.SUCCESSOR),
        connects=True,
        as_member=True,
    ),
    _reach(
        "P7-exec", "exec through the kubelet", _through_node("GET", "exec", query="?command=true")
    ),
    _reach("P7-run", "run through the kubelet", _through_node("POST", "run", query="?cmd=true")),
    # For a container that does not exist: nothing is written to the node.
    _reach(
        "P20-checkpoint",
        "a checkpoint through the kubelet",
        _through_node("POST", "checkpoint", "no-such-one"),
    ),
)
