"""Metrics of each service and pool: what they say, for how many owners, and when they end."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from immutable_operator.domain.model import (
    Blocker,
    Condition,
    Deviation,
    Phase,
    Reason,
    Revision,
    Rollout,
    Status,
    Verdict,
)
from immutable_operator.runtime.main import main
from immutable_operator.runtime.owner_series import OMITTED, SERIES, OwnerSeries, last_rollout
from immutable_operator.wire.owner import POOL, SERVICE, OwnerRecord

NOW = 10_000.0
WEB = {"kind": "ImmutableService", "namespace": "shop", "name": "web"}
READY = Condition("Ready", "True", "Current", "all is well", 1.0)


class Scraped:
    """The series of some owners, and what a scrape of them returns."""

    def __init__(self, limit: int = 10) -> None:
        self.leads = True
        self.series = OwnerSeries(limit, lambda: self.leads, lambda: NOW)
        self.registry = CollectorRegistry()
        self.registry.register(self.series)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"immutable_owner_{name}", WEB | labels)

    def names(self) -> set[str]:
        """The names of the owners that have series."""
        samples = (s for metric in self.registry.collect() for s in metric.samples)
        return {sample.labels["name"] for sample in samples if "name" in sample.labels}

    @property
    def omitted(self) -> float | None:
        return self.registry.get_sample_value(OMITTED)


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


def service(name: str = "web", uid: str = "", **spec: Any) -> OwnerRecord:
    meta = {"name": name, "namespace": "shop", "uid": uid or name, "resourceVersion": "5"}
    return OwnerRecord.of({"metadata": meta, "spec": spec}, SERVICE)


def revision(number: int, **verdict: Any) -> Revision:
    name = f"web-im{number}"
    return Revision(str(number), number, f"v4:{number}", name, name, verdict=Verdict(**verdict))


def test_info_names_the_revision_and_the_strategy(scraped: Scraped) -> None:
    scraped.series.observe(service(), Status(current_revision="9f2c41d0"), ())
    assert scraped.value("info", revision="9f2c41d0", strategy="Rolling") == 1


def test_conditions_have_their_present_status_and_reason_only(scraped: Scraped) -> None:
    replacing = Condition("Ready", "False", "Replacing", "1 of 3", 1.0)
    scraped.series.observe(service(), Status(conditions=(replacing,)), ())
    scraped.series.observe(service(), Status(conditions=(READY,)), ())
    assert scraped.value("condition", type="Ready", status="True", reason="Current") == 1
    assert scraped.value("condition", type="Ready", status="False", reason="Replacing") is None


def test_instances_are_counted_by_state(scraped: Scraped) -> None:
    changed = (Deviation("web-1", "Tainted", "exec"), Deviation("web-2", "Drifted", "image"))
    status = Status(
        desired=9,
        replicas=8,
        ready=7,
        available=6,
        current=5,
        stale=4,
        quarantined=3,
        deviations=(*changed, Deviation("web-3", "Tainted", "exec")),
    )
    scraped.series.observe(service(), status, ())
    states = ("desired", "active", "ready", "available", "current", "stale", "quarantined")
    assert [scraped.value("instances", state=s) for s in states] == [9, 8, 7, 6, 5, 4, 3]
    assert scraped.value("instances", state="tainted") == 2
    assert scraped.value("instances", state="drifted") == 1


def test_ages_are_those_at_the_time_of_the_scrape(scraped: Scraped) -> None:
    going = Rollout("1", 3, 0, 0, NOW - 30, NOW)
    blockers = tuple(Blocker("QuotaExceeded", "", NOW - ago) for ago in (5, 50))
    status = Status(oldest_instance=NOW - 60, rollout=going, blockers=blockers)
    scraped.series.observe(service(), status, ())
    assert scraped.value("oldest_instance_age_seconds") == 60
    assert scraped.value("rollout_seconds") == 30
    assert scraped.value("blocked_seconds", reason="QuotaExceeded") == 50
    scraped.series.observe(service(), Status(), ())
    for name in ("oldest_instance_age_seconds", "rollout_seconds"):
        assert scraped.value(name) is None, "there is no instance, and no rollout"
    assert scraped.value("blocked_seconds", reason="QuotaExceeded") is None


@pytest.mark.parametrize(
    ("regeneration", "most"),
    [
        ({}, None),
        ({"maxAge": "24h"}, 86_400),
        ({"hardMaxAge": "48h"}, 172_800),
        ({"maxAge": "24h", "hardMaxAge": "48h"}, 86_400),
    ],
)
def test_age_limit_is_that_of_the_spec(
    scraped: Scraped, regeneration: dict[str, str], most: float | None
) -> None:
    scraped.series.observe(service(regeneration=regeneration), Status(), ())
    assert scraped.value("max_age_seconds") == most


def test_replacements_are_counted_from_zero_by_reason(scraped: Scraped) -> None:
    scraped.series.count_replacement("web", Reason.EXPIRED)  # before its first status
    scraped.series.observe(service(), Status(), ())
    assert scraped.value("replacements_total", reason="Tainted") == 0
    scraped.series.count_replacement("web", Reason.TAINTED)
    scraped.series.observe(service(), Status(), ())
    assert scraped.value("replacements_total", reason="Tainted") == 1
    assert scraped.value("replacements_total", reason="Expired") == 1
    assert scraped.value("replacements_total", reason="Created") is None


GOOD = revision(1, phase=Phase.GOOD, started=100.0, completed=160.0)
FAILED = revision(2, phase=Phase.FAILED, started=200.0, failed=230.0, fallback="1")
UNDER_WAY = revision(3, phase=Phase.PROGRESSING, started=300.0)
REPLACING = Status(rollout=Rollout("3", 3, 0, 0, 300.0, None))
AGAIN = revision(1, phase=Phase.GOOD, started=300.0, completed=160.0)


@pytest.mark.parametrize(
    ("status", "revisions", "last"),
    [
        pytest.param(Status(), (), None, id="no revision"),
        pytest.param(REPLACING, (UNDER_WAY,), None, id="the first is under way"),
        pytest.param(Status(), (GOOD,), ("Completed", 60.0), id="complete"),
        pytest.param(Status(), (GOOD, FAILED), ("Failed", 30.0), id="failed"),
        pytest.param(REPLACING, (GOOD, UNDER_WAY), ("Completed", 60.0), id="the next is under way"),
        pytest.param(Status(), (AGAIN, FAILED), None, id="taken back in the spec"),
    ],
)
def test_last_rollout_is_the_one_that_ended_last(
    status: Status, revisions: tuple[Revision, ...], last: tuple[str, float] | None
) -> None:
    assert last_rollout(status, revisions) == last


def test_rejected_revision_keeps_the_duration_of_its_rollout(scraped: Scraped) -> None:
    undone = revision(
        2, phase=Phase.FAILED, started=200.0, completed=250.0, failed=900.0, rejected_by="ann"
    )
    scraped.series.observe(service(), Status(), (GOOD, undone))
    assert scraped.value("last_rollout_seconds", result="Rejected") == 50


def test_pool_has_no_namespace(scraped: Scraped) -> None:
    meta = {"name": "web", "uid": "u", "resourceVersion": "5"}
    pool = OwnerRecord.of({"metadata": meta, "spec": {}}, POOL, home="immutable-system")
    scraped.series.observe(pool, Status(desired=2), ())
    labels = {"kind": "ImmutableNodePool", "namespace": ""}
    assert scraped.value("instances", state="desired", **labels) == 2


def test_series_end_with_their_owner(scraped: Scraped) -> None:
    scraped.series.observe(service("web"), Status(), ())
    scraped.series.observe(service("api"), Status(), ())
    scraped.series.forget("web")
    scraped.series.forget("unknown")
    assert scraped.names() == {"api"}


def test_recreated_owner_has_each_series_once(scraped: Scraped) -> None:
    """Prometheus refuses a scrape in which a series occurs twice."""
    scraped.series.observe(service(uid="old"), Status(desired=1), ())
    scraped.series.count_replacement("old", Reason.TAINTED)
    scraped.series.observe(service(uid="new"), Status(desired=2), ())
    scraped.series.forget("old")
    lines = generate_latest(scraped.registry).decode().splitlines()
    series = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
    assert len(series) == len(set(series))
    assert scraped.value("instances", state="desired") == 2
    assert scraped.value("replacements_total", reason="Tainted") == 0


def test_only_the_leader_serves_them(scraped: Scraped) -> None:
    scraped.series.observe(service(), Status(), ())
    scraped.leads = False
    assert list(scraped.series.collect()) == []


def test_number_of_owners_is_limited_and_the_others_are_counted() -> None:
    scraped = Scraped(limit=2)
    for name in ("a", "b", "c", "d"):
        scraped.series.observe(service(name), Status(), ())
    assert (scraped.names(), scraped.omitted) == ({"a", "b"}, 2)
    scraped.series.forget("a")
    scraped.series.forget("d")
    scraped.series.observe(service("c"), Status(), ())
    assert (scraped.names(), scraped.omitted) == ({"b", "c"}, 0)


@pytest.mark.parametrize("given", ["-3", "many", "1.5", ""])
def test_limit_must_be_a_number(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", f"--owner-metrics={given}"])
    assert ended.value.code == 2
    said = f"argument --owner-metrics: {given!r} is not a number of 0 or more"
    assert said in capsys.readouterr().err


def test_every_series_has_a_name_and_a_help_text_of_its_own() -> None:
    for series in SERIES:
        assert series.help[0].isupper(), series.name
        assert not series.help.endswith("."), series.name
    assert len({series.name for series in SERIES}) == len(SERIES)
    assert len({series.help for series in SERIES}) == len(SERIES)
