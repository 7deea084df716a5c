"""Every metric of the operator, in one table; those of each owner are in `owner_series`."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from immutable_operator.domain.model import Finding
from immutable_operator.runtime.owner_series import OwnerSeries

__all__ = ["Metrics"]

MARKED = ("tainted", "already-tainted")  # outcomes of break-glass access
RESULTS = ("sent", "failed", "dropped")  # of notifications
CHECKS = ("http", "prometheus", "job", "unknown")  # kinds of checks
AGES = (60, 600, 3600, 14400, 43200, 86400, 3 * 86400, 7 * 86400, 30 * 86400)


class _Ages(Collector):
    """The current ages of all instances as a histogram; its counts can decrease.

    It is made of ten thousands of instances at each scrape, between two turns of the control loop.
    """

    def __init__(
        self, births: Callable[[], Mapping[str, list[float]]], clock: Callable[[], float]
    ) -> None:
        self._births, self._clock = births, clock

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "immutable_instance_age_seconds",
            "Current ages of the instances, by kind of their owner; its counts can decrease",
            labels=["kind"],
        )
        now = self._clock()
        for kind, births in self._births().items():
            births.sort()
            number = len(births)
            younger = ((most, number - bisect_left(births, now - most)) for most in AGES)
            counts = [(str(float(most)), count) for most, count in younger]
            total = max(0.0, number * now - sum(births))
            family.add_metric([kind], [*counts, ("+Inf", number)], total)
        yield family


class Metrics:
    """The metrics of one process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "immutable_api_requests",
            "Requests to the API server",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.actions = Counter(
            "immutable_actions",
            "Writes of the operator that the API server accepted, by reason",
            ["kind", "action", "reason"],
            registry=self.registry,
        )
        self.refusals = Counter(
            "immutable_refusals",
            "Writes of the operator that the API server refused, by cause",
            ["kind", "move", "cause"],
            registry=self.registry,
        )
        self.unknown = Counter(
            "immutable_unknown_outcomes",
            "Writes without a response, whose outcome becomes known by the watch",
            ["kind", "move"],
            registry=self.registry,
        )
        self.plan_seconds = Histogram(
            "immutable_plan_seconds",
            "Time to plan one service or pool",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
            registry=self.registry,
        )
        self.resumptions = Counter(
            "immutable_watch_resumptions",
            "Watches that were opened again after their stream ended",
            ["resource"],
            registry=self.registry,
        )
        self.unreadable = Counter(
            "immutable_unreadable_objects",
            "Versions of objects that could not be read and were ignored",
            ["resource"],
            registry=self.registry,
        )
        self.corrections = Counter(
            "immutable_sweep_corrections",
            "Services and pools found by the periodic list but missed by the watch",
            registry=self.registry,
        )
        self.claims = Counter(
            "immutable_claims",
            "Instances that lost their label or owner, which the operator restored",
            registry=self.registry,
        )
        self.image_verdicts = Counter(
            "immutable_image_verdicts",
            "Image digests reported by nodes that differ from the pinned one, by result of the"
            " comparison",
            ["verdict"],
            registry=self.registry,
        )
        self.guarded = Gauge(
            "immutable_guarded",
            "1 while all admission policies exist, are complete and deny requests (leader only)",
            registry=self.registry,
        )
        self.guard_faults = Gauge(
            "immutable_guard_faults",
            "1 for each fault of an admission policy, its binding or the webhook",
            ["guard", "reason"],
            registry=self.registry,
        )
        self.stale_seconds = Histogram(
            "immutable_stale_seconds",
            "Time from an instance becoming stale until it is gone, by reason",
            ["kind", "reason"],
            buckets=(1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 14400, 86400),
            registry=self.registry,
        )
        self.blocked_seconds = Counter(
            "immutable_blocked_seconds",
            "Time for which services and pools were blocked, by cause",
            ["kind", "cause"],
            registry=self.registry,
        )
        self.barrier_timeouts = Counter(
            "immutable_barrier_timeouts",
            "Writes of the operator that the watch did not show in time",
            registry=self.registry,
        )
        self.objects = Gauge(
            "immutable_objects",
            "Objects in the caches of the operator, by kind",
            ["kind"],
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "immutable_queue_depth",
            "Services and pools waiting to be planned",
            registry=self.registry,
        )
        self.leading = Gauge(
            "immutable_leading", "1 while this replica holds the lease", registry=self.registry
        )
        self.failures = Counter(
            "immutable_step_failures",
            "Reconciliations that failed with an unexpected error and are retried with back-off",
            registry=self.registry,
        )

        self.reviews = Counter(
            "immutable_webhook_reviews",
            "Webhook responses to requests for access to a pod, by outcome",
            ["outcome"],
            registry=self.registry,
        )
        # From the start, with 0: Prometheus does not see the first increase of a new series.
        for outcome in MARKED:
            self.reviews.labels(outcome)
        self.certificate_expires = Gauge(
            "immutable_webhook_certificate_expiry_timestamp_seconds",
            "Expiry of the certificate that the webhook serves, in seconds since 1970",
            registry=self.registry,
        )

        self.notifications = Counter(
            "immutable_notifications",
            "Events for the receiver of notifications, by result",
            ["result"],
            registry=self.registry,
        )
        for result in RESULTS:
            self.notifications.labels(result)
        self.notifications_waiting = Gauge(
            "immutable_notifications_waiting",
            "Events that wait to be sent to the receiver of notifications",
            registry=self.registry,
        )

        self.outcomes = Counter(
            "immutable_revision_outcomes",
            "What became of revisions: Good, Failed, RolledBack or Promoted",
            ["kind", "strategy", "outcome"],
            registry=self.registry,
        )
        self.measurements = Counter(
            "immutable_check_measurements",
            "Measurements of checks, by kind of the check and what was found",
            ["check", "found"],
            registry=self.registry,
        )
        self.check_seconds = Histogram(
            "immutable_check_seconds",
            "Time of a measurement of a check; for a Job, until it ends",
            ["check"],
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600),
            registry=self.registry,
        )
        for check in CHECKS:
            for found in Finding:
                self.measurements.labels(check, found)

        self.owners = OwnerSeries(0, lambda: False, time.time)

    def watch_owners(self, limit: int, leads: Callable[[], bool], now: Callable[[], float]) -> None:
        """Serve metrics of each owner, for at most ``limit`` of them; with 0, none at all."""
        self.owners = OwnerSeries(limit, leads, now)
        if limit:
            self.registry.register(self.owners)

    def watch_ages(
        self, births: Callable[[], Mapping[str, list[float]]], clock: Callable[[], float]
    ) -> None:
        """Collect the ages of the instances by kind of their owner at each scrape.

        ``births`` returns when they were created, and ``clock`` the time: seconds since 1970.
        """
        self.registry.register(_Ages(births, clock))

    def count_request(self, verb: str, resource: str, code: str) -> None:
        self.requests.labels(verb, resource, code).inc()

    def count_resumption(self, resource: str) -> None:
        self.resumptions.labels(resource).inc()

    def count_unreadable(self, resource: str) -> None:
        self.unreadable.labels(resource).inc()

    def count_review(self, outcome: str) -> None:
        self.reviews.labels(outcome).inc()

    def count_measurement(self, check: str, found: Finding, seconds: float) -> None:
        self.measurements.labels(check, found).inc()
        self.check_seconds.labels(check).observe(seconds)
