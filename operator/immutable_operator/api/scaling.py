"""Numbers as Kubernetes accepts them, and the maximum number of instances."""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic.fields import FieldInfo

from immutable_operator.api.cel import Rule

__all__ = [
    "INT32_MAX",
    "MAX_NODES",
    "MAX_REPLICAS",
    "NEITHER",
    "Int32",
    "Int64",
    "IntOrPercent",
    "Nodes",
    "Replicas",
    "is_zero",
]

INT32_MAX: Final = 2**31 - 1
MAX_REPLICAS: Final = 50_000
"""Maximum number of instances of a service: a third of the pods that Kubernetes supports in a
cluster."""
MAX_NODES: Final = 5_000
"""Maximum number of nodes of a pool: as many as Kubernetes supports in a cluster."""

Int32 = Annotated[
    int, Field(strict=True, ge=0, le=INT32_MAX, json_schema_extra={"format": "int32"})
]
Int64 = Annotated[int, Field(strict=True, json_schema_extra={"format": "int64"})]

_PERCENT = "(0|[1-9][0-9]{0,2})%"
NEITHER = "neither a number nor a percentage; use a value such as 1 or 25%"
_RULE = Rule(f"type(self) == int || self.matches('^{_PERCENT}$')", NEITHER)

_percent = re.compile(_PERCENT)


def _check(value: object) -> object:
    """Refuse what the CRD refuses, with its message: pydantic's text for a union is hard to
    read."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(NEITHER)
    if isinstance(value, str) and not _percent.fullmatch(value):
        raise ValueError(f'"{value}": {NEITHER}')
    if isinstance(value, int) and not 0 <= value <= INT32_MAX:
        raise ValueError(f"{value} is not allowed; use 0 or more")
    return value


def _most(most: int, owner: str, instances: str) -> Rule:
    return Rule(
        f"self <= {most}",
        f"a {owner} can have at most {most} {instances}; use a lower number, or divide the {owner} "
        f"into several {owner}s",
    )


def _at_most(most: int, rule: Rule) -> AfterValidator:
    def check(value: int) -> int:
        if value > most:
            raise ValueError(f"{value}: {rule.message}")
        return value

    return AfterValidator(check)


def _number(most: int, rule: Rule) -> FieldInfo:
    extra: dict[str, Any] = {
        "format": "int32",
        "maximum": most,
        "x-kubernetes-validations": [rule.schema()],
    }
    field: FieldInfo = Field(strict=True, ge=0, json_schema_extra=extra)
    return field


_INSTANCES: Final = _most(MAX_REPLICAS, "service", "instances")
_NODES: Final = _most(MAX_NODES, "pool", "nodes")

Replicas = Annotated[int, _number(MAX_REPLICAS, _INSTANCES), _at_most(MAX_REPLICAS, _INSTANCES)]
"""A number of desired instances of a service."""

Nodes = Annotated[int, _number(MAX_NODES, _NODES), _at_most(MAX_NODES, _NODES)]
"""A number of desired nodes of a pool."""

IntOrPercent = Annotated[
    int | str,
    BeforeValidator(_check),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "minimum": 0,
            "maximum": INT32_MAX,
            "maxLength": 32,
            "x-kubernetes-validations": [_RULE.schema()],
        }
    ),
]
"""Either a count (0 or more) or a percentage of the desired instances, such as `25%`."""


def is_zero(value: int | str) -> bool:
    """Tell whether a count or percentage is zero for any number of instances."""
    return value in (0, "0%")
