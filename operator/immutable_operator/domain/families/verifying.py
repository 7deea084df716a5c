"""Verification: what a new node needs before workloads may run on it."""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.families import Care, tried
from immutable_operator.domain.model import (
    Admit,
    Instance,
    Machine,
    Move,
    Obstacle,
    PoolSpec,
    Probe,
    View,
)

__all__ = ["NOT_VERIFIED", "Verifying"]

NOT_VERIFIED = "NotVerified"
# Seconds after which a ready node that is not verified counts as blocked.
PATIENCE = 60.0


@dataclass(frozen=True)
class Verifying:
    """What is to be done for a node that is not verified yet, or still keeps workloads off."""

    view: View
    pool: PoolSpec
    now: float

    def of(self, instance: Instance, machine: Machine) -> Care:
        """Return the next step: settle, smoke pod, admission."""
        if machine.verified is not None:
            return self._move(instance, Admit(instance.name, instance.uid), Move.ADMIT)
        deadline = instance.born + self.view.spec.progress_deadline_seconds
        if machine.lacks or machine.ready_since is None:
            return self._lacking(instance, machine, deadline)
        settled = max(machine.ready_since, machine.steady_since) + self.pool.settle_seconds
        if settled > self.now:
            note = f"{instance.name} waits for verify.settle"
            return Care(due=(settled,), notes=(note,))
        if self.pool.smoke is not None and machine.smoke != "Succeeded":
            if not machine.smoke:
                return self._move(instance, Probe(instance.name, instance.uid), Move.PROBE)
            return Care(due=(deadline,), notes=(f"{instance.name} waits for its smoke pod",))
        return self._move(instance, Admit(instance.name, instance.uid), Move.ADMIT)

    def _lacking(self, instance: Instance, machine: Machine, deadline: float) -> Care:
        lacks = machine.lacks[0] if machine.lacks else "its node is not ready"
        text = f"{instance.name} is not verified: {lacks}"
        since = machine.ready_since
        patient = None if since is None else since + PATIENCE
        if patient is None or patient > self.now:
            due = (deadline,) if patient is None else (patient, deadline)
            return Care(due=due, notes=(text,))
        wait = Obstacle(NOT_VERIFIED, text, f"node/{instance.node}")
        return Care(waits=(wait,), due=(deadline,), notes=(text,))

    def _move(self, instance: Instance, move: Admit | Probe, kind: Move) -> Care:
        return tried(self.view, self.now, move, kind, instance.name)
