"""The form of a pod: what admission made of it, without what only this one pod has.

All pods of a revision that admission treated alike have the same form, so it is kept once for all
of them. It has no token volume, no node, no reserved keys; the pod's own name stands as `POD`.
Labels and annotations count as far as the operator asked for them, or no client wrote them since:
what admission adds at creation belongs to no field manager.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from immutable_operator.api import pod_template
from immutable_operator.api.names import FIELD_MANAGER, RESERVED_PREFIX
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.reading import READ_ERRORS

__all__ = ["POD", "form_of", "opened"]

POD = "<pod>"
_TOKEN = re.compile(r"kube-api-access-[a-z0-9]{5}")
_LISTS = ("initContainers", "containers")
_EMPTY: Mapping[str, Any] = {}


class _Keys(msgspec.Struct, frozen=True):
    labels: dict[str, msgspec.Raw] = msgspec.field(name="f:labels", default={})
    annotations: dict[str, msgspec.Raw] = msgspec.field(name="f:annotations", default={})


class _Fields(msgspec.Struct, frozen=True):
    metadata: _Keys = msgspec.field(name="f:metadata", default=_Keys())


class _Entry(msgspec.Struct, frozen=True):
    manager: str = ""
    subresource: str = ""
    fields: _Fields = msgspec.field(name="fieldsV1", default=_Fields())

    @property
    def is_ours(self) -> bool:
        return self.manager == FIELD_MANAGER and not self.subresource


def form_of(meta: ObjectMeta, spec: msgspec.Raw, *, moved: bool) -> bytes:
    """Return the form of a pod as JSON; b"" if it cannot be read.

    ``moved`` says that its spec was changed since its creation, as scheduling gates permit.
    """
    try:
        said: dict[str, Any] = msgspec.json.decode(spec or b"{}")
        written = msgspec.json.decode(meta.managed_fields or b"[]", type=list[_Entry])
        body = {**_metadata(meta, written), "spec": _common(said), "placed": moved}
    except READ_ERRORS:
        return b""
    text = msgspec.json.encode(body, order="deterministic")
    return _shared(text.replace(meta.name.encode(), POD.encode()))


@functools.lru_cache(maxsize=256)
def _shared(form: bytes) -> bytes:
    """Return one shared copy for the pods that are near each other in a list: those of a service.

    The view shares it among all pods of a service.
    """
    return form


def _metadata(meta: ObjectMeta, written: list[_Entry]) -> dict[str, Any]:
    """Return labels and annotations as admission left them, and which of ours it removed."""
    kept: dict[str, dict[str, str]] = {}
    removed: dict[str, list[str]] = {}
    for field, there in (("labels", meta.labels), ("annotations", meta.annotations)):
        ours, others = set[str](), set[str]()
        for entry in written:
            keys = getattr(entry.fields.metadata, field)
            (ours if entry.is_ours else others).update(key.removeprefix("f:") for key in keys)
        kept[field] = {
            key: text
            for key, text in there.items()
            if not _is_reserved(key) and (key in ours or key not in others)
        }
        gone = sorted(k for k in ours - there.keys() if k != "." and not _is_reserved(k))
        removed |= {field: gone} if gone else {}
    return {"metadata": kept, "removed": removed}


def _is_reserved(key: str) -> bool:
    return key.startswith(RESERVED_PREFIX)


def _common(spec: dict[str, Any]) -> dict[str, Any]:
    """Remove what the API server adds to each pod alone: its node and its token volume."""
    for field in ("nodeName", "ephemeralContainers"):
        spec.pop(field, None)
    tokens = {
        name
        for volume in spec.get("volumes") or ()
        if _TOKEN.fullmatch(name := str(volume.get("name"))) and "projected" in volume
    }
    if tokens:
        spec["volumes"] = [v for v in spec["volumes"] if v.get("name") not in tokens]
        for container in (c for field in _LISTS for c in spec.get(field) or ()):
            mounts = container.get("volumeMounts") or ()
            container["volumeMounts"] = [m for m in mounts if m.get("name") not in tokens]
    return spec


def opened(form: bytes) -> dict[str, Any]:
    """Return a form without fields that this release does not know: a newer API server sets
    defaults for them.
    """
    body: dict[str, Any] = msgspec.json.decode(form)
    body["spec"] = _known(body["spec"], _schema())
    return body


@functools.cache
def _schema() -> Mapping[str, Any]:
    found: Mapping[str, Any] = pod_template.load()["properties"]["spec"]
    return found


def _known(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_known(item, schema.get("items", _EMPTY)) for item in value]
    fields = schema.get("properties")
    if not isinstance(value, dict) or fields is None:
        return value
    return {key: _known(item, fields[key]) for key, item in value.items() if key in fields}
