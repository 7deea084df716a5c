"""What follows when a revision failed: another one runs, or it is kept, until somebody acts.

A is good, B replaced it, began 100 s ago and failed 50 s ago; 3 wanted, surge 1, unless said
otherwise. Fleets are drawn as in `tests.unit.given`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain import planner, target
from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.model import (
    Cause,
    Create,
    CreateRevision,
    Freeze,
    Move,
    NodeEnd,
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
from tests.unit.both_families import plan
from tests.unit.given import (
    NOW,
    REVISIONS,
    begun,
    condition,
    failed,
    fleet,
    moves,
    name_of,
    proven,
    refusal,
    settled,
    template,
    verdict_of,
    view,
    with_verdict,
    written,
)

STUCK = Trouble(TroubleKind.CRASH_LOOP, "container web keeps exiting", settled=True)
SETTINGS = ("ConfigMap", "settings")
CLOSED = Freeze("closing", "the quarter ends", ends=NOW + 600)
HOLD: dict[str, Any] = {"on_failure": OnFailure.HOLD}
TIGHT: dict[str, Any] = {"max_surge": 0, "max_unavailable": 1}


def after(drawn: str = "A ### B .", wanted: str = "B", **more: Any) -> View:
    """The service after B failed; ``changes`` are of instances, the rest as for `view`."""
    instances = fleet(drawn, **more.pop("changes", {}))
    given = view(instances=instances, wanted=wanted, recorded=more.pop("recorded", "AB"), **more)
    return with_verdict(given, "B", failed("B", back=more.get("good", "A") or ""))


STEPS: list[tuple[str, str, dict[str, Any], str]] = [
    # rule, fleet, more, then
    ("what failed leaves", "A ### B .", {}, "retire B0"),
    ("what failed and works makes room, one by one", "A ## B ##", {}, "retire B0"),
    ("what was lost meanwhile is born again", "A ## B .", {}, "create A2"),
    ("good instances stay, whatever their number", "A #### B #", {"replicas": 4}, "retire B0"),
    ("from the middle: good ones are born beside those that work", "A # B ##", {}, "create A1"),
    ("and replace them within the budget", "A ## B #", {}, "create A2"),
    ("one after the other", "A ### B #", {}, "retire B0"),
    ("all were replaced already", "B ###", {}, "create A0"),
    ("the only one", "B #", {"replicas": 1}, "create A0"),
    ("the only one, which never worked", "A # B .", {"replicas": 1}, "retire B0"),
    ("none is wanted", "", {"replicas": 0}, ""),
    ("none is wanted any more", "A ## B .", {"replicas": 0}, "retire A1 A0 B0"),
    (
        "without a surge",
        "A ## B .",
        TIGHT,
        "retire B0",
    ),
    (
        "without a surge, after it left",
        "A ##",
        TIGHT,
        "create A2",
    ),
    ("at full strength nothing is left to do", "A ###", {}, ""),
    ("more are wanted", "A ### B .", {"replicas": 5}, "create A3 A4"),
    ("fewer are wanted", "A ### B .", {"replicas": 2}, "retire A2 B0"),
    ("fewer are wanted later", "A ###", {"replicas": 2}, "retire A2"),
    # Hold.
    ("it is kept", "A ### B .", HOLD, ""),
    ("and nothing more of it is born", "A ## B #", HOLD, ""),
    ("also in the middle", "A # B ##", HOLD, ""),
    ("what it lost is born from what works", "A # B #", HOLD, "create A1"),
    ("what works is repaired", "A ## B .", HOLD, "create A2"),
    ("at full strength, it is kept, too", "B ###", HOLD, ""),
    ("without a surge it keeps its place", "A ## B .", HOLD | TIGHT, ""),
    ("without a surge what it lost is born from what works", "A ##", HOLD | TIGHT, "create A2"),
]


@pytest.mark.parametrize(("rule", "drawn", "more", "then"), STEPS, ids=[s[0] for s in STEPS])
def test_good_revision_is_restored(rule: str, drawn: str, more: dict[str, Any], then: str) -> None:
    assert moves(plan(after(drawn, **more), NOW)) == then, rule


def test_rolled_back_service_is_stalled_and_available() -> None:
    """A pipeline sees red, users see nothing; the message has the two ways to continue."""
    decided = plan(after("A ###"), NOW)
    assert decided.status is not None
    assert condition(decided.status) == "Stalled RolledBack"
    available = decided.status.condition("Available")
    assert available is not None
    assert available.status == "True"
    a, b = REVISIONS["A"].id, REVISIONS["B"].id
    assert decided.status.conditions[0].message == (
        f"revision 2 ({b}) failed: CrashLoop: {failed('B').message}; revision 1 ({a}) runs"
        " instead: 3 of 3 instances are current and available; change the spec, or create an"
        " ImmutableAction of type Retry to roll it out again"
    )
    assert (decided.status.current_revision, decided.status.last_good_revision) == (a, a)
    assert [f.revision for f in decided.status.failed_revisions] == [b]
    assert decided.status.rollout is None
    assert decided.due is None


def test_message_of_a_failed_revision_says_that_it_is_kept() -> None:
    held = plan(after("A ### B .", **HOLD), NOW).status
    assert held is not None
    assert condition(held) == "Stalled CrashLoop"
    assert "the revision failed and is kept (onFailure is Hold)" in held.conditions[0].message
    alone = settled(first("B ."), NOW).prior
    assert condition(alone) == "Stalled CrashLoop"
    assert f"({target.NOTHING_ELSE})" in alone.conditions[0].message


def test_later_choice_to_roll_back_goes_back() -> None:
    held = after("A ### B .", **HOLD)
    assert moves(plan(held, NOW)) == ""
    other = replace(held, spec=replace(held.spec, on_failure=OnFailure.ROLL_BACK))
    assert moves(plan(other, NOW)) == "retire B0"


def test_same_failed_revision_applied_again_plans_nothing() -> None:
    """Git re-applies it for ever: each apply is a new generation of the same spec."""
    given = settled(after("A ###"), NOW, plan)
    for generation in range(2, 12):
        given = replace(given, generation=generation)
        decided = plan(given, NOW + generation)
        assert decided.actions == ()
        assert [a.reason for a in decided.announcements] == []
        given = written(given, decided)


def first(drawn: str, **more: Any) -> View:
    """The first revision, B, failed; nothing ever worked."""
    return after(drawn, good=None, recorded="B", **more)


def test_first_revision_that_failed_is_kept_and_may_recover() -> None:
    assert moves(plan(first("B .."), NOW)) == "create B2"
    assert moves(plan(first("B ..."), NOW)) == ""
    works = settled(first("B ###"), NOW, plan)
    verdict = verdict_of(works, "B")
    assert (verdict.phase, verdict.failed, verdict.message) == (Phase.GOOD, None, "")
    assert condition(works.prior) == "Ready Current"


def test_first_revision_that_failed_is_mended() -> None:
    given = first("B ...", wanted="C")
    assert moves(plan(given, NOW)) == "record C"
    begins = replace(given, revisions=(*given.revisions, REVISIONS["C"]))
    assert moves(plan(settled(begins, NOW, plan), NOW)).startswith("create C0")
    good = settled(replace(begins, instances=fleet("C ###")), NOW, plan)
    assert verdict_of(good, "C").phase is Phase.GOOD
    assert verdict_of(good, "B").phase is Phase.FAILED


def test_spec_that_goes_back_to_the_good_one_ends_it_without_a_move() -> None:
    given = after("A ###", wanted="A")
    decided = plan(given, NOW)
    assert [type(a) for a in decided.actions] == [SetVerdict]
    ended = settled(given, NOW, plan)
    assert condition(ended.prior) == "Ready Current"
    assert plan(ended, NOW).actions == ()
    assert verdict_of(ended, "B").phase is Phase.FAILED, "it stays failed"


def test_failed_revision_is_not_tried_again_after_the_spec_came_by_another() -> None:
    back = settled(after("A ###", wanted="A"), NOW, plan)
    again = replace(back, spec=replace(back.spec, template=template("B")))
    decided = plan(again, NOW + 60)
    assert decided.actions == ()
    assert condition(decided.status) == "Stalled RolledBack"


def test_rollback_of_a_rollback_is_not_paced_as_the_end_of_repairs_is() -> None:
    """The instances of B that are given up were born in the rollback before, not as repairs."""
    born = {"born": NOW - 300, "replaces": name_of("C0"), "replaces_uid": "uid-C0"}
    ready = {"ready_since": NOW - 11}
    instances = fleet("A # B ##", A0=ready, B0=born, B1=born)
    given = view(instances=instances, wanted="C", recorded="ABC", replicas=2)
    for letter in "AB":
        given = with_verdict(given, letter, proven(letter).verdict)
    given = with_verdict(given, "C", failed("C", back="A", rejected_by="jane"))
    assert moves(plan(given, NOW)) == "retire B1"


def test_failed_revision_goes_back_to_the_one_that_was_good_last() -> None:
    """B failed and went back to A; C was good since: if B is asked for again, C runs."""
    given = after("C ###", good="C", recorded="ABC")
    later = replace(proven("C").verdict, started=NOW - 40, completed=NOW - 30)
    given = with_verdict(with_verdict(given, "A", proven("A").verdict), "C", later)
    given = with_verdict(given, "B", failed("B"))
    decided = plan(given, NOW)
    assert decided.actions == ()
    assert decided.status is not None
    assert decided.status.current_revision == REVISIONS["C"].id


def edited(drawn: str, **more: Any) -> View:
    """B failed, and before all of it was gone the spec asked for C."""
    return with_verdict(after(drawn, "C", recorded="ABC", **more), "C", Verdict())


def test_edit_during_a_rollback_is_a_new_rollout() -> None:
    given = settled(edited("A ## B #."), NOW, plan)
    assert verdict_of(given, "C").phase is Phase.PROGRESSING
    assert verdict_of(given, "C").takes_over_from == REVISIONS["A"].id
    assert moves(plan(given, NOW)) == "retire B1", "what failed makes room"
    assert moves(plan(settled(edited("A ###"), NOW, plan), NOW)) == "create C0"


def test_revision_that_fails_after_a_failed_one_goes_back_to_the_good_one() -> None:
    given = settled(edited("A ### C ."), NOW, plan)
    crashes = replace(given, instances=fleet("A ### C .", C0={"trouble": STUCK}))
    back = settled(crashes, NOW + 10)
    assert verdict_of(back, "C").fallback == REVISIONS["A"].id
    assert moves(planner.plan(back, NOW + 10)) == "retire C0"
    assert [f.revision for f in back.prior.failed_revisions] == [
        REVISIONS["C"].id,
        REVISIONS["B"].id,
    ]


# The configuration of the revision to go back to.


def pinned(given: View, *, copies: str = "B") -> View:
    """A and B read a ConfigMap of different content; what it says now is B's."""
    records = []
    for letter, record in zip("AB", given.revisions, strict=True):
        digest = f"sha256:{letter.lower() * 64}"
        full = revision_hash(template(letter), config={SETTINGS: digest})
        pins = (Pin("settings", f"web-cfg{letter}", digest),)
        records.append(replace(record, hash=full, config=pins))
    return replace(
        given,
        revisions=tuple(records),
        spec=replace(given.spec, pinned={SETTINGS: False}),
        configs={SETTINGS: Source("sha256:" + "b" * 64)},
        snapshots=frozenset(f"web-cfg{letter}" for letter in copies),
    )


