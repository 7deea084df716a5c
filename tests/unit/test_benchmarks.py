"""The benchmarks run, and their raw results become the page's tables. No figure is judged."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.measure import quantile, spread, store
from benchmarks.plan import CASES, measured
from benchmarks.plot import bars
from benchmarks.report import PAGE, TABLES, render

REACTION = {"count": 3, "p50": 0.04, "p99": 0.09, "max": 0.1}
SCALE = {
    "services": 3,
    "pods": 9,
    "empty_mb": 80.0,
    "full_mb": 90.0,
    "full_peak_mb": 95.0,
    "converged_seconds": 4.0,
    "converged_cpu_seconds": 0.9,
    "idle": {"seconds": 30.0, "core_share": 0.002, "writes": 1, "lease_writes": 15, "mb": 90.0},
    "reaction": REACTION,
    "busy": {"pods": 6, "rollout_seconds": 2.0, "reaction": None},
    "cold_start": {
        "start_to_planned_seconds": 3.0,
        "lease_to_planned_seconds": 1.0,
        "synced_to_lease_seconds": 0.1,
        "mb": 85.0,
        "peak_mb": 88.0,
    },
    "failover_killed": 16.0,
    "failover_polite": 0.8,
}
ADMISSION = {"request": "create", "at_once": 1, "with": REACTION, "without": REACTION}

ROLLOUTS = [
    {
        "contender": "Deployment",
        "pods": 20,
        "limits": "lifted",
        "seconds": seconds,
        "controller_writes": 189,
        "cpu_seconds": 0.25,
        "writes": {"a": 189, "b": 100},
    }
    for seconds in (0.9, 0.6, 0.7)
]

EXPIRY = {
    "contender": "NodePool",
    "budget": False,
    "nodes": 2,
    "age": 20,
    "boot": 2,
    "surge": 1,
    "pods": 4,
    "fewest_ready": 0,
    "lost": 15.74,
    "started": 5,
    "seconds": 23.9,
}


def test_quantile_is_a_measured_value() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert quantile([7.0], 0.01) == 7.0


def test_no_values_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_each_case_of_the_planner_is_measured() -> None:
    found = measured(20, runs=1)
    assert [row["case"] for row in found] == list(CASES)
    moving = {row["case"] for row in found if row["moves"]}
    assert moving >= {"a rollout begins", "a fifth was lost with its nodes"}


def test_raw_results_name_machine_commit_and_what_else_ran(tmp_path: Path) -> None:
    body = json.loads(store("plan", [], "a test", tmp_path / "plan.json").read_text())
    assert body["beside"] == "a test"
    assert body["machine"]["cores"] >= 1
    assert re.match(r"[0-9a-f]{7,}\+?$|unknown", body["machine"]["commit"])


def test_page_has_a_place_for_each_table() -> None:
    assert set(re.findall(r"<!-- table: (\w+) -->", PAGE.read_text())) == set(TABLES)


def test_tables_are_written_between_their_marks_only(tmp_path: Path) -> None:
    plans = measured(20, runs=1)
    given = {"plan": plans, "scale": [SCALE], "large": [SCALE], "admission": [ADMISSION]}
    given |= {"rollout": ROLLOUTS, "expiry": [EXPIRY]}
    assert set(given) == set(TABLES)
    for name, results in given.items():
        store(name, results, "a test", tmp_path / f"{name}.json")
    page = "before\n" + "".join(f"<!-- table: {n} -->\nformer\n<!-- end -->\n" for n in TABLES)
    written = render(page + "after\n", tmp_path)
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "former" not in written
    assert "| fail-over after `kill -9` | 16.0 s |" in written
    assert "| idle: writes in a minute, without the lease | 2 |" in written
    assert "| create | 1 | 40.0, 90.0 | 40.0, 90.0 | +0.0, +0.0 |" in written
    assert "| NodePool | none | 4 of 4 | 15.7 | 5 | 24 |" in written
    assert "| 20 | lifted | Deployment | 0.7 (0.6–0.9) | 189 | 289 | 0.25 |" in written
    assert written.count("What else ran on the machine: a test.") == len(TABLES)
    assert render(written, tmp_path) == written


def test_table_without_raw_results_stays(tmp_path: Path) -> None:
    page = "<!-- table: scale -->\nformer\n<!-- end -->\n"
    assert render(page, tmp_path) == page


def test_plot_has_a_bar_for_each_value() -> None:
    drawn = bars("title", "ms", [("at rest", 10.0), ("a < b", 20.0)])
    assert drawn.count("<rect") == 2
    assert "a &lt; b" in drawn
