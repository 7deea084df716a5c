"""Plays what the operator does, undisturbed or with a fault, and tells how it went."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cluster.faults.scenarios import SCENARIOS, NodeReplacement, Scenario
from tests.cluster.node_pools import Pool
from tests.cluster.operator_process import Operators
from tests.cluster.services import Service
from tests.cluster.write_proxy import WriteFault, WriteProxy
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.namespaces import fresh_namespace

__all__ = ["AGAIN", "ALL", "FAULTS", "NODE", "WRITES", "Outcome", "Stage"]

ALL = os.environ.get("FAULTS") == "all"
NODE = "replacement of a node"
WRITES = {name: scenario.writes for name, scenario in SCENARIOS.items()} | {NODE: 15}
"""The most writes of an undisturbed run; on a busy machine two of the status may become one."""
FAULTS = {fault.value: fault for fault in WriteFault}
AGAIN = "killed after the write, and again at the first write of the recovery"
TIMEOUT = 90.0
QUIET = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a run went: its writes until the fault, births and retirements, and the end."""

    writes: list[str]
    disturbed: bool
    born: int
    retired: int
    end: Json


class Stage:
    """Plays scenarios, with the operators and the proxy of a test."""

    def __init__(
        self,
        plane: ControlPlane,
        operators: Operators,
        proxy: WriteProxy,
        references: dict[str, Outcome],
    ) -> None:
        """``references`` are the undisturbed runs so far, by scenario."""
        self.plane, self.operators, self.proxy = plane, operators, proxy
        self.references = references
        self.quiet = QUIET
        self.began = 0.0

    @contextmanager
    def scenario(self, name: str) -> Iterator[Scenario]:
        """One that is ready to begin; what belongs to it is gone afterwards."""
        with fresh_namespace(self.plane) as namespace:
            if name == NODE:
                pool = Pool(self.plane, f"p{namespace[-6:]}")
                scenario: Scenario = NodeReplacement.of(pool, namespace)
            else:
                scenario = SCENARIOS[name].of(Service(self.plane, namespace, "web"))
            try:
                yield scenario
            finally:
                scenario.undo()

    def reference(self, name: str) -> Outcome:
        """The undisturbed run, which is played once a session."""
        if name not in self.references:
            with self.scenario(name) as scenario:
                self.references[name] = self.play(scenario)
        return self.references[name]

    def play(self, scenario: Scenario, fault: str = "", number: int = 0) -> Outcome:
        """Play it, with a fault at the write with this number if it has so many."""
        proxy, kill = self.proxy, self.operators.main.kill
        with scenario.recording() as recording:
            proxy.arm(number, FAULTS.get(fault, WriteFault.AFTER), kill)
            scenario.begin()
            scenario.until(
                "the fault happened, or it is done",
                lambda: proxy.happened.is_set() or self.is_done(scenario),
                TIMEOUT,
            )
            self.began = time.monotonic()
            writes, disturbed = list(proxy.writes), proxy.happened.is_set()
            if disturbed and fault != WriteFault.LOST:
                self.recover(scenario, again=fault == AGAIN)
            scenario.until(f"it is done, after {writes}", lambda: self.is_done(scenario), TIMEOUT)
            played = list(proxy.writes)
            proxy.calm()
            scenario.check(recording)
            changes = recording.changes()
            writes = writes if number else played
        born = sum(change.kind == "ADDED" for change in changes)
        retired = sum(change.kind == "DELETED" for change in changes)
        return Outcome(writes, disturbed, born, retired, scenario.end_state())

    def is_done(self, scenario: Scenario) -> bool:
        """Whether it is done, and the operator has nothing more to write about it."""
        return time.monotonic() - self.proxy.last > self.quiet and scenario.is_done()

    def recover(self, scenario: Scenario, *, again: bool) -> None:
        """Start the operator that was killed; ``again``: and kill it at its first write."""
        self.operators.free_lease()
        if again:
            self.proxy.arm(1, WriteFault.AFTER, lambda: self.operators.main.kill())
            self.operators.restart()
            scenario.until(
                "it was killed again, or had nothing left to write",
                lambda: self.proxy.happened.is_set() or self.is_done(scenario),
                TIMEOUT,
            )
            self.operators.free_lease()
        self.proxy.arm(0, WriteFault.AFTER, lambda: None)
        self.operators.restart()
        self.operators.main.until_leading()
