"""Digests of Secrets: under a key that only the operator has, so that no value can be guessed.

A plain hash of a password would let every reader of a record try passwords against it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["KEY_BYTES", "DigestKey", "key_of"]

KEY_BYTES = 32
_SCHEME = "hmac-sha256"


@dataclass(frozen=True, slots=True)
class DigestKey:
    """The key of digests, of `KEY_BYTES` bytes; it is never shown."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a key of digests has {KEY_BYTES} bytes, not {len(self.secret)}")

    @property
    def id(self) -> str:
        """16 hex digits that tell keys apart and say nothing about the key."""
        return self._mac("id")[:16]

    def digest(self, namespace: str, name: str, data: Mapping[str, str]) -> str:
        """Return ``hmac-sha256:<id of the key>:<64 hex>`` over a Secret's data (as base64).

        Namespace and name of the Secret are covered, so that two Secrets with the same content have
        different digests.
        """
        content = {"data": dict(data), "name": name, "namespace": namespace}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return f"{_SCHEME}:{self.id}:{self._mac(text)}"

    def _mac(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()


def key_of(digest: str) -> str:
    """Return the id of the key of a digest; "" for a digest without one."""
    scheme, _, rest = digest.partition(":")
    return rest.partition(":")[0] if scheme == _SCHEME else ""
