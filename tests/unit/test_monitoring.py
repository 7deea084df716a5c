"""What is written about metrics and alerts in several places says the same in all of them.

Whether the alerts fire is tested with promtool in `tests/cluster/monitoring`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from immutable_operator.runtime.metrics import Metrics
from immutable_operator.runtime.owner_series import OMITTED, PREFIX, SERIES

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "immutable-operator"
MONITORING = CHART / "files" / "monitoring"
DOCUMENT = ROOT / "docs" / "monitoring.md"
RUNBOOK = ROOT / "docs" / "runbook.md"
Json = dict[str, Any]


def alerts() -> list[Json]:
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def names() -> list[str]:
    return [alert["alert"] for alert in alerts()]


def served() -> dict[str, set[str]]:
    """The labels of each metric beside kind, namespace and name, by its name in a scrape."""
    found = {OMITTED: set[str]()}
    for series in SERIES:
        found[f"{PREFIX}{series.name}{'_total' * series.is_counter}"] = set(series.labels)
    metrics = Metrics()
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + ("_total" if metric._type == "counter" else "")
            found[name] = set(metric._labelnames)
    metrics.watch_ages(lambda: {"ImmutableService": [1.0]}, lambda: 2.0)
    ages = next(m for m in metrics.registry.collect() if m.name.endswith("instance_age_seconds"))
    found[ages.name] = set(ages.samples[-1].labels)
    return found


def test_ages_are_a_histogram_of_the_present() -> None:
    metrics = Metrics()
    born = [940.0, 1000.1, 500.0, 939.9]
    metrics.watch_ages(lambda: {"ImmutableService": born}, lambda: 1000.0)
    text = generate_latest(metrics.registry).decode()
    found = dict(re.findall(r"^immutable_instance_age_seconds_(.*) (\S+)$", text, re.MULTILINE))
    kind = 'kind="ImmutableService"'
    assert found[f'bucket{{{kind},le="60.0"}}'] == "2.0", "one is from a clock that is ahead"
    assert found[f'bucket{{{kind},le="600.0"}}'] == "4.0"
    assert found[f'bucket{{{kind},le="+Inf"}}'] == found[f"count{{{kind}}}"] == "4.0"
    assert float(found[f"sum{{{kind}}}"]) == pytest.approx(60 - 0.1 + 500 + 60.1)


def queries(expression: str) -> set[str]:
    """The metrics that an expression reads; a histogram by its name without suffix."""
    found = set(re.findall(r"\bimmutable_\w+", expression))
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in found}


def expressions() -> Iterator[str]:
    """Those of the alerts and of the dashboard."""
    yield from (alert["expr"] for alert in alerts())
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (variable.get("definition", "") for variable in dashboard["templating"]["list"])


def test_document_lists_every_metric_with_its_labels() -> None:
    rows = re.findall(r"^\| `(immutable_\w+)(?:\{([\w,]+)\})?` \|", DOCUMENT.read_text(), re.M)
    listed = {name: {*filter(None, labels.split(","))} for name, labels in rows}
    assert listed == served()


def test_alerts_and_dashboard_read_only_metrics_that_exist() -> None:
    read = set().union(*map(queries, expressions()))
    assert read <= served().keys()
    assert len(read) > 15


def test_every_alert_has_a_summary_and_links_to_its_section_of_the_runbook() -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.M)
    assert headings == names(), "the runbook has the alerts in their order"
    for alert in alerts():
        said = alert["annotations"]
        assert said["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"
        assert said["summary"].rstrip().endswith(".")
        assert len(said["description"]) > len(said["summary"])
        assert alert["labels"]["severity"] in ("critical", "warning", "info")


def test_document_lists_every_alert_with_its_severity() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(runbook\.md#(\w+)\) \| (\w+) \|", DOCUMENT.read_text(), re.M)
    assert rows == [(a["alert"], a["alert"].lower(), a["labels"]["severity"]) for a in alerts()]


def test_values_can_disable_exactly_the_alerts_that_exist() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["$defs"]["alert"]["enum"] == names()


def test_panels_of_the_dashboard_do_not_overlap_and_name_their_data_source() -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert x < 24, panel["title"]
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


LINKS = re.compile(r"\]\(([\w/.-]+\.(?:md|yaml|json))(?:#([\w-]+))?\)")


@pytest.mark.parametrize("document", [DOCUMENT, RUNBOOK], ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(document: Path) -> None:
    for target, anchor in LINKS.findall(document.read_text()):
        path = document.parent / target
        assert path.exists(), target
        titles = re.findall(r"^#+ (.+)$", path.read_text(), re.M) if anchor else []
        anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, f"{target}#{anchor}"