def test_good_revision_reads_its_own_copy() -> None:
    given = pinned(after("A ## B ."), copies="AB")
    assert moves(planner.plan(given, NOW)) == "create A2"


def test_good_revision_without_its_copy_keeps_the_instances_it_has() -> None:
    """No instance of it can be born; those that run have read the copy."""
    given = pinned(after("A ## B ."))
    decided = planner.plan(given, NOW)
    assert [a for a in decided.actions if isinstance(a, Create)] == []
    assert "A" not in moves(decided)
    assert decided.status is not None
    assert condition(decided.status) == "Stalled RolledBack"
    assert "SnapshotLost" in {b.reason for b in decided.status.blockers}


def test_good_revision_without_copy_and_instances_is_passed_over() -> None:
    """Then the failed one is kept: it is all there is."""
    given = pinned(after("B ##."))
    decided = planner.plan(given, NOW)
    assert decided.status is not None
    assert decided.status.current_revision == REVISIONS["B"].id
    assert decided.status.conditions[2].status == "True"
    assert "SnapshotLost" in {b.reason for b in decided.status.blockers}


def test_older_good_revision_with_its_copies_comes_next() -> None:
    given = pinned(after("B ##."))
    older = replace(proven("C", ago=9000), number=9)
    given = replace(given, revisions=(*given.revisions, older))
    decided = planner.plan(given, NOW)
    assert decided.status is not None
    assert decided.status.current_revision == REVISIONS["C"].id
    assert moves(decided) == "create C2", "beside what works"


