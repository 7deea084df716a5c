"""Which generation of an instance is rightful, gates or not, seen from its birth or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from immutable_operator.domain.model import Instance
from immutable_operator.instances.pods.codec import PodRecord
from immutable_operator.runtime.evidence import Baselines


def seen(
    generation: int, *, node: str | None = None, gated: bool = False, edited: bool = False
) -> PodRecord:
    instance = Instance("web-1", "u", "deadbeef", 0, 0, 0.0, node=node)
    instance = replace(instance, generation=generation, gated=gated, edited=edited)
    return PodRecord("u", "owner", instance)


def rightful(*sights: PodRecord) -> Iterator[int | None]:
    """What one process says after each sight of a pod."""
    baselines = Baselines()
    for sight in sights:
        yield baselines.of([sight]).get("u")


def test_ungated_instance_has_generation_one_as_its_baseline() -> None:
    """An edit before the binding to a node counts as well."""
    pending, edited = seen(1), seen(2, node="n1")
    assert list(rightful(pending, edited)) == [1, 1]


def test_removal_of_a_scheduling_gate_is_no_edit() -> None:
    gated, admitted = seen(1, gated=True), seen(2)
    running, later = seen(3, node="n1"), seen(4, node="n1")
    assert list(rightful(gated, admitted, running, later)) == [None, None, 3, 3]


def test_baseline_after_a_restart_is_read_from_the_pod() -> None:
    admitted, tampered = seen(2, node="n1"), seen(3, node="n1", edited=True)
    assert list(rightful(admitted)) == [2]
    assert list(rightful(tampered)) == [1]


def test_edit_at_the_time_of_binding_is_distinguished_from_the_gate() -> None:
    gated, both = seen(1, gated=True), seen(3, node="n1", edited=True)
    assert list(rightful(gated, both)) == [None, 1]


def test_evidence_of_deleted_pods_is_forgotten() -> None:
    baselines = Baselines()
    baselines.of([seen(1)])
    assert baselines.of([]) == {}
