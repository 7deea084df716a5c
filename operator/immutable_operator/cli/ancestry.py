"""Which instance replaced which: the record of the lineage, and what living instances state.

`read_ancestry` asks the API server; everything else is pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from immutable_operator.api.names import INSTANCE_NAME
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import Owner
from immutable_operator.cli.problem import CannotRun
from immutable_operator.domain.lineage import Entry, in_order
from immutable_operator.domain.model import instance_name
from immutable_operator.instances.certificate import read_certificate
from immutable_operator.kube.errors import Forbidden, NotFound
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import NODES, PODS
from immutable_operator.kube.times import moment
from immutable_operator.wire.lineage import LINEAGES, decode_lineage, lineage_name

__all__ = [
    "NODES",
    "PODS",
    "Ancestry",
    "Known",
    "ancestry_of",
    "living",
    "owner_of",
    "read_ancestry",
]


@dataclass(frozen=True)
class Known:
    """One instance: what is recorded of it, and whether it exists (None: it is not known)."""

    entry: Entry
    exists: bool | None

    @property
    def name(self) -> str:
        return self.entry.name


@dataclass(frozen=True)
class Ancestry:
    """The known instances of one owner, the oldest first."""

    instances: tuple[Known, ...]

    @classmethod
    def of(cls, recorded: Iterable[Entry], alive: Iterable[Entry] | None) -> Ancestry:
        """Join the record with the living instances; ``alive`` is None if they are not known."""
        there = {entry.uid: entry for entry in alive or ()}
        on_record = {
            entry.uid: replace(entry, retired=there[entry.uid].retired)
            if entry.retired is None and entry.uid in there
            else entry
            for entry in recorded
        }
        entries = in_order({**there, **on_record}.values())
        return cls(tuple(Known(e, None if alive is None else e.uid in there) for e in entries))

    def predecessor(self, of: Known) -> Known | None:
        """Return the instance that this one replaced, if it is known."""
        uid, name = of.entry.replaces_uid, of.entry.replaces
        for known in reversed(self.instances):
            if known.entry.uid == uid or (not uid and known.name == name):
                return known
        return None

    def successors(self, of: Known) -> list[Known]:
        """Return the instances that replaced this one, the oldest first."""
        return [known for known in self.instances if self.predecessor(known) is of]

    def find(self, name: str) -> Known:
        """Return the latest instance of this name. Raises `CannotRun`."""
        for known in reversed(self.instances):
            if known.name == name:
                return known
        raise CannotRun(
            f"{name} does not exist, and is not among the last {len(self.instances)} instances on"
            f" record; list those: kubectl immutable lineage {owner_of(name)}"
        )

    def line_of(self, name: str) -> list[Known]:
        """Return an instance, all its predecessors and all that descend from it, oldest first.

        Raises `CannotRun`.
        """
        known = self.find(name)
        found = {known.entry.uid}
        before = self.predecessor(known)
        while before is not None and before.entry.uid not in found:
            found.add(before.entry.uid)
            before = self.predecessor(before)
        below = [known]
        while below:
            fresh = [s for s in self.successors(below.pop()) if s.entry.uid not in found]
            found |= {s.entry.uid for s in fresh}
            below += fresh
        return [k for k in self.instances if k.entry.uid in found]


def owner_of(name: str) -> str:
    """Return the name of the owner of an instance of this name; the name itself if it is none."""
    return re.sub(INSTANCE_NAME, "", name)


def living(items: Sequence[Json]) -> list[Entry]:
    """Return entries from the metadata of pods or nodes."""
    return [_entry(_meta(item)) for item in items]


def _meta(item: Json) -> ObjectMeta:
    # managedFields would have to be raw bytes; they are not read here.
    fields = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    return msgspec.convert(fields, ObjectMeta)


def _entry(meta: ObjectMeta) -> Entry:
    stated = read_certificate(meta)
    return Entry(
        slot=stated["slot"],
        name=meta.name,
        uid=meta.uid,
        born=moment(meta.creation_timestamp),
        revision=stated["revision"],
        because=str(stated["because"] or ""),
        replaces=stated["replaces"] or "",
        replaces_uid=stated["replaces_uid"],
        retired=moment(meta.deletion_timestamp) if meta.deletion_timestamp else None,
    )


async def read_ancestry(owner: Owner) -> Ancestry:
    """Return the known instances of an owner. Raises `ApiError`."""
    name = lineage_name(owner.kind, owner.name)
    path = LINEAGES.item(owner.namespace, name)
    recorded: tuple[Entry, ...] = ()
    try:
        record = decode_lineage(await owner.client.get(path, resource=LINEAGES.resource))
        # One of another owner is of a deleted service of that name.
        recorded = record.entries if record.owner == owner.body["metadata"]["uid"] else ()
    except NotFound:
        pass  # not written yet, or by an operator that does not record it
    return ancestry_of(owner, recorded, await _living(owner))


def ancestry_of(owner: Owner, recorded: Sequence[Entry], items: Sequence[Json] | None) -> Ancestry:
    """Join what is recorded of an owner with its pods or nodes; None if they are not known."""
    if items is None:
        return Ancestry.of(recorded, None)
    read = living(items) if owner.kind.is_namespaced else _as_recorded(owner, items, recorded)
    return Ancestry.of(recorded, read)


def _as_recorded(owner: Owner, nodes: Sequence[Json], recorded: Sequence[Entry]) -> list[Entry]:
    """Return the entries of nodes: on record can be the claim of a node, with its name and uid.

    The name of an instance follows from its certificate, which both have.
    """
    uid, found = owner.body["metadata"]["uid"], []
    uids = {entry.name: entry.uid for entry in recorded}
    for node, entry in zip(nodes, living(nodes), strict=True):
        stated = read_certificate(_meta(node))
        born = (stated["revision"], stated["slot"], stated["incarnation"])
        name = instance_name(owner.name, uid, *born)
        found.append(replace(entry, name=name, uid=uids.get(name, entry.uid)))
    return found


async def _living(owner: Owner) -> list[Json] | None:
    path = PODS.collection(owner.namespace) if owner.kind.is_namespaced else NODES.all()
    resource = "pods" if owner.kind.is_namespaced else "nodes"
    try:
        return await owner.items(path, resource, labelSelector=f"{owner.kind.label}={owner.name}")
    except Forbidden:
        return None
