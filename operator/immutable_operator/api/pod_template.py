"""The pod template's schema, taken from the API server itself and kept as pod_template.json.

To renew it (after a change of the pinned Kubernetes version)::

    kubectl get --raw /openapi/v3/api/v1 | python -m immutable_operator.api.pod_template --from -

Kept: types, required fields, list types and map keys, and of each description the first sentence
and the sentences with values and defaults, so that the CRD stays below the 256 KB limit of
client-side `kubectl apply`. Left out: references (inlined), defaults (the API server sets them on
the pod; only a key of a list needs one), ephemeral containers (refused in every template) and
everything that structural schemas do not allow. Relaxed: fields for which the OpenAPI document is
stricter than the API server is for a Deployment (tests/cluster/test_templates.py compares both).
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from immutable_operator.api.quantity import quantity_schema
from immutable_operator.api.template import IGNORED

__all__ = ["extract", "load"]

Schema = dict[str, Any]

DATA: Final = Path(__file__).with_name("pod_template.json")
ROOT: Final = "io.k8s.api.core.v1.PodTemplateSpec"
_REF: Final = "#/components/schemas/"
_KEPT: Final = (
    "type",
    "format",
    "required",
    "enum",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)
_SCALARS: Final[Mapping[str, Schema]] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"x-kubernetes-int-or-string": True},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": quantity_schema(r"(\+|-)?"),
}
_QUANTITY: Final = " A quantity is a number, or a string such as 500m or 64Mi."
# Lists in which a pod can have the same key or item twice, each tried on the API server; in all
# other lists the API server refuses a duplicate (tests/cluster/test_templates.py).
_REPEATABLE: Final = frozenset(
    ("env", "finalizers", "hostAliases", "imagePullSecrets", "ports", "values")
)
_LEFT_OUT: Final = {"io.k8s.api.core.v1.PodSpec": {"ephemeralContainers"}}
# Fields that the OpenAPI document requires and a pod can leave out: the zero value is allowed.
_OPTIONAL: Final[Mapping[str, set[str]]] = {
    "io.k8s.api.core.v1.HTTPHeader": {"value"},
    "io.k8s.api.core.v1.ISCSIVolumeSource": {"lun"},
    "io.k8s.api.core.v1.PreferredSchedulingTerm": {"preference"},
    "io.k8s.api.core.v1.SleepAction": {"seconds"},
    "io.k8s.api.core.v1.Sysctl": {"value"},
}
_METADATA: Final = ("labels", "annotations", "finalizers")
_SENTENCE_END: Final = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<=\.) (?=[A-Z`\"])")
_VALUES: Final = re.compile("Defaults? |One of |Possible |Valid |Must be |Minimum |Value must ")
_TOO_SHORT: Final = 20


def load() -> Schema:
    """Read the committed schema."""
    schema: Schema = json.loads(DATA.read_text(encoding="utf-8"))
    return schema


def extract(openapi: Mapping[str, Any]) -> Schema:
    """Inline the pod template's schema from an API server's /openapi/v3/api/v1."""
    definitions = openapi["components"]["schemas"]
    schema = _inline(definitions, {"$ref": _REF + ROOT})
    metadata = schema["properties"]["metadata"]
    own = {key: metadata["properties"][key] for key in _METADATA}
    metadata["properties"] = own | {key: _ignored(metadata["properties"][key]) for key in IGNORED}
    metadata["description"] = (
        "Labels, annotations and finalizers of the pod. Other fields are ignored."
    )
    return schema


def _ignored(field: Mapping[str, Any]) -> Schema:
    out: Schema = {"type": field["type"], "description": "Ignored: each pod gets its own value."}
    if field["type"] == "array":
        item = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        out |= {"x-kubernetes-list-type": "atomic", "items": item}
    return out


def _inline(definitions: Mapping[str, Any], node: Mapping[str, Any]) -> Schema:
    """Resolve one schema node and everything below it."""
    reference = node.get("$ref") or next(
        (part["$ref"] for part in node.get("allOf", ()) if "$ref" in part), None
    )
    if reference is not None:
        name = reference.removeprefix(_REF)
        if name in _SCALARS:
            out = dict(_SCALARS[name])
        else:
            out = _node(definitions, definitions[name], _LEFT_OUT.get(name, set()))
            out["required"] = [
                f for f in out.get("required", ()) if f not in _OPTIONAL.get(name, ())
            ]
            if not out["required"]:
                del out["required"]
    else:
        out = _node(definitions, node, set())
    if description := _shorten(node.get("description", "")):
        quantities = "not" in out or "not" in out.get("additionalProperties", ())
        out["description"] = f"{description.rstrip('.')}.{_QUANTITY}" if quantities else description
    return out


def _node(definitions: Mapping[str, Any], node: Mapping[str, Any], left_out: set[str]) -> Schema:
    out: Schema = {key: node[key] for key in _KEPT if key in node}
    if description := _shorten(node.get("description", "")):
        out["description"] = description
    if "properties" in node:
        out["properties"] = {
            key: field if key in node.get("required", ()) else _or_empty(field)
            for key, value in sorted(node["properties"].items())
            if key not in left_out
            for field in [_inline(definitions, _unkeyed(key, value))]
        }
    if "items" in node:
        out["items"] = _inline(definitions, node["items"])
        out["items"].pop("description", None)
        _make_keys_certain(out, node["items"], definitions)
    if isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = _inline(definitions, node["additionalProperties"])
        out["additionalProperties"].pop("description", None)
    return out


def _require_less(schema: Schema, optional: set[str]) -> None:
    required = [field for field in schema.pop("required", ()) if field not in optional]
    if required:
        schema["required"] = required


def _unkeyed(name: str, field: Mapping[str, Any]) -> Mapping[str, Any]:
    """Remove the keys of a list in which the API server accepts duplicate keys or items.

    A keyed list or a set in a CRD cannot have duplicates. The disadvantage: server-side apply
    treats the list as a whole, so that only one manager can write it.
    """
    if name not in _REPEATABLE or field.get("x-kubernetes-list-type") not in ("map", "set"):
        return field
    plain = {key: value for key, value in field.items() if key != "x-kubernetes-list-map-keys"}
    return plain | {"x-kubernetes-list-type": "atomic"}


def _or_empty(schema: Schema) -> Schema:
    """Allow the empty string in an enum: the API server reads it as unset."""
    if "enum" in schema and "" not in schema["enum"]:
        schema["enum"] = ["", *schema["enum"]]
    return schema


def _make_keys_certain(
    out: Schema, items: Mapping[str, Any], definitions: Mapping[str, Any]
) -> None:
    """Set the default of each key of a keyed list, or require the key: a CRD needs one of the two.

    Only this item is changed: the same type elsewhere keeps its optional fields.
    """
    for key in out.get("x-kubernetes-list-map-keys", ()):
        reference = items.get("$ref") or items["allOf"][0]["$ref"]
        original = definitions[reference.removeprefix(_REF)]["properties"][key]
        required = out["items"].setdefault("required", [])
        if original.get("default"):
            out["items"]["properties"][key]["default"] = original["default"]
        elif key not in required:
            required.append(key)


def _shorten(description: str) -> str:
    """Keep the first sentence of a description, and the sentences with values and defaults.

    >>> _shorten("Image pull policy. One of Always, Never. Cannot be updated. More info: x")
    'Image pull policy. One of Always, Never.'
    """
    text = re.sub(r"\s*More info:? \S+", "", " ".join(description.split()))
    text = text.partition(" Possible enum values:")[0]  # the enum itself lists them
    sentences = _SENTENCE_END.split(text)
    while len(sentences) > 1 and len(sentences[0]) < _TOO_SHORT:
        sentences[:2] = [f"{sentences[0]} {sentences[1]}"]
    told = [part for part in sentences[1:] if _VALUES.match(part)]
    return " ".join([sentences[0], *told])


def given_openapi(description: str | None) -> dict[str, Any]:
    """Return the OpenAPI document that the option ``--from`` of the command line names."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--from", dest="source", required=True, help="OpenAPI document: a file, or - for stdin"
    )
    source = parser.parse_args().source
    text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def main() -> int:
    """Write pod_template.json from the OpenAPI document of an API server."""
    schema = extract(given_openapi(main.__doc__))
    DATA.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{DATA}: {len(json.dumps(schema, separators=(',', ':')))} characters of schema")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
