"""The key of the digests of Secrets: made once, and stored in a Secret that all replicas share.

The chart installs the Secret empty, and the operator may read and write that one only. A lost key
replaces nothing: content is then compared with the copies (runtime/secrets.py).
"""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Any

import msgspec
import structlog

from immutable_operator.domain.config.keyed import KEY_BYTES, DigestKey
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.wire.config import SECRETS

__all__ = ["KeyKeeper", "KeyUnavailable"]

log = structlog.get_logger()
FIELD = "key"
TRIES = 3


class KeyUnavailable(ApiError):
    """There is no key now: why, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(0, "KeyUnavailable", message)


class KeyKeeper:
    """Reads the key from its Secret, or makes it; the leader asks once and keeps it in memory."""

    def __init__(self, client: KubeClient, namespace: str, name: str) -> None:
        self._client = client
        self._about = f"{namespace}/{name}"
        self._path = SECRETS.item(namespace, name)
        self._key: DigestKey | None = None

    @property
    def known(self) -> DigestKey | None:
        """The key, once it was read."""
        return self._key

    async def get(self) -> DigestKey:
        """Return the key. Raises `KeyUnavailable`, and the client's own `NotLeader`."""
        for _ in range(TRIES):
            if self._key is None:
                self._key = await self._fetch()
            if self._key is not None:
                return self._key
        raise KeyUnavailable(
            f"other clients changed the Secret {self._about} at the same time; the operator retries"
        )

    async def _fetch(self) -> DigestKey | None:
        """Read the key, or create it; None if another client wrote the Secret meanwhile."""
        try:
            body = await self._client.get(self._path, resource=SECRETS.resource)
            stored = msgspec.json.decode(body)
            if (found := self._read(stored)) is not None:
                return found
            made = DigestKey(secrets.token_bytes(KEY_BYTES))
            data = {**(stored.get("data") or {}), FIELD: base64.b64encode(made.secret).decode()}
            # Its resourceVersion prevents two replicas from creating two keys.
            await self._client.update(
                self._path, {**stored, "data": data}, resource=SECRETS.resource
            )
        except Conflict:
            return None
        except NotFound as error:
            raise KeyUnavailable(
                f"the Secret {self._about} for the key of the digests does not exist; the chart"
                " installs it: run helm upgrade"
            ) from error
        except ApiError as error:
            raise KeyUnavailable(f"the Secret {self._about}: {error.message}") from error
        log.info("key of digests created", secret=self._about, key=made.id)
        return made

    def _read(self, stored: dict[str, Any]) -> DigestKey | None:
        text = (stored.get("data") or {}).get(FIELD)
        if not text:
            return None
        try:
            return DigestKey(base64.b64decode(text, validate=True))
        except (ValueError, binascii.Error) as error:
            raise KeyUnavailable(
                f"the field {FIELD} of the Secret {self._about} is not a key of {KEY_BYTES} bytes;"
                " delete the field, and the operator creates a new key"
            ) from error
