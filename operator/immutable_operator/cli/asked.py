"""Which revision the spec of a service or pool asks for, as the operator decides it.

The status does not say it while another revision runs: it follows from the spec and from the
content of the ConfigMaps. What cannot be read (a Secret, whose digest needs the operator's key)
counts as unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from immutable_operator.cli.contents import Contents, Held
from immutable_operator.cli.objects import Json, condition
from immutable_operator.cli.owner import Owner
from immutable_operator.domain.config.hashing import Template, find_revision
from immutable_operator.domain.model import ABSENT, CONFIG_MAP, SECRET, ConfigKey, Revision
from immutable_operator.domain.target import ROLLED_BACK
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import decode_revision

__all__ = ["Asked", "candidates", "read_asked"]


@dataclass(frozen=True)
class Asked:
    """What the spec asks for. ``record`` is None if that is not on record (yet).

    ``template`` is None if the spec cannot be read; ``problem`` says why then. ``config`` is the
    content of what is pinned.
    """

    record: Json | None
    template: Template | None = None
    config: Mapping[ConfigKey, Held] = field(default_factory=dict)
    problem: str = ""


async def read_asked(owner: Owner, records: Sequence[Json], contents: Contents) -> Asked:
    """Read the content of the pinned ConfigMaps, and find the record that the spec asks for."""
    stored = OwnerRecord.of(owner.body, owner.kind, owner.namespace)
    template, pinned = stored.spec.template, stored.spec.pinned
    if template is None:
        return Asked(None, problem=stored.invalid or "the spec cannot be read")
    config = {key: await contents.read(key) for key in pinned}
    by_id = {r["spec"]["revision"]: r for r in records}
    revisions = [decode_revision(msgspec.json.encode(r)).content for r in records]
    digests = {
        key: held.digest
        for key, held in config.items()
        if key[0] == CONFIG_MAP and held.digest and (held.is_there or pinned[key])
    }
    missing = [key for key, held in config.items() if not held.is_there and not pinned[key]]
    if missing:
        return Asked(None, template, config, config[missing[0]].problem)
    found = candidates(template, revisions, digests, pinned)
    chosen = _chosen(found, owner)
    return Asked(by_id[chosen.id] if chosen else None, template, config)


def candidates(
    template: Template,
    revisions: Sequence[Revision],
    digests: Mapping[ConfigKey, str],
    pinned: Mapping[ConfigKey, bool],
) -> list[Revision]:
    """Return the revisions that the spec may ask for, newest first; more than one only if the
    digest of something that is ``pinned`` is not known."""
    found = []
    for revision in sorted(revisions, key=lambda r: -r.number):
        recorded = revision.digests
        supposed = {
            key: digests.get(key) or recorded.get(key) or ABSENT
            for key in pinned
            # A Secret that a revision did not pin makes no difference to it.
            if key[0] != SECRET or key in recorded
        }
        if find_revision(template, (revision,), supposed) is not None:
            found.append(revision)
    return found


def _chosen(found: Sequence[Revision], owner: Owner) -> Revision | None:
    """Return the candidate that is the target now, unless the operator went back to it."""
    rolled_back = condition(owner.body, "Stalled").get("reason") == ROLLED_BACK
    current = owner.status.get("currentRevision")
    for revision in found:
        if revision.verdict.is_failed if rolled_back else revision.id == current:
            return revision
    return found[0] if found else None
