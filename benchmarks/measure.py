"""What the benchmarks read of processes and of the machine, and how they store it.

Raw results are JSON files in ``benchmarks/raw``; ``benchmarks.report`` makes the tables of
``docs/performance.md`` from them.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["RAW", "Json", "cpu_seconds", "machine_name", "memory_mb", "quantile", "spread", "store"]

Json = dict[str, Any]
RAW = Path(__file__).parent / "raw"


def cpu_seconds(pid: int) -> float:
    """User and system time of a process in seconds, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process in MB (10^6 bytes); ``VmHWM`` is its highest value so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(f"/proc/{pid}/status has no {field}")


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    if not values:
        raise ValueError("there are no values to take a quantile of")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: Sequence[float]) -> Json:
    """Number, p50, p99 and maximum of measured seconds."""
    return {
        "count": len(values),
        "p50": quantile(values, 0.5),
        "p99": quantile(values, 0.99),
        "max": max(values),
    }


def store(name: str, results: Any, beside: str, path: Path | None = None) -> Path:
    """Write the raw results of a program, with the machine, the commit and the time.

    ``beside`` says what else ran on the machine: who reads the figures must know it.
    """
    target = path or RAW / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    body = {"machine": _machine(), "beside": beside, "results": results}
    target.write_text(json.dumps(body, indent=1) + "\n")
    return target


def machine_name() -> str:
    """The machine, the commit and the time in one line."""
    m = _machine()
    return (
        f"{m['cores']} cores ({m['processor']}), {m['memory_gb']} GB, Python {m['python']}, commit"
        f" {m['commit']}, {m['date']}"
    )


def _machine() -> Json:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 1e9),
        "processor": _processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    """The short commit; with a plus sign if files of the operator differ from it."""
    here = Path(__file__).parents[1]

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, check=False
        ).stdout.strip()

    changed = git("status", "--porcelain", "--", "operator")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
