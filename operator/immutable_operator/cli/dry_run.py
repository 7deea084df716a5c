"""What would be stored if a manifest were applied, as the API server says it: a dry run.

It is applied as it was applied last: on the server side by the manager that did so, else by a
merge patch of what changed since the last `kubectl apply`, as kubectl computes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from immutable_operator.cli.action import PLUGIN
from immutable_operator.cli.manifests import Manifest
from immutable_operator.cli.objects import Json, annotation
from immutable_operator.cli.owner import denied, not_installed
from immutable_operator.cli.problem import CannotRun
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Forbidden, Invalid, NotFound
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.kube.times import second
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["Supposed", "suppose", "three_way"]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KEPT = ("labels", "annotations")
POLICY = "denied request: "
UNKNOWN_UID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Supposed:
    """An owner before and after: ``before`` is None if it does not exist. ``warning`` says that
    the API server was not asked."""

    before: Json | None
    after: Json
    warning: str = ""


async def suppose(client: KubeClient, manifest: Manifest, namespace: str, now: float) -> Supposed:
    """Return the object as it would be stored.

    Raises `CannotRun` with the message of the API server if it would be refused.
    """
    kind = manifest.kind
    where = namespace if kind.is_namespaced else ""
    path = kind.path.item(where, manifest.name)
    before = await _stored(client, manifest, path)
    try:
        if before is None:
            body = _written(manifest, where)
            collection = kind.path.collection(where)
            answer = await client.create(
                collection, body, resource=kind.path.resource, manager=PLUGIN, dry_run=True
            )
        elif manager := _applier(before):
            body = _written(manifest, where)
            answer = await client.apply(
                path, body, resource=kind.path.resource, manager=manager, dry_run=True
            )
        else:
            patch = three_way(_last_applied(before), before, _written(manifest, where))
            answer = await client.patch(
                path, patch, resource=kind.path.resource, manager=PLUGIN, dry_run=True
            )
    except Invalid as error:
        raise CannotRun(f"{kind.name} {manifest.name} would be refused: {error.message}") from error
    except NotFound as error:
        raise CannotRun(
            f"{kind.name} {manifest.name} would be refused: {error.message}; create it first"
        ) from error
    except Forbidden as error:
        if POLICY in error.message:
            raise CannotRun(
                f"{kind.name} {manifest.name} would be refused: {denied(error)}"
            ) from error
        return _locally(manifest, where, before, error, now)
    after: Json = msgspec.json.decode(answer)
    after["metadata"].setdefault("resourceVersion", "0")
    return Supposed(before, after)


async def _stored(client: KubeClient, manifest: Manifest, path: str) -> Json | None:
    kind = manifest.kind
    try:
        found: Json = msgspec.json.decode(await client.get(path, resource=kind.path.resource))
    except NotFound as error:
        if not error.name:
            raise CannotRun(not_installed(kind)) from error
        return None
    return found


def _written(manifest: Manifest, namespace: str) -> Json:
    """Return the manifest as it is sent: without a status."""
    meta = {**manifest.body["metadata"], **({"namespace": namespace} if namespace else {})}
    return {**{k: v for k, v in manifest.body.items() if k != "status"}, "metadata": meta}


def _applier(stored: Json) -> str:
    """Return the manager that applies the spec on the server side; "" if none does."""
    for entry in stored["metadata"].get("managedFields") or ():
        applies = entry.get("operation") == "Apply" and not entry.get("subresource")
        if applies and "f:spec" in (entry.get("fieldsV1") or {}):
            return str(entry.get("manager") or "")
    return ""


def _last_applied(stored: Json) -> Json:
    try:
        found = msgspec.json.decode(annotation(stored, LAST_APPLIED) or "{}")
    except READ_ERRORS:
        return {}
    return found if isinstance(found, dict) else {}


def three_way(original: Json, current: Json, modified: Json) -> Json:
    """Return the merge patch that kubectl would send: what is set, and what is no longer set."""
    spec = _merged(original.get("spec"), current.get("spec"), modified.get("spec"))
    was, now, then = (o.get("metadata") or {} for o in (original, current, modified))
    meta = {key: _merged(was.get(key), now.get(key), then.get(key)) for key in KEPT}
    meta["annotations"].pop(LAST_APPLIED, None)
    return {"spec": spec, "metadata": {key: value for key, value in meta.items() if value}}


def _merged(original: Any, current: Any, modified: Any) -> Json:
    before, there, wanted = (
        v if isinstance(v, Mapping) else {} for v in (original, current, modified)
    )
    patch: Json = {key: None for key in before if key not in wanted and key in there}
    for key, value in wanted.items():
        known = there.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            if inner := _merged(before.get(key), known, value):
                patch[key] = inner
        elif key not in there or value != known:
            patch[key] = value
    return patch


def _locally(
    manifest: Manifest, namespace: str, before: Json | None, error: Forbidden, now: float
) -> Supposed:
    """Return what would be stored as far as it can be said without the API server."""
    kind = manifest.kind
    if before is None:
        after = _written(manifest, namespace)
        meta = after["metadata"]
        meta |= {"uid": UNKNOWN_UID, "resourceVersion": "0", "generation": 1}
        meta["creationTimestamp"] = second(now)
    else:
        body = _written(manifest, namespace)
        after = _patched(before, three_way(_last_applied(before), before, body))
    invalid = OwnerRecord.of(after, kind, namespace or "-").invalid
    if invalid:
        raise CannotRun(f"{kind.name} {manifest.name} would be refused: {invalid}")
    warning = (
        f"{error.message}: the API server was not asked, so a refusal by a policy cannot be"
        " predicted; ask for the role edit"
    )
    return Supposed(before, after, warning)


def _patched(target: Any, patch: Any) -> Any:
    """Return a merge patch applied to an object."""
    if not isinstance(patch, Mapping):
        return patch
    found = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = _patched(found.get(key), value)
    return found
