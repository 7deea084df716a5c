"""What works is repaired, whatever is wrong with what is wanted (invariant 22; cases K1 and K2).

A is the last good revision, B is wanted. Fleets are drawn as in `tests.unit.given`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain import planner
from immutable_operator.domain.families.pods import PODS
from immutable_operator.domain.model import (
    ABSENT,
    CONFIG_MAP,
    Cause,
    Create,
    Freeze,
    Instance,
    Move,
    OnFailure,
    Phase,
    Pin,
    Request,
    Retire,
    SetVerdict,
    Source,
    Trouble,
    TroubleKind,
    Verdict,
    View,
)
from immutable_operator.domain.target import choose
from tests.unit.both_families import plan
from tests.unit.given import (
    NOW,
    REVISIONS,
    begun,
    fleet,
    moves,
    name_of,
    proven,
    refusal,
    settled,
    view,
)

A = REVISIONS["A"]
CRASHES = Trouble(TroubleKind.CRASH_LOOP, "container web keeps exiting", settled=True)
MADE_GOOD: dict[str, Any] = {"born": NOW - 50, "replaces": "one-that-was-lost"}
UNPLACED = Trouble(TroubleKind.UNSCHEDULABLE, "no node has a place for it")

STEPS: list[tuple[str, str, dict[str, Any], str]] = [
    # rule, given (3 wanted, surge 1), spec, then
    ("what is lost is born from what works", "A ## B .", {}, "create A2"),
    ("two of them", "A # B .", {}, "create A1 A2"),
    ("all of them", "B .", {}, "create A0 A1 A2"),
    ("what is added is born from what works", "A ### B .", {"replicas": 6}, "create A3 A4 A5"),
    (
        "and the wanted one grows with its surge",
        "A ###### B .",
        {"replicas": 6, "max_surge": 2},
        "create B1",
    ),
    (
        "as many as R - U, where maxUnavailable alone is given",
        "A # B .",
        {"max_surge": 0, "max_unavailable": 1},
        "create A1",
    ),
    ("no more than R - U there", "A ## B .", {"max_surge": 0, "max_unavailable": 1}, ""),
    ("what never worked makes room", "A # B ...", {}, "retire B2 B1"),
    ("but for the surge of the wanted one", "A ## B ..", {}, "retire B1"),
    ("what starts again is no surplus", "A ##. B .", {}, ""),
    ("one that works takes over", "A ## B #", {}, "create B1"),
    ("scaled down, what works stays", "A ### B .", {"replicas": 1}, "retire A0 A1"),
    (
        "all may be unavailable, as the user said",
        "A # B .",
        {"max_surge": 0, "max_unavailable": "100%"},
        "retire A0; create B1",
    ),
]


@pytest.mark.parametrize(("rule", "drawn", "spec", "then"), STEPS, ids=[s[0] for s in STEPS])
def test_working_revision_is_repaired(
    rule: str, drawn: str, spec: dict[str, Any], then: str
) -> None:
    given = view(drawn, wanted="B", **spec)
    took_over = replace(begun("B").verdict, takes_over_from=REVISIONS["A"].id)
    given = replace(
        given,
        revisions=tuple(
            replace(r, verdict=took_over) if r.id == REVISIONS["B"].id else r
            for r in given.revisions
        ),
    )
    assert moves(plan(given, NOW)) == then, rule


def test_repair_names_the_lost_instance() -> None:
    lost = fleet("A ##- B .", A2={"leaving": "EvictionByEvictionAPI: a drain"})
    [birth] = [
        a for a in plan(view(instances=lost, wanted="B"), NOW).actions if isinstance(a, Create)
    ]
    assert (birth.revision, birth.slot) == (REVISIONS["A"].id, 2)
    assert (birth.replaces, birth.replaces_uid) == (lost[2].name, lost[2].uid)
    assert str(birth.because) == "Missing: EvictionByEvictionAPI: a drain"


def test_service_scaled_to_zero_before_has_lost_nothing() -> None:
    given = view("", wanted="B", replicas=2)
    assert moves(plan(given, NOW)) == "create B0 B1"
    assert moves(plan(_recorded(scaled_to=0), NOW)) == "create B0 B1 B2"


def test_instances_lost_while_no_operator_ran_are_recreated() -> None:
    """The operator stopped after recording B, and all of A was drained: A was not scaled to 0."""
    assert moves(plan(_recorded(scaled_to=None), NOW)) == "create A0 A1 A2"


def _recorded(scaled_to: int | None) -> View:
    """B was recorded and nothing begun; nothing runs. ``scaled_to``: what A's record says."""
    noted = replace(proven("A"), verdict=replace(proven("A").verdict, replicas=scaled_to))
    return replace(view("", wanted="B"), revisions=(noted, REVISIONS["B"]))


