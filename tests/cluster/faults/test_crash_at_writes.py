"""A fault at each write of what the operator does: the end is that of an undisturbed run.

Each run is compared with an undisturbed one: what is there at its end, how many instances were
created and retired, and whether the limits of the rollout held at each moment.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.cluster.faults.report import Report
from tests.cluster.faults.stage import AGAIN, ALL, FAULTS, WRITES, Stage
from tests.cluster.write_proxy import WriteFault


def points() -> Iterator[tuple[str, str, int]]:
    """Scenario, fault and number of the write of each run."""
    for name, most in WRITES.items():
        if ALL:
            for fault in (*FAULTS, AGAIN):
                yield from ((name, fault, number) for number in range(1, most + 1))
            continue
        yield from ((name, WriteFault.AFTER.value, number) for number in range(1, most + 1, 4))
        yield name, WriteFault.BEFORE.value, 3
        yield name, WriteFault.LOST.value, 2
        yield name, AGAIN, 3


@pytest.mark.parametrize(("name", "fault", "number"), list(points()))
def test_fault_at_a_write_ends_as_an_undisturbed_run(
    stage: Stage, report: Report, name: str, fault: str, number: int
) -> None:
    reference = stage.reference(name)
    assert len(reference.writes) <= WRITES[name], reference.writes
    seconds = None
    try:
        with stage.scenario(name) as scenario:
            outcome = stage.play(scenario, fault, number)
        assert outcome.disturbed or number > len(reference.writes) - 2, outcome.writes
        assert outcome.end == reference.end, outcome.writes
        counts = (outcome.born, outcome.retired)
        assert counts == (reference.born, reference.retired), outcome.writes
        seconds = time.monotonic() - stage.began
    finally:
        report.add(name, fault, seconds)
