"""A model of the hand-over of a namespace between shards, as docs/scale.md designs it.

One namespace, some shards with one lease each. Everything may be late: what a shard sees of the
namespace and of the leases of others, the end of a write, a whole process. The rule that is broken
if two shards work at once: a write rests on a list after which no other shard has written.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Broken", "Handover", "Rules"]

DURATION = 15
RETRY = 2


@dataclass(frozen=True)
class Rules:
    """What a shard obeys; a test takes one away and must see the namespace written by two."""

    waits_for_others: bool = True
    looks_once_it_leads: bool = True
    confirms_after_its_writes: bool = True
    is_fenced: bool = True


@dataclass
class Lease:
    """``seen`` is the version of the namespace up to which the shard has let go of it."""

    changes: int = 0
    seen: int = 0


@dataclass
class Write:
    """``rests_on`` is how many writes there were at the list on which it rests."""

    rests_on: int
    until: float


@dataclass
class Shard:
    """A process of one shard. ``owner`` and ``version``: the namespace as it was last seen."""

    name: str
    owner: str = ""
    version: int = 0
    leads_until: float = -1.0
    listed: int | None = None
    writes: list[Write] = field(default_factory=list)
    stopped: bool = False
    # Of each other lease: how often it had changed when it was last read, and since when.
    noted: dict[str, tuple[int, float]] = field(default_factory=dict)


class Broken(AssertionError):
    """Two shards worked for the namespace at once."""


class Handover:
    """The world: the label of the namespace, the leases, and what the shards do, by chance."""

    def __init__(self, seed: int, names: tuple[str, ...] = ("a", "b", "c"), rules: Rules = Rules()):
        self.chance, self.rules = random.Random(seed), rules
        self.now, self.owner, self.version = 0.0, names[0], 1
        self.leases = {name: Lease() for name in names}
        self.shards = {name: Shard(name) for name in names}
        # Writes of processes that are gone: they may still arrive.
        self.orphans: list[tuple[str, Write]] = []
        self.history: list[str] = []

    def run(self, steps: int) -> None:
        """Play; raise `Broken` when the rule is broken."""
        for _ in range(steps):
            self.now += self.chance.choice((0.0, 0.1, 0.1, 0.5))
            shard = self.chance.choice(list(self.shards.values()))
            moves: list[tuple[int, Callable[[Shard], None]]] = [
                (40, self.renew),
                (20, self.observe),
                (60, self.work),
                (20, self.finish),
                (3, self.relabel),
                (1, self.stop),
                (4, self.wake),
                (1, self.kill),
            ]
            weights, acts = zip(*moves, strict=True)
            [act] = self.chance.choices(acts, weights)
            if shard.stopped and act in (self.renew, self.observe, self.work):
                continue
            act(shard)

    def calm(self, owner: str) -> None:
        """Nothing bad happens any more: after some time the last owner works."""
        self.owner, self.version = owner, self.version + 1
        for _ in range(200):
            self.now += 1.0
            for shard in self.shards.values():
                shard.stopped = False
                self.finish(shard)
                self.observe(shard)
                self.renew(shard)
                self.work(shard)

    def relabel(self, shard: Shard) -> None:
        """Somebody gives the namespace to this shard."""
        if self.owner != shard.name:
            self.owner, self.version = shard.name, self.version + 1

    def observe(self, shard: Shard) -> None:
        """The watch brings the present; with the loss of the namespace its list is forgotten."""
        shard.owner, shard.version = self.owner, self.version
        if shard.owner != shard.name:
            shard.listed = None
        for name, lease in self.leases.items():
            if shard.noted.get(name, (-1, 0.0))[0] != lease.changes:
                shard.noted[name] = (lease.changes, self.now)

    def renew(self, shard: Shard) -> None:
        """Renew the lease, or take it once it did not change for its whole duration."""
        lease, before = self.leases[shard.name], self.now
        if not self.leads(shard):
            changes, since = shard.noted.get(shard.name, (-1, self.now))
            if lease.changes and (changes != lease.changes or self.now - since < DURATION):
                return
            shard.listed = None
            if self.rules.looks_once_it_leads:
                shard.owner, shard.version = "", 0
        lease.changes += 1
        for other in self.shards.values():
            if other is not shard and not other.stopped and self.chance.random() < 0.3:
                other.noted[shard.name] = (lease.changes, before)
        # It is stored; the answer may be late.
        self.now += self.chance.choice((0.0, 0.0, 0.1, 3.0))
        shard.noted[shard.name] = (lease.changes, self.now)
        shard.leads_until = before + DURATION
        done = not shard.writes or not self.rules.confirms_after_its_writes
        if shard.owner not in ("", shard.name) and done:
            lease.seen = shard.version

    def leads(self, shard: Shard) -> bool:
        return self.now < shard.leads_until

    def may_begin(self, shard: Shard) -> bool:
        if not self.rules.waits_for_others:
            return True
        return all(
            self.leases[name].seen >= shard.version or self._is_over(shard, name)
            for name in self.leases
            if name != shard.name
        )

    def _is_over(self, shard: Shard, name: str) -> bool:
        changes, since = shard.noted.get(name, (-1, self.now))
        lease = self.leases[name]
        return changes == lease.changes and (not changes or self.now - since >= DURATION)

    def work(self, shard: Shard) -> None:
        """List first, then begin a write that ends within the validity of the lease."""
        if not self.leads(shard) or shard.owner != shard.name:
            return
        if shard.listed is None:
            if self.may_begin(shard):
                shard.listed = len(self.history)
            return
        if not shard.writes and shard.leads_until - self.now > RETRY:
            shard.writes.append(Write(shard.listed, shard.leads_until))

    def finish(self, shard: Shard) -> None:
        """The API server carries out a write, in time or not at all."""
        for write in shard.writes:
            if self._commit(shard.name, write) and shard.listed == write.rests_on:
                shard.listed = len(self.history)
        shard.writes.clear()
        while self.orphans:
            self._commit(*self.orphans.pop())

    def _commit(self, name: str, write: Write) -> bool:
        if self.rules.is_fenced and self.now >= write.until:
            return False
        others = [who for who in self.history[write.rests_on :] if who != name]
        if others:
            raise Broken(f"{name} writes at {self.now:.1f}, after a list that {others} changed")
        self.history.append(name)
        return True

    def stop(self, shard: Shard) -> None:
        shard.stopped = True

    def wake(self, shard: Shard) -> None:
        shard.stopped = False

    def kill(self, shard: Shard) -> None:
        """Another process begins, which knows nothing; what was sent may still arrive."""
        self.orphans += [(shard.name, write) for write in shard.writes]
        self.shards[shard.name] = Shard(shard.name)
