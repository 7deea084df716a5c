"""Checks that a pod template keeps no state: once in Python, once in CEL.

An instance is replaced by a new one on any node, so what it leaves on its node is lost or found by
another pod. A service that exists already keeps its template: the rules apply to a new template, to
more replicas, and to a permission that is withdrawn.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from immutable_operator.api.cel import Rule, quote

__all__ = [
    "CLAIM",
    "HOST_FIELDS",
    "HOST_PATH",
    "PRIVILEGED",
    "STATELESS_RULES",
    "claims",
    "node_local",
]

_NODE_LOCAL: Final = "or set immutability.nodeLocal: Allow"
HOST_PATH: Final = (
    " uses hostPath, so its content stays on the node when the pod is replaced; use emptyDir, a"
    f" ConfigMap or a persistentVolumeClaim, {_NODE_LOCAL}"
)
PRIVILEGED: Final = (
    f" is privileged, so it can change its node; remove securityContext.privileged, {_NODE_LOCAL}"
)
HOST_FIELDS: Final = {
    "hostPID": f"the pod would share the process namespace of its node; remove it, {_NODE_LOCAL}",
    "hostIPC": f"the pod would share the memory segments of its node; remove it, {_NODE_LOCAL}",
}
CLAIM: Final = (
    " uses a persistentVolumeClaim, which all replicas would share, and the operator cannot tell"
    " whether several pods can use its volume at once; set replicas: 1, or"
    " immutability.sharedVolumes: Allow if they can"
)
_LISTS: Final = (("containers", "container"), ("initContainers", "init container"))


def node_local(template: Mapping[str, Any]) -> Iterator[str]:
    """Yield what ties pods of a template to their node, each with its path."""
    spec = template.get("spec") or {}
    for name in _volumes_from(spec, "hostPath"):
        yield f"spec.template.spec.volumes: volume {name}{HOST_PATH}"
    for field, sentence in HOST_FIELDS.items():
        if spec.get(field):
            yield f"spec.template.spec.{field}: {sentence}"
    for field, owner in _LISTS:
        for container in spec.get(field) or ():
            if (container.get("securityContext") or {}).get("privileged"):
                name = container.get("name")
                yield f"spec.template.spec.{field}: {owner} {name}{PRIVILEGED}"
                break


def claims(template: Mapping[str, Any]) -> str:
    """Return what is wrong with a template if there is more than one replica, with its path; ""
    if nothing is.
    """
    for name in _volumes_from(template.get("spec") or {}, "persistentVolumeClaim"):
        return f"spec.template.spec.volumes: volume {name}{CLAIM}"
    return ""


def _volumes_from(spec: Mapping[str, Any], source: str) -> Iterable[Any]:
    """Return the name of the first volume with a source of this kind, if there is one."""
    names = (v.get("name") for v in spec.get("volumes") or () if v.get(source) is not None)
    return [name for name in [next(names, None)] if name is not None]


def _unchanged(permission: str, more: str = "") -> str:
    """Return in CEL whether the stored object had the same template without the permission."""
    old = "oldSelf.value()"
    return (
        f"oldSelf.hasValue() && {old}.template == self.template"
        f" && {old}.?immutability.?{permission}.orValue('Refuse') == 'Refuse'{more}"
    )


def _rule(permission: str, allowed: str, message: str, field: str, unchanged: str) -> Rule:
    permitted = f"self.?immutability.?{permission}.orValue('Refuse') == 'Allow'"
    return Rule(
        f"{permitted} || ({allowed}) || ({unchanged})",
        message,
        computed=not message[0].isalpha(),
        field=f".template.spec.{field}",
        sees_old=True,
    )


def _named(field: str, holds: str, owner: str, sentence: str) -> tuple[str, str]:
    """Return in CEL that no item of a list is such a one, and the message about the first."""
    items = f"self.template.spec.{field}"
    # A list that is null is refused as a null list by no rule, so it counts as empty here.
    given = f"has({items}) && dyn({items}) != null"
    message = f"{quote(f'{owner} %s{sentence}')}.format([{items}.filter(i, {holds})[0].name])"
    return f"!({given} && {items}.exists(i, {holds}))", message


def _rules() -> Iterator[Rule]:
    free = _unchanged("nodeLocal")
    of_volumes = _named("volumes", "has(i.hostPath)", "volume", HOST_PATH)
    yield _rule("nodeLocal", *of_volumes, "volumes", free)
    for field, sentence in HOST_FIELDS.items():
        unset = f"self.template.spec.?{field}.orValue(false) != true"
        yield _rule("nodeLocal", unset, sentence, field, free)
    for field, owner in _LISTS:
        privileged = "i.?securityContext.?privileged.orValue(false) == true"
        yield _rule("nodeLocal", *_named(field, privileged, owner, PRIVILEGED), field, free)
    none, message = _named("volumes", "has(i.persistentVolumeClaim)", "volume", CLAIM)
    several = " && oldSelf.value().?replicas.orValue(1) > 1"
    few = f"self.?replicas.orValue(1) <= 1 || {none}"
    yield _rule("sharedVolumes", few, message, "volumes", _unchanged("sharedVolumes", several))


STATELESS_RULES: Final = tuple(_rules())
"""The rules of a service's spec; `oldSelf` is its stored spec."""