@pytest.mark.parametrize(
    ("rule", "drawn", "replicas", "born"),
    [
        ("it worked and lost one", "A ##", None, "record C; create A2"),
        ("it was scaled to 0, and back together with the new template", "", 0, "record C"),
        ("it never worked", "B ..", None, "record C"),
    ],
)
def test_plan_that_records_a_revision_creates_instances_only_of_a_proven_one(
    rule: str, drawn: str, replicas: int | None, born: str
) -> None:
    noted = replace(proven("A"), verdict=replace(proven("A").verdict, replicas=replicas))
    revisions = (begun("B"),) if "B" in drawn else (noted,)
    given = replace(view(drawn, wanted="C"), revisions=revisions)
    assert moves(plan(given, NOW)) == born, rule


NUMBERS: list[tuple[str, int | None, int | None, list[int | None]]] = [
    # rule, replicas in the spec, on the record, what is written on the record
    ("scaled to 0", 0, None, [0]),
    ("and still", 0, 0, []),
    ("scaled up again", 3, 0, [None]),
    ("a number in the spec is not repeated", 3, None, []),
    ("a number that no spec names", None, None, [2]),
    ("and still", None, 2, []),
    ("a spec that names none any more keeps the number, 0 too", None, 0, []),
]


@pytest.mark.parametrize(("rule", "replicas", "before", "written"), NUMBERS)
def test_record_stores_replicas_when_unset_or_zero(
    rule: str, replicas: int | None, before: int | None, written: list[int | None]
) -> None:
    noted = replace(proven("A"), verdict=replace(proven("A").verdict, replicas=before))
    given = replace(view("A ##", replicas=replicas, recorded="A"), revisions=(noted,))
    marks = [a for a in plan(given, NOW).actions if isinstance(a, SetVerdict)]
    assert [mark.verdict.replicas for mark in marks] == written, rule


def test_record_remembers_the_revision_that_ran_before() -> None:
    fresh = replace(view("A ###", wanted="B"), revisions=(proven("A"), REVISIONS["B"]))
    [mark] = [a for a in plan(fresh, NOW).actions if isinstance(a, SetVerdict)]
    assert mark.verdict.takes_over_from == REVISIONS["A"].id
    for scaled_to, said in ((None, REVISIONS["A"].id), (0, "")):
        given = _recorded(scaled_to)
        [mark] = [a for a in plan(given, NOW).actions if isinstance(a, SetVerdict)]
        assert mark.verdict.takes_over_from == said


WRONG: list[tuple[str, dict[str, Any], str]] = [
    (
        "births are refused",
        {"refusals": [refusal(Move.CREATE, "B0", Cause.TEMPLATE, revision="B")]},
        "create A2",
    ),
    ("the spec cannot be read", {"template": None}, "create A2"),
    (
        "a freeze holds",
        {"freezes": (Freeze("closing", "the quarter ends", ends=NOW + 600),), "recorded": "A"},
        "create A2",
    ),
    ("the record is refused", {"recorded": "A", "record": Cause.FORBIDDEN}, "create A2"),
    ("a ConfigMap is missing", {"recorded": "A", "pinned": True}, "create A2"),
]


