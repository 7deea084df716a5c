"""``python -m tests.soak --hours 0.05 --seed 7``: exit code 1 if something did not hold.

Two replicas of the operator, some services and node pools, random users and faults; afterwards
everything must come to rest. The report is build/soak/soak.md.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

from rich.console import Console

from benchmarks.measure import machine_name, memory_mb
from tests.cluster.audit import OperatorRequests
from tests.cluster.guards import until_in_force, until_kinds_are_known
from tests.cluster.node_pools import Pool
from tests.cluster.operator_process import USER, Installation
from tests.cluster.services import Service, condition
from tests.cluster.write_proxy import WriteProxy
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.namespaces import fresh_namespace
from tests.soak.faults import LEASE_SECONDS, Faults
from tests.soak.judge import judge
from tests.soak.replicas import Replicas
from tests.soak.report import Report, Sample
from tests.soak.seen import Watcher
from tests.soak.users import Users
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
FLAGS = ("--nodes", "--simulated-nodes")
VALUES = "nodes.enabled=true,nodes.simulated=true"
NODES, SERVICES = 6, 5
# The mean between two deeds of users, and between two faults.
DEED_SECONDS, FAULT_SECONDS = 2.0, 10.0
SAMPLE_SECONDS = 5.0
REST_SECONDS, QUIET_SECONDS = 300.0, 15.0
# A leader that sleeps for longer than its lease acts on what it knew before, until it is fenced.
LAG_SECONDS = 2 * LEASE_SECONDS + 10


def main() -> int:
    options = _options()
    say = Console(stderr=True).print
    with ControlPlane.start(say=say) as plane:
        plane.add_nodes(NODES)
        installation = Installation.install(plane, "--set", VALUES)
        until_in_force(plane)
        until_kinds_are_known(plane, USER)
        with WriteProxy(plane) as proxy:
            replicas = Replicas(installation, FLAGS, proxy.url)
            try:
                report = Soak(plane, replicas, proxy, options).run()
            finally:
                replicas.stop()
    path = report.write(options.into)
    say(report.text())
    say(f"The report is {path}.")
    return 0 if report.holds else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "soak")
    return parser.parse_args()


class Soak:
    """One run: create, disturb, let it come to rest, judge."""

    def __init__(
        self,
        plane: ControlPlane,
        replicas: Replicas,
        proxy: WriteProxy,
        options: argparse.Namespace,
    ) -> None:
        self._plane, self._replicas, self._proxy = plane, replicas, proxy
        self._seconds = options.hours * 3600
        self._chance = random.Random(options.seed)
        self._report = Report(options.seed, options.hours * 60, machine_name())
        self._asked = OperatorRequests.from_now(plane)
        self._writes = 0
        self._services: list[Service] = []
        self._pools = [Pool(plane, "soak-pool")]

    def run(self) -> Report:
        for number in range(SERVICES):
            context = fresh_namespace(self._plane, f"soak-{number}")
            self._services.append(Service(self._plane, context.__enter__(), "web"))
        with Watcher(self._plane) as watcher:
            users = Users(self._plane, self._services, self._pools, self._chance, watcher.take)
            faults = Faults(self._plane, self._replicas, self._proxy, self._chance, watcher.take)
            users.prepare()
            self._disturb(users, faults)
            faults.calm()
            users.calm()
            self._come_to_rest()
            events, gaps = watcher.events(), watcher.gaps()
        self._report.judgement = judge(events, LAG_SECONDS)
        self._report.failures += [f"a watch has a gap: {gap}" for gap in gaps]
        self._report.failures += self._replicas.deaths
        self._report.cut_off = self._replicas.cut_off
        self._report.failures += [str(r["exception"]) for r in self._replicas.exceptions()]
        return self._report

    def _disturb(self, users: Users, faults: Faults) -> None:
        began = time.monotonic()
        ends, sampled = began + self._seconds, 0.0
        deed, fault = began, began + FAULT_SECONDS
        while (now := time.monotonic()) < ends:
            self._replicas.refill()
            if now >= deed:
                self._note(began, users.act())
                deed = now + self._chance.expovariate(1 / DEED_SECONDS)
            if now >= fault:
                self._note(began, faults.act())
                fault = now + self._chance.expovariate(1 / FAULT_SECONDS)
            if now >= sampled:
                self._sample((now - began) / 60)
                sampled = now + SAMPLE_SECONDS
            time.sleep(0.1)

    def _note(self, began: float, deed: str) -> None:
        self._report.deeds.append(f"{deed} (at {time.monotonic() - began:.1f} s)")

    def _sample(self, minute: float) -> None:
        """Only the audit log since the last sample is read."""
        mark = self._plane.audit().mark()
        self._writes += len(self._asked.writes())
        self._asked = OperatorRequests(self._plane, mark)
        if (leader := self._replicas.leader()) is not None:
            try:
                mb = memory_mb(leader.pid)
            except (OSError, LookupError):
                return  # it ended just now
            self._report.samples.append(Sample(minute, leader.name, mb, self._writes))

    def _come_to_rest(self) -> None:
        """Until each object says that all is done or why not, and nothing is written any more."""
        objects: dict[str, Service | Pool] = {
            f"{web.namespace}/{web.name}": web for web in self._services
        }
        objects |= {pool.name: pool for pool in self._pools}

        def resting() -> bool:
            self._replicas.refill()
            found = {name: state(item.get()) for name, item in objects.items()}
            self._report.resting = found
            return all(found.values())

        try:
            wait_for("all come to rest", resting, REST_SECONDS)
            quiet = OperatorRequests.from_now(self._plane)
            self._until_quiet(quiet)
            wait_for("all are still at rest", resting, REST_SECONDS)
        except AssertionError as error:
            shown = [str(item.get()) for name, item in objects.items() if not state(item.get())]
            self._report.failures.append("\n".join([str(error), *shown]))

    def _until_quiet(self, asked: OperatorRequests) -> None:
        last, since = -1, time.monotonic()

        def quiet() -> bool:
            nonlocal last, since
            self._replicas.refill()
            if (count := len(asked.writes())) != last:
                last, since = count, time.monotonic()
            return time.monotonic() - since > QUIET_SECONDS

        wait_for("the operator writes nothing", quiet, REST_SECONDS, asked.tally)


def state(body: Json) -> str:
    """The condition, reason and message with which an object rests; "" while it does not."""
    status = body.get("status", {})
    if status.get("observedGeneration") != body["metadata"]["generation"]:
        return ""
    for kind in ("Ready", "Stalled"):
        told = condition(body, kind)
        if told.get("status") == "True" and told.get("reason") and told.get("message"):
            return f"{kind}, {told['reason']}: {told['message']}"
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
