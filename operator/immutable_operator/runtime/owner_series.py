"""The metrics of each service and pool, computed at each scrape from what its last plan reported.

All of them are in one table, `SERIES`. They exist for a limited number of owners, on the leader
only, and end with their owner.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from immutable_operator.domain.model import Reason, Revision, Status
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["OMITTED", "PREFIX", "SERIES", "OwnerSeries", "Series", "last_rollout"]

PREFIX = "immutable_owner_"
LABELS = ("kind", "namespace", "name")
OMITTED = f"{PREFIX}series_omitted"
# Why a successor is created; other births have no predecessor. All of them are served from the
# start, with 0: Prometheus does not see the first increase of a series that did not exist.
REPLACED = tuple(reason for reason in Reason if reason not in (Reason.CREATED, Reason.SCALED))
Samples = Iterable[tuple[tuple[str, ...], float]]


@dataclass(slots=True)
class _Known:
    """The last report about one owner.

    ``last`` is the result of `last_rollout`, ``replaced`` counts its replacements by reason.
    """

    owner: OwnerRecord
    status: Status
    last: tuple[str, float] | None
    replaced: Counter[str]

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of `LABELS`; the namespace is empty for a kind that has none."""
        kind = self.owner.kind
        return kind.name, self.owner.namespace if kind.is_namespaced else "", self.owner.name


@dataclass(frozen=True)
class Series:
    """One metric of each owner. ``samples`` takes what is known, and the time in seconds."""

    name: str
    help: str
    samples: Callable[[_Known, float], Samples]
    labels: tuple[str, ...] = ()
    is_counter: bool = False

    def family(self, known: Iterable[_Known], now: float) -> Metric:
        """Return the metric with the samples of these owners."""
        made = CounterMetricFamily if self.is_counter else GaugeMetricFamily
        family = made(f"{PREFIX}{self.name}", self.help, labels=(*LABELS, *self.labels))
        for one in known:
            for values, value in self.samples(one, now):
                family.add_metric((*one.labels, *values), value)
        return family


def _info(known: _Known, _: float) -> Samples:
    yield (known.status.current_revision or "", known.owner.spec.strategy), 1.0


def _conditions(known: _Known, _: float) -> Samples:
    return (((c.type, c.status, c.reason), 1.0) for c in known.status.conditions)


def _instances(known: _Known, _: float) -> Samples:
    status = known.status
    deviating = Counter(deviation.reason for deviation in status.deviations)
    counts = {
        "desired": status.desired,
        "active": status.replicas,
        "ready": status.ready,
        "available": status.available,
        "current": status.current,
        "stale": status.stale,
        "quarantined": status.quarantined,
        "tainted": deviating[Reason.TAINTED],
        "drifted": deviating[Reason.DRIFTED],
    }
    return (((state,), float(count)) for state, count in counts.items())


def _oldest(known: _Known, now: float) -> Samples:
    born = known.status.oldest_instance
    return () if born is None else [((), max(0.0, now - born))]


def _most_age(known: _Known, _: float) -> Samples:
    wanted = known.owner.spec.regeneration
    most = wanted.hard_max_age if wanted.max_age is None else wanted.max_age
    return () if most is None else [((), most)]


def _rollout(known: _Known, now: float) -> Samples:
    going = known.status.rollout
    return () if going is None else [((), max(0.0, now - going.started_at))]


def _last_rollout(known: _Known, _: float) -> Samples:
    return () if known.last is None else [((known.last[0],), known.last[1])]


def _blocked(known: _Known, now: float) -> Samples:
    longest: dict[str, float] = {}
    for blocker in known.status.blockers:
        lasts = max(0.0, now - blocker.since)
        longest[blocker.reason] = max(lasts, longest.get(blocker.reason, 0.0))
    return (((reason,), lasts) for reason, lasts in longest.items())


def _replacements(known: _Known, _: float) -> Samples:
    return (((reason,), float(known.replaced[reason])) for reason in REPLACED)


