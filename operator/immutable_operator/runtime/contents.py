"""The content of pinned ConfigMaps: read once per change, and only the digest is kept.

The reflector knows the existence of each ConfigMap and its resource version. A ConfigMap that a
service pins is read when its version is new; until then its content is unknown, and no plan is made
from a guess. Only the leader reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import structlog

from immutable_operator.domain.model import ABSENT, Backoff, ConfigKey, Revision, Source
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, NotFound
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.runtime.inquiry import Inquiry
from immutable_operator.runtime.interests import Interests, Key
from immutable_operator.wire.config import (
    CONFIG_MAPS,
    Configs,
    Content,
    decode_content,
)
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["Contents", "read_content"]

log = structlog.get_logger()
RETRY = Backoff(5.0, 60.0)


class Contents:
    """Digests of ConfigMaps, and the services that wait for them; ``changed`` gets their uids."""

    def __init__(
        self, client: KubeClient, configs: Configs, changed: Callable[[str], None]
    ) -> None:
        self._client = client
        self._configs = configs
        self._changed = changed
        self._digests: dict[Key, tuple[int, str, str]] = {}
        self._problems: dict[Key, str] = {}
        self._interests = Interests()
        self._inquiry = Inquiry("ConfigMap cannot be read", self._read, retry=RETRY)

    def look(
        self, service: OwnerRecord, revisions: Iterable[Revision]
    ) -> tuple[Mapping[ConfigKey, Source], frozenset[str]]:
        """Return what is known of the ConfigMaps that a service pins, and which copies exist.

        ConfigMaps of older revisions are read as long as a copy is missing.
        """
        kind = self._configs.kind
        names = {name for k, name in service.spec.pinned if k == kind}
        there = set()
        for revision in revisions:
            for pin in revision.config:
                if pin.kind != kind:
                    continue
                found = self._configs.get(service.namespace, pin.snapshot)
                if found and (found.revision, found.digest) == (revision.uid, pin.digest):
                    there.add(pin.snapshot)
                elif pin.digest != ABSENT:
                    names.add(pin.name)
        self._register(service.uid, frozenset((service.namespace, name) for name in names))
        sources = {name: self._source((service.namespace, name)) for name in sorted(names)}
        known = {(kind, name): source for name, source in sources.items() if source}
        return known, frozenset(there)

    def forget(self, owner: str) -> None:
        """Drop a service that is gone."""
        self._register(owner, frozenset())

    def readers(self, namespace: str, name: str) -> Iterable[str]:
        """Return the services that wait for news of a ConfigMap."""
        return self._interests.of((namespace, name))

    def _register(self, owner: str, keys: frozenset[Key]) -> None:
        for gone in self._interests.register(owner, keys):
            self._digests.pop(gone, None)
            self._problems.pop(gone, None)

    def _source(self, key: Key) -> Source | None:
        record = self._configs.get(*key)
        if record is None:
            return Source(ABSENT)
        version, digest, author = self._digests.get(key, (-1, "", ""))
        if version >= record.version:
            return Source(digest, author=author)
        self._inquiry.want(key)
        problem = self._problems.get(key)
        return Source(None, problem) if problem else None

    async def run(self) -> None:
        """Read requested ConfigMaps, a few at a time, forever."""
        await self._inquiry.run()

    async def _read(self, key: Key) -> float | None:
        if key not in self._interests or self._configs.get(*key) is None:
            return None
        try:
            content = await read_content(self._client, *key)
        except NotFound:
            return RETRY.first  # the view will show its deletion soon
        except (ApiError, *READ_ERRORS) as error:
            if self._problems.get(key) != str(error):
                self._problems[key] = str(error)
                self._tell(key)
            raise
        self._problems.pop(key, None)
        if key in self._interests:
            self._digests[key] = (content.record.version, content.digest, content.author)
        self._tell(key)
        return None

    def _tell(self, key: Key) -> None:
        for owner in self.readers(*key):
            self._changed(owner)


async def read_content(client: KubeClient, namespace: str, name: str) -> Content:
    """Read the content of a ConfigMap. Raises `ApiError`, and whatever a decoder may raise."""
    path = CONFIG_MAPS.item(namespace, name)
    return decode_content(await client.get(path, resource=CONFIG_MAPS.resource))
