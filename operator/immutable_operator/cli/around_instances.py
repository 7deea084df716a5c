"""Paths around an instance: forged objects, the objects it is created from, and its traffic."""

from __future__ import annotations

from typing import Any

from immutable_operator.api.names import LABEL_SERVICE
from immutable_operator.cli.manifest import manifest
from immutable_operator.cli.objects import Json
from immutable_operator.cli.path import (
    FORGED_END,
    HEALED,
    PREVENTED,
    Ask,
    Heals,
    Path,
    Target,
    only,
)
from immutable_operator.cli.person import MERGE, Request
from immutable_operator.cli.throwaway import REVISIONS

__all__ = ["OTHERS"]


def _create(group: str, resource: str, **more: Any) -> Ask:
    """An object with a label that only the operator may set."""

    def ask(target: Target) -> Request:
        name, labels = f"{target.away.name}-claim", {LABEL_SERVICE: target.away.name}
        body = {"metadata": {"name": name, "labels": labels}, **more}
        path = f"/{group}/namespaces/{target.away.namespace}/{resource}"
        return Request("POST", path, body)

    return ask


def _claim(row: str, what: str, ask: Ask, heals: Heals = Heals.NEVER) -> Path:
    def creates(target: Target) -> str:
        request = ask(target)
        return f"{request.path}/{request.body['metadata']['name']}"

    expected = PREVENTED if heals is Heals.NEVER else HEALED
    return Path(row, what, expected, ask, heals, creates=creates)


def _owners(item: Json) -> list[Json]:
    """Without blockOwnerDeletion, which can require an additional permission."""
    owners = item["metadata"]["ownerReferences"]
    return [{k: v for k, v in o.items() if k != "blockOwnerDeletion"} for o in owners]


def _stranger(target: Target) -> Request:
    spec = manifest(target.away.namespace, target.away.name, target.image)["spec"]["template"][
        "spec"
    ]
    return _create("api/v1", "pods", spec=spec)(target)


def _forged(target: Target) -> Request:
    request, meta = _stranger(target), target.pod["metadata"]
    certificate = {"labels": meta["labels"], "annotations": meta["annotations"]}
    name = meta["name"][:-5] + FORGED_END
    body = {
        **request.body,
        "metadata": {**certificate, "name": name, "ownerReferences": _owners(target.pod)},
    }
    return Request("POST", request.path, body)


def _revision(method: str, body: Any = None, below: str = "") -> Ask:
    def ask(target: Target) -> Request:
        name = target.revision["metadata"]["name"]
        path = REVISIONS.item(target.away.namespace, name)
        return Request(method, f"{path}{below}", body, MERGE)

    return ask


def _forged_revision(target: Target) -> Request:
    old = target.revision
    # With another hash: otherwise the operator would start a rollout of it.
    more = {"revision": "00000000", "number": 99, "hash": f"v1:{64 * '0'}"}
    spec = {**old["spec"], **more}
    meta = {
        "name": f"{target.away.name}-im00000000",
        "ownerReferences": _owners(old),
    }
    body = {"apiVersion": old["apiVersion"], "kind": old["kind"], "metadata": meta, "spec": spec}
    return Request("POST", REVISIONS.collection(target.away.namespace), body)


def _unpinned(target: Target) -> Request:
    image = f"{target.image.partition('@')[0]}:latest"
    document = manifest(target.away.namespace, f"{target.away.name}-tag", image)
    return Request("POST", target.away.path.rpartition("/")[0], document)


ORPHAN = {"propagationPolicy": "Orphan"}
FORGED_STATUS = {"status": {"readyReplicas": 99}}
# A field of the status that has no effect on decisions of the operator.
FORGED_VERDICT = {"status": {"message": "forged"}}
OTHERS = (
    _claim("P15-label", "a pod with the service's label", _stranger),
    _claim("P15-forged", "a pod with a forged birth certificate", _forged, Heals.RETIRED),
    Path(
        *("P18-tag", "an image without a digest", PREVENTED, _unpinned),
        own_words="digest",
        creates=lambda t: f"{t.away.path}-tag",
    ),
    Path(
        *("C2-status", "a forged status of the service", HEALED),
        lambda t: Request("PATCH", f"{t.away.path}/status", FORGED_STATUS, MERGE),
        Heals.STATUS,
    ),
    Path(
        *("C2-orphan", "a deletion that orphans the instances", PREVENTED),
        lambda t: Request("DELETE", t.away.path, ORPHAN),
        dry_because="it would leave instances without an owner, which are never replaced",
    ),
    _claim("C3-forge", "a forged revision", _forged_revision),
    only("C3-edit", "an edited revision", _revision("PATCH", {"metadata": {"labels": {"a": "b"}}})),
    only(
        *("C3-verdict", "a forged verdict on a revision"),
        _revision("PATCH", FORGED_VERDICT, "/status"),
    ),
    Path(
        *("C3-delete", "a deleted revision", HEALED),
        *(_revision("DELETE"), Heals.RECORD),
    ),
    _claim(
        *("S1-service", "a Service with the operator's label"),
        _create("api/v1", "services", spec={"ports": [{"port": 80}]}),
    ),
    _claim(
        *("S2-addresses", "addresses with the operator's label"),
        _create("apis/discovery.k8s.io/v1", "endpointslices", addressType="IPv4", endpoints=[]),
    ),
    only(
        *("M1-data", "changed data in its ConfigMap"),
        lambda t: Request("PATCH", t.away.settings, {"data": {"VERIFY": "2"}}, MERGE),
        own_words="field is immutable",
    ),
    _claim(
        *("M2-configmap", "a forged ConfigMap of a revision"),
        _create("api/v1", "configmaps", immutable=True),
    ),
    _claim(
        *("M2-secret", "a forged Secret of a revision"),
        _create("api/v1", "secrets", immutable=True),
    ),
    Path(
        *("P22-delete", "kubectl delete pod", HEALED),
        *(lambda t: Request("DELETE", t.of_pod()), Heals.REBIRTH),
    ),
    Path(
        *("M3-anew", "its ConfigMap deleted and recreated", HEALED),
        *(lambda t: Request("DELETE", t.away.settings), Heals.ALL),
    ),
)
