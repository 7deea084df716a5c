"""Writes the tables and plots of ``docs/performance.md`` from the raw results.

    python -m benchmarks.report                     # after any of the benchmarks

The text of the page is written by hand; what stands between two comments ``table: <name>`` and
``end`` is replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import RAW, Json
from benchmarks.plot import bars

__all__ = [
    "TABLES",
    "admission_table",
    "expiry_table",
    "main",
    "plan_table",
    "render",
    "rollout_table",
    "scale_table",
]

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
PLOT = DOCS / "images" / "plan.svg"
_SECTION = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def scale_table(results: Sequence[Json]) -> str:
    """One row for each figure, one column for each run."""
    heads = [f"{r['services']} services, {r['pods']} pods" for r in results]
    figures: Mapping[str, Callable[[Json], str]] = {
        "memory (RSS), empty": lambda r: f"{r['empty_mb']:.0f} MB",
        "memory with all of them, and its peak": lambda r: (
            f"{r['full_mb']:.0f} MB, {r['full_peak_mb']:.0f} MB"
        ),
        "memory after a restart, and its peak": lambda r: (
            f"{r['cold_start']['mb']:.0f} MB, {r['cold_start']['peak_mb']:.0f} MB"
        ),
        "created until all are current": lambda r: f"{r['converged_seconds']:.0f} s",
        "CPU time of the operator for that, a pod": lambda r: (
            f"{r['converged_cpu_seconds'] * 1000 / r['pods']:.1f} ms"
        ),
        "cold start: lease until all are planned": lambda r: (
            f"{r['cold_start']['lease_to_planned_seconds']:.1f} s"
        ),
        "cold start: process until all are planned": lambda r: (
            f"{r['cold_start']['start_to_planned_seconds']:.1f} s"
        ),
        "reaction to a lost pod, p50 and p99": lambda r: _reaction(r["reaction"]),
        "the same beside a rollout of a large service": lambda r: (
            _reaction(r["busy"]["reaction"]) + f" ({r['busy']['pods']} pods)"
        ),
        "rollout of that service": lambda r: f"{r['busy']['rollout_seconds']:.1f} s",
        "idle: share of a core": lambda r: f"{r['idle']['core_share'] * 100:.2f} %",
        "idle: writes in a minute, without the lease": lambda r: (
            f"{r['idle']['writes'] * 60 / r['idle']['seconds']:.0f}"
        ),
        "fail-over after `kill -9`": lambda r: f"{r['failover_killed']:.1f} s",
        "fail-over after a polite end": lambda r: f"{r['failover_polite']:.1f} s",
    }
    rows = [[what, *(show(r) for r in results)] for what, show in figures.items()]
    return _markdown(["", *heads], rows)


def _reaction(found: Json | None) -> str:
    if found is None:
        return "none in that time"
    return f"{_ms(found['p50'])}, {_ms(found['p99'])}, of {found['count']}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def admission_table(results: Sequence[Json]) -> str:
    """Latencies with and without, and what is added; a row for each request and concurrency."""
    rows = []
    for r in results:
        without, with_ = r["without"], r["with"]
        added = [_signed(with_[q] - without[q]) for q in ("p50", "p99")]
        before = ", ".join(f"{without[q] * 1000:.1f}" for q in ("p50", "p99"))
        after = ", ".join(f"{with_[q] * 1000:.1f}" for q in ("p50", "p99"))
        rows.append([r["request"], str(r["at_once"]), before, after, ", ".join(added)])
    heads = ["request", "at once", "without, ms: p50, p99", "with, ms: p50, p99", "added, ms"]
    return _markdown(heads, rows)


def _signed(seconds: float) -> str:
    return f"{seconds * 1000:+.1f}"


def rollout_table(results: Sequence[Json]) -> str:
    """A row for each number of pods and contender: medians, and the range of the seconds."""
    rows = []
    for pods, limits in sorted({(r["pods"], r["limits"]) for r in results}):
        for contender in dict.fromkeys(r["contender"] for r in results):
            its = (contender, pods, limits)
            runs = [r for r in results if (r["contender"], r["pods"], r["limits"]) == its]
            if not runs:
                continue
            seconds, writes, cpu, every = (
                [r["seconds"] for r in runs],
                [r["controller_writes"] for r in runs],
                [r["cpu_seconds"] for r in runs],
                [sum(r["writes"].values()) for r in runs],
            )
            rows.append(
                [
                    str(pods),
                    limits,
                    contender,
                    f"{median(seconds):.1f} ({min(seconds):.1f}–{max(seconds):.1f})",
                    f"{median(writes):.0f}",
                    f"{median(every):.0f}",
                    f"{median(cpu):.2f}",
                ]
            )
    heads = [
        "pods",
        "limits",
        "",
        "seconds (range)",
        "writes of its controllers",
        "all writes",
        "CPU-s",
    ]
    return _markdown(heads, rows)


def expiry_table(results: Sequence[Json]) -> str:
    """A row for each kind of pool, with and without a budget of the pods on its nodes."""
    rows = [
        [
            r["contender"],
            "one pod away" if r["budget"] else "none",
            f"{r['pods'] - r['fewest_ready']} of {r['pods']}",
            f"{r['lost']:.1f}",
            str(r["started"]),
            f"{r['seconds']:.0f}",
        ]
        for r in results
    ]
    heads = ["", "budget", "pods missing at once", "pod-seconds lost", "pods started", "seconds"]
    return _markdown(heads, rows)


def plan_table(results: Sequence[Json]) -> str:
    """A row for each case, a column for each number of instances; CPU time in ms."""
    sizes = sorted({r["instances"] for r in results})
    cases = list(dict.fromkeys(r["case"] for r in results))
    known = {(r["case"], r["instances"]): f"{r['seconds'] * 1000:.0f}" for r in results}
    rows = [[case, *(known[case, size] for size in sizes)] for case in cases]
    return _markdown(["CPU ms of one plan", *map(str, sizes)], rows)


def _plan_plot(results: Sequence[Json]) -> None:
    most = max(r["instances"] for r in results)
    rows = [(r["case"], r["seconds"] * 1000) for r in results if r["instances"] == most]
    PLOT.write_text(bars(f"One plan of a service of {most} instances, CPU time", "ms", rows))


TABLES: Mapping[str, Callable[[Sequence[Json]], str]] = {
    "plan": plan_table,
    "scale": scale_table,
    "large": scale_table,
    "admission": admission_table,
    "rollout": rollout_table,
    "expiry": expiry_table,
}


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _section(name: str, raw: Path) -> str:
    body = json.loads((raw / f"{name}.json").read_text())
    return f"\n{TABLES[name](body['results'])}\n{_measured_on(body)}\n\n"


def _measured_on(body: Mapping[str, Any]) -> str:
    m = body["machine"]
    return (
        f"Measured on {m['date']} at commit `{m['commit']}`: {m['cores']} cores"
        f" ({m['processor']}), {m['memory_gb']} GB, Linux {m['kernel']}, Python {m['python']}."
        f" What else ran on the machine: {body['beside']}."
    )


def render(page: str, raw: Path) -> str:
    """Return the page with each table for which there are raw results written anew."""

    def fresh(found: re.Match[str]) -> str:
        if not (raw / f"{found[2]}.json").exists():
            return found[0]
        return f"{found[1]}{_section(found[2], raw)}{found[3]}"

    return _SECTION.sub(fresh, page)


def main() -> None:
    PAGE.write_text(render(PAGE.read_text(), RAW))
    plan = RAW / "plan.json"
    if plan.exists():
        _plan_plot(json.loads(plan.read_text())["results"])


if __name__ == "__main__":
    main()
