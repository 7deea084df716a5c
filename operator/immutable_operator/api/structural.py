"""From pydantic's JSON schema to a structural schema, the dialect of CustomResourceDefinitions.

Pure rewriting; what it must achieve is checked by tests/unit/test_api_crd.py and by the API server.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from immutable_operator.api import pod_template
from immutable_operator.api.image import MAX_IMAGE
from immutable_operator.api.kind import EMBED, RECORDED, WANTED, ApiModel
from immutable_operator.api.template import IGNORED, TEMPLATE_RULES

__all__ = ["recorded_template", "structural", "wanted_template"]

Schema = dict[str, Any]

_DROPPED: Final = frozenset(("title", "examples", "$defs", "discriminator", EMBED))
_MAX_LIST: Final = 64
_MAX_VOLUMES: Final = 512
_MAX_METADATA: Final = 256
_BOUNDS: Final[Mapping[str, Schema]] = {
    "metadata.labels": {"maxProperties": _MAX_METADATA},
    "metadata.annotations": {"maxProperties": _MAX_METADATA},
    "spec.restartPolicy": {"maxLength": 16},
    "spec.containers": {"minItems": 1, "maxItems": _MAX_LIST},
    "spec.initContainers": {"maxItems": _MAX_LIST},
    "spec.volumes": {"maxItems": _MAX_VOLUMES},
    "spec.containers[].name": {"maxLength": 63},
    "spec.initContainers[].name": {"maxLength": 63},
    "spec.volumes[].name": {"maxLength": 63},
    "spec.containers[].image": {"maxLength": MAX_IMAGE},
    "spec.initContainers[].image": {"maxLength": MAX_IMAGE},
    "spec.volumes[].image.reference": {"maxLength": MAX_IMAGE},
}
"""Each string, list and map that CEL reaches: the API server adds up the worst case."""

_MOST_WORDS: Final = 10
_BARE: Final = ("type", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
_IMAGE = "Image pinned by digest: registry/name@sha256:<64 lower-case hex digits>."
_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "spec.containers[].image": _IMAGE,
    "spec.initContainers[].image": _IMAGE,
    "spec.volumes[].image.reference": _IMAGE,
    "spec.restartPolicy": "Only Always: instances of a service are kept running. Default Always.",
}


def structural(model: type[ApiModel]) -> Schema:
    """Give the structural schema of a model, pod templates embedded."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _rewrite(schema, schema.get("$defs", {}))


def wanted_template() -> Schema:
    """Give the schema of the template that a user writes, with bounds and rules."""
    schema = _nullable(pod_template.load() | {"required": ["spec"]})
    for path, bounds in _BOUNDS.items():
        _at(schema, path).update(bounds)
    for path, text in _DESCRIPTIONS.items():
        _at(schema, path)["description"] = text
    for path, rule in TEMPLATE_RULES.items():
        _at(schema, path)["x-kubernetes-validations"] = [rule.schema()]
    return schema


def recorded_template() -> Schema:
    """Give the schema of the template in a revision: the same fields, nothing checked or defaulted.

    Not x-kubernetes-preserve-unknown-fields: there the API server's `self == oldSelf` overlooks a
    key that is replaced by another one (1.36.3), and the record would not be frozen.
    """
    schema = pod_template.load()
    metadata = schema["properties"]["metadata"]["properties"]
    for field in IGNORED:
        del metadata[field]  # what no pod is born with is not recorded
    return _bare(schema)


def _nullable(node: Mapping[str, Any]) -> Schema:
    """Let each field be null that need not be there, as in a pod, and each item that may be empty.

    A create prunes a field that is null and may not be; a server-side apply is refused instead.
    The API server reads an item that is null as an empty text, as 0 or as an empty object. The
    items of keyed lists and sets may not be null in a definition, nor in a pod.
    """
    out = dict(node)
    if "properties" in node:
        required = node.get("required", ())
        out["properties"] = {
            key: _nullable(value) if key in required else _or_null(_nullable(value))
            for key, value in node["properties"].items()
        }
    if "items" in node:
        items = _nullable(node["items"])
        may_be_null = node.get("x-kubernetes-list-type") == "atomic" and "required" not in items
        out["items"] = _or_null(items) if may_be_null else items
    if "additionalProperties" in node:
        out["additionalProperties"] = _or_null(_nullable(node["additionalProperties"]))
    return out


def _or_null(node: Schema) -> Schema:
    """Let a field be null. Of an enum the API server refuses null even where it is one of it."""
    out = node | {"nullable": True}
    if words := [word for word in out.pop("enum", ()) if word]:
        out["pattern"] = f"^({'|'.join(re.escape(word) for word in words)})?$"
        said = out.get("description", "")
        if len(words) <= _MOST_WORDS and not all(word in said for word in words):
            out["description"] = f"{said} One of {', '.join(words)}.".lstrip()
    return out


def _bare(node: Mapping[str, Any]) -> Schema:
    out: Schema = {key: node[key] for key in _BARE if key in node}
    if "properties" in node:
        out["properties"] = {key: _bare(value) for key, value in node["properties"].items()}
    for below in ("items", "additionalProperties"):
        if below in node:
            out[below] = _bare(node[below])
    if "items" in node:
        out["x-kubernetes-list-type"] = "atomic"
    return out


def _at(schema: Schema, path: str) -> Schema:
    """Find the node at a path such as `spec.containers[].image`."""
    for part in path.split("."):
        schema = schema["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            schema = schema["items"]
    return schema


def _rewrite(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Rewrite one schema node and everything below it."""
    node = _resolve(node, definitions)
    if embed := node.get(EMBED):
        template = {WANTED: wanted_template, RECORDED: recorded_template}[embed]()
        return {**template, "description": _one_line(node["description"])}
    out = {key: value for key, value in node.items() if key not in _DROPPED}
    if "const" in out:
        out["enum"] = [out.pop("const")]
    if out.get("default", ...) is None:
        del out["default"]
    elif isinstance(out.get("default"), dict):
        # What is unset by default is left out: the API server takes no null there.
        out["default"] = {k: v for k, v in out["default"].items() if v is not None}
    if out.get("additionalProperties") in (False, True):
        del out["additionalProperties"]
    if "description" in out:
        out["description"] = _one_line(out["description"])
    if "properties" in out:
        out["properties"] = {
            key: _rewrite(value, definitions) for key, value in out["properties"].items()
        }
    if "items" in out:
        out["items"] = _rewrite(out["items"], definitions)
        out["items"].pop("description", None)
        out.setdefault("x-kubernetes-list-type", "atomic")
    return out


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Inline a reference, and the only type of `T | None`; what stands beside them wins."""
    out = dict(node)
    if reference := out.pop("$ref", None):
        out = _resolve(definitions[reference.removeprefix("#/$defs/")], definitions) | out
    if "anyOf" in out:
        kinds = [kind for kind in out.pop("anyOf") if kind.get("type") != "null"]
        if len(kinds) != 1:
            raise ValueError(f"a union has no structural schema: {kinds}")
        out = _resolve(kinds[0], definitions) | out
    return out


def _one_line(text: str) -> str:
    return " ".join(text.split())
