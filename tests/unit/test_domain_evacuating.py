"""Nodes that go: successors elsewhere first, and no instance is retired for a mere cordon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.model import (
    Because,
    Canary,
    Create,
    Freeze,
    NodeEnd,
    Pause,
    Reason,
    Retire,
    SetReplicas,
    Status,
    Trouble,
    TroubleKind,
    View,
)
from immutable_operator.domain.status.tell import prepared
from tests.unit.both_families import plan
from tests.unit.given import (
    NOW,
    REVISIONS,
    begun,
    condition,
    fleet,
    moves,
    name_of,
    view,
    with_verdict,
)

DISRUPTED = {"n2": NodeEnd(NOW - 5, "has the taint karpenter.sh/disrupted")}
CORDONED = {"n2": NodeEnd(NOW - 5, "is cordoned", announced=False)}
THERE = {"node": "n2"}
A = REVISIONS["A"].id


def leaving(drawn: str, ends: dict[str, NodeEnd], *, spec: Any = None, **on: Any) -> View:
    """A service with instances on a node that goes."""
    return replace(view(instances=fleet(drawn, **on), **(spec or {})), ends=ends)


TABLE: list[tuple[str, dict[str, Any], dict[str, NodeEnd], dict[str, Any], str]] = [
    ("no instance is on it", {}, DISRUPTED, {}, ""),
    ("successor first", {"A0": THERE}, DISRUPTED, {}, "create A0'"),
    ("within the surge", {"A0": THERE, "A1": THERE}, DISRUPTED, {}, "create A0'"),
    ("all at once", {"A0": THERE, "A1": THERE}, DISRUPTED, {"max_surge": 2}, "create A0' A1'"),
    ("without a surge", {"A0": THERE}, DISRUPTED, {"max_surge": 0}, "retire A0"),
    ("suspended", {"A0": THERE}, DISRUPTED, {"suspend": True}, ""),
    ("born there knowingly", {"A0": {**THERE, "born": NOW - 4}}, DISRUPTED, {}, ""),
    ("cordoned", {"A0": THERE}, CORDONED, {}, ""),
    ("cordoned, protected", {"A0": THERE}, CORDONED, {"drain_protection": True}, "create A0'"),
]


@pytest.mark.parametrize(
    ("on", "ends", "spec", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_first_move_for_a_node_that_goes(
    on: dict[str, Any], ends: dict[str, NodeEnd], spec: dict[str, Any], expected: str
) -> None:
    assert moves(plan(leaving("A ###", ends, spec=spec, **on), NOW)) == expected


HEIR = {
    "slot": 0,
    "incarnation": 1,
    "replaces": name_of("A0"),
    "replaces_uid": "uid-A0",
    "because": Because(Reason.EVACUATING, "node n2 has the taint karpenter.sh/disrupted"),
}


def test_successor_says_which_node_its_predecessor_leaves() -> None:
    (birth,) = plan(leaving("A ###", DISRUPTED, A0=THERE), NOW).actions
    assert isinstance(birth, Create)
    assert birth.replaces_uid == "uid-A0"
    assert str(birth.because) == "Evacuating: node n2 has the taint karpenter.sh/disrupted"


def test_predecessor_is_retired_once_its_successor_is_available() -> None:
    starting = leaving("A ###.", DISRUPTED, A0=THERE, A3=HEIR)
    assert moves(plan(starting, NOW)) == ""
    (retired,) = plan(leaving("A ####", DISRUPTED, A0=THERE, A3=HEIR), NOW).actions
    assert isinstance(retired, Retire)
    assert retired.uid == "uid-A0"
    assert retired.because.reason is Reason.EVACUATING
    assert not retired.by_will  # it is evicted: budgets are asked


def test_taint_taken_off_ends_it_with_the_surplus_alone() -> None:
    decided = plan(leaving("A ####", {}, A0=THERE, A3=HEIR), NOW)
    (retired,) = decided.actions
    assert isinstance(retired, Retire)
    assert retired.because.reason is Reason.SCALED
    assert moves(plan(leaving("A ###", {}, A0=THERE), NOW)) == ""


def test_successor_that_is_placed_on_the_same_node_stays_there() -> None:
    """It tolerates the taint: another successor would be placed there as well, without an end."""
    there = {**HEIR, **THERE, "born": NOW - 2}
    assert moves(plan(leaving("A ####", DISRUPTED, A0=THERE, A3=there), NOW)) == "retire A0"
    assert moves(plan(leaving("A -###", DISRUPTED, A0=THERE, A3=there), NOW)) == ""


def test_successor_created_in_the_second_of_the_announcement_stays_there() -> None:
    ends = {"n2": NodeEnd(NOW - 4.3, "has the taint karpenter.sh/disrupted")}
    there = {**HEIR, **THERE, "born": NOW - 5}
    assert moves(plan(leaving("A -###", ends, A0=THERE, A3=there), NOW)) == ""
    other = {**there, "because": Because(Reason.EVACUATING, "node n9 is being deleted")}
    assert moves(plan(leaving("A -###", ends, A0=THERE, A3=other), NOW)) != ""


def test_evacuation_is_reported_as_ready() -> None:
    status = plan(leaving("A ####", DISRUPTED, A0=THERE, A3=HEIR), NOW).status
    assert condition(status) == "Ready Evacuating"


def test_prepared_instance_stays_until_another_client_evicts_it() -> None:
    protected = {"drain_protection": True}
    ready = leaving("A ####", CORDONED, spec=protected, A0=THERE, A3=HEIR)
    decided = plan(ready, NOW)
    assert moves(decided) == ""
    assert condition(decided.status) == "Ready Current"
    assert decided.status is not None
    assert prepared(1) in decided.status.conditions[0].message
    evicted = leaving("A -###", CORDONED, spec=protected, A0=THERE, A3=HEIR)
    assert moves(plan(evicted, NOW)) == ""
    uncordoned = leaving("A ####", {}, spec=protected, A0=THERE, A3=HEIR)
    assert moves(plan(uncordoned, NOW)).startswith("retire A")


def test_all_nodes_cordoned_retires_no_instance() -> None:
    on = {f"A{slot}": THERE for slot in range(3)}
    protected = {"drain_protection": True}
    pending = {"A3": {**HEIR, "node": None}}
    decided = plan(leaving("A ###.", CORDONED, spec=protected, **on, **pending), NOW)
    assert moves(decided) == ""


def test_rollout_replaces_what_is_prepared_as_well() -> None:
    given = replace(
        view("A ### B #", wanted="B", instances=fleet("A ### B #", A0=THERE)),
        ends=CORDONED,
    )
    given = replace(given, spec=replace(given.spec, drain_protection=True))
    assert "retire A" in moves(plan(given, NOW))


def test_freeze_does_not_hold_an_evacuation_back() -> None:
    given = leaving("A ###", DISRUPTED, A0=THERE)
    given = replace(given, freezes=(Freeze("all", "closing", ends=NOW + 600),))
    assert moves(plan(given, NOW)) == "create A0'"


def test_deviation_comes_before_the_node() -> None:
    given = leaving("A ###", DISRUPTED, A0={**THERE, "taint": "exec by jane"})
    (birth,) = plan(given, NOW).actions
    assert isinstance(birth, Create)
    assert birth.because.reason is Reason.TAINTED


def test_status_counts_stale_instances_on_their_way() -> None:
    status = plan(leaving("A ####", DISRUPTED, A0=THERE, A3=HEIR), NOW).status
    assert isinstance(status, Status)
    assert (status.stale, status.current, status.available) == (1, 3, 4)


# While a release is stuck, what works leaves the node as well.

STUCK = {"B0": {"trouble": Trouble(TroubleKind.IMAGE_PULL, "cannot be pulled", settled=True)}}


def stuck(drawn: str, ends: dict[str, NodeEnd], *, protected: bool = False, **on: Any) -> View:
    """Revision A works, and B does not."""
    given = view(wanted="B", instances=fleet(drawn, **on, **(STUCK if "B" in drawn else {})))
    spec = replace(given.spec, drain_protection=protected)
    return replace(given, ends=ends, spec=spec)


@pytest.mark.parametrize(("ends", "protected"), [(DISRUPTED, False), (CORDONED, True)])
def test_stuck_release_makes_room_for_the_successor_of_what_works(
    ends: dict[str, NodeEnd], protected: bool
) -> None:
    given = stuck("A ### B .", ends, protected=protected, A0=THERE)
    assert moves(plan(given, NOW)) == "retire B0"
    gone = stuck("A ### B -", ends, protected=protected, A0=THERE)
    (birth,) = (a for a in plan(gone, NOW).actions if isinstance(a, Create))
    assert birth.revision == gone.revisions[0].id
    assert (birth.replaces_uid, birth.because.reason) == ("uid-A0", Reason.EVACUATING)


def test_stuck_release_retires_what_works_once_its_successor_is_available() -> None:
    given = stuck("A ####", DISRUPTED, A0=THERE, A3=HEIR)
    assert moves(plan(given, NOW)).startswith("retire A0")
    starting = stuck("A ###.", DISRUPTED, A0=THERE, A3=HEIR)
    assert moves(plan(starting, NOW)) == ""


def test_stuck_release_leaves_working_instances_on_a_cordoned_node_to_the_drain() -> None:
    given = stuck("A ####", CORDONED, protected=True, A0=THERE, A3=HEIR)
    assert moves(plan(given, NOW)) == ""
    evicted = stuck("A -###", CORDONED, protected=True, A0=THERE, A3=HEIR)
    assert moves(plan(evicted, NOW)).startswith("create B"), "the surge is free again"


def test_stuck_release_keeps_its_surge_if_no_instance_leaves() -> None:
    assert moves(plan(stuck("A ### B .", DISRUPTED), NOW)) == ""
    assert moves(plan(stuck("A ### B .", CORDONED, A0=THERE), NOW)) == ""


def test_rollout_replaces_first_what_leaves_a_node() -> None:
    given = view("A ### B #", wanted="B", instances=fleet("A ### B #", A2=THERE))
    assert moves(plan(replace(given, ends=DISRUPTED), NOW)).startswith("retire A2")


STEPPED: list[tuple[str, str, dict[str, Any], int, dict[str, Any], str]] = [
    ("the others have the share", "A ### B #", {"A0": THERE, "A2": HEIR}, 1, {}, ""),
    ("two of three are one too many", "A ## B #", {"A0": THERE}, 2, {}, "retire A0; create B1"),
    (
        "it has a successor, which counts",
        "A ## B #",
        {"A0": THERE, "A1": HEIR},
        2,
        {},
        "create B1",
    ),
    ("no surge", "A ###", {"A0": THERE}, 1, {"max_surge": 0}, "retire A0"),
    (
        "no surge, and all are on it",
        "A ###",
        {"A0": THERE, "A1": THERE, "A2": THERE},
        1,
        {"max_surge": 0},
        "retire A0",
    ),
    ("all on it are one too many", "A ## B #", {"A0": THERE, "A1": THERE}, 2, {}, "retire A0"),
]


@pytest.mark.parametrize(
    ("drawn", "on", "count", "spec", "expected"),
    [row[1:] for row in STEPPED],
    ids=[row[0] for row in STEPPED],
)
def test_step_of_a_canary_retires_from_a_cordoned_node_only_what_has_no_place(
    drawn: str, on: dict[str, Any], count: int, spec: dict[str, Any], expected: str
) -> None:
    """Three are wanted, one may be missing, and drains are protected."""
    canary = Canary((SetReplicas(count), Pause()))
    steps: dict[str, Any] = {"strategy": "Canary", "canary": canary, "max_unavailable": 1}
    made = view(wanted="B", instances=fleet(drawn, **on), drain_protection=True, **(steps | spec))
    begins = replace(begun("B").verdict, takes_over_from=A)
    given = replace(with_verdict(made, "B", begins), ends=CORDONED)
    assert moves(plan(given, NOW)).removesuffix("; create A0'") == expected
