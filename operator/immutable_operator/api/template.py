"""Checks of the pod template of an ImmutableService: once in Python, once in CEL.

The API server checks the other fields when the pod is created.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from immutable_operator.api.cel import Rule, quote
from immutable_operator.api.image import pin_problem, pin_rule
from immutable_operator.api.names import RESERVED_PREFIX

__all__ = [
    "IGNORED",
    "NO_CONTAINERS",
    "RESERVED",
    "RESTART_POLICY",
    "TEMPLATE_RULES",
    "born_with",
    "template_problems",
]

IGNORED: Final = (
    *("name", "generateName", "namespace", "uid", "resourceVersion", "generation", "selfLink"),
    *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    *("ownerReferences", "managedFields"),
)
"""Fields of a template's metadata that are allowed but not copied to pods, as in a Deployment."""
_TEXTS: Final = frozenset(("labels", "annotations", "nodeSelector", "matchLabels"))
_STRUCTS: Final = frozenset(
    (
        *("envFrom", "imagePullSecrets", "managedFields", "nodeSelectorTerms"),
        *("options", "sources", "tolerations"),
    )
)

RESERVED = (
    f" is reserved: only the operator writes keys with the prefix {RESERVED_PREFIX}; remove it"
)
RESTART_POLICY = (
    "only Always is allowed, because instances of a service run continuously; leave it out"
)
NO_CONTAINERS = "at least one container is required"

_reserved_key = f"k.startsWith({quote(RESERVED_PREFIX)})"
_reserved_rule = Rule(
    f"self.all(k, !{_reserved_key})",
    f"'key ' + self.filter(k, {_reserved_key})[0] + {quote(RESERVED)}",
    computed=True,
)

TEMPLATE_RULES: Final[Mapping[str, Rule]] = {
    "metadata.labels": _reserved_rule,
    "metadata.annotations": _reserved_rule,
    "spec": Rule(
        "!has(self.restartPolicy) || self.restartPolicy in ['', 'Always']",
        RESTART_POLICY,
        field=".restartPolicy",
    ),
    "spec.containers[]": pin_rule("container", "image"),
    "spec.initContainers[]": pin_rule("init container", "image"),
    "spec.volumes[]": pin_rule("volume", "image.reference"),
}
"""The rules by their path in the template; `[]` stands for the items of a list."""


def born_with(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a template that is copied to its pods: without ignored metadata and nulls.

    In a map of strings null becomes the empty string, and in a list an empty item, as the API
    server reads it in a pod.
    """
    out: dict[str, Any] = _without_nulls(template)
    if isinstance(metadata := out.get("metadata"), dict):
        out["metadata"] = {key: value for key, value in metadata.items() if key not in IGNORED}
    return out


def _without_nulls(value: Any, empty: Any = None) -> Any:
    if isinstance(value, Mapping):
        return {
            key: {name: text or "" for name, text in item.items()}
            if key in _TEXTS and isinstance(item, Mapping)
            else _without_nulls(item, _empty_item(key, value))
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list | tuple):
        return [_without_nulls(empty if item is None else item) for item in value]
    return value


def _empty_item(key: str, holder: Mapping[str, Any]) -> Any:
    """Give what null stands for in a list: a struct, a number or a text."""
    if key in _STRUCTS:
        return {}
    are_exit_codes = key == "values" and "key" not in holder  # those of a selector have a key
    return 0 if are_exit_codes or key == "supplementalGroups" else ""


def template_problems(template: Mapping[str, Any]) -> Iterator[str]:
    """Yield the problems of a template, each with its path, as the API server prints it."""
    yield from _reserved_keys(template.get("metadata") or {})
    spec = template.get("spec") or {}
    if not spec.get("containers"):
        yield f"spec.template.spec.containers: {NO_CONTAINERS}"
    if (spec.get("restartPolicy") or "Always") != "Always":
        yield f"spec.template.spec.restartPolicy: {RESTART_POLICY}"
    yield from _unpinned_images(spec)


def _reserved_keys(metadata: Mapping[str, Any]) -> Iterator[str]:
    for field in ("labels", "annotations"):
        for key in sorted(metadata.get(field) or {}):
            if key.startswith(RESERVED_PREFIX):
                yield f"spec.template.metadata.{field}: key {key}{RESERVED}"


def _unpinned_images(spec: Mapping[str, Any]) -> Iterator[str]:
    for field, owner in (("containers", "container"), ("initContainers", "init container")):
        for index, container in enumerate(spec.get(field) or ()):
            if problem := pin_problem(container.get("image")):
                path = f"spec.template.spec.{field}[{index}].image"
                yield f"{path}: {owner} {container.get('name')}: {problem}"
    for index, volume in enumerate(spec.get("volumes") or ()):
        source = volume.get("image")
        if source is not None and (problem := pin_problem(source.get("reference"))):
            path = f"spec.template.spec.volumes[{index}].image.reference"
            yield f"{path}: volume {volume.get('name')}: {problem}"
