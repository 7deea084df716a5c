"""Reading what others wrote: an object cannot end the process, hide another, or flood the log.

An object that cannot be read is read once more without null values and without parts that are
nested deeper than any object of ours; if that fails, it is ignored, logged once per version, and
counted.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, TypeVar

import msgspec
import structlog

__all__ = ["READ_ERRORS", "Identity", "Reader", "decoded", "shallow", "version_of"]

log = structlog.get_logger()
T = TypeVar("T")
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
MOST_TOLD = 1_000
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def version_of(text: object) -> int:
    """Return a resource version as a number. Raises ValueError if it is not one."""
    if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS:
        return int(text)
    raise ValueError(f"resource version {str(text)[:40]!r} is not a number")


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


class Reader(Generic[T]):
    """The one guarded place where the objects of a collection are decoded.

    Parameters
    ----------
    resource
        Name of the collection, for logs and metrics.
    decode
        Decodes an object; it may raise any of `READ_ERRORS`.
    count
        Called with the resource once for each version of an object that cannot be read.
    """

    def __init__(
        self, resource: str, decode: Callable[[Raw], T], count: Callable[[str], None]
    ) -> None:
        self._resource = resource
        self._decode = decode
        self._count = count
        self._told: dict[Identity, None] = {}

    def read(self, raw: Raw) -> T | None:
        """Return the object, or None if it cannot be read."""
        try:
            return self._decode(raw)
        except READ_ERRORS:
            pass
        try:
            return self._decode(_without_nulls(shallow(raw)))
        except READ_ERRORS as error:
            self.tell(Identity.of(raw), error)
            return None

    def tell(self, which: Identity, error: Exception) -> None:
        """Log and count a version of an object that cannot be read, once."""
        if which in self._told:
            return
        self._told[which] = None
        while len(self._told) > MOST_TOLD:
            del self._told[next(iter(self._told))]
        self._count(self._resource)
        log.warning(
            "object cannot be read and is ignored",
            resource=self._resource,
            namespace=which.namespace,
            name=which.name,
            uid=which.uid,
            version=which.version,
            error=f"{type(error).__name__}: {error}"[:300],
        )


def _without_nulls(body: bytes) -> bytes:
    """Remove null fields and null list entries."""
    return msgspec.json.encode(_pruned(msgspec.json.decode(body)))


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_pruned(each) for each in value if each is not None]
    return value
