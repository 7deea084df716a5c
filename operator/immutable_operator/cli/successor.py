"""The ImmutableService that takes over the pods of a running Deployment."""

from __future__ import annotations

import json

import msgspec

from immutable_operator.api.names import ANNOTATION_MIGRATION, MAX_SERVICE_NAME
from immutable_operator.cli.arguments import Say
from immutable_operator.cli.conversion import convert
from immutable_operator.cli.migration import fingerprint, pinned_template
from immutable_operator.cli.objects import Json
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.sides import Side
from immutable_operator.kube.paths import PODS

__all__ = ["SOURCE", "service_for"]

SOURCE = "source"
"""In the annotation of a service: of which template of the Deployment it was made."""


async def service_for(source: Json, side: Side, say: Say) -> Json:
    """Return the service for a Deployment, without pods yet, with the images that its pods run.

    Raises `CannotRun` if it cannot be converted, `ApiError`.
    """
    if len(side.name) > MAX_SERVICE_NAME:
        raise CannotRun(
            f"the name {side.name} is longer than {MAX_SERVICE_NAME} characters; create the service"
            " under a shorter name with: kubectl immutable convert"
        )
    spec = source["spec"]
    pinned = pinned_template(spec["template"], await _pods(source, side))
    found = convert({**source, "spec": {**spec, "template": pinned}})
    for note in found.notes:
        if note.blocks:
            raise CannotRun(f"deployment {side.name} cannot be converted: {note}")
        if note.path != "spec.selector":
            say(f"note: {note}")
    body = found.body
    body["spec"]["replicas"] = 0
    annotations = body["metadata"].setdefault("annotations", {})
    annotations[ANNOTATION_MIGRATION] = json.dumps({SOURCE: fingerprint(spec["template"])})
    return body


async def _pods(source: Json, side: Side) -> list[Json]:
    """Return the pods of a Deployment, of which all have its template."""
    labels = source["spec"]["selector"].get("matchLabels") or {}
    page = await side.client.list(
        PODS.collection(side.namespace),
        resource=PODS.resource,
        labelSelector=",".join(f"{key}={value}" for key, value in labels.items()),
    )
    return [pod for pod in msgspec.json.decode(page)["items"] if _is_of(pod, side.name)]


def _is_of(pod: Json, deployment: str) -> bool:
    owners = pod["metadata"].get("ownerReferences") or ()
    names = [o["name"] for o in owners if o["kind"] == "ReplicaSet" and o.get("controller")]
    return any(name.rpartition("-")[0] == deployment for name in names)
