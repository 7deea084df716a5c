"""Revisions: the identity of a wanted state, and the names that follow from it.

The hash covers user-supplied fields only and carries the version of its algorithm, so that
an upgrade of the operator or of the API server replaces nothing (golden vectors in
tests/unit/golden/revision_hashes.json). A changed algorithm gets a new version; the old one
stays, because recorded revisions are compared with the algorithm that made them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Revision",
    "find_revision",
    "instance_name",
    "next_number",
    "revision_hash",
    "revision_id",
    "revision_name",
]

Template = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Revision:
    """A recorded revision. ``id`` is 8 hex digits, ``hash`` is ``<version>:<64 hex>``."""

    id: str
    number: int
    hash: str
    name: str
    uid: str


def _canonical_v1(value: Any) -> Any:
    """Drop what says nothing: nulls, and a port's ``protocol: TCP``, which the CRD fills in itself.

    An empty map stays (``emptyDir: {}`` means something), and so does the order of lists.
    """
    if isinstance(value, Mapping):
        port = "containerPort" in value
        return {
            str(key): _canonical_v1(item)
            for key, item in value.items()
            if item is not None and not (port and key == "protocol" and item == "TCP")
        }
    if isinstance(value, list | tuple):
        return [_canonical_v1(item) for item in value]
    return value


def _hash_v1(template: Template) -> str:
    text = json.dumps(
        _canonical_v1(template), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


_ALGORITHMS: Mapping[str, Callable[[Template], str]] = {"v1": _hash_v1}
_NEWEST = "v1"


def revision_hash(template: Template, version: str = _NEWEST) -> str:
    """``<version>:<64 hex>`` over the template's user-supplied fields."""
    return f"{version}:{_ALGORITHMS[version](template)}"


def find_revision(template: Template, revisions: Iterable[Revision]) -> Revision | None:
    """The recorded revision that this template is, by the algorithm that recorded it."""
    computed: dict[str, str] = {}
    for revision in sorted(revisions, key=lambda r: -r.number):
        version = revision.hash.partition(":")[0]
        if version not in _ALGORITHMS:
            continue
        if version not in computed:
            computed[version] = revision_hash(template, version)
        if computed[version] == revision.hash:
            return revision
    return None


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


def instance_name(service: str, uid: str, revision: str, slot: int, incarnation: int) -> str:
    """Name of a pod: ``<service>-im<8 hex>-<5>``, the same for the same birth every time.

    A repeated create (after a crash, a lost answer, by a deposed leader) therefore meets
    its own earlier self and ends in 409 instead of in a second pod.
    """
    seed = f"{uid}/{revision}/{slot}/{incarnation}".encode()
    tail = base64.b32encode(hashlib.sha256(seed).digest()).decode().lower()[:5]
    return f"{service}-im{revision}-{tail}"
