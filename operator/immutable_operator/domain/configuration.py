"""What configuration a pod template reads: the ConfigMaps and Secrets that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["CONFIG_MAP", "SECRET", "config_references"]

CONFIG_MAP, SECRET = "ConfigMap", "Secret"
# Kind by the field that refers to it, and the field there that has the name.
_VOLUMES = {"configMap": (CONFIG_MAP, "name"), "secret": (SECRET, "secretName")}
_SOURCES = {"configMap": (CONFIG_MAP, "name"), "secret": (SECRET, "name")}
_ENV = {"configMapKeyRef": (CONFIG_MAP, "name"), "secretKeyRef": (SECRET, "name")}
_ENV_FROM = {"configMapRef": (CONFIG_MAP, "name"), "secretRef": (SECRET, "name")}


def config_references(template: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Kind and name of each object that an instance cannot start without.

    Optional ones are left out: they may come later, rightfully.
    """
    spec = template.get("spec") or {}
    return frozenset(_references(spec))


def _references(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for volume in spec.get("volumes") or ():
        yield from _named(volume, _VOLUMES)
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from _named(source, _SOURCES)
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for entry in container.get("env") or ():
            yield from _named(entry.get("valueFrom") or {}, _ENV)
        for entry in container.get("envFrom") or ():
            yield from _named(entry, _ENV_FROM)


def _named(
    holder: Mapping[str, Any], fields: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    for field, (kind, key) in fields.items():
        found = holder.get(field)
        if found and found.get(key) and not found.get("optional"):
            yield kind, str(found[key])
