"""What the kinds that own instances have in common: the length of names, columns, refusals."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from immutable_operator.api import names
from immutable_operator.api.cel import Rule, quote
from immutable_operator.api.errors import InvalidSpec
from immutable_operator.api.kind import ApiModel, Column

__all__ = [
    "BOTH_ZERO",
    "NEVER_REPLACES",
    "OWNER",
    "SpecT",
    "checked",
    "columns",
    "name_rule",
    "problems",
]

OWNER: Final = ".spec['service','pool']"
"""Path of the name of the owner in a revision or action, of which one is set."""

SpecT = TypeVar("SpecT", bound=ApiModel)

BOTH_ZERO: Final = (
    "maxSurge and maxUnavailable are both 0, so no instance can be replaced; "
    "set one of them to 1 or more"
)
_NONE: Final = "['0', '0%']"
NEVER_REPLACES: Final = Rule(
    f"!(string(self.maxSurge) in {_NONE} && string(self.maxUnavailable) in {_NONE})", BOTH_ZERO
)
_READY: Final = '.status.conditions[?(@.type=="Ready")]'


def _length(instance: str) -> str:
    return (
        f" characters; the maximum is {names.MAX_SERVICE_NAME}, because {instance} names add "
        f"{names.POD_NAME_SUFFIX} characters and are limited to 63; choose a shorter name"
    )


def name_rule(instance: str) -> Rule:
    """Return the rule for the name of an owner, whose instances are of the kind ``instance``."""
    return Rule(
        f"size(self.metadata.name) <= {names.MAX_SERVICE_NAME}",
        f"{quote('name %s has %d' + _length(instance))}"
        ".format([self.metadata.name, size(self.metadata.name)])",
        computed=True,
        field=".metadata.name",
    )


def columns(owner: str, instances: str) -> tuple[Column, ...]:
    """Return the columns of `kubectl get`, such as those of a ``service`` of ``pods``."""
    return (
        Column("Desired", "integer", ".spec.replicas", "Number of desired instances"),
        Column(
            *("Current", "integer", ".status.currentReplicas"),
            "Number of instances of the current revision",
        ),
        Column("Ready", "integer", ".status.readyReplicas", "Number of ready instances"),
        Column(
            *("Stale", "integer", ".status.staleReplicas"),
            "Number of instances that are going to be replaced",
        ),
        Column("Revision", "string", ".status.currentRevision", "The current revision"),
        Column("Oldest", "date", ".status.oldestInstance", "Age of the oldest instance"),
        Column("Status", "string", f"{_READY}.reason", "Reason of the condition Ready"),
        Column("Age", "date", ".metadata.creationTimestamp", f"Age of the {owner}"),
        Column(
            *("Message", "string", f"{_READY}.message", "Message of the condition Ready"),
            wide=True,
        ),
        Column(
            *("Selector", "string", ".status.selector", f"Label selector of its {instances}"),
            wide=True,
        ),
    )


def checked(
    model: type[SpecT],
    name: str,
    spec: Mapping[str, Any],
    instance: str,
    more: Callable[[SpecT], Iterable[str]] = lambda _: (),
) -> SpecT:
    """Read a spec with the checks of its model and of its owner's name.

    Parameters
    ----------
    instance
        What an instance is, in one word: pod or node.
    more
        Problems that the model itself does not find, one sentence each.

    Raises
    ------
    InvalidSpec
        With all problems, one sentence each.
    """
    found = _name_problems(name, instance)
    try:
        given = model.model_validate(spec)
    except ValidationError as error:
        raise InvalidSpec(*found, *problems(error)) from None
    found += more(given)
    if found:
        raise InvalidSpec(*found)
    return given


def _path(*parts: str | int) -> str:
    """Join the parts of a path as the API server writes it: `spec.regeneration.windows[0]`."""
    first, *others = (str(part) for part in parts)
    return first + "".join(f".{p}" if p.isidentifier() else f"[{p}]" for p in others)


def _name_problems(name: str, instance: str) -> list[str]:
    if len(name) <= names.MAX_SERVICE_NAME:
        return []
    return [f"metadata.name: name {name} has {len(name)}{_length(instance)}"]


def problems(error: ValidationError) -> Iterator[str]:
    """Turn pydantic's findings into `spec.path: what is wrong`."""
    return (_sentence(detail) for detail in error.errors(include_url=False))


def _sentence(detail: Mapping[str, Any]) -> str:
    path = _path("spec", *detail["loc"])
    if detail["type"] == "missing":
        return f"{path}: required value"
    message: str = detail["msg"]
    return f"{path}: {message.removeprefix('Value error, ')}"