def test_verdict_says_which_copy_is_lost_if_an_older_revision_is_restored() -> None:
    """Afterwards that one is the last good revision, and nothing else would tell."""
    stuck = fleet("C ##.", C2={"trouble": STUCK})
    given = pinned(view(instances=stuck, wanted="C", good="B", recorded="AB"), copies="A")
    given = with_verdict(given, "A", proven("A", ago=9000).verdict)
    given = replace(
        given,
        revisions=(*given.revisions, begun("C")),
        spec=replace(given.spec, pinned={}),
        configs={SETTINGS: Source("sha256:" + "c" * 64)},
    )
    failed_now = verdict_of(settled(given, NOW, planner.plan), "C")
    assert failed_now.fallback == REVISIONS["A"].id
    assert failed_now.message.startswith(f"{name_of('C2')}: {STUCK.message}; ConfigMap web-cfgB, ")
    assert f"for revision 2 ({REVISIONS['B'].id}), was deleted" in failed_now.message


# Records that people delete, and those that are deleted as too many.


def test_deleted_record_of_a_failed_revision_is_recorded_and_rolled_out_again() -> None:
    """Nothing says any more that it failed. Its number is not used twice."""
    given = after("A ###")
    noted = replace(proven("A").verdict, number_floor=2)
    given = replace(given, revisions=(replace(REVISIONS["A"], verdict=noted),))
    [record] = [a for a in plan(given, NOW).actions if isinstance(a, CreateRevision)]
    assert record.number == 3


