"""Reads the manifests of a file: what `plan` looks at, and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from immutable_operator.api.names import API_VERSION
from immutable_operator.cli.contents import Held
from immutable_operator.cli.kubernetes_yaml import documents, read_text
from immutable_operator.cli.objects import Json
from immutable_operator.cli.problem import CannotRun
from immutable_operator.domain.model import CONFIG_MAP, ConfigKey
from immutable_operator.wire.owner import POOL, SERVICE, OwnerKind

__all__ = ["Manifest", "Manifests", "read_manifests"]

OWNERS = {kind.name: kind for kind in (SERVICE, POOL)}


@dataclass(frozen=True)
class Manifest:
    """An ImmutableService or ImmutableNodePool as it is written; ``namespace`` "": not given."""

    kind: OwnerKind
    namespace: str
    name: str
    body: Json


@dataclass(frozen=True)
class Manifests:
    """``owners`` are in their order; ``configs`` is by namespace the content of ConfigMaps;
    ``others`` name the objects that are left out."""

    owners: tuple[Manifest, ...] = ()
    configs: Mapping[str, Mapping[ConfigKey, Held]] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def read_manifests(files: Sequence[str]) -> Manifests:
    """Read files of YAML or JSON; ``-`` is standard input. Raises `CannotRun`."""
    owners: list[Manifest] = []
    configs: dict[str, dict[ConfigKey, Held]] = {}
    others: list[str] = []
    for file in files:
        for body in _documents(file):
            kind, meta = str(body.get("kind") or ""), body.get("metadata")
            name = str((meta if isinstance(meta, Mapping) else {}).get("name") or "")
            if not kind or not isinstance(meta, Mapping) or not name:
                raise CannotRun(f"{file}: a document has no kind or no metadata.name; add it")
            space = str(meta.get("namespace") or "")
            if kind in OWNERS:
                _check_version(file, body, kind, name)
                owners.append(Manifest(OWNERS[kind], space, name, body))
            elif kind == CONFIG_MAP:
                held = Held(body.get("data") or {}, body.get("binaryData") or {})
                configs.setdefault(space, {})[CONFIG_MAP, name] = held
            else:
                others.append(f"{kind} {name}")
    if not owners:
        raise CannotRun(
            f"{', '.join(files)}: there is no {SERVICE.name} and no {POOL.name}; name a file that"
            " has one with -f"
        )
    return Manifests(tuple(owners), configs, tuple(others))


def _check_version(file: str, body: Json, kind: str, name: str) -> None:
    version = body.get("apiVersion")
    if version != API_VERSION:
        raise CannotRun(
            f"{file}: {kind} {name} has apiVersion {version}; this plug-in knows {API_VERSION}"
        )


def _documents(file: str) -> Iterator[Json]:
    for document in documents(read_text(file), file):
        yield from _items(file, document.body)


def _items(file: str, document: Any) -> Iterator[Json]:
    if document is None:
        return
    if not isinstance(document, dict):
        raise CannotRun(f"{file}: a document is not an object; name a file of manifests")
    if document.get("kind") == "List" and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _items(file, item)
    else:
        yield document
