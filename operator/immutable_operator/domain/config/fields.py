"""Kinds of fields of the Kubernetes API, by which of their values an API server distinguishes.

Each function here makes a field: a function that takes a written value to its canonical form, or to
None if the API server stores the same for a value that is absent. The terms follow Go, in which the
API is written: a plain value cannot be distinguished from its zero, a pointer can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from immutable_operator.domain.config.quantity import MILLI, canonical_quantity

__all__ = [
    "Field",
    "Fields",
    "as_written",
    "divisor",
    "each",
    "hollow",
    "items",
    "member",
    "pointer",
    "quantities",
    "quantity",
    "texts",
    "value",
    "values",
]

Field = Callable[[Any], Any]
Fields = dict[str, Field]
_Settle = Callable[[dict[str, Any]], None]


def as_written(given: Any) -> Any:
    """Return a value of any kind without nulls; also for pointers without a default."""
    if isinstance(given, Mapping):
        return {str(k): as_written(v) for k, v in given.items() if v is not None}
    if isinstance(given, list | tuple):
        return [as_written(item) for item in given]
    if isinstance(given, float) and given.is_integer():
        return int(given)
    return given


def value(default: Any = None) -> Field:
    """Make a plain value: its zero and its default carry no information."""

    def canonical(given: Any) -> Any:
        said = as_written(given)
        return None if said in ("", 0) or said == default else said

    return canonical


def values(names: str) -> Fields:
    """Make several plain values without a default."""
    return dict.fromkeys(names.split(), value())


def pointer(default: Any) -> Field:
    """Make a pointer: its zero carries information; only the default does not."""

    def canonical(given: Any) -> Any:
        said = as_written(given)
        return None if said == default else said

    return canonical


def member(fields: Fields, settle: _Settle | None = None) -> Field:
    """Make a struct whose presence carries information, such as ``emptyDir: {}``.

    Fields that are not listed are kept as written. ``settle`` is called at the end, for defaults
    that follow from other fields.
    """

    def canonical(given: Any) -> Any:
        if not isinstance(given, Mapping):
            return as_written(given)
        said = {}
        for key, item in given.items():
            if item is not None:
                found = fields.get(key, as_written)(item)
                if found is not None:
                    said[str(key)] = found
        if settle is not None:
            settle(said)
        return said

    return canonical


def hollow(fields: Fields, settle: _Settle | None = None) -> Field:
    """Make a struct that carries no information while it is empty, such as ``resources: {}``."""
    whole = member(fields, settle)
    return lambda given: whole(given) or None


def each(field: Field) -> Field:
    """Make an ordered list; an empty list counts as absent, an empty item does not."""

    def canonical(given: Any) -> Any:
        if not isinstance(given, list | tuple):
            return as_written(given)
        return [field(item) for item in given] or None

    return canonical


def items(fields: Fields, settle: _Settle | None = None) -> Field:
    """Make a list of structs."""
    return each(member(fields, settle))


def texts(given: Any) -> Any:
    """Make a list or a map of the user's own strings: only an empty one carries no information."""
    return as_written(given) or None


def quantity(given: Any) -> Any:
    """Make a quantity that is a pointer."""
    return canonical_quantity(given)


def divisor(given: Any) -> Any:
    """Make a plain quantity: zero carries no information."""
    said = canonical_quantity(given)
    return None if said == "0" else said


def quantities(given: Any) -> Any:
    """Make quantities by resource name, which the API server rounds up to thousandths."""
    if not isinstance(given, Mapping):
        return as_written(given)
    said = {str(k): canonical_quantity(v, MILLI) for k, v in given.items() if v is not None}
    return said or None
