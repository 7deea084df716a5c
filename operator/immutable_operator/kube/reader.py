"""Reading objects of others: one cannot end the process, hide another, or flood the log.

An object that cannot be read is read once more without null values and without parts that are
nested deeper than any object of ours; if that fails, it is ignored, logged once per version, and
counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from immutable_operator.kube.reading import READ_ERRORS, Identity, Raw, shallow

__all__ = ["Reader"]

log = structlog.get_logger()
T = TypeVar("T")
MOST_TOLD = 1_000


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
