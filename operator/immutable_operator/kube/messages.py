"""Messages of lists and watches: pages, events and errors, with their objects undecoded."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from immutable_operator.kube.errors import ApiError, error_from
from immutable_operator.kube.reading import READ_ERRORS, Identity, decoded, version_of

__all__ = ["Event", "Page", "Unreadable", "error_in", "read"]

M = TypeVar("M")


class Unreadable(Exception):
    """A page or a line that is not from the API server: incomplete, or from a proxy."""


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str | None = None
    continue_: str | None = msgspec.field(default=None, name="continue")


class _Object(msgspec.Struct):
    metadata: _ListMeta


class _Code(msgspec.Struct):
    code: int = 500


class Event(msgspec.Struct):
    """One line of a watch."""

    type: str
    object: msgspec.Raw

    @property
    def version(self) -> int:
        """The resource version of its object. Raises ValueError if it is invalid."""
        try:
            meta = msgspec.json.decode(self.object, type=_Object).metadata
            return version_of(meta.resource_version)
        except READ_ERRORS:
            return version_of(Identity.of(self.object).version)


class Page(msgspec.Struct):
    """One page of a list."""

    metadata: _ListMeta
    # An empty list of metadata is null.
    items: list[msgspec.Raw] | None = None

    @property
    def version(self) -> int:
        """The resource version of the list. Raises `Unreadable`."""
        try:
            return version_of(self.metadata.resource_version)
        except ValueError as error:
            raise Unreadable(f"a list: {error}") from error

    @property
    def successor(self) -> str:
        """The token of the next page, or ""."""
        return self.metadata.continue_ or ""


def read(body: bytes, form: type[M]) -> M:
    """Return a page or an event. Raises `Unreadable`."""
    try:
        return decoded(body, form)
    except READ_ERRORS as error:
        raise Unreadable(str(error)) from error


def error_in(raw: msgspec.Raw) -> ApiError:
    """Return the error that ends a stream, by the code in its Status."""
    body = bytes(raw)
    try:
        code = decoded(body, _Code).code
    except READ_ERRORS:
        code = 500
    return error_from(code, body)
