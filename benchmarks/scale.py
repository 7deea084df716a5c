"""Measures one operator process with many services and pods on simulated nodes.

    python -m benchmarks.scale --services 500 --pods 5000

Reported are memory, CPU time, the cold start (from the lease to a plan of every service), the
reaction (from the deletion of a pod to the request that creates its successor, by the API server's
audit log), what an idle minute costs, the same reaction while one large service is rolled out, and
the fail-over: from the end of the leader to the next creation by the other replica.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.load import Load, until
from benchmarks.measure import Json, cpu_seconds, memory_mb, spread, store
from benchmarks.report import scale_table
from tests.cluster.audit import OperatorRequests
from tests.cluster.operator_process import Installation, OperatorProcess
from tests.controlplane import ControlPlane
from tests.controlplane.audit import WRITING_VERBS

BUSY = "busy/big"
QUIET_SECONDS = 5.0
# Without series of single services /metrics is cheap, and is asked often.
CHEAP = ("--owner-metrics=0",)
PLANNED = re.compile(r"^immutable_plan_seconds_count (\S+)$", re.MULTILINE)


def main() -> None:
    options = _options()
    say = Console(stderr=True).print
    with ControlPlane.start(say=say) as plane:
        results = [Bench(plane, options).run()]
    store("scale", results, options.beside, options.raw)
    print(scale_table(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--services", type=int, default=500)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--busy", type=int, default=200, help="pods of the busy service")
    parser.add_argument("--samples", type=int, default=100, help="deleted pods")
    parser.add_argument("--idle-seconds", type=float, default=60.0)
    parser.add_argument("--limit-seconds", type=float, default=1800.0, help="for each wait")
    parser.add_argument("--raw", type=Path, help="file for the raw results [benchmarks/raw]")
    parser.add_argument("--beside", default="nothing", help="what else ran on the machine")
    return parser.parse_args()


class Bench:
    """One run, in the order of its phases."""

    def __init__(self, plane: ControlPlane, options: argparse.Namespace) -> None:
        self._plane, self._options = plane, options
        self._say = Console(stderr=True).print
        self._load = Load(plane, options.services, options.pods, options.limit_seconds)
        self._installation = Installation.install(plane)
        self._victims = self._quiet_pods()

    def run(self) -> Json:
        found: Json = {"services": self._options.services, "pods": self._options.pods}
        with self._operator("first") as operator:
            operator.until_leading()
            found["empty_mb"] = memory_mb(operator.pid)
            found |= self._growth(operator)
            found["idle"] = self._idle(operator)
            found["reaction"] = self._reactions(self._options.samples)
            found["busy"] = self._beside_busy_service()
        found["cold_start"] = self._cold_start()
        found["failover_killed"] = self._failover(polite=False)
        found["failover_polite"] = self._failover(polite=True)
        return found

    @contextmanager
    def _operator(self, name: str, *flags: str) -> Iterator[OperatorProcess]:
        process = OperatorProcess(self._installation, name, flags)
        try:
            yield process
        finally:
            process.stop()

    def _growth(self, operator: OperatorProcess) -> Json:
        self._say("creating the services …")
        before = cpu_seconds(operator.pid)
        seconds = self._load.create()
        self._until_quiet()
        return {
            "converged_seconds": seconds,
            "converged_cpu_seconds": cpu_seconds(operator.pid) - before,
            "full_mb": memory_mb(operator.pid),
            "full_peak_mb": memory_mb(operator.pid, "VmHWM"),
        }

    def _idle(self, operator: OperatorProcess) -> Json:
        self._say("an idle time …")
        until("no service is planned", lambda: rests(operator), self._options.limit_seconds)
        asked, before = OperatorRequests.from_now(self._plane), cpu_seconds(operator.pid)
        time.sleep(self._options.idle_seconds)
        share = (cpu_seconds(operator.pid) - before) / self._options.idle_seconds
        writes = asked.writes(lease=True)
        others = sum(r.resource != "leases" for r in writes)
        return {
            "seconds": self._options.idle_seconds,
            "core_share": share,
            "writes": others,
            "lease_writes": len(writes) - others,
            "mb": memory_mb(operator.pid),
        }

    def _reactions(self, count: int) -> Json:
        self._say(f"{count} deletions …")
        return spread([self._reaction() for _ in range(count)])

    def _reaction(self) -> float:
        """Seconds from the deletion of a pod to the creation of its successor."""
        namespace, name = next(self._victims)
        asked = OperatorRequests.from_now(self._plane, namespace)
        began = self._delete(namespace, name)
        return self._until_created(asked) - began

    def _delete(self, namespace: str, name: str) -> float:
        """Delete a pod; return when the API server got the request, in seconds since 1970."""
        mark = self._plane.audit().mark()
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self._plane.api().request("DELETE", path)
        deletions = (r for r in self._plane.audit().since(mark) if r.verb == "delete")
        return next(r.received for r in deletions if (r.resource, r.name) == ("pods", name))

    def _until_created(self, asked: OperatorRequests) -> float:
        """When the first pod was created since; by the same clock."""
        found: list[float] = []

        def created() -> bool:
            found.extend(
                r.received for r in asked if (r.verb, r.target, r.code) == ("create", "pods", 201)
            )
            return bool(found)

        until("a successor is created", created, self._options.limit_seconds, pause=0.02)
        return found[0]

    def _quiet_pods(self) -> Iterator[tuple[str, str]]:
        """Pods of one service after the other; each service is used once in a round."""
        while True:
            for key in list(self._load.sizes):
                namespace, _, name = key.partition("/")
                path = f"/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{name}&limit=5"
                pods = self._plane.api().get(path)["items"]
                there = [p for p in pods if not p["metadata"].get("deletionTimestamp")]
                if there:
                    yield namespace, there[0]["metadata"]["name"]

    def _beside_busy_service(self) -> Json:
        """Reactions of quiet services while a large one is rolled out, and how long that takes."""
        self._say("a busy service beside them …")
        self._load.add(BUSY, self._options.busy)
        self._until_quiet()
        self._load.change(BUSY, "b")
        began, seconds = time.monotonic(), []
        while not self._load.is_ready(BUSY):
            seconds.append(self._reaction())
        return {
            "pods": self._options.busy,
            "rollout_seconds": time.monotonic() - began,
            "reaction": spread(seconds) if seconds else None,
        }

    def _cold_start(self) -> Json:
        self._say("a cold start …")
        began = datetime.now(UTC)
        with self._operator("cold") as operator:
            operator.until_leading(self._options.limit_seconds)
            # By its log: each look at its metrics would take time of the cold start.
            until("all are planned", lambda: bool(operator.records("planned all")), 600, pause=0.5)
            self._until_quiet()
            synced, led, planned_all = (
                datetime.fromisoformat(operator.records(event)[0]["timestamp"])
                for event in ("synced", "leading", "planned all")
            )
            return {
                "start_to_planned_seconds": (planned_all - began).total_seconds(),
                "lease_to_planned_seconds": (planned_all - led).total_seconds(),
                "synced_to_lease_seconds": (led - synced).total_seconds(),
                "mb": memory_mb(operator.pid),
                "peak_mb": memory_mb(operator.pid, "VmHWM"),
            }

    def _failover(self, *, polite: bool) -> float:
        """Seconds from the signal that ends the leader to the first creation by the other replica.

        The pod whose successor is created is deleted as soon as the leader writes no more.
        """
        self._say("a fail-over, " + ("polite …" if polite else "kill -9 …"))
        with self._operator("leader", *CHEAP) as leader:
            leader.until_leading(self._options.limit_seconds)
            with self._operator("standby", *CHEAP) as standby:
                standby.until_synced()
                self._until_quiet()
                namespace, name = next(self._victims)
                asked = OperatorRequests.from_now(self._plane, namespace)
                began = datetime.now().timestamp()
                if polite:
                    leader.terminate()
                    _until_released(leader)
                else:
                    leader.kill()
                self._delete(namespace, name)
                seconds = self._until_created(asked) - began
                self._say("  " + ", ".join(_steps([leader, standby], began)))
                return seconds

    def _until_quiet(self) -> None:
        """Until the operator has written nothing but its lease for some seconds."""

        def is_quiet() -> bool:
            asked = OperatorRequests.from_now(self._plane)
            time.sleep(QUIET_SECONDS)
            return not [r for r in asked if r.verb in WRITING_VERBS and r.resource != "leases"]

        # Lineages are written ten seconds after the last change.
        time.sleep(2 * QUIET_SECONDS)
        until("the operator is quiet", is_quiet, self._options.limit_seconds, pause=0)


def _steps(operators: Sequence[OperatorProcess], began: float) -> Iterator[str]:
    """What their logs say since then, in the order of time, with the seconds."""
    said = [record for operator in operators for record in operator.records()]
    for record in sorted(said, key=lambda record: str(record["timestamp"])):
        seconds = datetime.fromisoformat(record["timestamp"]).timestamp() - began
        if seconds >= 0:
            yield f"{record['event']} after {seconds:.2f} s"


def _until_released(leader: OperatorProcess) -> None:
    what = "the lease is given back"
    until(what, lambda: bool(leader.records("lease released")), 60, pause=0.005)


def planned(operator: OperatorProcess) -> float:
    """How many plans this process has made."""
    found = PLANNED.search(operator.get("/metrics")[1])
    return float(found[1]) if found else 0.0


def rests(operator: OperatorProcess) -> bool:
    """Whether this process makes no plan for some seconds: what was written is planned again."""
    before = planned(operator)
    time.sleep(QUIET_SECONDS)
    return planned(operator) == before


if __name__ == "__main__":
    main()
