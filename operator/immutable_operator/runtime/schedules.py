"""Since when the schedule of each service is what it is: slots before that do not count.

The API server tells only when a manager last changed *any* field of its own, so the time on record
is the latest that is possible: an edit of another field by the same manager would end what a slot
began. What a process has seen itself is exact; after a restart it is made good by what the slot
has left behind, the instances that were born for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from immutable_operator.domain.calendar.windows import Cron
from immutable_operator.domain.model import Spec

__all__ = ["Schedules"]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A schedule, since when, and whether the change to it was seen."""

    cron: Cron | None
    since: float
    changed: bool


class Schedules:
    """What is known of the services' schedules, by the uid of the service. In memory only."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def note(self, uid: str, spec: Spec) -> None:
        """See a version of a service; to be called with each, in order, the more the better."""
        cron, before = spec.regeneration.schedule, self._seen.get(uid)
        if before is None or before.cron != cron:
            self._seen[uid] = _Seen(
                cron, spec.regeneration.schedule_since, changed=before is not None
            )

    def applied(self, uid: str, spec: Spec, slots: Iterable[float] = ()) -> Spec:
        """The spec with the time since when its schedule counts.

        ``slots`` are those for which living instances were born.
        """
        self.note(uid, spec)
        seen = self._seen[uid]
        if seen.cron is not None and not seen.changed:
            # Only the last slot before can be under way; one of another schedule is none of this.
            last = seen.cron.last_until(seen.since)
            if last is not None and last in set(slots):
                seen = self._seen[uid] = replace(seen, since=last - 1)
        since = min(seen.since, spec.regeneration.schedule_since)
        return replace(spec, regeneration=replace(spec.regeneration, schedule_since=since))

    def forget(self, uid: str) -> None:
        """The service is gone."""
        self._seen.pop(uid, None)
