"""The OpenAPI document with which kustomize merges patches: gitops/kustomize/openapi.json.

To renew it (after a change of the pinned Kubernetes version or of a kind)::

    kubectl get --raw /openapi/v2 | python -m gitops.generate.kustomize --from -

kustomize uses such a document *instead of* the one that is built into it. It therefore contains the
built-in kinds, too: otherwise a patch of a Deployment in the same kustomization would replace its
list of containers. Kept: what kustomize reads, which are the merge strategies and merge keys, and
for the project's own kinds whether they are namespaced. Left out: everything that leads to no
merge strategy, the status, and versions that are not stable.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from immutable_operator.api import names
from immutable_operator.api.crd import KINDS
from immutable_operator.api.kind import Kind
from immutable_operator.api.pod_template import given_openapi

__all__ = ["FILE", "render"]

Schema = dict[str, Any]

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = "gitops/kustomize/openapi.json"
_REF: Final = "#/definitions/"
_TEMPLATE: Final = "io.k8s.api.core.v1.PodTemplateSpec"
_METADATA: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_KIND: Final = "x-kubernetes-group-version-kind"
_STRATEGY: Final = "x-kubernetes-patch-strategy"
# kustomize prefers the map keys over the merge key, where both exist: ports of a Service.
_KEPT: Final = (
    _STRATEGY,
    "x-kubernetes-patch-merge-key",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
)
_UNSTABLE: Final = re.compile(r"\.v\d+(alpha|beta)\d+\.")


def render(openapi: Mapping[str, Any]) -> str:
    """Return the text of the committed file."""
    return json.dumps(_extract(openapi), indent=1, sort_keys=True) + "\n"


def _extract(openapi: Mapping[str, Any]) -> Schema:
    """Reduce an API server's /openapi/v2 to what kustomize needs, and add the project's kinds."""
    given = openapi["definitions"]
    kinds = [name for name in given if _is_stable_kind(name, given[name])]
    useful = _useful(given)
    definitions: Schema = {}
    for name in _reachable(given, useful, [*kinds, _TEMPLATE]):
        definitions[name] = _definition(given[name], useful)
    for kind in KINDS:
        definitions[f"dev.immutable.{names.VERSION}.{kind.name}"] = _own(kind)
    return {
        "swagger": "2.0",
        "info": {"title": "immutable-operator, for kustomize", "version": names.VERSION},
        "paths": {_path(kind): {"get": _scope(kind)} for kind in KINDS},
        "definitions": dict(sorted(definitions.items())),
    }


def _is_stable_kind(name: str, definition: Mapping[str, Any]) -> bool:
    # Kinds of custom resources that happen to be installed are none of Kubernetes.
    is_kind = len(definition.get(_KIND, ())) == 1 and not name.endswith("List")
    return is_kind and name.startswith("io.k8s.") and not _UNSTABLE.search(name)


def _references(schema: Mapping[str, Any]) -> Iterator[str]:
    """Names of the definitions to which a field or a definition refers directly."""
    if "$ref" in schema:
        yield schema["$ref"].removeprefix(_REF)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _references(schema[key])
    for name, field in schema.get("properties", {}).items():
        if name != "status":
            yield from _references(field)


def _useful(given: Mapping[str, Any]) -> set[str]:
    """Definitions that contain a merge strategy, directly or below a reference."""
    found = {
        name
        for name, definition in given.items()
        if any(_STRATEGY in field for field in definition.get("properties", {}).values())
    }
    while more := {
        name
        for name in given.keys() - found
        if any(reference in found for reference in _references(given[name]))
    }:
        found |= more
    return found


def _reachable(given: Mapping[str, Any], useful: set[str], roots: list[str]) -> set[str]:
    seen: set[str] = set()
    waiting = [name for name in roots if name in useful]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [r for r in _references(given[name]) if r in useful]
    return seen


def _definition(definition: Mapping[str, Any], useful: set[str]) -> Schema:
    fields = {
        name: _field(field, useful)
        for name, field in definition["properties"].items()
        if name != "status" and (_STRATEGY in field or useful & set(_references(field)))
    }
    out: Schema = {"type": "object", "properties": fields}
    if _KIND in definition:
        out[_KIND] = definition[_KIND]
    return out


def _field(field: Mapping[str, Any], useful: set[str]) -> Schema:
    out: Schema = {key: field[key] for key in _KEPT if key in field}
    if "$ref" in field:
        return out | ({"$ref": field["$ref"]} if useful & set(_references(field)) else {})
    out["type"] = field["type"]
    for key in ("items", "additionalProperties"):
        if isinstance(field.get(key), dict):
            inner = field[key]
            kept = "$ref" not in inner or useful & set(_references(inner))
            out[key] = _field(inner, useful) if kept else {"type": "object"}
    return out


def _own(kind: Kind) -> Schema:
    properties: Schema = {"metadata": {"$ref": _REF + _METADATA}}
    if kind.name == names.SERVICE_KIND:
        template = {"template": {"$ref": _REF + _TEMPLATE}}
        properties["spec"] = {"type": "object", "properties": template}
    return {"type": "object", "properties": properties, _KIND: [_identity(kind)]}


def _identity(kind: Kind) -> Schema:
    return {"group": names.GROUP, "version": names.VERSION, "kind": kind.name}


def _path(kind: Kind) -> str:
    folder = "namespaces/{namespace}/" if kind.scope == "Namespaced" else ""
    return f"/apis/{names.API_VERSION}/{folder}{kind.plural}"


def _scope(kind: Kind) -> Schema:
    """kustomize reads from the paths of a kind whether it sets metadata.namespace."""
    return {"responses": {"200": {"description": "OK"}}, _KIND: _identity(kind)}


def main() -> int:
    """Write gitops/kustomize/openapi.json from the OpenAPI document of an API server."""
    (ROOT / FILE).write_text(render(given_openapi(main.__doc__)), encoding="utf-8")
    print(f"{FILE}: written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
