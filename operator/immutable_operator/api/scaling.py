"""Quantities that Kubernetes takes both as a number of instances and as a percentage of them."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

from immutable_operator.api.cel import Rule

__all__ = ["INT32_MAX", "IntOrPercent", "is_zero"]

INT32_MAX: Final = 2**31 - 1

_PERCENT = "(0|[1-9][0-9]{0,2})%"
_NEITHER = "neither a number nor a percentage; write 1 or 25%"
_RULE = Rule(f"type(self) == int || self.matches('^{_PERCENT}$')", _NEITHER)

_percent = re.compile(_PERCENT)


def _check(value: object) -> object:
    """Refuse what the CRD refuses, in words: pydantic's own text for a union helps nobody."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(_NEITHER)
    if isinstance(value, str) and not _percent.fullmatch(value):
        raise ValueError(f'"{value}": {_NEITHER}')
    if isinstance(value, int) and not 0 <= value <= INT32_MAX:
        raise ValueError(f"{value} is not possible; write 0 or more")
    return value


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
"""Either a count (0 or more) or a percentage of the wanted instances, such as `25%`."""


def is_zero(value: int | str) -> bool:
    """Tell whether a count or percentage means none whatever the number of instances."""
    return value in (0, "0%")
