"""When the schedule of each service was set: slots before that do not count.

The API server records only when a manager last changed *any* of its fields, so the recorded time is
the latest possible one: an edit of another field by the same manager would cancel a slot's
replacement. A change that the process has seen itself is timed exactly; after a restart the time is
corrected by the instances that were created for the slot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from immutable_operator.domain.calendar.windows import Cron
from immutable_operator.domain.model import Spec

__all__ = ["Schedules"]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A schedule, since when it applies, and whether the change to it was seen."""

    cron: Cron | None
    since: float
    changed: bool


class Schedules:
    """What is known of the services' schedules, by the uid of the service. In memory only."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def note(self, uid: str, spec: Spec) -> None:
        """Note a version of a service; to be called with each version, in order."""
        cron, before = spec.regeneration.schedule, self._seen.get(uid)
        if before is None or before.cron != cron:
            self._seen[uid] = _Seen(
                cron, spec.regeneration.schedule_since, changed=before is not None
            )

    def applied(self, uid: str, spec: Spec, slots: Iterable[float] = ()) -> Spec:
        """Return the spec with the time since when its schedule counts.

        ``slots`` are those for which living instances were created.
        """
        self.note(uid, spec)
        seen = self._seen[uid]
        if seen.cron is not None and not seen.changed:
            # Only the last slot before can be under way; slots of another schedule do not count.
            last = seen.cron.last_until(seen.since)
            if last is not None and last in set(slots):
                seen = self._seen[uid] = replace(seen, since=last - 1)
        since = min(seen.since, spec.regeneration.schedule_since)
        return replace(spec, regeneration=replace(spec.regeneration, schedule_since=since))

    def forget(self, uid: str) -> None:
        """Drop a service that is gone."""
        self._seen.pop(uid, None)