def test_deleted_record_of_the_good_revision_leaves_the_failed_one() -> None:
    given = after("A ### B .")
    given = replace(given, revisions=given.revisions[1:])
    decided = plan(given, NOW)
    assert decided.status is not None
    assert decided.status.current_revision == REVISIONS["B"].id
    assert not [a for a in decided.actions if isinstance(a, Retire) and a.uid.startswith("uid-A")]


@pytest.mark.parametrize("wanted", ["B", "F"])
def test_asked_and_fallback_are_kept_beyond_the_history_limit(wanted: str) -> None:
    """Also where newer revisions are good, and while the spec cannot be read."""
    given = after("A ###", wanted, recorded="ABCDEF", history_limit=1)
    given = with_verdict(
        given, "B", failed("B", rejected_by="jane") if wanted == "B" else failed("B")
    )
    for later in "CDE":
        given = with_verdict(given, later, Verdict(Phase.SUPERSEDED, started=NOW - 3000))
    unread = replace(given, spec=replace(given.spec, template=None), invalid="no")
    for shown in (given, unread):
        gone = moves(plan(shown, NOW)).partition("forget ")[2].split(";")[0]
        assert "A" not in gone
        assert "B" not in gone or wanted != "B"
        assert gone.split()[:1] == ["D"] or shown is unread


# Other things happen meanwhile.

MEANWHILE: list[tuple[str, str, dict[str, Any], dict[str, Any], str]] = [
    # rule, fleet, more of the spec, changes of instances and of the view, then
    ("a freeze does not hold it back", "A ## B .", {}, {"freezes": (CLOSED,)}, "create A2"),
    ("nor what failed", "A ### B .", {}, {"freezes": (CLOSED,)}, "retire B0"),
    ("suspension does", "A ## B .", {"suspend": True}, {}, ""),
    (
        "a modified good instance is replaced",
        "A ###",
        {},
        {"A1": {"taint": "exec by jane"}},
        "create A1'",
    ),
    (
        "one whose node goes is replaced",
        "A ###",
        {},
        {"A1": {"node": "n2"}, "ends": {"n2": NodeEnd(NOW - 5, "is being deleted")}},
        "create A1'",
    ),
    (
        "one that is too old is replaced",
        "A ###",
        {"regeneration": Regeneration(max_age=4999.5)},
        {},
        "create A0'",
    ),
    (
        "one that an action asks for is replaced",
        "A ###",
        {},
        {"requests": (Request("one", "r1", NOW, "jane"),)},
        "create A0'",
    ),
    (
        "a budget keeps what failed for a while",
        "A ### B #",
        {},
        {"refusals": (refusal(Move.RETIRE, "B0", Cause.DISRUPTION_BUDGET),)},
        "",
    ),
    (
        "a quota keeps a good one from being born: what failed makes room",
        "A ## B .",
        {},
        {"refusals": (refusal(Move.CREATE, "A2", Cause.QUOTA, revision="A"),)},
        "retire B0",
    ),
    ("what failed ended, and is cleared", "A ### B x", {}, {}, "retire B0"),
]