@pytest.mark.parametrize(("what", "changes", "then"), WRONG, ids=[w[0] for w in WRONG])
def test_lost_instance_is_recreated_during_a_blocked_rollout(
    what: str, changes: dict[str, Any], then: str
) -> None:
    given = view(
        "A ##",
        wanted="B",
        recorded=changes.get("recorded", "AB"),
        refusals=changes.get("refusals", ()),
    )
    spec = given.spec
    if "template" in changes:
        spec = replace(spec, template=None)
    if "pinned" in changes:
        spec = replace(spec, pinned={(CONFIG_MAP, "settings"): False})
        given = replace(given, configs={(CONFIG_MAP, "settings"): Source(ABSENT)})
    if cause := changes.get("record"):
        short = plan(given, NOW).actions[0].id  # type: ignore[union-attr]
        given = replace(given, refusals=(refusal(Move.RECORD, short, cause),))
    given = replace(given, spec=spec, freezes=changes.get("freezes", ()))
    decided = plan(given, NOW)
    assert moves(decided) == then, what
    assert decided.status is not None
    assert (decided.status.replicas, decided.status.available) == (2, 2), "the counts are of now"


def test_permanently_lost_copy_blocks_only_the_wanted_revision() -> None:
    pin = Pin("settings", "web-cfgB", "sha256:" + "0" * 64)
    given = view("A ##", wanted="B", pinned={(CONFIG_MAP, "settings"): False})
    broken = replace(begun("B"), config=(pin,))
    given = replace(
        given,
        revisions=(proven("A"), broken),
        configs={(CONFIG_MAP, "settings"): Source("sha256:" + "1" * 64)},
    )
    births = [a.revision for a in plan(given, NOW).actions if isinstance(a, Create)]
    assert REVISIONS["A"].id in births
    assert REVISIONS["B"].id not in births


def test_stuck_rollout_keeps_the_working_revision() -> None:
    """As long as its failure is not on record: it is not judged by an instance that was ready."""
    stuck = fleet("A # B #.", B1={"trouble": replace(CRASHES, kind=TroubleKind.CONTAINER_CONFIG)})
    assert moves(plan(view(instances=stuck, wanted="B"), NOW)) == "create A1"
    failed = fleet("A # B #.", B1={"trouble": CRASHES})
    for then in OnFailure:  # a pod that crashes fails its revision, a node does not
        judged = settled(view(instances=failed, wanted="B", on_failure=then), NOW)
        assert moves(planner.plan(judged, NOW)) == "create A1"
    healthy = fleet("A # B #.")
    assert moves(plan(view(instances=healthy, wanted="B"), NOW)) == "create B2"


CROWDED: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "the surge has no node: what may be unavailable is spent",
        "A ### B .",
        {"max_unavailable": 1},
        "retire A0",
    ),
    ("and no more than that", "A ## B .", {"max_unavailable": 1}, "create B1"),
    ("where nothing may be, nothing is", "A ### B .", {}, ""),
]


@pytest.mark.parametrize(("rule", "drawn", "spec", "then"), CROWDED, ids=[c[0] for c in CROWDED])
def test_protective_rule_leaves_a_possible_move(
    rule: str, drawn: str, spec: dict[str, Any], then: str
) -> None:
    instances = fleet(drawn, B0={"trouble": UNPLACED})
    assert moves(plan(view(instances=instances, wanted="B", **spec), NOW)) == then, rule


def test_quota_without_room_for_the_surge_uses_max_unavailable() -> None:
    full = refusal(Move.CREATE, "B0", Cause.QUOTA, revision="B")
    given = view("A ###", wanted="B", max_unavailable=1, refusals=[full])
    assert moves(plan(given, NOW)) == "retire A0"


def test_birth_refused_by_a_quota_causes_no_repeated_retirements() -> None:
    """Found by seed 68: the wanted revision took the freed place, which was freed again."""
    full = refusal(Move.CREATE, "A2", Cause.QUOTA, revision="A")
    given = view("A # B ...", wanted="B", refusals=[full])
    assert moves(plan(given, NOW)) == "retire B2 B1"
    after = view("A # B .", wanted="B", refusals=[full])
    assert moves(plan(after, NOW)) == "", "the place is kept"


