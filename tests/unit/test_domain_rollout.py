"""How instances are replaced: one step each, as a drawing and the moves that it calls for."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.families.pods import Pods
from immutable_operator.domain.fleet import remain
from immutable_operator.domain.model import (
    Because,
    Cause,
    Create,
    Move,
    Reason,
    Retire,
    Status,
    View,
    instance_name,
)
from immutable_operator.domain.staleness.outdated import replaces
from tests.unit.both_families import plan
from tests.unit.given import (
    NOW,
    REVISIONS,
    SERVICE,
    condition,
    fleet,
    moves,
    name_of,
    refusal,
    seen,
    view,
)

# 3 wanted, surge 1, unavailable 0 unless said otherwise; B replaces A.
STEPS: list[tuple[str, str, dict[str, Any], str]] = [
    # rule, given, spec, then
    ("successor first", "A ###", {}, "create B0"),
    ("nothing while the successor is not ready", "A ### B .", {}, ""),
    ("nor while it is not yet for minReadySeconds", "A ### B +", {}, ""),
    ("then the predecessor goes", "A ### B #", {}, "retire A0"),
    ("the surge counts those that leave as gone", "A -## B #", {}, "create B1"),
    ("a slot with a successor is left for the next", "A .## B #", {}, "retire A0"),
    ("one that was lost is replaced by the wanted revision", "A ## B #", {}, "create B1"),
    ("done", "B ###", {}, ""),
    # Budgets.
    ("a larger surge", "A ######", {"replicas": 6, "max_surge": 2}, "create B0 B1"),
    (
        "25% of 5, rounded up",
        "A #####",
        {"replicas": 5, "max_surge": "25%"},
        "create B0 B1",
    ),
    (
        "150%: all successors at once",
        "A ##",
        {"replicas": 2, "max_surge": "150%"},
        "create B0 B1",
    ),
    ("no surge: room first", "A ###", {"max_surge": 0, "max_unavailable": 1}, "retire A0"),
    ("no surge: then the successor", "A -##", {"max_surge": 0, "max_unavailable": 1}, "create B0"),
    ("no surge: then wait", "A ## B .", {"max_surge": 0, "max_unavailable": 1}, ""),
    ("no surge: and on", "A ## B #", {"max_surge": 0, "max_unavailable": 1}, "retire A0"),
    (
        "25% of 3 unavailable is 0: one anyway",
        "A ###",
        {"max_surge": 0, "max_unavailable": "25%"},
        "retire A0",
    ),
    (
        "surge and unavailable: the surge proves the revision first",
        "A ####",
        {"replicas": 4, "max_unavailable": 1},
        "create B0",
    ),
    (
        "surge and unavailable: nothing healthy is spent on an unproven one",
        "A #### B .",
        {"replicas": 4, "max_unavailable": 1},
        "",
    ),
    (
        "surge and unavailable: both are used for a proven one",
        "A #### B #",
        {"replicas": 4, "max_unavailable": 1},
        "retire A0 A1",
    ),
    (
        "all may be unavailable: all at once, as the user said",
        "A ###",
        {"max_surge": 0, "max_unavailable": "100%"},
        "retire A0 A1 A2",
    ),
    # One.
    ("the only one: successor first", "A #", {"replicas": 1}, "create B0"),
    ("the only one stays until then", "A # B .", {"replicas": 1}, ""),
    ("the only one goes", "A # B #", {"replicas": 1}, "retire A0"),
    (
        "the only one, no surge",
        "A #",
        {"replicas": 1, "max_surge": 0, "max_unavailable": 1},
        "retire A0",
    ),
    # Unhealthy ones first.
    ("an unhealthy one goes before its successor is proven", "A #.##", {}, "retire A1"),
    ("the unhealthy one goes first", "A ##. B #", {}, "retire A2"),
    ("the first successor is that of the unhealthy one", "A ##.", {}, "create B2"),
    ("not those that may come up, when too few are left", "A ... B .", {}, ""),
    ("all unhealthy: one by one, successor first", "A ...", {}, "create B0"),
    ("all unhealthy: the proven successor frees one", "A ... B #", {}, "retire A0"),
    (
        "one that is ready but not yet available counts as unhealthy",
        "A ##+ B #",
        {},
        "retire A2",
    ),
    # None wanted.
    ("none wanted: all go", "A ### B .", {"replicas": 0}, "retire B0 A0 A1 A2"),
    ("none wanted: nothing to do", "", {"replicas": 0}, ""),
    ("none wanted, nothing but a leaving one", "A -", {"replicas": 0}, ""),
    # Scale meanwhile.
    ("scaled up: what works grows", "A ### B .", {"replicas": 5}, "create A3 A4"),
    ("scaled down: the old ones go", "A ##### B .", {"replicas": 2}, "retire A0 A1 A2"),
    (
        "scaled down below the successors: the unready ones go",
        "A ## B #....",
        {"replicas": 2},
        "retire B4 B3 B2 A0",
    ),
    (
        "scaled down, and all is broken: no more than the most",
        "A ... B ....",
        {"replicas": 1},
        "retire B3 B2 B1 A0 A1",
    ),
    ("a smaller surge: the unready ones beyond it go", "A ... B ...", {}, "retire B2 B1"),
    ("a smaller surge: those that are available stay", "A ### B ###", {}, "retire A0 A1 A2"),
    ("scaled up: no surge where nothing is replaced", "B ##", {}, "create B2"),
]


@pytest.mark.parametrize(("rule", "drawn", "spec", "then"), STEPS, ids=[s[0] for s in STEPS])
def test_rollout_step(rule: str, drawn: str, spec: dict[str, Any], then: str) -> None:
    assert moves(plan(view(drawn, wanted="B", **spec), NOW)) == then, rule


SUCCESSION: list[tuple[str, str, str, dict[str, Any], str]] = [
    # rule, given, wanted, spec, then; A is the last good revision
    ("the newest wins: C grows, B no more", "A ###", "C", {}, "create C0"),
    ("the broken one makes room, the good ones stay", "A ### B .", "C", {}, "retire B0"),
    ("a healthy one of B goes before the last good", "A ### B #", "C", {}, "retire B0"),
    ("and also when more of B are healthy", "A # B ###", "C", {}, "retire B0"),
    (
        "and with maxUnavailable alone",
        "A ## B #",
        "C",
        {"max_surge": 0, "max_unavailable": 1},
        "retire B0",
    ),
    ("once C is proven, the oldest goes first", "A ## B # C #", "C", {}, "retire A0"),
    ("back to A: B goes, A stays", "A ### B .", "A", {}, "retire B0"),
    ("back to A: what A lost is born again", "A ## B #", "A", {}, "create A2"),
    (
        "back to A: a proven A takes over",
        "A #### B #",
        "A",
        {"replicas": 4, "max_unavailable": 1},
        "retire B0",
    ),
    ("three revisions at once: still one budget", "A # B . C .", "C", {}, "retire B0; create A1"),
]


@pytest.mark.parametrize(
    ("rule", "drawn", "wanted", "spec", "then"), SUCCESSION, ids=[s[0] for s in SUCCESSION]
)
def test_newest_revision_grows_and_older_ones_make_room(
    rule: str, drawn: str, wanted: str, spec: dict[str, Any], then: str
) -> None:
    assert moves(plan(view(drawn, wanted=wanted, **spec), NOW)) == then, rule


def test_last_good_revision_stays_when_others_cannot_be_evicted() -> None:
    """Rule 3: no needed healthy instance is retired in place of one whose eviction was refused."""
    refused = refusal(Move.RETIRE, "B0", Cause.DISRUPTION_BUDGET, attempts=3)
    given = view("A ### B #", wanted="C", refusals=[refused])
    assert moves(plan(given, NOW)) == ""
    assert moves(plan(given, NOW + 6)) == "retire B0"


def test_scale_down_retires_the_least_useful_first() -> None:
    """Unready, unscheduled, low deletion cost, crowded node, youngest: as a ReplicaSet."""
    drawn = "B #######"
    changes: dict[str, dict[str, Any]] = {
        "B0": {"deletion_cost": -5},
        "B1": {"node": "n2", "deletion_cost": 7},
        "B2": {"node": "n2"},
        "B4": {"ready_since": None},
        "B5": {"ready_since": NOW - 2},
        "B6": {"ready_since": None, "node": None},
    }
    instances = fleet(drawn, **changes)
    order = ["B6", "B4", "B5", "B0", "B3", "B2", "B1"]
    for wanted in range(7):
        decided = plan(view(instances=instances, wanted="B", replicas=wanted, good="B"), NOW)
        assert set(moves(decided).split()) == {"retire", *order[: 7 - wanted]}, wanted


def test_scale_down_retires_the_youngest_of_equals() -> None:
    assert moves(plan(view("B #####", wanted="B", good="B"), NOW)) == "retire B4 B3"


def test_scale_down_within_the_budget_is_immediate() -> None:
    given = view("B ##...", wanted="B", good="B", replicas=2)
    assert moves(plan(given, NOW)) == "retire B4 B3 B2"


REPLICAS: list[tuple[str, int | None, str, int | None, str, int]] = [
    # rule, spec.replicas, fleet, what the process wanted before, then, desired
    ("one at birth", None, "", None, "create A0", 1),
    ("unset keeps the number", None, "", 3, "create A0 A1 A2", 3),
    ("unset keeps none, too", None, "", 0, "", 0),
    ("after a restart, unset keeps what runs", None, "A #####", None, "", 5),
    ("also where one has ended", None, "A ##x", None, "create A2'", 3),
    ("those that leave were not wanted", None, "A ##-", None, "", 2),
    ("a successor shares the place of its predecessor", None, "A ## B #", None, "retire B0", 2),
    ("what is set holds", 2, "A #####", 5, "retire A4 A3 A2", 2),
]


@pytest.mark.parametrize(
    ("rule", "replicas", "drawn", "before", "then", "desired"),
    REPLICAS,
    ids=[r[0] for r in REPLICAS],
)
def test_desired_count_without_replicas_is_kept(
    rule: str, replicas: int | None, drawn: str, before: int | None, then: str, desired: int
) -> None:
    good = "A" if drawn else None
    given = view(drawn, good=good, recorded="AB" if drawn else "A", replicas=replicas)
    forged = replace(given, desired_before=before, prior=Status(desired=9))
    decided = plan(forged, NOW)
    assert moves(decided) == then, rule
    assert decided.status is not None
    assert decided.status.desired == desired


def test_template_changed_at_zero_replicas_is_current() -> None:
    decided = plan(view("", wanted="B", replicas=0), NOW)
    assert condition(decided.status) == "Ready Current"
    assert decided.status is not None
    assert decided.status.current_revision == REVISIONS["B"].id
    # Nothing was ever available: what was good before is what there is to fall back on.
    assert decided.status.last_good_revision == REVISIONS["A"].id


def test_birth_certificate_names_predecessor_and_reason() -> None:
    births = [
        a
        for a in plan(view("A ###", wanted="B", max_surge=2), NOW).actions
        if isinstance(a, Create)
    ]
    a, b = REVISIONS["A"], REVISIONS["B"]
    assert [(c.name, c.slot, c.replaces) for c in births] == [
        (name_of("B0"), 0, name_of("A0")),
        (name_of("B1"), 1, name_of("A1")),
    ]
    assert str(births[0].because) == f"Outdated: {replaces(b, a.id)}"


BECAUSE = [
    ("the first ones", "", None, ["Created: 2 wanted, slot 0 was empty"] * 1),
    ("one that vanished", "A #", "A", ["Missing: 2 wanted, slot 1 was empty"]),
    ("one that is deleted", "A #-", "A", ["Missing: it was deleted"]),
    ("one that ended", "A #x", "A", ["Unhealthy: it ended (Failed)"]),
]


@pytest.mark.parametrize(("rule", "drawn", "good", "because"), BECAUSE, ids=[b[0] for b in BECAUSE])
def test_birth_names_its_purpose(
    rule: str, drawn: str, good: str | None, because: list[str]
) -> None:
    decided = plan(view(drawn, replicas=2, good=good), NOW)
    births = [str(a.because) for a in decided.actions if isinstance(a, Create)]
    assert births[:1] == because, rule


def test_instance_with_a_successor_in_another_slot_gets_no_second_one() -> None:
    instances = fleet("A ### B .", B0={"slot": 5, "replaces": name_of("A0")})
    assert moves(plan(view(instances=instances, wanted="B", max_surge=2), NOW)) == "create B1"


def test_evicted_instance_is_replaced_and_the_cause_is_named() -> None:
    taken = fleet("A ##-", A2={"leaving": "EvictionByEvictionAPI: a drain"})
    decided = plan(view(instances=taken), NOW)
    (birth,) = (a for a in decided.actions if isinstance(a, Create))
    assert (birth.replaces, str(birth.because)) == (
        name_of("A2"),
        "Missing: EvictionByEvictionAPI: a drain",
    )
    assert decided.status is not None
    assert decided.status.conditions[0].message.endswith(
        f"; disrupted: {name_of('A2')} from node n1 (EvictionByEvictionAPI: a drain)"
    )


def taken(given: View) -> list[str]:
    return [a.message for a in plan(given, NOW).announcements if a.reason == "Disrupted"]


def test_node_that_evicts_instances_is_reported_once() -> None:
    lost = {"leaving": "DeletionByTaintManager: taint", "node": "n2"}
    first = view(instances=fleet("A ##--", A2=lost, A3=lost))
    one = min(name_of("A2"), name_of("A3"))
    assert taken(first) == [f"{one} and 1 more from node n2 (DeletionByTaintManager: taint)"]
    assert taken(seen(first, NOW)) == []
    swept = replace(first.instances[1], node="n3", leaving="DeletionByPodGC: its node is gone")
    rest = tuple(i for i in first.instances if i.name != swept.name)
    later = seen(first, NOW, departed=(swept,), instances=rest)
    assert taken(later) == [f"{name_of('A1')} from node n3 (DeletionByPodGC: its node is gone)"]


def test_eviction_by_the_operator_is_not_reported_as_a_disruption() -> None:
    """Without a surge an expired instance is retired before its successor exists."""
    evicted = {"leaving": "EvictionByEvictionAPI: Eviction API: evicting"}
    leaving = view(instances=fleet("A ##-", A2=evicted), max_surge=0, max_unavailable=1)
    assert taken(leaving)
    own = replace(leaving, retired=frozenset({"uid-A2"}))
    assert taken(own) == []
    assert condition(plan(own, NOW).status) == "Reconciling Progressing"


def test_vanished_instance_is_named_by_its_replacement() -> None:
    gone = fleet("A ##")[1]
    given = replace(view("A #", replicas=2), departed=(gone,))
    (birth,) = (a for a in plan(given, NOW).actions if isinstance(a, Create))
    assert (birth.name, birth.replaces) == (name_of("A1'"), name_of("A1"))
    assert str(birth.because) == "Missing: it was deleted"


def test_unready_stale_instances_are_retired_before_ready_ones() -> None:
    """The order decides which instance a disruption budget is asked about, and the lineage."""
    assert moves(plan(view("A ##. B ##", wanted="B"), NOW)) == "retire A2 A0"


def test_retirement_names_uid_and_reason() -> None:
    decided = plan(view("A ### B #", wanted="B"), NOW)
    a, b = REVISIONS["A"], REVISIONS["B"]
    why = Because(Reason.OUTDATED, replaces(b, a.id))
    assert decided.actions == (Retire(name_of("A0"), "uid-A0", why),)
    assert decided.notes == (
        f"retire 1: 1 Outdated; {remain(2)}",
        "create 0 of 2: 4 of at most 4 exist (surge 1)",
    )


def test_plan_is_due_when_the_next_instance_becomes_available() -> None:
    given = view("A ### B +", wanted="B")
    assert plan(given, NOW + 3).due == NOW + 10
    assert moves(plan(given, NOW + 10)) == "retire A0"


def test_terminating_instances_are_not_retired_again_or_counted() -> None:
    given = view("A --- B ##", wanted="B")
    decided = plan(given, NOW)
    assert moves(decided) == "create B2"
    assert decided.status is not None
    assert (decided.status.replicas, decided.status.stale) == (2, 0)


def test_instance_of_an_unknown_revision_is_stale() -> None:
    stranger = replace(fleet("A #")[0], name="web-im00000000-aaaaa", revision="00000000")
    given = view(instances=[stranger, *fleet("B ###")], wanted="B", good="B")
    assert [a.name for a in plan(given, NOW).actions if isinstance(a, Retire)] == [stranger.name]


def test_name_taken_by_a_foreign_pod_is_skipped_and_reported() -> None:
    taken = refusal(Move.CREATE, "A0", Cause.NAME_TAKEN, revision="A", message="pod x exists")
    decided = plan(view("", good=None, replicas=1, refusals=[taken]), NOW)
    assert moves(decided) == "create A0'"
    told = [(a.reason, a.message, a.key, a.warning) for a in decided.announcements]
    assert told == [("NameTaken", "pod x exists", name_of("A0"), True)]


class Crowded(Pods):
    """Pods whose names end in one letter instead of five: they are soon used up."""

    def name(self, owner: str, uid: str, revision: str, slot: int, incarnation: int) -> str:
        return instance_name(owner, uid, revision, slot, incarnation)[:-4]


CROWDED = Crowded()


def crowded() -> tuple[str, int]:
    """A uid for which the name of one of 4 slots is that of an earlier one, and the slot."""
    for number in itertools.count():
        uid, taken = f"uid-{number}", set[str]()
        for slot in range(4):
            name = CROWDED.name(SERVICE, uid, REVISIONS["A"].id, slot, 0)
            if name in taken:
                return uid, slot
            taken.add(name)
    raise AssertionError


def test_births_of_one_plan_have_different_names() -> None:
    """Rule 9: the suffix of a name has five letters, and two slots may get the same ones."""
    uid, _ = crowded()
    given = replace(view("", good=None, replicas=4), uid=uid)
    decided = plan(given, NOW, family=CROWDED)
    births = [a.name for a in decided.actions if isinstance(a, Create)]
    assert len(births) == len(set(births)) == 4


def test_birth_does_not_reuse_the_name_of_an_instance() -> None:
    """As above, but one of the two instances exists already."""
    uid, second = crowded()
    slots = [slot for slot in range(4) if slot != second]
    known = [
        replace(i, slot=slot, name=CROWDED.name(SERVICE, uid, REVISIONS["A"].id, slot, 0))
        for slot, i in zip(slots, fleet("A ###"), strict=True)
    ]
    given = replace(view(instances=known, replicas=4), uid=uid)
    decided = plan(given, NOW, family=CROWDED)
    (birth,) = (a for a in decided.actions if isinstance(a, Create))
    assert birth.slot == second
    assert birth.incarnation > 0
    assert birth.name not in {i.name for i in known}


def test_terminating_instance_with_successor_is_not_replaced_again() -> None:
    """Found on real nodes, where termination takes time: the first healing was counted twice."""
    [leaving, heir] = fleet("A -#")
    known = (
        replace(leaving, taint="exec by jane"),
        replace(heir, slot=leaving.slot, incarnation=1, replaces=leaving.name, heals=1),
    )
    given = view(wanted="B", instances=known, replicas=1)
    (birth,) = (a for a in plan(given, NOW).actions if isinstance(a, Create))
    assert (birth.replaces, birth.because.reason, birth.heals) == (
        heir.name,
        "Outdated",
        0,
    )
