"""The pod template's schema, taken from the API server itself and kept as pod_template.json.

To renew it (after a change of the pinned Kubernetes version)::

    kubectl get --raw /openapi/v3/api/v1 | python -m immutable_operator.api.pod_template --from -

What is kept: types, required fields, list types and map keys, and of each description the first
sentence and those with values and defaults, so that the CRD stays below the 256 KB that client-side
`kubectl apply` can carry. What is not:
references (inlined), defaults (the API server sets them on the pod; only a key of a list needs
one), ephemeral containers (refused in every template) and what structural schemas may not have.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

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
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "x-kubernetes-int-or-string": True,
        "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
        r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
    },
}
_LEFT_OUT: Final = {"io.k8s.api.core.v1.PodSpec": {"ephemeralContainers"}}
_METADATA: Final = ("labels", "annotations")
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
    metadata["properties"] = {key: metadata["properties"][key] for key in _METADATA}
    metadata["description"] = "Labels and annotations of the pod."
    return schema


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
            left_out = _LEFT_OUT.get(name, set())
            out = _node(definitions, definitions[name], left_out)
    else:
        out = _node(definitions, node, set())
    if description := _shorten(node.get("description", "")):
        out["description"] = description
    return out


def _node(definitions: Mapping[str, Any], node: Mapping[str, Any], left_out: set[str]) -> Schema:
    out: Schema = {key: node[key] for key in _KEPT if key in node}
    if description := _shorten(node.get("description", "")):
        out["description"] = description
    if "properties" in node:
        out["properties"] = {
            key: _inline(definitions, value)
            for key, value in sorted(node["properties"].items())
            if key not in left_out
        }
    if "items" in node:
        out["items"] = _inline(definitions, node["items"])
        out["items"].pop("description", None)
        _make_keys_certain(out, node["items"], definitions)
    if isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = _inline(definitions, node["additionalProperties"])
        out["additionalProperties"].pop("description", None)
    return out


def _make_keys_certain(
    out: Schema, items: Mapping[str, Any], definitions: Mapping[str, Any]
) -> None:
    """Give each key of a keyed list its default, or require it: a CRD must have one or the other.

    A copy is made of nothing but the item: the same type elsewhere keeps its optional fields.
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
    """Keep what says most of a description: the first sentence, and those with values and defaults.

    >>> _shorten("Image pull policy. One of Always, Never. Cannot be updated. More info: x")
    'Image pull policy. One of Always, Never.'
    """
    text = re.sub(r"\s*More info:? \S+", "", " ".join(description.split()))
    text = text.partition(" Possible enum values:")[0]  # the enum itself says it
    sentences = _SENTENCE_END.split(text)
    while len(sentences) > 1 and len(sentences[0]) < _TOO_SHORT:
        sentences[:2] = [f"{sentences[0]} {sentences[1]}"]
    told = [part for part in sentences[1:] if _VALUES.match(part)]
    return " ".join([sentences[0], *told])


def main() -> int:
    """Write pod_template.json from the document of an API server."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--from", dest="source", required=True, help="a file, or - for stdin")
    source = parser.parse_args().source
    text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    schema = extract(json.loads(text))
    DATA.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{DATA}: {len(json.dumps(schema, separators=(',', ':')))} characters of schema")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
