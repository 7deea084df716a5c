"""Revisions: the recorded wanted states, and the names that follow from them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from immutable_operator.domain.model.config import ConfigKey, Pin

__all__ = [
    "Digests",
    "Revision",
    "instance_name",
    "next_number",
    "revision_id",
    "revision_name",
    "snapshot_name",
]

Digests = Mapping[ConfigKey, str]


@dataclass(frozen=True, slots=True)
class Revision:
    """A recorded revision. ``id`` is 8 hex digits, ``hash`` is ``<version>:<64 hex>``.

    ``config`` are the ConfigMaps that are part of it.
    """

    id: str
    number: int
    hash: str
    name: str
    uid: str
    config: tuple[Pin, ...] = ()

    @property
    def digests(self) -> Digests:
        """Digest of each pinned object by its kind and name."""
        return {pin.key: pin.digest for pin in self.config}


def revision_id(full_hash: str, revisions: Iterable[Revision]) -> str:
    """8 hex digits for a new revision, none that another recorded revision already has."""
    taken = {revision.id for revision in revisions if revision.hash != full_hash}
    salted = full_hash
    while (short := hashlib.sha256(salted.encode()).hexdigest()[:8]) in taken:
        salted += "+"
    return short


def next_number(revisions: Iterable[Revision]) -> int:
    """One more than the highest number on record; numbers are never given twice."""
    return max((revision.number for revision in revisions), default=0) + 1


def revision_name(service: str, revision: str) -> str:
    """Name of the revision object: ``<service>-im<8 hex>``."""
    return f"{service}-im{revision}"


def snapshot_name(service: str, uid: str, revision: str, source: ConfigKey) -> str:
    """Name of the copy of a ConfigMap: ``<service>-cfg<8 hex>``, the same every time.

    It stands in the record, and later releases read it there.
    """
    seed = "/".join((uid, revision, *source)).encode()
    return f"{service}-cfg{hashlib.sha256(seed).hexdigest()[:8]}"


def instance_name(service: str, uid: str, revision: str, slot: int, incarnation: int) -> str:
    """Name of a pod: ``<service>-im<8 hex>-<5>``, the same for the same birth every time.

    A repeated create (after a crash, a lost answer, by a deposed leader) therefore meets
    its own earlier self and ends in 409 instead of in a second pod.
    """
    seed = f"{uid}/{revision}/{slot}/{incarnation}".encode()
    tail = base64.b32encode(hashlib.sha256(seed).digest()).decode().lower()[:5]
    return f"{service}-im{revision}-{tail}"
