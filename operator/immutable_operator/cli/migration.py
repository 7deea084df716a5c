"""The rules of a migration: whether it can be done, which images run, how many pods move. Pure."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from immutable_operator.api.image import is_pinned
from immutable_operator.api.names import API_VERSION, SERVICE_KIND
from immutable_operator.cli.objects import Json, condition
from immutable_operator.cli.problem import CannotRun
from immutable_operator.registry.client import DIGEST
from immutable_operator.registry.tags import Tagged

__all__ = [
    *("DEPLOYMENT_TARGET", "SERVICE_TARGET", "Count", "deployment_of", "fingerprint"),
    *(
        "MOVED",
        "NO_DIGEST",
        "REPLICAS",
        "pinned_template",
        "refusal",
        "step",
        "surge_of",
        "tool_of",
        "total_of",
    ),
]

NO_DIGEST = "the node does not report the digest of the image"
DEPLOYMENT_TARGET: Json = {"apiVersion": "apps/v1", "kind": "Deployment"}
SERVICE_TARGET: Json = {"apiVersion": API_VERSION, "kind": SERVICE_KIND}
# Field managers, and the beginnings of labels and annotations, of tools that own what they apply.
MANAGERS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "helm": "Helm",
}
KEYS = {
    "argocd.argoproj.io/": "Argo CD",
    "kustomize.toolkit.fluxcd.io/": "Flux",
    "helm.toolkit.fluxcd.io/": "Flux",
    "meta.helm.sh/": "Helm",
}
MANAGED_BY = "app.kubernetes.io/managed-by"
DEFAULT_SURGE = "25%"
# In the annotation of a Deployment: how many pods it had, and whether all of them were moved.
REPLICAS, MOVED = "replicas", "moved"
STATUSES = {"containers": "containerStatuses", "initContainers": "initContainerStatuses"}


@dataclass(frozen=True)
class Count:
    """Pods of one side: ``wanted`` by the spec, ``there`` without terminating ones, ``available``
    for some seconds."""

    wanted: int
    there: int
    available: int


def step(total: int, surge: int, old: Count, new: Count) -> tuple[int, int]:
    """Return how many pods the old and the new side are to have next.

    The new side grows first: at most ``total + surge`` pods exist, and the old side loses a pod
    only when the new side has one available instead.
    """
    room = total + surge - max(old.wanted, old.there)
    grown = max(new.wanted, min(total, room))
    shrunk = min(old.wanted, max(0, total - new.available))
    return shrunk, grown


def total_of(deployment: Json, marks: Mapping[str, Any], *, is_new: bool) -> int:
    """Return how many pods a migration moves: as many as the Deployment had when it began.

    ``marks`` is its annotation. ``is_new``: there is no service yet, so an annotation of an earlier
    migration says only how many pods the Deployment had before some of them were moved.
    """
    replicas = int(deployment["spec"].get("replicas", 1))
    recorded = marks.get(REPLICAS)
    if recorded is None or (is_new and marks.get(MOVED)):
        return replicas
    return max(int(recorded), replicas) if is_new else int(recorded)


def surge_of(budget: Mapping[str, Any] | None, replicas: int) -> int:
    """Return how many pods may be created above the wanted number: at least one.

    ``budget`` is a rollingUpdate of a Deployment or the rollout of a service.
    """
    given = (budget or {}).get("maxSurge", DEFAULT_SURGE)
    if isinstance(given, str) and given.endswith("%"):
        given = math.ceil(replicas * int(given[:-1]) / 100)
    return max(1, int(given))


def tool_of(body: Json) -> str:
    """Return the tool that owns an object, and would undo changes of it, and by what it is known;
    "" if there is none."""
    metadata = body["metadata"]
    labels, annotations = (metadata.get(kind) or {} for kind in ("labels", "annotations"))
    for kind, texts in (("label", labels), ("annotation", annotations)):
        for key in texts:
            for prefix, tool in KEYS.items():
                if key.startswith(prefix):
                    return f"{tool} ({kind} {key})"
    if labels.get(MANAGED_BY) == "Helm":
        return f"Helm (label {MANAGED_BY})"
    for entry in metadata.get("managedFields") or ():
        if owner := MANAGERS.get(str(entry.get("manager"))):
            return f"{owner} (field manager {entry['manager']})"
    return ""


def refusal(deployment: Json) -> str:
    """Return why a Deployment cannot be migrated now, and what to do; "" if it can."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    name = metadata["name"]
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            by = f"{owner['kind']} {owner['name']}"
            return f"it belongs to {by}, which would undo the migration; change {by} instead"
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        return (
            "its strategy is Recreate, so its pods and those of the service must not run at once;"
            " scale it to 0 and apply the output of: kubectl immutable convert"
        )
    if spec.get("paused"):
        return f"it is paused; first run: kubectl rollout resume deployment/{name}"
    if not _settled(deployment):
        reason = condition(deployment, "Progressing").get("message", "not all pods are available")
        wait = f"kubectl rollout status deployment/{name}"
        return f"its own rollout has not ended ({reason}); wait for it with: {wait}"
    return ""


