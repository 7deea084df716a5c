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


def test_an_instance_without_gates_is_as_it_was_born() -> None:
    """An edit before it got its node is an edit, too."""
    pending, edited = seen(1), seen(2, node="n1")
    assert list(rightful(pending, edited)) == [1, 1]


def test_gates_that_somebody_put_on_a_pod_may_be_taken_off() -> None:
    gated, admitted = seen(1, gated=True), seen(2)
    running, later = seen(3, node="n1"), seen(4, node="n1")
    assert list(rightful(gated, admitted, running, later)) == [None, None, 3, 3]


def test_after_a_restart_the_pod_itself_tells() -> None:
    admitted, tampered = seen(2, node="n1"), seen(3, node="n1", edited=True)
    assert list(rightful(admitted)) == [2]
    assert list(rightful(tampered)) == [1]


def test_an_edit_that_comes_with_the_node_is_told_from_the_gate() -> None:
    gated, both = seen(1, gated=True), seen(3, node="n1", edited=True)
    assert list(rightful(gated, both)) == [None, 1]


def test_those_that_are_gone_are_forgotten() -> None:
    baselines = Baselines()
    baselines.of([seen(1)])
    assert baselines.of([]) == {}