@pytest.mark.parametrize(
    ("rule", "drawn", "spec", "changes", "then"), MEANWHILE, ids=[m[0] for m in MEANWHILE]
)
def test_rollback_goes_on_whatever_happens(
    rule: str, drawn: str, spec: dict[str, Any], changes: dict[str, Any], then: str
) -> None:
    of_instances = {name: change for name, change in changes.items() if name[0] in "AB"}
    of_view = {name: change for name, change in changes.items() if name not in of_instances}
    given = replace(after(drawn, changes=of_instances, **spec), **of_view)
    assert moves(plan(given, NOW)) == then, rule


# The plan is a function of the records: whoever plans next goes on.


def test_operator_that_dies_after_any_write_changes_nothing() -> None:
    """From the verdict on, each single write is followed by the plan of a new operator."""
    given = view(instances=fleet("A ## B ##", B1={"trouble": STUCK}), wanted="B", recorded="AB")
    done, now = [], NOW
    for _ in range(40):
        decided = planner.plan(given, now)
        if not decided.actions:
            break
        action = decided.actions[0]
        done.append(moves(replace(decided, actions=(action,)), marks=True))
        given = _one_write(given, action, now)
        now += 20
    assert done[0] == "mark B=Failed"
    assert not [what for what in done if what.startswith(("retire A", "create B"))], done
    assert sum(what.startswith("mark B=Failed") for what in done) == 1
    assert {i.revision for i in given.instances} == {REVISIONS["A"].id}
    assert len(given.instances) == 3


def _one_write(given: View, action: object, now: float) -> View:
    """The service after one write; what is born is ready at once, and what is retired is gone."""
    match action:
        case SetVerdict():
            return written(given, replace(planner.plan(given, now), actions=(action,), status=None))
        case Retire():
            left = tuple(i for i in given.instances if i.uid != action.uid)
            return replace(given, instances=left)
        case Create():
            [like] = fleet("A #")
            born = replace(
                like,
                name=action.name,
                uid=f"uid-A{action.slot}",
                revision=action.revision,
                slot=action.slot,
                incarnation=action.incarnation,
                born=now,
                ready_since=now,
            )
            return replace(given, instances=(*given.instances, born))
    raise AssertionError(action)


def test_restored_revision_records_the_duration_of_the_rollback() -> None:
    """A revision that runs again after a rollback is good since then, not since its first start."""
    old = replace(proven("C", ago=90_000), number=9)
    given = after("C ###")
    given = with_verdict(given, "B", failed("B", back="C", rejected_by="jane"))
    given = settled(replace(given, revisions=(*given.revisions, old)), NOW, plan)
    verdict = verdict_of(given, "C")
    a = REVISIONS["A"].id
    assert verdict.completed == NOW
    assert verdict.replaced == f"3 instances in 50 s; replaced revision 1 ({a})"
    assert begun("C").verdict != verdict


@pytest.mark.parametrize(("drawn", "goes"), [("A ##. B ..", 1), ("A #.. B ...", 2)])
def test_failed_instances_give_up_only_the_places_that_are_missing(drawn: str, goes: int) -> None:
    """The restored revision finds no place on any node until some of them are gone."""
    unplaced = {"trouble": Trouble(TroubleKind.UNSCHEDULABLE, "no node has a place for it")}
    given = view(wanted="B", instances=fleet(drawn, A2=unplaced), max_surge=2)
    decided = planner.plan(with_verdict(given, "B", failed("B")), NOW)
    assert sum(isinstance(a, Retire) for a in decided.actions) == goes
