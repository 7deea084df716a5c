"""Every path by which an instance, or what is around it, can be changed in place: the table.

The ids are those of docs/enforcement.md. A row is data: the request, who else may refuse it in
which words, and how it would be seen that the operator healed it. ``expected`` is the least that
should hold: Healed where the operator finds it out by itself, Prevented where only the API server
can help.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from urllib.parse import quote

from immutable_operator.api.names import (
    ANNOTATION_SLOT,
    ANNOTATION_TAINTED,
    LABEL_REVISION,
    LABEL_SERVICE,
)
from immutable_operator.cli.outcome import Result
from immutable_operator.cli.person import JSON_PATCH, MERGE, STRATEGIC, Request
from immutable_operator.cli.throwaway import CONTAINER, REVISIONS, Json, ThrowAway

__all__ = ["FORGED_END", "PATHS", "UNTRIED", "Heals", "Path", "Target"]


FORGED_END = "aaaa1"
"""End of a name that no instance has: all letters are those of base 32, but for the last."""


class Heals(Enum):
    """How it is seen that the operator healed what was let through."""

    NEVER = auto()
    """Nothing that it could see."""
    SUCCESSOR = auto()
    """The instance is replaced because it is tainted or drifted."""
    REBIRTH = auto()
    """The instance is gone, as asked for, and there are enough others."""
    RETIRED = auto()
    """What was created is gone."""
    STATUS = auto()
    """The status of the service is true again."""
    RECORD = auto()
    """The revision is on record again."""
    ALL = auto()
    """Every instance is replaced because it drifted."""


@dataclass(frozen=True)
class Target:
    """What is tried on: the service, one of its instances and one of its revisions, as stored."""

    away: ThrowAway
    service: Json
    pod: Json
    revision: Json

    @property
    def instance(self) -> str:
        return str(self.pod["metadata"]["name"])

    def core(self, rest: str) -> str:
        """Path of something of the core API in the namespace."""
        return f"/api/v1/namespaces/{self.away.namespace}/{rest}"

    def of_pod(self, sub: str = "") -> str:
        return self.core(f"pods/{self.instance}") + (f"/{sub}" if sub else "")

    @property
    def image(self) -> str:
        return str(self.pod["spec"]["containers"][0]["image"])


Ask = Callable[[Target], Request]


@dataclass(frozen=True)
class Path:
    """A row.

    ``own_words`` is how the API server itself refuses it, as a regular expression; ``connects``
    says that any answer but a refusal means that the node or the pod was asked; ``creates`` is
    what is there afterwards if nobody refuses; ``dry_because`` is why it is only tried dry;
    ``as_member`` sends it as a member of the break-glass group.
    """

    id: str
    what: str
    expected: Result
    ask: Ask
    heals: Heals = Heals.NEVER
    own_words: str | None = None
    connects: bool = False
    creates: Callable[[Target], str] | None = None
    dry_because: str = ""
    as_member: bool = False


PREVENTED, HEALED = Result.PREVENTED, Result.HEALED


def _patch(body: Any, sub: str = "", kind: str = STRATEGIC) -> Ask:
    return lambda t: Request("PATCH", t.of_pod(sub), body, kind)


def _edit(row: str, what: str, ask: Ask, own_words: str | None = None) -> Path:
    """A change of an instance that the operator finds out by itself."""
    return Path(row, what, HEALED, ask, Heals.SUCCESSOR, own_words)


def _only(row: str, what: str, ask: Ask, own_words: str | None = None) -> Path:
    """A change that only the API server can prevent."""
    return Path(row, what, PREVENTED, ask, own_words=own_words)


def _other_image(target: Target) -> Request:
    digest = hashlib.sha256(b"kubectl immutable verify").hexdigest()
    image = f"{target.image.partition('@')[0]}@sha256:{digest}"
    return _patch({"spec": {"containers": [{"name": CONTAINER, "image": image}]}})(target)


def _toleration(target: Target) -> Request:
    more = {"key": "immutable-verify", "operator": "Exists", "effect": "NoSchedule"}
    tolerations = [*(target.pod["spec"].get("tolerations") or ()), more]
    return _patch({"spec": {"tolerations": tolerations}}, kind=MERGE)(target)


def _debugger(target: Target) -> Request:
    container = {"name": "verify", "image": target.image, "command": ["true"]}
    return _patch({"spec": {"ephemeralContainers": [container]}}, "ephemeralcontainers")(target)


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
    _edit("P1-image", "another image in a container", _other_image),
    _edit("P2-deadline", "a deadline", _patch({"spec": {"activeDeadlineSeconds": 86400}})),
    _edit("P2-toleration", "one more toleration", _toleration),
    _edit("P4-resize", "resize in place", _patch({"spec": RESIZE}, "resize"), NO_RESIZE),
    _edit("P5-debug", "a debug container", _debugger),
    _edit(
        *("P9-no-service", "the service's label taken off"),
        _patch({"metadata": {"labels": {LABEL_SERVICE: None}}}),
    ),
    _edit(
        *("P9-other-service", "the label of another service"),
        _patch({"metadata": {"labels": {LABEL_SERVICE: "other"}}}),
    ),
    _edit(
        *("P9-revision", "the label of another revision"),
        _patch({"metadata": {"labels": {LABEL_REVISION: "00000000"}}}),
    ),
    _edit(
        *("P9-by-status", "a label through the status"),
        _patch({"metadata": {"labels": {LABEL_SERVICE: None}}}, "status"),
    ),
    _edit(
        *("P10-certificate", "an edited birth certificate"),
        _patch({"metadata": {"annotations": {ANNOTATION_SLOT: "7"}}}),
    ),
    _edit(
        *("P10-mark", "a false mark of a taint"),
        _patch({"metadata": {"annotations": {ANNOTATION_TAINTED: "{}"}}}),
    ),
    _edit(
        *("P11-no-owner", "the owner taken off"),
        _patch({"metadata": {"ownerReferences": None}}, kind=MERGE),
    ),
    _only("P12-finalizer", "a finalizer", _patch({"metadata": {"finalizers": ["verify.dev/x"]}})),
    _only(
        *("P13-not-ready", "a status that is not ready"),
        _patch({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, "status"),
    ),
    _only("P13-address", "a status with another address", _patch(ADDRESS, "status", JSON_PATCH)),
    _only(
        *("P13-image-id", "a status with another image id"),
        _patch({"status": {"containerStatuses": IMAGE_ID}}, "status"),
    ),
    _only("P14-binding", "an annotation through a binding", _binding, "already assigned"),
)


def _connect(method: str, sub: str) -> Ask:
    """Asked without an upgrade: whoever is let through is told so, and nothing runs."""
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
    _reach("P6-websocket", "the same by WebSocket", _connect("GET", EXEC)),
    _reach("P6-attach", "kubectl attach", _connect("POST", "attach?stdout=true")),
    _reach("P6-portforward", "kubectl port-forward", _connect("POST", "portforward?ports=1")),
    _reach("P6-proxy", "a request through the API server", _connect("GET", "proxy/")),
    Path(
        *("P6-break-glass", "kubectl exec, breaking the glass", HEALED),
        *(_connect("POST", EXEC), Heals.SUCCESSOR),
        connects=True,
        as_member=True,
    ),
    _reach("P7-exec", "exec through the node", _through_node("GET", "exec", query="?command=true")),
    _reach("P7-run", "run through the node", _through_node("POST", "run", query="?cmd=true")),
    # Of a container that is not there: nothing is written onto the node.
    _reach("P20-checkpoint", "a checkpoint", _through_node("POST", "checkpoint", "no-such-one")),
)


def _create(group: str, resource: str, *, owned: bool = False, **more: Any) -> Ask:
    """An object that claims to be the operator's."""

    def ask(target: Target) -> Request:
        name, labels = f"{target.away.name}-claim", {LABEL_SERVICE: target.away.name}
        owners = target.pod["metadata"]["ownerReferences"] if owned else []
        body = {"metadata": {"name": name, "labels": labels, "ownerReferences": owners}, **more}
        path = f"/{group}/namespaces/{target.away.namespace}/{resource}"
        return Request("POST", path, body)

    return ask


