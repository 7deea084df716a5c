"""Revisions: the recorded wanted states, and the names that are derived from them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from immutable_operator.domain.model.admission import Admission
from immutable_operator.domain.model.check import CheckRecord
from immutable_operator.domain.model.config import ConfigKey, Pin

__all__ = [
    "NODE_HASH",
    "POD_HASH",
    "Digests",
    "Phase",
    "Revision",
    "Verdict",
    "instance_name",
    "later_than",
    "next_number",
    "revision_id",
    "revision_name",
    "snapshot_name",
]

TICK = 0.001
Digests = Mapping[ConfigKey, str]
# The newest version of the hash of each family of instances (domain/config/hashing.py).
POD_HASH, NODE_HASH = "v4", "n1"


class Phase(StrEnum):
    """What became of a revision so far."""

    PENDING = "Pending"
    PROGRESSING = "Progressing"
    GOOD = "Good"
    FAILED = "Failed"
    SUPERSEDED = "Superseded"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the record of a revision says became of it; times in seconds since the epoch.

    ``started`` is when it last became the target, ``first_available`` when an instance of it was
    first available, ``completed`` when all of its instances last were. ``replaced`` is a sentence
    for people. ``takes_over_from`` is the id of the revision that worked, if instances of it ran
    when this one became the target: lost instances of it are created again. ``number_floor`` is the
    highest revision number that was known then. ``start_seconds`` is how long its instances took
    from birth to readiness. ``replicas`` is the wanted number, if the spec does not set it or sets
    it to 0. ``admission`` is what admission made of its instances, if that is known.

    The progress of a rollout: ``most_available`` is the highest number of available instances that
    was noted, ``progressed`` when that was, ``paused`` since when the progress deadline stands
    still. ``baking`` is when all instances were available, if completion waits for a bake or for
    checks. ``checks`` are the results of those.

    The promotion of a revision that was created beside another one: ``previewed`` is when all
    instances that were wanted before it were available, ``approved`` when it was decided,
    ``promoted`` when the Service of the operator was first to select its instances.

    A canary: ``step`` is how many of its steps are done, ``stepped`` when the last one was.
    ``approved`` is when a user ended the pause at which it is.

    A revision that failed: ``failed`` is when, ``rejected_by`` the user who rejected it ("": the
    operator), ``fallback`` the id of the revision that runs instead. ``retry`` is the value of the
    annotation for retries that is taken into account already, ``command`` the uid of the last
    action that changed this verdict.
    """

    phase: Phase = Phase.PENDING
    reason: str = ""
    message: str = ""
    started: float | None = None
    first_available: float | None = None
    completed: float | None = None
    replaced: str = ""
    takes_over_from: str = ""
    number_floor: int = 0
    start_seconds: float | None = None
    replicas: int | None = None
    most_available: int = 0
    progressed: float | None = None
    paused: float | None = None
    baking: float | None = None
    failed: float | None = None
    rejected_by: str = ""
    fallback: str = ""
    retry: str = ""
    command: str = ""
    admission: Admission | None = None
    checks: tuple[CheckRecord, ...] = ()
    previewed: float | None = None
    approved: float | None = None
    promoted: float | None = None
    step: int = 0
    stepped: float | None = None

    @property
    def is_failed(self) -> bool:
        return self.phase is Phase.FAILED

    @property
    def is_under_way(self) -> bool:
        """Whether its rollout has started and is not complete."""
        if self.started is None or self.is_failed:
            return False
        return self.completed is None or self.completed < self.started


@dataclass(frozen=True, slots=True)
class Revision:
    """A recorded revision. ``id`` is 8 hex digits, ``hash`` is ``<version>:<64 hex>``.

    ``config`` are the ConfigMaps that are part of it. ``author`` is the field manager that wrote
    what it records.
    """

    id: str
    number: int
    hash: str
    name: str
    uid: str
    config: tuple[Pin, ...] = ()
    verdict: Verdict = field(default_factory=Verdict)
    author: str = ""

    def __str__(self) -> str:
        """For people: its number and its id."""
        return f"revision {self.number} ({self.id})"

    @property
    def digests(self) -> Digests:
        """The digest of each pinned object by its kind and name."""
        return {pin.key: pin.digest for pin in self.config}


def later_than(others: Iterable[float | None], now: float) -> float:
    """Return a time after all others, whatever the clocks say."""
    return max([now, *(other + TICK for other in others if other is not None)])


def revision_id(full_hash: str, revisions: Iterable[Revision]) -> str:
    """Return 8 hex digits for a new revision that no other recorded revision has."""
    taken = {revision.id for revision in revisions if revision.hash != full_hash}
    salted = full_hash
    while (short := hashlib.sha256(salted.encode()).hexdigest()[:8]) in taken:
        salted += "+"
    return short


def next_number(revisions: Iterable[Revision], sent: Iterable[int] = ()) -> int:
    """Return one more than the highest number on record, including revisions that are gone.

    ``sent`` are numbers whose record may still be written: a request may arrive late.
    """
    known = (max(r.number, r.verdict.number_floor) for r in revisions)
    return max((*known, *sent), default=0) + 1


def revision_name(service: str, revision: str) -> str:
    """Return the name of the revision object: ``<service>-im<8 hex>``."""
    return f"{service}-im{revision}"


def snapshot_name(service: str, uid: str, revision: str, source: ConfigKey) -> str:
    """Return the name of the copy of a ConfigMap: ``<service>-cfg<8 hex>``, always the same.

    The name is stored in the record, and later releases read it there.
    """
    seed = "/".join((uid, revision, *source)).encode()
    return f"{service}-cfg{hashlib.sha256(seed).hexdigest()[:8]}"


def instance_name(service: str, uid: str, revision: str, slot: int, incarnation: int) -> str:
    """Return the name of a pod: ``<service>-im<8 hex>-<5>``, always the same for the same birth.

    A repeated create (after a crash, a lost answer, or by a former leader) therefore conflicts with
    the first one and ends in 409 instead of in a second pod.
    """
    seed = f"{uid}/{revision}/{slot}/{incarnation}".encode()
    tail = base64.b32encode(hashlib.sha256(seed).digest()[:5]).decode().lower()[:5]
    return f"{service}-im{revision}-{tail}"
