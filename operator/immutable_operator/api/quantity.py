"""Quantities of resources: a number, or a string such as 500m or 64Mi."""

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

__all__ = ["Resources", "quantity_schema"]

_NUMBER: Final = r"(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
_SUFFIX: Final = rf"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?{_NUMBER}))?"
_MAX_RESOURCES: Final = 64


def quantity_schema(sign: str) -> dict[str, Any]:
    """Return the schema of a quantity; ``sign`` is the regular expression of its sign.

    A number can have a fraction (cpu: 0.5), which int-or-string refuses. Therefore there is no
    type; what is neither a number nor a string is refused by its size or by its value.
    """
    # The pattern is about strings only.
    least = {} if "-" in sign else {"minimum": 0}
    return {
        **least,
        "x-kubernetes-preserve-unknown-fields": True,
        "pattern": f"^{sign}{_NUMBER}{_SUFFIX}$",
        "maxItems": 0,
        "maxProperties": 0,
        "not": {"enum": [True, False, [], {}]},
    }


_amount = re.compile(rf"\+?{_NUMBER}{_SUFFIX}")


def _check(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a quantity; use a number, or a string such as 500m or 64Mi")
    if not _amount.fullmatch(str(value)):
        raise ValueError(f'"{value}" is not a quantity; use a value such as 4, 500m or 64Mi')
    return value


_Amount = Annotated[
    int | float | str, BeforeValidator(_check), WithJsonSchema(quantity_schema(r"\+?"))
]

Resources = Annotated[dict[str, _Amount], Field(max_length=_MAX_RESOURCES)]
"""Amounts of resources by name, such as `{cpu: "4", memory: 16Gi}`; 0 or more each."""
