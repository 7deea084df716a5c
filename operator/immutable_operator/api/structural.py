"""Converts pydantic's JSON schema to a structural schema, as CustomResourceDefinitions require it.

The result is checked by tests/unit/test_api_crd.py and by the API server.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any, Final

from immutable_operator.api import pod_template
from immutable_operator.api.image import MAX_IMAGE
from immutable_operator.api.kind import BARE, EMBED, RECORDED, WANTED, ApiModel
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
"""Limits of each string, list and map that CEL reads: the API server computes the worst-case
cost."""

_MOST_WORDS: Final = 10
_BARE: Final = ("type", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
_IMAGE = "Image, pinned by digest: registry/name@sha256:<64 lower-case hex digits>."
_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "spec.containers[].image": _IMAGE,
    "spec.initContainers[].image": _IMAGE,
    "spec.volumes[].image.reference": _IMAGE,
    "spec.restartPolicy": "Only Always is allowed: the instances of a service run continuously. "
    "Default Always.",
}


def structural(model: type[ApiModel]) -> Schema:
    """Return the structural schema of a model, including embedded pod templates."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _rewrite(schema, schema.get("$defs", {}))


def wanted_template() -> Schema:
    """Return the schema of the template that a user writes, with limits and rules."""
    schema = _nullable(pod_template.load() | {"required": ["spec"]})
    for path, bounds in _BOUNDS.items():
        _at(schema, path).update(bounds)
    for path, text in _DESCRIPTIONS.items():
        _at(schema, path)["description"] = text
    for path, rule in TEMPLATE_RULES.items():
        _at(schema, path)["x-kubernetes-validations"] = [rule.schema()]
    return schema


def recorded_template() -> Schema:
    """Return the schema of the template in a revision: the same fields, without checks or defaults.

    x-kubernetes-preserve-unknown-fields is not used: with it, `self == oldSelf` in the API server
    does not notice that a key was replaced by another one (1.36.3), so the record could be changed.
    """
    schema = pod_template.load()
    metadata = schema["properties"]["metadata"]["properties"]
    for field in IGNORED:
        del metadata[field]  # pods are created without it, so it is not recorded
    return _bare(schema)


def _nullable(node: Mapping[str, Any]) -> Schema:
    """Allow null for every optional field, as in a pod, and for each item that can be empty.

    Otherwise a create would prune the null, and a server-side apply would be refused. The API
    server reads a null item as an empty string, as 0 or as an empty object. Items of keyed lists
    and sets cannot be null, neither in a CRD nor in a pod.
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
    """Allow null for a field. The API server refuses null in an enum, even if the enum lists it."""
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
    """Return the node at a path such as `spec.containers[].image`."""
    for part in path.split("."):
        schema = schema["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            schema = schema["items"]
    return schema


def _rewrite(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Rewrite one schema node and everything below it."""
    node = _resolve(node, definitions)
    if embed := node.pop(EMBED, None):
        if embed == BARE:
            schema = _bare(_rewrite(node, definitions))
        else:
            schema = {WANTED: wanted_template, RECORDED: recorded_template}[embed]()
        return {**schema, "description": _one_line(node["description"])}
    # Copied, because a definition that is used twice would be written once, with an alias.
    out = {key: copy.deepcopy(value) for key, value in node.items() if key not in _DROPPED}
    if "const" in out:
        out["enum"] = [out.pop("const")]
    if out.get("default", ...) is None:
        del out["default"]
    elif isinstance(out.get("default"), dict):
        out["default"] = _without_nulls(out["default"])
    if out.get("additionalProperties") in (False, True):
        del out["additionalProperties"]
    if "description" in out:
        out["description"] = _one_line(out["description"])
    if "properties" in out:
        out["properties"] = {
            key: _rewrite(value, definitions) for key, value in out["properties"].items()
        }
    if "additionalProperties" in out:
        out["additionalProperties"] = _rewrite(out["additionalProperties"], definitions)
    if "items" in out:
        out["items"] = _rewrite(out["items"], definitions)
        out["items"].pop("description", None)
        out.setdefault("x-kubernetes-list-type", "atomic")
    return out


def _without_nulls(default: Any) -> Any:
    """Leave out fields that are unset by default: the API server accepts no null there."""
    if not isinstance(default, dict):
        return default
    return {key: _without_nulls(value) for key, value in default.items() if value is not None}


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Inline a reference, and the type of `T | None`; keys beside them take precedence."""
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