SERIES: tuple[Series, ...] = (
    Series("info", "Always 1; current revision and strategy", _info, ("revision", "strategy")),
    Series(
        "condition",
        "Always 1; one series for each condition, with its current status and reason",
        _conditions,
        ("type", "status", "reason"),
    ),
    Series(
        "instances",
        "Number of instances in a state; an instance can be in several states",
        _instances,
        ("state",),
    ),
    Series("oldest_instance_age_seconds", "Age of the oldest instance", _oldest),
    Series(
        "max_age_seconds",
        "Age that no instance should exceed: maxAge of the spec, or else hardMaxAge",
        _most_age,
    ),
    Series(
        "rollout_seconds",
        "Time since the replacement in progress started; absent while none is in progress",
        _rollout,
    ),
    Series(
        "last_rollout_seconds",
        "Duration of the last rollout that ended, by result: Completed, Failed or Rejected",
        _last_rollout,
        ("result",),
    ),
    Series(
        "blocked_seconds",
        "Time for which the next step has been blocked, by reason",
        _blocked,
        ("reason",),
    ),
    Series(
        "replacements",
        "Successors created for other instances since this replica became the leader, by reason",
        _replacements,
        ("reason",),
        is_counter=True,
    ),
)


class OwnerSeries(Collector):
    """Serves `SERIES` for at most ``limit`` owners.

    ``leads`` returns whether this replica is the leader, ``now`` the seconds since the epoch. The
    owners that were planned first keep their series; others get theirs when one of these is gone.
    """

    def __init__(self, limit: int, leads: Callable[[], bool], now: Callable[[], float]) -> None:
        self._limit, self._leads, self._now = limit, leads, now
        self._known: dict[str, _Known] = {}
        self._uids: dict[str, str] = {}
        self._omitted: set[str] = set()
        self._replaced: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def observe(self, owner: OwnerRecord, status: Status, revisions: Iterable[Revision]) -> None:
        """Take what a plan reports about an owner; it replaces the last report."""
        if self._uids.get(owner.key, owner.uid) != owner.uid:
            self.forget(self._uids[owner.key])  # deleted, and created again by the same name
        if owner.uid not in self._known and len(self._known) >= self._limit:
            self._omitted.add(owner.uid)
            return
        self._omitted.discard(owner.uid)
        self._uids[owner.key] = owner.uid
        last = last_rollout(status, tuple(revisions))
        self._known[owner.uid] = _Known(owner, status, last, self._replaced[owner.uid])

    def count_replacement(self, uid: str, reason: str) -> None:
        """Count the birth of a successor; that of an omitted owner, too, for when it has series."""
        self._replaced[uid][reason] += 1

    def forget(self, uid: str) -> None:
        """Drop the series of an owner that is gone."""
        self._omitted.discard(uid)
        self._replaced.pop(uid, None)
        if known := self._known.pop(uid, None):
            del self._uids[known.owner.key]

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics on the leader, and none on other replicas."""
        if not self._leads():
            return
        now = self._now()
        for series in SERIES:
            yield series.family(self._known.values(), now)
        text = "Services and pools without metrics of their own, because there are too many"
        yield GaugeMetricFamily(OMITTED, text, value=len(self._omitted))


def last_rollout(status: Status, revisions: Sequence[Revision]) -> tuple[str, float] | None:
    """Return the result and the duration in seconds of the rollout that ended last.

    None if there is none on record, or if a later revision is reached already without a record of
    when: the spec went back to the revision that was running.
    """
    started = [r for r in revisions if r.verdict.started is not None]
    started.sort(key=lambda r: (r.verdict.started or 0.0, r.number), reverse=True)
    for revision in started:
        verdict, began = revision.verdict, revision.verdict.started or 0.0
        completed = (verdict.completed or 0.0) >= began
        ended = verdict.completed if completed else verdict.failed
        if ended is not None and (completed or verdict.is_failed):
            result = "Completed" if not verdict.is_failed else "Failed"
            return "Rejected" if verdict.rejected_by else result, max(0.0, ended - began)
        if status.rollout is None:
            return None
    return None