def _settled(deployment: Json) -> bool:
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    if status.get("observedGeneration") != deployment["metadata"]["generation"]:
        return False
    counts = ("replicas", "updatedReplicas", "availableReplicas")
    return all(status.get(count, 0) == wanted for count in counts)


def pinned_template(template: Json, pods: Iterable[Json]) -> Json:
    """Return a template in which each image has the digest that all of its pods run.

    Raises `CannotRun` if the pods do not tell it.
    """
    pinned, running = copy.deepcopy(template), list(pods)
    for field, statuses in STATUSES.items():
        for container in pinned["spec"].get(field) or ():
            if not is_pinned(str(container.get("image"))):
                digest = _digest(container["name"], statuses, running)
                container["image"] = _with_digest(str(container.get("image")), digest)
    return pinned


def _with_digest(image: str, digest: str) -> str:
    if (read := Tagged.of(image.partition("@")[0])) is None:
        raise CannotRun(f"image {image} is not valid; write registry/name:tag in the Deployment")
    return f"{read.prefix}{image.partition('@')[0]}@{digest}"


def _digest(container: str, statuses: str, pods: list[Json]) -> str:
    found = set(_image_ids(container, statuses, pods))
    digests = {image.rpartition("@")[2] for image in found}
    advice = "pin the images of the Deployment first (kubectl immutable pin), and roll it out"
    if len(digests) != 1:
        what = ", ".join(sorted(digests)) or "no pod runs"
        raise CannotRun(
            f"the image of container {container} is not the same everywhere: {what}; {advice}"
        )
    [digest], [image] = digests, list(found)[:1]
    # Without a repository it is the digest of a configuration, which no registry has as an image.
    if "@" not in image or not DIGEST.fullmatch(digest):
        raise CannotRun(f"{NO_DIGEST} of container {container}: {image!r}; {advice}")
    return digest


def _image_ids(container: str, statuses: str, pods: Iterable[Json]) -> Iterator[str]:
    for pod in pods:
        for status in (pod.get("status") or {}).get(statuses) or ():
            if status["name"] == container:
                yield str(status.get("imageID") or "")


def fingerprint(template: Json) -> str:
    """Return a short hash of a template as it is stored."""
    text = json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def deployment_of(service: Json) -> Json:
    """Return a Deployment without pods that does what a service does.

    Raises `CannotRun` if the template has no labels by which it could select.
    """
    metadata, spec = service["metadata"], service["spec"]
    labels = (spec["template"].get("metadata") or {}).get("labels")
    if not labels:
        raise CannotRun(
            f"the pods of service {metadata['name']} have no labels of their own, which a"
            " Deployment needs; add one to spec.template.metadata.labels"
        )
    rollout = spec.get("rollout") or {}
    rolling = {key: rollout[key] for key in ("maxSurge", "maxUnavailable") if key in rollout}
    kept = ("minReadySeconds", "progressDeadlineSeconds")
    own = {key: rollout[key] for key in kept if key in rollout}
    body: Json = {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        "template": spec["template"],
        **own,
    }
    named = {key: metadata[key] for key in ("name", "namespace")}
    named |= {"labels": metadata["labels"]} if metadata.get("labels") else {}
    return {**DEPLOYMENT_TARGET, "metadata": named, "spec": body}
