"""Conversion between nouns of the domain and their bodies: one struct names each field once.

A struct has the fields of its noun, under the noun's names; msgspec renames them for the wire. The
types of its fields define how a value is written: times, and texts with the length limit of the
CRD.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast

import msgspec

from immutable_operator.kube.times import moment, second, stamp

__all__ = ["Body", "Micro", "Second", "Text128", "Text512", "Text1024", "Text4096"]

N = TypeVar("N")


class Second(float):
    """Seconds since the epoch; on the wire a metav1.Time."""


class Micro(float):
    """Seconds since the epoch; on the wire a metav1.MicroTime."""


class Text(str):
    """A text that is cut off after ``most`` characters when it is written."""

    __slots__ = ()
    most: ClassVar[int] = 0


class Text128(Text):
    most = 128


class Text512(Text):
    most = 512


class Text1024(Text):
    most = 1024


class Text4096(Text):
    most = 4096


class Body(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a ``noun``. Fields without a value and empty lists or texts are omitted."""

    noun: ClassVar[type[Any]]

    @classmethod
    def written(cls, noun: object) -> dict[str, Any]:
        """Return the body for a noun, ready to be sent."""
        body = msgspec.convert(noun, cls, from_attributes=True, dec_hook=_value)
        return cast(dict[str, Any], _filled(msgspec.to_builtins(body, enc_hook=_written)))

    @classmethod
    def read(cls, body: Mapping[str, Any], kind: type[N]) -> N:
        """Return the noun of a body, of the class ``kind``. Raises one of `READ_ERRORS`."""
        return cast(N, _noun(msgspec.convert(body, cls, dec_hook=_value)))


def _value(kind: type[Any], value: Any) -> Any:
    """Convert the value of a field, from a noun or from the wire."""
    if issubclass(kind, Text):
        if not isinstance(value, str):
            raise TypeError(f"{str(value)[:40]!r} is not a string")
        return kind(value[: kind.most])
    return kind(moment(value) if isinstance(value, str) else value)


def _written(value: Any) -> str:
    if isinstance(value, Text):
        return str(value)
    return second(value) if isinstance(value, Second) else stamp(value)


def _filled(body: Any) -> Any:
    if isinstance(body, dict):
        filled = {key: _filled(value) for key, value in body.items()}
        return {key: value for key, value in filled.items() if value not in (None, "", [])}
    return [_filled(item) for item in body] if isinstance(body, list | tuple) else body


def _noun(value: Any) -> Any:
    if isinstance(value, Body):
        return value.noun(**{name: _noun(getattr(value, name)) for name in value.__struct_fields__})
    if isinstance(value, tuple):
        return tuple(_noun(item) for item in value)
    if isinstance(value, Text):
        return str(value)
    return float(value) if isinstance(value, Second | Micro) else value
