"""What the loop remembers of one owner between its turns: in memory only, and bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from immutable_operator.domain.model import Instance, Revision, Status
from immutable_operator.runtime.barrier import Barrier
from immutable_operator.runtime.evidence import Baselines
from immutable_operator.runtime.refusals import Refusals
from immutable_operator.runtime.report import Report
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["OwnerMemory"]

MOST_DEPARTED = 1000
MOST_SENT = 16
RETELL = 3600.0  # seconds that the API server keeps an event


class OwnerMemory:
    """Everything here is found out again after a restart, and losing it changes no move.

    Only the recorded reason of a birth can be less exact.

    ``retired`` are the uids of the instances that this process retired; ``accepted`` are the
    revisions of which the API server accepted a birth. ``owner`` is its last version that was seen,
    ``desired`` is the last wanted number;
    ``confirmed_at`` is when the service itself was last looked up, in monotonic seconds.
    """

    def __init__(self) -> None:
        self.owner: OwnerRecord | None = None
        self.refusals = Refusals()
        self.barrier = Barrier()
        self.retired: set[str] = set()
        self.sent_numbers: dict[str, int] = {}
        self._recorded: dict[str, None] = {}
        self.accepted: set[str] = set()
        self.planned: Status | None = None
        self.desired: int | None = None
        self.report = Report()
        self.failures = 0
        self.confirmed_at = float("-inf")
        self.baselines = Baselines()
        self.stale_since: dict[str, tuple[float, str]] = {}
        self.observed_at: float | None = None
        self.blocked_by: tuple[str, ...] = ()
        self._told: dict[tuple[str, str], float] = {}
        self._last: dict[str, Instance] = {}
        self._departed: dict[str, Instance] = {}

    def note_records(self, *revisions: str) -> None:
        """Note that these revisions are on record, or were just recorded; a few others are kept."""
        others = [revision for revision in self._recorded if revision not in revisions]
        self._recorded = dict.fromkeys((*others[-MOST_SENT:], *revisions))

    def was_recorded(self, revision: str) -> bool:
        """Return whether a revision was on record lately."""
        return revision in self._recorded

    def unanswered_numbers(self, revisions: Iterable[Revision]) -> Mapping[str, int]:
        """Return, by id, the numbers of revisions that were sent and are not on record."""
        for revision in revisions:
            self.sent_numbers.pop(revision.id, None)
        while len(self.sent_numbers) > MOST_SENT:
            del self.sent_numbers[next(iter(self.sent_numbers))]
        return dict(self.sent_numbers)

    def departed(
        self, instances: tuple[Instance, ...], gone: Mapping[str, Instance]
    ) -> tuple[Instance, ...]:
        """Return vanished instances until their revision has a successor or the rollout is
        complete.

        ``gone`` has instances by name in their last state. One that no plan has observed counts if
        it ended, because what ends at once is retried with pauses, too; and if it was born and
        vanished between two plans, because its successor must not get its name. What a standby saw
        vanish before its first plan may be long ago, and does not count.
        """
        here = {i.name: i for i in instances}
        if self.planned and self.planned.rollout is None:
            self._departed.clear()
        left = {name: i for name, i in self._last.items() if name not in here}
        self._departed |= {name: gone.get(name, i) for name, i in left.items()}
        unseen = {name: i for name, i in gone.items() if name not in here}
        self._departed |= {n: i for n, i in unseen.items() if i.ended or self.planned is not None}
        for instance in instances:
            before = self._departed.get(instance.replaces or "")
            if before is not None and before.revision == instance.revision:
                del self._departed[before.name]
        while len(self._departed) > MOST_DEPARTED:
            del self._departed[next(iter(self._departed))]
        self._last = here
        known = (*instances, *self._departed.values())
        self.retired &= {instance.uid for instance in known}
        return tuple(self._departed.values())

    def is_told(self, key: tuple[str, str], now: float) -> bool:
        """Return whether an event was written so recently that the API server still has it."""
        for old in [key for key, at in self._told.items() if now - at >= RETELL]:
            del self._told[old]
        return key in self._told

    def told(self, key: tuple[str, str], now: float) -> None:
        self._told[key] = now
