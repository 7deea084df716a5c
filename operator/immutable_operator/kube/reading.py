"""Decoding what others wrote: however malformed it is, it ends in one of `READ_ERRORS`."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

__all__ = [
    *("READ_ERRORS", "Identity", "decoded", "metadata_of", "shallow", "version_of"),
    "written_version",
]

M = TypeVar("M")
Raw = bytes | msgspec.Raw

# All exceptions that our decoders may raise for objects that others wrote.
READ_ERRORS = (
    msgspec.MsgspecError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
MOST_DEPTH = 100
MOST_DIGITS = 19  # of a 64-bit number
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def version_of(text: object) -> int:
    """Return a resource version as a number. Raises ValueError if it is not one."""
    if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS:
        return int(text)
    raise ValueError(f"resource version {str(text)[:40]!r} is not a number")


class _Written(msgspec.Struct):
    metadata: dict[str, Any]


def metadata_of(response: Raw) -> dict[str, Any]:
    """Return the metadata of the object in a response."""
    return msgspec.json.decode(response, type=_Written).metadata


def written_version(response: Raw) -> int:
    """Return the resource version of the object in the response to a write."""
    return version_of(metadata_of(response)["resourceVersion"])


def shallow(body: Raw, most: int = MOST_DEPTH) -> bytes:
    """Return the same JSON with null in place of everything nested deeper than ``most``.

    The scan is not recursive, so that the depth of a body does not matter.
    """
    body = bytes(body)
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKEN.finditer(body):
        mark = token.group()
        if mark in (b"[", b"{"):
            depth += 1
            if depth == most + 1:
                kept += [body[start : token.start()], b"null"]
                start = len(body)
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth == most:
                start = token.end()
    return b"".join([*kept, body[start:]])


def decoded(body: Raw, form: type[M]) -> M:
    """Decode JSON, however deeply nested it is. Raises one of `READ_ERRORS`."""
    with contextlib.suppress(*READ_ERRORS):
        return msgspec.json.decode(body, type=form)
    return msgspec.json.decode(shallow(body), type=form)


@dataclass(frozen=True)
class Identity:
    """Identifies an object and its version, as far as they can be read; else ""."""

    namespace: str = ""
    name: str = ""
    uid: str = ""
    version: str = ""

    @classmethod
    def of(cls, raw: Raw) -> Identity:
        try:
            fields = msgspec.json.decode(shallow(raw), type=_Metadata).metadata
        except READ_ERRORS:
            return cls(version=f"sha256:{sha256(bytes(raw)).hexdigest()}")
        keys = ("namespace", "name", "uid", "resourceVersion")
        return cls(*(_text(fields.get(key)) for key in keys))


class _Metadata(msgspec.Struct):
    metadata: dict[str, msgspec.Raw]


def _text(raw: msgspec.Raw | None) -> str:
    try:
        return msgspec.json.decode(raw or b'""', type=str)
    except READ_ERRORS:
        return ""
