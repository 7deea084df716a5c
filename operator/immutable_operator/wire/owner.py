"""Objects that own instances on the wire: from the body of one to what plans need."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from immutable_operator.api.names import (
    ANNOTATION_RETRY,
    API_VERSION,
    FIELD_MANAGER,
    LABEL_POOL,
    LABEL_SERVICE,
    POOL_KIND,
    POOL_PLURAL,
    SERVICE_KIND,
    SERVICE_PLURAL,
)
from immutable_operator.domain.model import Spec
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import READ_ERRORS, version_of
from immutable_operator.kube.times import moment

__all__ = ["POOL", "SERVICE", "SERVICES", "OwnerKind", "OwnerRecord"]

SERVICES = ApiPath(f"apis/{API_VERSION}", SERVICE_PLURAL)
MOST_OF_RETRY = 128
ReadSpec = Callable[[str, Any, float], tuple[Spec, str | None]]


@dataclass(frozen=True)
class OwnerKind:
    """A kind of objects that own instances.

    ``label`` is the label of their instances that holds their name; ``word`` is how messages call
    one of them, and the field of a revision that names it. ``recorded`` is the field of a revision
    that holds what instances are created from, ``fields`` are the fields of a spec that determine
    it. ``read`` reads a spec: see `read_spec`.
    """

    name: str
    path: ApiPath
    label: str
    word: str
    read: ReadSpec
    recorded: str = "template"
    fields: tuple[str, ...] = ("template",)
    is_namespaced: bool = True

    def key(self, namespace: str, name: str) -> str:
        """Return what identifies an owner among all kinds, as long as it exists."""
        return f"{self.word}/{namespace}/{name}"


def _read_service(name: str, body: Any, since: float) -> tuple[Spec, str | None]:
    # The models are imported with the first spec: most commands of the plug-in read none.
    from immutable_operator.wire.spec import read_spec

    return read_spec(name, body, since)


def _read_pool(name: str, body: Any, since: float) -> tuple[Spec, str | None]:
    from immutable_operator.wire.pool_spec import read_pool_spec

    return read_pool_spec(name, body, since)


SERVICE = OwnerKind(SERVICE_KIND, SERVICES, LABEL_SERVICE, "service", _read_service)
POOL = OwnerKind(
    POOL_KIND,
    ApiPath(f"apis/{API_VERSION}", POOL_PLURAL),
    LABEL_POOL,
    "pool",
    _read_pool,
    recorded="node",
    fields=("image", "template", "provider"),
    is_namespaced=False,
)


@dataclass(frozen=True)
class OwnerRecord:
    """An owner as stored: identity, checked spec, and the status as it was read.

    ``namespace`` is where its records, events and actions are: for a kind without namespaces, that
    of the operator.
    ``invalid`` says why the operator's own check refused the spec; ``spec`` is then what can be
    read of it, without a template. ``strangers`` are the managers other than the operator that own
    fields of the status. ``retry`` is the value of its annotation for retries. ``status_text`` is
    the status as JSON with sorted keys: objects in memory need ten times as much.
    """

    uid: str
    namespace: str
    name: str
    version: int
    generation: int
    deleting: bool
    spec: Spec
    invalid: str | None
    author: str
    labels: Mapping[str, str]
    status_text: bytes
    strangers: tuple[str, ...] = ()
    finalizers: tuple[str, ...] = ()
    retry: str = ""
    kind: OwnerKind = SERVICE

    @classmethod
    def of(cls, body: Mapping[str, Any], kind: OwnerKind = SERVICE, home: str = "") -> OwnerRecord:
        """Read the body of an object; ``home`` is its namespace if its kind has none."""
        meta = body["metadata"]
        fields = _entries(meta.get("managedFields"))
        spec, invalid = _spec(kind, meta["name"], body.get("spec"), _written(meta, fields))
        return cls(
            kind=kind,
            uid=meta["uid"],
            namespace=meta["namespace"] if kind.is_namespaced else home,
            name=meta["name"],
            version=version_of(meta["resourceVersion"]),
            generation=int(meta.get("generation") or 0),
            labels=dict(meta.get("labels") or {}),
            deleting=bool(meta.get("deletionTimestamp")),
            spec=spec,
            invalid=invalid,
            author=_author(fields, kind),
            status_text=msgspec.json.encode(dict(body.get("status") or {}), order="deterministic"),
            strangers=_strangers(fields),
            finalizers=tuple(meta.get("finalizers") or ()),
            retry=str((meta.get("annotations") or {}).get(ANNOTATION_RETRY, ""))[:MOST_OF_RETRY],
        )

    @property
    def key(self) -> str:
        return self.kind.key(self.namespace, self.name)

    def path(self, subresource: str = "") -> str:
        """Return the URL of the object."""
        namespace = self.namespace if self.kind.is_namespaced else ""
        return self.kind.path.item(namespace, self.name, subresource)

    @property
    def raw_status(self) -> dict[str, Any]:
        """Return the status as it was read."""
        status: dict[str, Any] = msgspec.json.decode(self.status_text)
        return status

    @property
    def metadata(self) -> dict[str, str]:
        """What identifies the object in the metadata of a body that is sent."""
        named = {"namespace": self.namespace} if self.kind.is_namespaced else {}
        return {"name": self.name, **named, "uid": self.uid}

    @property
    def content(self) -> object:
        """What a new turn depends on; including the status, because other clients can write it."""
        return (
            self.generation,
            self.deleting,
            self.labels,
            self.finalizers,
            self.retry,
            self.status_text,
        )


def _spec(kind: OwnerKind, name: str, body: Any, since: float) -> tuple[Spec, str | None]:
    try:
        return _read(kind, name, msgspec.json.encode(body), since)
    except READ_ERRORS as error:
        # It is reported in the status of this object, and delays no other.
        return Spec(None), f"spec cannot be read: {type(error).__name__}: {error}"[:1024]


@functools.lru_cache(maxsize=1024)  # each version of a status comes with the same spec
def _read(kind: OwnerKind, name: str, body: bytes, since: float) -> tuple[Spec, str | None]:
    return kind.read(name, msgspec.json.decode(body), since)


def _written(meta: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> float:
    """Return the latest time at which the schedule can have been written; no field records it.

    For each manager the API server records only when it last changed any of its fields.
    """
    owners: list[tuple[float, Mapping[str, Any]]] = []
    for entry in entries:
        fields = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get("f:regeneration")
        if entry.get("subresource") or not isinstance(fields, Mapping):
            continue
        with contextlib.suppress(ValueError):
            owners.append((moment(str(entry.get("time"))), fields))
    exact = [at for at, fields in owners if {"f:schedule", "f:timeZone"} & set(fields)]
    born = 0.0
    with contextlib.suppress(ValueError):
        born = moment(str(meta.get("creationTimestamp")))
    return max(exact or [at for at, _ in owners], default=born)


def _entries(managed_fields: Any) -> tuple[Mapping[str, Any], ...]:
    """Return the entries of managedFields that have the expected form."""
    found = managed_fields if isinstance(managed_fields, list | tuple) else ()
    return tuple(entry for entry in found if isinstance(entry, Mapping))


def _author(managed_fields: Any, kind: OwnerKind) -> str:
    """Return the field manager that last wrote what revisions record; there are no user names."""
    writers = [
        (entry.get("time") or "", entry.get("manager") or "unknown")
        for entry in managed_fields
        if not entry.get("subresource")
        and any(
            f"f:{field}" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
            for field in kind.fields
        )
    ]
    return max(writers)[1] if writers else "unknown"


def _strangers(managed_fields: Any) -> tuple[str, ...]:
    """Return the managers other than the operator that own fields of the status."""
    return tuple(
        sorted(
            entry.get("manager") or "unknown"
            for entry in managed_fields
            if entry.get("subresource") == "status"
            and (entry.get("manager"), entry.get("operation")) != (FIELD_MANAGER, "Apply")
        )
    )
