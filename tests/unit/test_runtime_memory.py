"""What the loop remembers of instances that are gone."""

from __future__ import annotations

from dataclasses import replace

from immutable_operator.domain.model import Instance, Revision, Status
from immutable_operator.runtime.memory import OwnerMemory

HERE = Instance("web-0", "u0", "0a1b2c3d", 0, 0, born=0.0)
ENDED = replace(HERE, ended=True)


def test_sent_number_is_remembered_until_its_revision_is_on_record() -> None:
    memory = OwnerMemory()
    memory.sent_numbers = {"0a1b2c3d": 4, "1a1b2c3d": 5}
    assert memory.unanswered_numbers(()) == {"0a1b2c3d": 4, "1a1b2c3d": 5}
    there = Revision("0a1b2c3d", 4, "v3:" + "0" * 64, "web-im0a1b2c3d", "uid")
    assert memory.unanswered_numbers((there,)) == {"1a1b2c3d": 5}


def test_remembered_numbers_are_bounded() -> None:
    memory = OwnerMemory()
    memory.sent_numbers = {f"{n:08x}": n for n in range(100)}
    assert list(memory.unanswered_numbers(()).values()) == list(range(84, 100))


def test_instance_that_ended_before_any_plan_observed_it_departed() -> None:
    assert OwnerMemory().departed((), {"web-0": ENDED}) == (ENDED,)


def test_instance_that_vanished_before_the_first_plan_is_unknown() -> None:
    assert OwnerMemory().departed((), {"web-0": HERE}) == ()


def test_instance_that_was_born_and_vanished_between_two_plans_departed() -> None:
    """Otherwise its successor would get its name, and would not say what it replaces."""
    memory = OwnerMemory()
    memory.planned = Status()
    assert memory.departed((), {"web-0": HERE}) == (HERE,)


def test_reason_that_is_found_out_later_replaces_what_was_known() -> None:
    memory = OwnerMemory()
    memory.departed((HERE,), {})
    assert memory.departed((), {}) == (HERE,)
    assert memory.departed((), {"web-0": ENDED}) == (ENDED,)


def test_instance_of_the_same_name_that_is_there_did_not_depart() -> None:
    assert OwnerMemory().departed((HERE,), {"web-0": ENDED}) == ()