def test_ended_instance_counted_by_a_quota_is_retired_for_its_successor() -> None:
    full = refusal(Move.CREATE, "A2", Cause.QUOTA, revision="A")
    given = view("A ##x", refusals=[full])
    assert "retire A2" in moves(plan(given, NOW))


FROZEN = Freeze("closing", "the quarter ends", ends=NOW + 600)


def test_rollback_to_the_last_good_revision_is_always_allowed() -> None:
    given = replace(view("A ### B .", wanted="A"), freezes=(FROZEN,))
    back = replace(given, revisions=(proven("A"), begun("B"), REVISIONS["C"]))
    assert moves(plan(back, NOW)) == "retire B0"


def test_lost_status_or_record_starts_no_rollout_during_a_freeze() -> None:
    given = replace(view("A ###", wanted="B", recorded="B", good=None), freezes=(FROZEN,))
    lost = replace(given, revisions=(REVISIONS["B"],))
    assert moves(plan(lost, NOW)) == ""


def test_override_applies_only_to_its_instance() -> None:
    one = fleet("A ###")[1]
    asked = Request("one", "uid", NOW - 100, "jane", instance=one.name, override_freeze=True)
    given = replace(view("A ###", wanted="B", recorded="A"), freezes=(FROZEN,), requests=(asked,))
    assert moves(plan(given, NOW)) == "create A1'", "the one, and no rollout"
    whole = replace(given, requests=(replace(asked, instance=None),))
    assert moves(plan(whole, NOW)) == "record B"


def test_freeze_of_repairs_is_not_reported_as_ready() -> None:
    hurt = fleet("A ###", A1={"taint": "exec by jane"})
    strict = replace(FROZEN, repairs=True)
    decided = plan(replace(view(instances=hurt), freezes=(strict,)), NOW)
    assert moves(decided) == ""
    assert decided.status is not None
    ready = decided.status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "Frozen")


def _by_will(instances: tuple[Instance, ...], **spec: Any) -> dict[str, tuple[bool, bool]]:
    decided = plan(view(instances=instances, wanted="B", good="B", **spec), NOW)
    found = [a for a in decided.actions if isinstance(a, Retire)]
    return {a.uid.removeprefix("uid-"): (a.by_will, a.while_unready) for a in found}


def test_scale_down_is_immediate_and_unready_instances_need_no_budget() -> None:
    assert _by_will(fleet("B ####")) == {"B3": (True, False)}
    assert _by_will(fleet("A . B ###")) == {"A0": (False, True)}
    assert _by_will(fleet("A # B ###")) == {"A0": (False, False)}


def test_disruption_budget_does_not_delay_scale_down() -> None:
    held = refusal(Move.RETIRE, "B0", Cause.DISRUPTION_BUDGET)
    given = view("B ####", wanted="B", good="B", replicas=2, refusals=[held])
    assert moves(plan(given, NOW)) == "retire B3 B2"


def test_plan_has_at_most_500_moves() -> None:
    decided = plan(view("", good=None, replicas=2**31 - 1), NOW)
    assert sum(isinstance(a, Create) for a in decided.actions) == 500
    many = fleet("A " + "#" * 1200)
    down = plan(view(instances=many, replicas=0), NOW)
    assert sum(isinstance(a, Retire) for a in down.actions) == 500


@pytest.mark.parametrize(
    ("since", "then"), [(15.0, ""), (29.0, ""), (31.0, "retire A1")], ids=lambda v: str(v)
)
def test_wanted_revision_must_be_steady_after_a_repair(since: float, then: str) -> None:
    """Otherwise each flap would retire and recreate a working instance."""
    made_good: dict[str, dict[str, Any]] = {"A1": MADE_GOOD, "B0": {"ready_since": NOW - since}}
    drawn = "A ## B #."
    given = view(drawn, instances=fleet(drawn, **made_good), wanted="B", replicas=2, max_surge=2)
    decided = plan(given, NOW)
    assert moves(decided) == then
    if not then:
        assert decided.due is not None
        assert decided.due <= NOW - since + 30
    calm = fleet(drawn, B0={"ready_since": NOW - since})
    undisturbed = view(drawn, instances=calm, wanted="B", replicas=2, max_surge=2)
    assert moves(plan(undisturbed, NOW)).startswith("retire A"), "nothing was to be made good"


