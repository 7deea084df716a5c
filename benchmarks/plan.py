"""Measures how long one plan takes for one service of many instances; needs no cluster.

    python -m benchmarks.plan                       # 500, 1000, 2000 and 5000 instances

A plan is a pure function, so that its CPU time is measured alone: the lowest of several runs, with
the thresholds of the garbage collector that the operator sets.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Json, store
from immutable_operator.domain.model import Instance, Trouble, TroubleKind, View, instance_name
from immutable_operator.domain.planner import plan
from tests.unit.given import NOW, REVISIONS, SERVICE, UID, settled, view

RUNS = 9


def instances(letter: str, count: int, **changes: Any) -> list[Instance]:
    """Ready instances of a revision, on 50 nodes; ``changes`` are fields of all of them."""
    revision = REVISIONS[letter].id
    return [
        replace(
            Instance(
                name=instance_name(SERVICE, UID, revision, slot, 0),
                uid=f"uid-{letter}{slot}",
                revision=revision,
                slot=slot,
                incarnation=0,
                born=NOW - 5000 + slot * 0.001,
                ready_since=NOW - 1000,
                node=f"n{slot % 50}",
            ),
            **changes,
        )
        for slot in range(count)
    ]


def _at_rest(n: int) -> View:
    return view(instances=instances("A", n), replicas=n)


def _begins(n: int) -> View:
    return view(instances=instances("A", n), replicas=n, wanted="B", max_surge="25%")


def _half_done(n: int) -> View:
    both = instances("A", n // 2) + instances("B", n - n // 2)
    return view(instances=both, replicas=n, wanted="B", max_surge="25%")


def _waits(n: int) -> View:
    both = instances("A", n) + instances("B", n // 4, ready_since=None)
    return view(instances=both, replicas=n, wanted="B", max_surge="25%")


def _fails(n: int) -> View:
    trouble = Trouble(TroubleKind.UNSCHEDULABLE, "no node has room", settled=True)
    both = instances("A", n)[n // 10 :]
    both += instances("B", n // 4, ready_since=None, trouble=trouble)
    return view(instances=both, replicas=n, wanted="B", max_surge="25%")


def _lost(n: int) -> View:
    gone = n // 5
    known = instances("A", n)
    departed = tuple(replace(i, terminating=True) for i in known[:gone])
    return replace(view(instances=known[gone:], replicas=n), departed=departed)


def _modified(n: int) -> View:
    return view(instances=instances("A", n, taint="its labels were changed"), replicas=n)


CASES: Mapping[str, Callable[[int], View]] = {
    "at rest": _at_rest,
    "a rollout begins": _begins,
    "half of the rollout is done": _half_done,
    "the surge is not ready yet": _waits,
    "the new revision finds no node, a tenth of the old one is lost": _fails,
    "a fifth was lost with its nodes": _lost,
    "all were modified": _modified,
}


def measured(count: int, runs: int = RUNS) -> list[Json]:
    """CPU seconds of one plan of a service of ``count`` instances, in each case."""
    found = []
    for case, given in CASES.items():
        seen = settled(given(count), NOW)
        seconds, actions = [], 0
        for _ in range(runs):
            began = time.process_time()
            actions = len(plan(seen, NOW).actions)
            seconds.append(time.process_time() - began)
        found.append({"case": case, "instances": count, "seconds": min(seconds), "moves": actions})
    return found


def main() -> None:
    options = _options()
    gc.set_threshold(100_000, 50, 100)  # as runtime/main.py
    results = [row for count in options.instances for row in measured(count)]
    shown = Table("instances", "case", "CPU ms", "moves")
    for row in results:
        milliseconds = f"{row['seconds'] * 1000:.1f}"
        shown.add_row(str(row["instances"]), row["case"], milliseconds, str(row["moves"]))
    Console().print(shown)
    store("plan", results, options.beside, options.raw)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--instances", type=int, nargs="+", default=[500, 1000, 2000, 5000])
    parser.add_argument("--raw", type=Path, help="file for the raw results [benchmarks/raw]")
    parser.add_argument("--beside", default="nothing", help="what else ran on the machine")
    return parser.parse_args()


if __name__ == "__main__":
    main()
