"""Which copies of Secrets exist: looked up by name, because the operator may not list Secrets.

A policy keeps others from creating and deleting copies, and their content cannot be changed, so
that they are looked at less often than the Secrets that people change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from immutable_operator.domain.model import Backoff
from immutable_operator.kube.client import METADATA, KubeClient
from immutable_operator.kube.errors import Forbidden, NotFound
from immutable_operator.runtime.inquiry import Inquiry
from immutable_operator.runtime.interests import Interests, Key
from immutable_operator.wire.config import SECRETS, ConfigRecord, decode_config

__all__ = ["Doubt", "SecretCopies", "look_at"]

RETRY = Backoff(5.0, 60.0)


class Doubt(Enum):
    """Why it is not known whether a copy exists."""

    OPEN = "it is being looked up"
    DENIED = "the operator may not look it up"


class SecretCopies:
    """Copies by namespace and name; ``changed`` gets the uids of services when one is news."""

    def __init__(self, client: KubeClient, poll: float, changed: Callable[[str], None]) -> None:
        self._client = client
        self._poll = poll
        self._changed = changed
        self._interests = Interests()
        self._found: dict[Key, ConfigRecord | Doubt | None] = {}
        self._inquiry = Inquiry("copy of a Secret cannot be looked up", self._look, retry=RETRY)

    def register(self, owner: str, keys: Iterable[Key]) -> None:
        """Note the copies that a service has."""
        for key in self._interests.register(owner, frozenset(keys)):
            self._found.pop(key, None)

    def find(self, key: Key) -> ConfigRecord | Doubt | None:
        """Return a copy, None if it does not exist, or why that is not known."""
        self._inquiry.want(key)
        return self._found.get(key, Doubt.OPEN)

    def get(self, namespace: str, name: str) -> ConfigRecord | None:
        """Return a copy that is known to exist."""
        found = self._found.get((namespace, name))
        return found if isinstance(found, ConfigRecord) else None

    def made(self, copy: ConfigRecord) -> None:
        """Note a copy that was created just now."""
        self._found[copy.namespace, copy.name] = copy

    def news(self, key: Key) -> None:
        """Look at once at a copy of which a watch says that it has changed."""
        if key in self._interests:
            self._inquiry.renew(key)

    async def run(self) -> None:
        """Look at copies, a few at a time, forever."""
        await self._inquiry.run()

    async def _look(self, key: Key) -> float | None:
        if key not in self._interests:
            return None
        before = self._found.get(key, Doubt.OPEN)
        now: ConfigRecord | Doubt | None
        try:
            now = await look_at(self._client, key)
        except NotFound:
            now = None
        except Forbidden:
            # What was known stays known: only the operator deletes a copy.
            now = before if isinstance(before, ConfigRecord) else Doubt.DENIED
        if key not in self._interests:
            return None
        self._found[key] = now
        if now != before:
            for owner in self._interests.of(key):
                self._changed(owner)
        return self._poll


async def look_at(client: KubeClient, key: Key) -> ConfigRecord:
    """Read the metadata of a Secret. Raises `ApiError`, and whatever a decoder may raise."""
    path = SECRETS.item(*key)
    return decode_config(await client.get(path, resource=SECRETS.resource, accept=METADATA))
