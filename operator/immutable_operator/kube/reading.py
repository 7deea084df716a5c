"""Reading what others wrote: no object ends the process, hides another one, or is told for ever.

What cannot be read is tried once more without what nobody reads (nulls, and what is nested
deeper than any object of ours); then it is left out, logged once a version, and counted.
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

# Whatever a decoder of ours may raise over what somebody else wrote.
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
    """A resource version as a number. Raises ValueError for what no API server gives."""
    if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS:
        return int(text)
    raise ValueError(f"resource version {str(text)[:40]!r} is no number")


def shallow(body: Raw, most: int = MOST_DEPTH) -> bytes:
    """The same JSON with null in place of all that is nested deeper than ``most``.

    It is found without recursion: how deep a body is must not matter.
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
    """JSON to a form of ours, however deep it is. Raises one of `READ_ERRORS`."""
    with contextlib.suppress(*READ_ERRORS):
        return msgspec.json.decode(body, type=form)
    return msgspec.json.decode(shallow(body), type=form)


@dataclass(frozen=True)
class Identity:
    """Which object, and which version of it: as far as that can be read; else ""."""

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
        What a readable object is made into; it may raise any of `READ_ERRORS`.
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
        """The object, or None for one that cannot be read."""
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
            "object unreadable, left out",
            resource=self._resource,
            namespace=which.namespace,
            name=which.name,
            uid=which.uid,
            version=which.version,
            error=f"{type(error).__name__}: {error}"[:300],
        )


def _without_nulls(body: bytes) -> bytes:
    """A field that is null, or an entry of a list that is, counts as not there."""
    return msgspec.json.encode(_pruned(msgspec.json.decode(body)))


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_pruned(each) for each in value if each is not None]
    return value
