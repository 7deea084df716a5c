"""The part of metadata that the operator reads."""

from __future__ import annotations

import msgspec

__all__ = ["ObjectMeta", "OwnerReference"]


class OwnerReference(msgspec.Struct, frozen=True):
    """The part of an ownerReference that identifies the controller of an object."""

    uid: str = ""
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class _Written(msgspec.Struct, rename="camel", frozen=True):
    """An entry of managedFields."""

    manager: str | None = None
    time: str | None = None
    subresource: str | None = None
    fields: dict[str, msgspec.Raw] | None = msgspec.field(name="fieldsV1", default=None)


class _Marks(msgspec.Struct, frozen=True):
    annotations: dict[str, msgspec.Raw] = msgspec.field(name="f:annotations", default_factory=dict)


class _Fields(msgspec.Struct, frozen=True):
    metadata: _Marks = msgspec.field(name="f:metadata", default=_Marks())


class _Annotated(msgspec.Struct, frozen=True):
    """An entry of managedFields, as far as it is about annotations."""

    manager: str | None = None
    fields: _Fields | None = msgspec.field(name="fieldsV1", default=None)


class ObjectMeta(msgspec.Struct, rename="camel", frozen=True):
    """The part of metadata that the operator reads of the objects that it owns."""

    name: str
    uid: str
    namespace: str = ""
    resource_version: str = "0"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    owner_references: list[OwnerReference] = []
    finalizers: list[str] = []
    generation: int = 0
    managed_fields: msgspec.Raw = msgspec.Raw()

    def last_writer(self, *fields: str) -> str:
        """Return the field manager that last wrote one of these, such as ``f:data``; "" if none
        did.

        Clients that only removed something are not recorded.
        """
        try:
            entries = msgspec.json.decode(self.managed_fields or b"[]", type=list[_Written])
        except msgspec.DecodeError:
            return ""
        writers = [
            (entry.time or "", entry.manager or "unknown")
            for entry in entries
            if not entry.subresource and {*fields} & {*(entry.fields or ())}
        ]
        return max(writers, default=("", ""))[1]

    def annotations_of(self, manager: str) -> frozenset[str]:
        """Return the keys of the annotations that a field manager owns."""
        try:
            entries = msgspec.json.decode(self.managed_fields or b"[]", type=list[_Annotated])
        except msgspec.DecodeError:
            return frozenset()
        keys = (
            key.removeprefix("f:")
            for entry in entries
            if entry.manager == manager and entry.fields is not None
            for key in entry.fields.metadata.annotations
            if key.startswith("f:")
        )
        return frozenset(keys)

    @property
    def owner(self) -> OwnerReference:
        """The controlling owner; an empty one if there is none."""
        return next((o for o in self.owner_references if o.controller), OwnerReference())

    @property
    def controller(self) -> str:
        """The uid of the controlling owner, or ""."""
        return self.owner.uid
