"""Numbers as Kubernetes accepts them, and the maximum number of instances."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from immutable_operator.api.cel import Rule

__all__ = ["INT32_MAX", "MAX_REPLICAS", "Int32", "Int64", "IntOrPercent", "Replicas", "is_zero"]

INT32_MAX: Final = 2**31 - 1
MAX_REPLICAS: Final = 50_000
"""Maximum number of instances of a service: a third of the pods that Kubernetes supports in a
cluster."""

Int32 = Annotated[
    int, Field(strict=True, ge=0, le=INT32_MAX, json_schema_extra={"format": "int32"})
]
Int64 = Annotated[int, Field(strict=True, json_schema_extra={"format": "int64"})]

_PERCENT = "(0|[1-9][0-9]{0,2})%"
_NEITHER = "neither a number nor a percentage; use a value such as 1 or 25%"
_RULE = Rule(f"type(self) == int || self.matches('^{_PERCENT}$')", _NEITHER)

_percent = re.compile(_PERCENT)


def _check(value: object) -> object:
    """Refuse what the CRD refuses, with its message: pydantic's text for a union is hard to
    read."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(_NEITHER)
    if isinstance(value, str) and not _percent.fullmatch(value):
        raise ValueError(f'"{value}": {_NEITHER}')
    if isinstance(value, int) and not 0 <= value <= INT32_MAX:
        raise ValueError(f"{value} is not allowed; use 0 or more")
    return value


_TOO_MANY = f"a service can have at most {MAX_REPLICAS} instances"
_ADVICE = "use a lower number, or divide the service into several services"
_MOST = Rule(f"self <= {MAX_REPLICAS}", f"{_TOO_MANY}; {_ADVICE}")


def _at_most(value: int) -> int:
    if value > MAX_REPLICAS:
        raise ValueError(f"{value}: {_MOST.message}")
    return value


Replicas = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        json_schema_extra={
            "format": "int32",
            "maximum": MAX_REPLICAS,
            "x-kubernetes-validations": [_MOST.schema()],
        },
    ),
    AfterValidator(_at_most),
]
"""A number of desired instances."""

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