def _claim(row: str, what: str, ask: Ask, heals: Heals = Heals.NEVER) -> Path:
    def creates(target: Target) -> str:
        request = ask(target)
        return f"{request.path}/{request.body['metadata']['name']}"

    expected = PREVENTED if heals is Heals.NEVER else HEALED
    return Path(row, what, expected, ask, heals, creates=creates)


def _stranger(target: Target) -> Request:
    spec = target.away.document(target.image)["spec"]["template"]["spec"]
    return _create("api/v1", "pods", spec=spec)(target)


def _forged(target: Target) -> Request:
    request, meta = _stranger(target), target.pod["metadata"]
    certificate = {key: meta[key] for key in ("labels", "annotations", "ownerReferences")}
    name = meta["name"][:-5] + FORGED_END
    body = {**request.body, "metadata": {**certificate, "name": name}}
    return Request("POST", request.path, body)


def _revision(method: str, body: Any = None) -> Ask:
    def ask(target: Target) -> Request:
        name = target.revision["metadata"]["name"]
        return Request(method, REVISIONS.item(target.away.namespace, name), body, MERGE)

    return ask


def _forged_revision(target: Target) -> Request:
    old = target.revision
    # Of another template: this one would be followed by a rollout.
    more = {"revision": "00000000", "number": 99, "hash": f"v1:{64 * '0'}"}
    spec = {**old["spec"], **more}
    meta = {
        "name": f"{target.away.name}-im00000000",
        "ownerReferences": old["metadata"]["ownerReferences"],
    }
    body = {"apiVersion": old["apiVersion"], "kind": old["kind"], "metadata": meta, "spec": spec}
    return Request("POST", REVISIONS.collection(target.away.namespace), body)