def test_no_instance_is_retired_for_a_birth_that_is_impossible() -> None:
    """The copy recorded for A is gone: B would take the freed room again, endlessly."""
    pin = Pin("settings", "web-cfg-a", "sha256:" + "0" * 64)
    lost = replace(proven("A"), config=(pin,))
    given = replace(
        view("A # B ...", wanted="B"),
        revisions=(lost, begun("B")),
        configs={(CONFIG_MAP, "settings"): Source("sha256:" + "1" * 64)},
    )
    decided = plan(given, NOW)
    assert not [a for a in decided.actions if isinstance(a, Retire)], decided.notes
    assert any("was deleted" in note for note in decided.notes), decided.notes


def test_flapping_instance_keeps_the_working_revision() -> None:
    """B1 crashes repeatedly: no instance of A is retired as soon as B1 is back."""
    drawn = "A ## B ##"
    came_back: dict[str, dict[str, Any]] = {"A1": MADE_GOOD, "B1": {"ready_since": NOW - 15}}
    spec: dict[str, Any] = {"wanted": "B", "replicas": 3, "max_surge": 1}
    assert moves(plan(view(drawn, instances=fleet(drawn, **came_back), **spec), NOW)) == ""
    steady = came_back | {"B1": {"ready_since": NOW - 31}}
    assert moves(plan(view(drawn, instances=fleet(drawn, **steady), **spec), NOW)) == "retire A1"


def test_instance_added_by_scaling_does_not_slow_a_rollout() -> None:
    """Scaling during a rollout does not slow it down."""
    drawn = "A ### B #"
    added: dict[str, dict[str, Any]] = {"A2": {"born": NOW - 50}, "B0": {"ready_since": NOW - 15}}
    given = view(drawn, instances=fleet(drawn, **added), wanted="B", replicas=3, max_surge=1)
    assert moves(plan(given, NOW)) == "retire A0"


def test_starting_instance_of_the_last_good_revision_is_kept_while_needed() -> None:
    """The starting pod of the wanted revision replaces a running one: no place is lent."""
    drawn = "A ##. B ."
    instances = fleet(drawn, B0={"replaces": name_of("A0"), "replaces_uid": "uid-A0"})
    given = view(drawn, wanted="B", instances=instances, max_unavailable=1)
    assert "retire" not in moves(plan(given, NOW))


def test_older_revision_is_not_recreated_while_the_last_good_one_is_unready() -> None:
    assert moves(plan(view("A .. B #", wanted="A", good="A"), NOW)) == "create A2"


def test_verdict_precedes_retirements_in_the_plan() -> None:
    given = view("A ## B ##", wanted="B", recorded="AB")
    fresh = tuple(replace(r, verdict=Verdict()) if r.id != A.id else r for r in given.revisions)
    decided = plan(replace(given, revisions=fresh), NOW)
    kinds = [type(action).__name__ for action in decided.actions]
    assert kinds == ["SetVerdict", "Retire"]


def test_failed_revision_is_never_the_fallback() -> None:
    given = view("A ## B .", wanted="B")
    assert choose(given, NOW, PODS).fallback == next(r for r in given.revisions if r.id == A.id)
    failed = tuple(
        replace(r, verdict=replace(r.verdict, phase=Phase.FAILED)) if r.id == A.id else r
        for r in given.revisions
    )
    assert choose(replace(given, revisions=failed), NOW, PODS).fallback is None


def test_release_that_is_refused_more_instances_does_not_count_as_working() -> None:
    """What was lost is born from what works, though one instance of the release is available."""
    spec: dict[str, Any] = {"replicas": 4, "max_unavailable": 1, "max_surge": 0}
    refused = refusal(Move.CREATE, "B1", Cause.CHANGED, revision="B")
    given = view("A # B #", wanted="B", refusals=[refused], **spec)
    assert moves(plan(replace(given, refusals=()), NOW)) == "create B1 B2"
    assert moves(plan(given, NOW)) == "create A1"
