"""Reads the ConfigMaps and Secrets of a service, or their copies, each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from immutable_operator.domain.config.references import content_digest
from immutable_operator.domain.model import ABSENT, CONFIG_MAP, ConfigKey
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, NotFound
from immutable_operator.wire.config import CONFIG_PATHS

__all__ = ["Contents", "Held"]


@dataclass(frozen=True)
class Held:
    """The content of an object: ``texts`` and ``binary`` (base64) by key.

    ``problem`` says why it is not known; ``is_there`` is False if there is no such object.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    binary: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    is_there: bool = True

    def __repr__(self) -> str:
        # It may be the content of a Secret.
        return f"Held({self.problem!r}, is_there={self.is_there})"

    @property
    def digest(self) -> str:
        """The digest of a ConfigMap with this content; "" if it is not known."""
        if not self.is_there:
            return ABSENT
        return "" if self.problem else content_digest(self.texts, self.binary)


class Contents:
    """Objects of one namespace, by kind and name."""

    def __init__(
        self, client: KubeClient, namespace: str, given: Mapping[ConfigKey, Held] | None = None
    ) -> None:
        """``given`` is the content that some of them are to be supposed to have."""
        self._client, self._namespace = client, namespace
        self._known: dict[ConfigKey, Held] = dict(given or {})

    async def read(self, key: ConfigKey) -> Held:
        """Return the content of an object; a failure is part of it."""
        if key not in self._known:
            self._known[key] = await self._read(*key)
        return self._known[key]

    async def _read(self, kind: str, name: str) -> Held:
        path = CONFIG_PATHS[kind]
        try:
            page = await self._client.get(path.item(self._namespace, name), resource=path.resource)
        except NotFound:
            return Held(problem=f"{kind} {name} does not exist", is_there=False)
        except ApiError as error:
            return Held(problem=f"{kind} {name} cannot be read: {error.message}")
        body: dict[str, Any] = msgspec.json.decode(page)
        data, binary = body.get("data") or {}, body.get("binaryData") or {}
        return Held(data, binary) if kind == CONFIG_MAP else Held(binary=data)
