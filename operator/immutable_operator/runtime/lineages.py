"""Writes the lineage of each owner: which instance replaced which, when and why.

The record is for users only: no plan reads it, and a failure to write it delays nothing. It is
written in batches: once a service has come to rest, or during a long rollout from time to time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.domain.lineage import (
    Entry,
    Retirement,
    births,
    merged,
    reasons,
    retirements,
)
from immutable_operator.domain.model import Backoff, Instance, Plan, View
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, NotFound
from immutable_operator.kube.reading import READ_ERRORS
from immutable_operator.wire.lineage import (
    LINEAGES,
    LineageRecord,
    decode_lineage,
    lineage_body,
    lineage_name,
)
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["Lineages"]

log = structlog.get_logger()
# Seconds from the first change to the write of a service that is at rest, and between two writes.
PAUSE = 10.0
# While it is not: after so many seconds, or births.
PAUSE_AT_WORK, BIRTHS_AT_WORK = 600.0, 50
LOOK_SECONDS = 1.0
RETRY = Backoff(PAUSE, 600.0)


@dataclass
class _Notes:
    """What was observed of one owner and is not on record yet; times are monotonic, in seconds.

    ``alive`` are the uids of the instances that are known and not retired, ``ended`` of those that
    are known, retired and still there. ``since`` is when the oldest observation was made that is
    not on record.
    """

    owner: OwnerRecord
    instances: tuple[Instance, ...] = ()
    alive: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    why: dict[str, str] = field(default_factory=dict)
    born: dict[str, Entry] = field(default_factory=dict)
    retired: dict[str, Retirement] = field(default_factory=dict)
    at_rest: bool = False
    since: float = 0.0
    not_before: float = float("-inf")
    failures: int = 0

    @property
    def due(self) -> float:
        """When to write."""
        waits = not self.at_rest and len(self.born) < BIRTHS_AT_WORK
        return max(self.not_before, self.since + (PAUSE_AT_WORK if waits else PAUSE))

    @property
    def existing(self) -> set[str]:
        return {i.uid for i in self.instances if not i.terminating}


class Lineages:
    """Observes the turns of the control loop, and writes what follows from them.

    ``clock`` returns seconds since the epoch, ``tick`` monotonic seconds.
    """

    def __init__(
        self,
        client: KubeClient,
        clock: Callable[[], float],
        tick: Callable[[], float],
    ) -> None:
        self._client, self._clock, self._tick = client, clock, tick
        self._notes: dict[str, _Notes] = {}
        self._waiting: set[str] = set()
        self._wake = asyncio.Event()

    def note(self, owner: OwnerRecord, view: View, decided: Plan) -> None:
        """Observe one turn: which instances are new, which are being deleted or gone.

        After a start every instance is new; only comparing it with the record tells.
        """
        notes = self._notes.setdefault(owner.uid, _Notes(owner))
        notes.owner, notes.instances = owner, view.instances
        back = notes.ended & notes.existing
        notes.alive |= back
        notes.retired = {u: e for u, e in notes.retired.items() if u not in back}
        new = births(view, notes.alive | notes.ended)
        notes.alive |= {entry.uid for entry in new}
        gone = retirements(view, sorted(notes.alive), notes.why, self._clock())
        there = {i.uid for i in view.instances}
        notes.alive -= {end.uid for end in gone}
        notes.ended = (notes.ended - back | {end.uid for end in gone}) & there
        notes.why = {u: w for u, w in notes.why.items() if u in notes.alive}
        notes.why |= reasons(decided.actions)
        moving = any(i.terminating for i in view.instances)
        notes.at_rest = not (decided.actions or decided.stale or moving)
        if not new and not gone and not back:
            return
        if owner.uid not in self._waiting:
            notes.since = self._tick()
        notes.born |= {entry.uid: entry for entry in new}
        notes.retired |= {end.uid: end for end in gone}
        self._waiting.add(owner.uid)
        self._wake.set()

    def forget(self, uid: str) -> None:
        """Drop everything about an owner that is gone."""
        self._notes.pop(uid, None)
        self._waiting.discard(uid)

    async def run(self) -> None:
        """Write what is due, forever. Raises `NotLeader` when fenced."""
        while True:
            await self._wake.wait()
            await self.write_due()
            if self._waiting:
                await asyncio.sleep(LOOK_SECONDS)
            else:
                self._wake.clear()

    async def write_due(self) -> None:
        """Write the records that are due now."""
        for uid in [u for u in self._waiting if self._notes[u].due <= self._tick()]:
            notes = self._notes.get(uid)
            if notes is not None:
                await self._attempt(uid, notes)

    async def _attempt(self, uid: str, notes: _Notes) -> None:
        born, retired = dict(notes.born), dict(notes.retired)
        try:
            written = await self._write(notes, born.values(), retired.values())
        except (ApiError, *READ_ERRORS) as error:
            notes.failures += 1
            notes.not_before = self._tick() + RETRY.after(notes.failures)
            about = {notes.owner.kind.word: notes.owner.name, "namespace": notes.owner.namespace}
            log.warning("lineage cannot be written yet", **about, error=str(error))
            return
        notes.failures = 0
        if written:
            notes.not_before = self._tick() + PAUSE
        # What was observed meanwhile stays for the next write.
        notes.born = {u: e for u, e in notes.born.items() if u not in born}
        notes.retired = {u: e for u, e in notes.retired.items() if u not in retired}
        notes.since = self._tick()
        if not notes.born and not notes.retired:
            self._waiting.discard(uid)

    async def _write(
        self, notes: _Notes, born: Iterable[Entry], retired: Iterable[Retirement]
    ) -> bool:
        """Bring the record up to date; return whether that took a write. Raises `ApiError`."""
        owner = notes.owner
        before = await self._read(owner)
        recorded = before.entries if before else ()
        entries = merged(recorded, born, retired, notes.existing, self._clock())
        if entries == recorded:
            return False
        body = lineage_body(owner, entries, before)
        if before is None:
            path = LINEAGES.collection(owner.namespace)
            await self._client.create(path, body, resource=LINEAGES.resource)
        else:
            path = LINEAGES.item(owner.namespace, body["metadata"]["name"])
            await self._client.apply(path, body, resource=LINEAGES.resource, manager=FIELD_MANAGER)
        return True

    async def _read(self, owner: OwnerRecord) -> LineageRecord | None:
        """Return the record; None if there is none. Raises `ApiError`."""
        name = lineage_name(owner.kind, owner.name)
        path = LINEAGES.item(owner.namespace, name)
        try:
            found = decode_lineage(await self._client.get(path, resource=LINEAGES.resource))
        except NotFound:
            return None
        if found.owner != owner.uid:
            # It belongs to a deleted owner of that name, until it is garbage-collected.
            raise Conflict(409, "Conflict", f"lineage {name} belongs to another owner")
        return found
