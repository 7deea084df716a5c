"""ConfigMaps and Secrets as the operator knows them: which object has a name, and since when.

Only metadata is kept. An object that was deleted and recreated under its name is another object;
kubelets continue to provide the old content to running pods. The content of what is pinned is read,
once per change, and only its digest is kept; a copy is made from it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from immutable_operator.api.names import (
    ANNOTATION_DIGEST,
    ANNOTATION_SOURCE,
    API_VERSION,
    LABEL_SERVICE,
    REVISION_KIND,
)
from immutable_operator.domain.config.references import content_digest
from immutable_operator.domain.model import CONFIG_MAP, SECRET, CreateSnapshot
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import Identity, version_of
from immutable_operator.kube.times import moment
from immutable_operator.wire.owner import OwnerRecord

__all__ = [
    "CONFIG_MAPS",
    "CONFIG_PATHS",
    "SECRETS",
    "ConfigRecord",
    "Configs",
    "Content",
    "SecretContent",
    "decode_config",
    "decode_content",
    "decode_secret",
    "secret_copy_body",
    "snapshot_body",
]

CONFIG_MAPS = ApiPath("api/v1", "configmaps")
SECRETS = ApiPath("api/v1", "secrets")
CONFIG_PATHS = {CONFIG_MAP: CONFIG_MAPS, SECRET: SECRETS}
# Shorter values occur in texts by chance.
SHORTEST = 4


class _Partial(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


class ConfigRecord(msgspec.Struct, frozen=True):
    """The name of an object, its creation (seconds since the epoch), and its resource version.

    For a snapshot also the uid of its revision and the digest in its annotation; else "".
    """

    namespace: str
    name: str
    created: float
    version: int = 0
    revision: str = ""
    digest: str = ""


def _record(meta: ObjectMeta) -> ConfigRecord:
    owned = meta.owner.kind == REVISION_KIND
    return ConfigRecord(
        namespace=meta.namespace,
        name=meta.name,
        created=moment(meta.creation_timestamp),
        version=version_of(meta.resource_version),
        revision=meta.owner.uid if owned else "",
        digest=meta.annotations.get(ANNOTATION_DIGEST, "") if owned else "",
    )


def decode_config(raw: bytes | msgspec.Raw) -> ConfigRecord:
    """Decode an object (or only its metadata) to its record."""
    return _record(msgspec.json.decode(raw, type=_Partial).metadata)


class _ConfigMap(msgspec.Struct, frozen=True, rename="camel"):
    metadata: ObjectMeta
    data: dict[str, str] | None = None
    binary_data: dict[str, str] | None = None


class Content(msgspec.Struct, frozen=True):
    """A ConfigMap with its content and the last writer of it; ``binary`` is base64."""

    record: ConfigRecord
    data: dict[str, str]
    binary: dict[str, str]
    author: str = ""

    @property
    def digest(self) -> str:
        return content_digest(self.data, self.binary)


def decode_content(raw: bytes) -> Content:
    """Decode a ConfigMap with its content."""
    found = msgspec.json.decode(raw, type=_ConfigMap)
    author = found.metadata.last_writer("f:data", "f:binaryData")
    return Content(_record(found.metadata), found.data or {}, found.binary_data or {}, author)


class _Secret(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    data: dict[str, str] | None = None

    def __repr__(self) -> str:
        return "_Secret(…)"


class SecretContent(msgspec.Struct, frozen=True):
    """A Secret with its content (base64) and the last writer of it; its values are not shown."""

    record: ConfigRecord
    data: dict[str, str]
    author: str = ""

    def __repr__(self) -> str:
        return f"SecretContent({self.record.namespace}/{self.record.name})"

    def hidden(self, text: str) -> str:
        """Return a text, or that it is left out if it has a value in it, plain or as base64."""
        for value in self.data.values():
            plain = base64.b64decode(value).decode(errors="replace")
            if any(len(word) >= SHORTEST and word in text for word in (value, plain)):
                return "the message is left out, because it contains a value of the Secret"
        return text


def decode_secret(raw: bytes) -> SecretContent:
    """Decode a Secret with its content."""
    found = msgspec.json.decode(raw, type=_Secret)
    author = found.metadata.last_writer("f:data")
    return SecretContent(_record(found.metadata), found.data or {}, author)


def snapshot_body(service: OwnerRecord, copy: CreateSnapshot, content: Content) -> dict[str, Any]:
    """Return the copy of a ConfigMap for a revision."""
    body = _copy_body(service, copy) | {"data": content.data}
    return body | ({"binaryData": content.binary} if content.binary else {})


def secret_copy_body(
    service: OwnerRecord, copy: CreateSnapshot, content: SecretContent
) -> dict[str, Any]:
    """Return the copy of a Secret for a revision.

    Its type says nothing: controllers that look for Secrets of a type (the token controller, an
    ingress controller) find the original, and pods read any type.
    """
    return _copy_body(service, copy) | {"type": "Opaque", "data": content.data}


def _copy_body(service: OwnerRecord, copy: CreateSnapshot) -> dict[str, Any]:
    """Return a copy without its content; its revision owns it: they are deleted together.

    It does not block the deletion of its revision, which would require another permission.
    """
    return {
        "apiVersion": "v1",
        "kind": copy.pin.kind,
        "metadata": {
            "name": copy.pin.snapshot,
            "namespace": service.namespace,
            "labels": {LABEL_SERVICE: service.name},
            "annotations": {
                ANNOTATION_SOURCE: copy.pin.name,
                ANNOTATION_DIGEST: copy.pin.digest,
            },
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": REVISION_KIND,
                    "name": copy.revision.name,
                    "uid": copy.revision.uid,
                    "controller": True,
                }
            ],
        },
        "immutable": True,
    }


class Configs:
    """All objects of one kind, by namespace and name.

    ``changed`` is called with the kind and each object that is new, changed or gone; the flag says
    whether it is another object than the one known before. ``version`` is the resource version up
    to which they are known.
    """

    def __init__(self, kind: str, changed: Callable[[str, ConfigRecord, bool], None]) -> None:
        self.kind = kind
        self.version = 0
        self._changed = changed
        self._records: dict[tuple[str, str], ConfigRecord] = {}

    def get(self, namespace: str, name: str) -> ConfigRecord | None:
        """Return the object that has this name now."""
        return self._records.get((namespace, name))

    def known(self, which: Identity) -> ConfigRecord | None:
        return self._records.get((which.namespace, which.name))

    def replace(self, items: list[ConfigRecord], version: int) -> None:
        fresh = {(item.namespace, item.name) for item in items}
        for gone in [record for key, record in self._records.items() if key not in fresh]:
            self.remove(gone, version)
        for item in items:
            self.upsert(item, version)
        self.version = version  # a list is authoritative, even if its version is older

    def upsert(self, item: ConfigRecord, version: int) -> None:
        key = (item.namespace, item.name)
        before, self._records[key] = self._records.get(key), item
        self.advance(version)
        if before != item:
            self._changed(self.kind, item, before is None or before.created != item.created)

    def remove(self, item: ConfigRecord, version: int) -> None:
        gone = self._records.pop((item.namespace, item.name), None)
        self.advance(version)
        if gone is not None:
            self._changed(self.kind, gone, False)

    def advance(self, version: int) -> None:
        self.version = max(self.version, version)
