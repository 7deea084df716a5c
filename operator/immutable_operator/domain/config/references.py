"""The configuration that a pod template reads: the ConfigMaps and Secrets that it names.

This module also has the two pure steps of pinning: the digest of a ConfigMap's content, and a
template whose references are changed to the copies. Credentials with which a kubelet or a driver
acts for a pod (imagePullSecrets, those of volume drivers) are no configuration: they stay live.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from immutable_operator.domain.config.keyed import key_of
from immutable_operator.domain.model import ABSENT, CONFIG_MAP, SECRET, ConfigKey, Digests, Pin

__all__ = [
    "NEVER_PINNED",
    "config_change",
    "config_kinds",
    "config_read",
    "config_references",
    "content_digest",
    "pinned",
    "with_snapshots",
]

# The cluster creates it in each namespace and renews it.
NEVER_PINNED = "kube-root-ca.crt"
# The field that refers to an object: the kind of the object, and the subfield with its name.
_Fields = Mapping[str, tuple[str, str]]
_VOLUMES: _Fields = {"configMap": (CONFIG_MAP, "name"), "secret": (SECRET, "secretName")}
_SOURCES: _Fields = {"configMap": (CONFIG_MAP, "name"), "secret": (SECRET, "name")}
_ENV: _Fields = {"configMapKeyRef": (CONFIG_MAP, "name"), "secretKeyRef": (SECRET, "name")}
_ENV_FROM: _Fields = {"configMapRef": (CONFIG_MAP, "name"), "secretRef": (SECRET, "name")}

Template = Mapping[str, Any]
_Rename = Callable[[Mapping[str, Any], _Fields], dict[str, Any]]


def config_references(template: Template) -> frozenset[ConfigKey]:
    """Return kind and name of each object that an instance cannot start without.

    Optional objects are left out: they may be created later.
    """
    found = _references(template.get("spec") or {})
    return frozenset((kind, name) for kind, name, optional in found if not optional)


def config_read(template: Template) -> dict[ConfigKey, bool]:
    """Return kind and name of all objects that it reads, and whether each is always optional."""
    found: dict[ConfigKey, bool] = {}
    for kind, name, optional in _references(template.get("spec") or {}):
        found[kind, name] = found.get((kind, name), True) and optional
    return dict(sorted(found.items()))


def pinned(template: Template, mode: str, live: Iterable[str]) -> dict[ConfigKey, bool]:
    """Return what is to become part of a revision, and whether each is optional.

    ``mode`` is ``Pinned`` or ``Live``; ``live`` are the names of ConfigMaps and Secrets that are
    never pinned. Whether the operator may pin Secrets in the namespace is another question.
    """
    if mode != "Pinned":
        return {}
    out = {(kind, name) for kind in (CONFIG_MAP, SECRET) for name in live}
    out.add((CONFIG_MAP, NEVER_PINNED))
    read = config_read(template).items()
    return {key: optional for key, optional in read if key not in out}


def config_change(old: Digests, new: Digests, *, compared: bool = False) -> str:
    """Return how the pinned configuration of two revisions differs, for people, or "".

    Digests under different keys count as a change only if their contents were ``compared``.
    """
    both = [key for key in sorted(old.keys() & new.keys()) if old[key] != new[key]]
    changed = [key for key in both if compared or _comparable(old[key], new[key])]
    verbs = {
        "changed": changed,
        "is pinned now": sorted(new.keys() - old.keys()),
        "is no longer pinned": sorted(old.keys() - new.keys()),
    }
    return ", ".join(f"{' '.join(key)} {verb}" for verb, keys in verbs.items() for key in keys)


def _comparable(one: str, other: str) -> bool:
    return ABSENT in (one, other) or key_of(one) == key_of(other)


def config_kinds(old: Digests, new: Digests) -> str:
    """Return the kinds of the objects that differ, for people: such as ConfigMap and Secret."""
    differ = {key[0] for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    return " and ".join(sorted(differ))


def config_author(
    old: Digests, new: Digests, authors: Mapping[ConfigKey, str], template_author: str
) -> str:
    """Return the writers of the objects that differ; the template's if the pinning changed."""
    changed = [name for name in old.keys() | new.keys() if old.get(name) != new.get(name)]
    named = {
        (authors.get(name) or "unknown") if name in old and name in new else template_author
        for name in changed
    }
    known = sorted(named - {"unknown"})
    return ", ".join(known) or "unknown"


def content_digest(data: Mapping[str, str], binary: Mapping[str, str]) -> str:
    """Return ``sha256:<64 hex>`` over a ConfigMap's data and binaryData (as base64)."""
    content = {"binaryData": dict(binary), "data": dict(data)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # An API server sends no surrogates; if one occurs nevertheless, hashing must not fail.
    return f"sha256:{hashlib.sha256(text.encode(errors='backslashreplace')).hexdigest()}"


def with_snapshots(template: Template, config: Iterable[Pin]) -> Template:
    """Return the template with the name of each pinned object replaced by that of its copy.

    An object that was absent gets the name of a copy that is never created, so that it stays
    absent.
    """
    names = {pin.key: pin.snapshot for pin in config}
    if not names:
        return template

    def rename(holder: Mapping[str, Any], fields: _Fields) -> dict[str, Any]:
        turned = dict(holder)
        for field, (kind, key) in fields.items():
            reference = holder.get(field)
            if reference and (copy := names.get((kind, reference.get(key)))):
                turned[field] = {**reference, key: copy}
        return turned

    spec = dict(template.get("spec") or {})
    if spec.get("volumes"):
        spec["volumes"] = [_turned_volume(volume, rename) for volume in spec["volumes"]]
    for field in ("initContainers", "containers"):
        if spec.get(field):
            spec[field] = [_turned_container(container, rename) for container in spec[field]]
    return {**template, "spec": spec}


def _turned_volume(volume: Mapping[str, Any], rename: _Rename) -> dict[str, Any]:
    turned = rename(volume, _VOLUMES)
    projected = volume.get("projected") or {}
    if projected.get("sources"):
        sources = [rename(source, _SOURCES) for source in projected["sources"]]
        turned["projected"] = {**projected, "sources": sources}
    return turned


def _turned_container(container: Mapping[str, Any], rename: _Rename) -> dict[str, Any]:
    turned = dict(container)
    if container.get("env"):
        turned["env"] = [
            {**entry, "valueFrom": rename(entry["valueFrom"], _ENV)}
            if entry.get("valueFrom")
            else entry
            for entry in container["env"]
        ]
    if container.get("envFrom"):
        turned["envFrom"] = [rename(entry, _ENV_FROM) for entry in container["envFrom"]]
    return turned


def _references(spec: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield kind, name, and whether it is optional, of every reference."""
    for volume in spec.get("volumes") or ():
        yield from _named(volume, _VOLUMES)
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from _named(source, _SOURCES)
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for entry in container.get("env") or ():
            yield from _named(entry.get("valueFrom") or {}, _ENV)
        for entry in container.get("envFrom") or ():
            yield from _named(entry, _ENV_FROM)


def _named(holder: Mapping[str, Any], fields: _Fields) -> Iterator[tuple[str, str, bool]]:
    for field, (kind, key) in fields.items():
        found = holder.get(field)
        if found and found.get(key):
            yield kind, str(found[key]), bool(found.get("optional"))
