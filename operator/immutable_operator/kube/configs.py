"""ConfigMaps and Secrets as the operator knows them: which object has a name, and since when.

Only metadata is asked for and kept, never data. An object that was deleted and made anew under
its name is another one; kubelets go on giving the old content to pods that run.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from immutable_operator.domain.configuration import CONFIG_MAP, SECRET
from immutable_operator.kube.client import ApiPath
from immutable_operator.kube.revisions import ObjectMeta
from immutable_operator.kube.services import moment

__all__ = ["CONFIG_PATHS", "ConfigRecord", "Configs", "decode_config"]

CONFIG_PATHS = {CONFIG_MAP: ApiPath("api/v1", "configmaps"), SECRET: ApiPath("api/v1", "secrets")}


class _Partial(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


class ConfigRecord(msgspec.Struct, frozen=True):
    """Where an object is, and when it was made (seconds since the epoch)."""

    namespace: str
    name: str
    created: float


def decode_config(raw: bytes | msgspec.Raw) -> ConfigRecord:
    """Bytes of an object (or of its metadata alone) to its record."""
    meta = msgspec.json.decode(raw, type=_Partial).metadata
    return ConfigRecord(meta.namespace, meta.name, moment(meta.creation_timestamp))


class Configs:
    """All objects of one kind; ``changed`` is called with namespace, kind and name of new ones."""

    def __init__(self, kind: str, changed: Callable[[str, str, str], None]) -> None:
        self.kind = kind
        self._changed = changed
        self._created: dict[tuple[str, str], float] = {}

    def created(self, namespace: str, name: str) -> float | None:
        """When the object that has this name now was made; None if there is none."""
        return self._created.get((namespace, name))

    def replace(self, items: list[ConfigRecord], version: int) -> None:
        self._created = {
            key: at
            for key, at in self._created.items()
            if key in {(item.namespace, item.name) for item in items}
        }
        for item in items:
            self.upsert(item, version)

    def upsert(self, item: ConfigRecord, version: int) -> None:
        key = (item.namespace, item.name)
        if self._created.get(key) != item.created:
            self._created[key] = item.created
            self._changed(item.namespace, self.kind, item.name)

    def remove(self, item: ConfigRecord, version: int) -> None:
        self._created.pop((item.namespace, item.name), None)

    def advance(self, version: int) -> None:
        """Nothing waits for a version of these."""