def _unpinned(target: Target) -> Request:
    document = target.away.document(f"{target.image.partition('@')[0]}:latest")
    document["metadata"]["name"] += "-tag"
    return Request("POST", target.away.path.rpartition("/")[0], document)


ORPHAN = {"propagationPolicy": "Orphan"}
FORGED_STATUS = {"status": {"readyReplicas": 99}}
OTHERS = (
    _claim("P15-label", "a pod with the service's label", _stranger),
    _claim("P15-forged", "a pod with a forged certificate", _forged, Heals.RETIRED),
    Path(
        *("P18-tag", "an image without a digest", PREVENTED, _unpinned),
        own_words="digest",
        creates=lambda t: f"{t.away.path}-tag",
    ),
    Path(
        *("C2-status", "a forged status of the service", PREVENTED),
        lambda t: Request("PATCH", f"{t.away.path}/status", FORGED_STATUS, MERGE),
        Heals.STATUS,
    ),
    Path(
        *("C2-orphan", "deletion that orphans the instances", PREVENTED),
        lambda t: Request("DELETE", t.away.path, ORPHAN),
        dry_because="it would leave instances that nobody owns and nobody replaces",
    ),
    _claim("C3-forge", "a forged revision", _forged_revision),
    _only(
        "C3-edit", "an edited revision", _revision("PATCH", {"metadata": {"labels": {"a": "b"}}})
    ),
    Path(
        *("C3-delete", "a deleted revision", PREVENTED),
        *(_revision("DELETE"), Heals.RECORD),
    ),
    _claim(
        *("S1-service", "a Service that claims to be ours"),
        _create("api/v1", "services", spec={"ports": [{"port": 80}]}),
    ),
    _claim(
        *("S2-addresses", "addresses that claim to be ours"),
        _create("apis/discovery.k8s.io/v1", "endpointslices", addressType="IPv4", endpoints=[]),
    ),
    _claim(
        *("M2-configmap", "a ConfigMap that claims to be a snapshot"),
        _create("api/v1", "configmaps", immutable=True),
    ),
    _claim(
        *("M2-secret", "a Secret that claims to be a snapshot"),
        _create("api/v1", "secrets", immutable=True),
    ),
    Path(
        *("P22-delete", "kubectl delete pod", HEALED),
        *(lambda t: Request("DELETE", t.of_pod()), Heals.REBIRTH),
    ),
    Path(
        *("M3-anew", "the ConfigMap it reads, made anew", HEALED),
        *(lambda t: Request("DELETE", t.away.settings), Heals.ALL),
    ),
)

PATHS: tuple[Path, ...] = (*EDITS, *CONNECTS, *OTHERS)
"""In the order in which they are tried; what ends all instances comes last."""

UNTRIED: tuple[tuple[str, str, str], ...] = (
    ("P3", "placing an instance that is gated", "it does not run yet; the gate's owner may"),
    ("P8", "the kubelet's own port", "the API server is not asked; close port 10250 to others"),
    ("P16", "webhooks that rewrite pods at birth", "it would need one for the whole cluster"),
    ("P17", "a container that restarts in place", "no request; immutability.restarts: Replace"),
    ("P19", "static pods", "the kubelet starts them from its node's disk"),
    ("V1", "what is written into volumes", "no request; mount them read-only"),
    ("N1", "root on a node", "nothing in the API sees it; replace nodes"),
    ("G1", "policies removed by an administrator", "not prevented; the condition Guarded says it"),
    ("G3", "writes into etcd", "the API server is not asked"),
)
"""Paths that cannot be tried from outside: id, what, why."""
