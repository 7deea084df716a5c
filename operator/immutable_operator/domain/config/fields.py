"""Kinds of fields of the Kubernetes API, by what an API server keeps of them.

Each function here makes a field: it takes what is written to its canonical form, or to None where
that is what is stored of an absent one, too. The words follow Go, in which the API is written: a
plain value cannot be told from its zero, behind a pointer it can.
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
    """What nobody here knows more of: as it is, without nulls. Also a pointer without a default."""
    if isinstance(given, Mapping):
        return {str(k): as_written(v) for k, v in given.items() if v is not None}
    if isinstance(given, list | tuple):
        return [as_written(item) for item in given]
    if isinstance(given, float) and given.is_integer():
        return int(given)
    return given


def value(default: Any = None) -> Field:
    """A plain value: its zero says nothing, nor does what the API server fills in for that."""

    def canonical(given: Any) -> Any:
        said = as_written(given)
        return None if said in ("", 0) or said == default else said

    return canonical


def values(names: str) -> Fields:
    """Plain values without a default."""
    return dict.fromkeys(names.split(), value())


def pointer(default: Any) -> Field:
    """Behind a pointer a zero says something; only the default does not."""

    def canonical(given: Any) -> Any:
        said = as_written(given)
        return None if said == default else said

    return canonical


def member(fields: Fields, settle: _Settle | None = None) -> Field:
    """A struct that says something by being there, such as ``emptyDir: {}``.

    Nothing is known of fields that are not listed. ``settle`` is called at the end, for defaults
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
    """A struct that says nothing while it is empty, such as ``resources: {}``."""
    whole = member(fields, settle)
    return lambda given: whole(given) or None


def each(field: Field) -> Field:
    """A list in its order; an empty one is none. An empty item is one, all the same."""

    def canonical(given: Any) -> Any:
        if not isinstance(given, list | tuple):
            return as_written(given)
        return [field(item) for item in given] or None

    return canonical


def items(fields: Fields, settle: _Settle | None = None) -> Field:
    """A list of structs."""
    return each(member(fields, settle))


def texts(given: Any) -> Any:
    """A list or a map of the user's own words: only an empty one says nothing."""
    return as_written(given) or None


def quantity(given: Any) -> Any:
    """A quantity behind a pointer."""
    return canonical_quantity(given)


def divisor(given: Any) -> Any:
    """A plain quantity: zero says nothing."""
    said = canonical_quantity(given)
    return None if said == "0" else said


def quantities(given: Any) -> Any:
    """Quantities by the name of the resource, which the API server rounds up to thousandths."""
    if not isinstance(given, Mapping):
        return as_written(given)
    said = {str(k): canonical_quantity(v, MILLI) for k, v in given.items() if v is not None}
    return said or None
