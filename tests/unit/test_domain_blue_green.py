"""BlueGreen: who has the traffic, what decides a promotion, and what holds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.model import (
    BlueGreen,
    Command,
    Create,
    Freeze,
    Phase,
    Plan,
    Port,
    Request,
    Retire,
    Revision,
    SetRoute,
    SetVerdict,
    Traffic,
    Verdict,
    View,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.routing import route_as_set
from immutable_operator.domain.standing import going_back, live_revision
from tests.unit.given import NOW, REVISIONS, condition, fleet, view
from tests.unit.rules import Case, check

HTTP = Traffic((Port(80, 8080),))
A, B, C = (REVISIONS[letter].id for letter in "ABC")
FROZEN = Freeze("all", "sale", ends=NOW + 600)
PROMOTE = Request("promote", "p1", NOW - 1, "jane", command=Command.PROMOTE)
ABORT = replace(PROMOTE, name="abort", command=Command.ABORT)


def blue(drawn: str, live: str = "A", wanted: str = "B", **given: Any) -> View:
    """A service whose revision ``live`` was promoted 1000 s ago; its Service selects that.

    ``way`` is how it is promoted; ``marks`` are fields of verdicts by letter.
    """
    way = given.pop("way", BlueGreen())
    marks: dict[str, dict[str, Any]] = given.pop("marks", {})
    spec = {"strategy": "BlueGreen", "blue_green": way, "traffic": HTTP}
    made = view(drawn, wanted=wanted, good=given.pop("good", "A"), **spec, **given)
    marks = {**marks, live: {"promoted": NOW - 1000, **marks.get(live, {})}}
    revisions = [_marked(r, marks) for r in made.revisions]
    shown = {"web": REVISIONS[live].id, "web-preview": REVISIONS[wanted].id}
    routes = [route_as_set(SetRoute(name, id_, HTTP)) for name, id_ in shown.items()]
    return replace(made, revisions=tuple(revisions), routes=tuple(routes))


def _marked(revision: Revision, marks: dict[str, dict[str, Any]]) -> Revision:
    letter = next(name for name, r in REVISIONS.items() if r.id == revision.id)
    return replace(revision, verdict=replace(revision.verdict, **marks.get(letter, {})))


def planned(given: View, now: float = NOW) -> Plan:
    """Plan, and hold the plan against all rules."""
    decided = plan(given, now)
    check(Case(given, decided, now))
    return decided


def verdicts(decided: Plan) -> dict[str, Verdict]:
    return {a.revision.id: a.verdict for a in decided.actions if isinstance(a, SetVerdict)}


def is_promoted(given: View, revision: str = B, now: float = NOW) -> bool:
    """Whether this plan gives it the traffic."""
    before = next(r.verdict.promoted for r in given.revisions if r.id == revision)
    found = verdicts(planned(given, now)).get(revision)
    return found is not None and found.promoted not in (None, before)


def born(decided: Plan) -> list[str]:
    return [a.revision for a in decided.actions if isinstance(a, Create)]


def retired(decided: Plan) -> int:
    return sum(isinstance(a, Retire) for a in decided.actions)


def test_new_revision_is_born_beside_all_that_have_the_traffic() -> None:
    decided = planned(blue("A ###"))
    assert born(decided) == [B] * 3
    assert not retired(decided)


def test_few_previews_are_born_until_the_promotion_is_decided() -> None:
    way = BlueGreen(preview_replicas=1)
    assert born(planned(blue("A ###", way=way))) == [B]
    decided = {"B": {"approved": NOW - 1}}
    assert born(planned(blue("A ### B #", way=way, marks=decided))) == [B] * 2


def test_preview_waits_for_a_person_however_long() -> None:
    given = blue("A ### B ###")
    for later in (0, 10_000):
        decided = planned(given, NOW + later)
        assert not is_promoted(given, now=NOW + later)
        assert decided.status is not None
        assert condition(decided.status) == "Reconciling WaitingForPromotion"
        assert "kubectl immutable promote web" in decided.status.conditions[0].message


def test_action_is_on_record_before_the_switch() -> None:
    given = replace(blue("A ### B ###"), requests=(PROMOTE,))
    decided = planned(given)
    noted = verdicts(decided)[B]
    assert (noted.approved, noted.command, noted.promoted) == (NOW, "p1", None)
    on_record = blue("A ### B ###", marks={"B": {"approved": NOW, "command": "p1"}})
    assert is_promoted(on_record)
    assert not [a for a in planned(on_record).actions if isinstance(a, SetRoute)]


def test_switch_follows_from_the_record_alone() -> None:
    """As after a crash between the two writes."""
    given = blue("A ### B ###", marks={"B": {"approved": NOW - 2, "promoted": NOW - 1}})
    decided = planned(given)
    assert SetRoute("web", B, HTTP) in decided.actions
    assert not retired(decided), "nothing goes before the switch is seen"


def test_switch_waits_until_there_are_enough() -> None:
    given = blue("A ### B ##.", marks={"B": {"approved": NOW - 1}})
    assert not is_promoted(given)
    lost = blue("A ### B ##.", marks={"B": {"approved": NOW - 2, "promoted": NOW - 1}})
    assert SetRoute("web", B, HTTP) not in planned(lost).actions


@pytest.mark.parametrize(("seconds", "promoted"), [(29, False), (30, True)])
def test_auto_counts_from_when_all_were_available(seconds: float, promoted: bool) -> None:
    way = BlueGreen(is_auto=True, promote_after=30.0)
    first = planned(blue("A ### B ###", way=way))
    assert verdicts(first)[B].previewed == NOW
    assert first.due is not None
    assert first.status is not None
    assert " at 2027-01-15T08:00 UTC; to promote it now: " in first.status.conditions[0].message
    given = blue("A ### B ###", way=way, marks={"B": {"previewed": NOW}})
    assert is_promoted(given, now=NOW + seconds) is promoted


def test_auto_does_not_promote_while_one_is_missing() -> None:
    way = BlueGreen(is_auto=True)
    assert not is_promoted(blue("A ### B ##.", way=way, marks={"B": {"previewed": NOW - 99}}))


@pytest.mark.parametrize("way", [BlueGreen(is_auto=True), BlueGreen()])
def test_freeze_holds_a_promotion(way: BlueGreen) -> None:
    marks = {} if way.is_auto else {"B": {"approved": NOW - 1}}
    given = blue("A ### B ###", way=way, marks=marks)
    assert is_promoted(given)
    frozen = replace(given, freezes=(FROZEN,))
    assert not is_promoted(frozen)
    status = planned(frozen).status
    assert status is not None
    assert "which a freeze delays: " in status.conditions[0].message
    assert is_promoted(frozen, now=NOW + 601)


def test_freeze_is_overridden_by_an_action_that_may() -> None:
    urgent = replace(PROMOTE, override_freeze=True, phase="Running")
    marks = {"B": {"approved": NOW - 1, "command": "p1"}}
    given = replace(blue("A ### B ###", marks=marks), freezes=(FROZEN,), requests=(urgent,))
    assert is_promoted(given)


def test_freeze_does_not_hold_the_way_back() -> None:
    failed = {"phase": Phase.FAILED, "reason": "CrashLoop", "failed": NOW - 1, "fallback": A}
    marks = {"B": {"promoted": NOW - 5, **failed}}
    given = replace(blue("A ### B ###", "A", marks=marks), freezes=(FROZEN,))
    assert live_revision(given) == next(r for r in given.revisions if r.id == B)
    assert is_promoted(given, A)


def test_suspended_service_is_not_switched() -> None:
    marks = {"B": {"approved": NOW - 1}}
    assert not is_promoted(blue("A ### B ###", marks=marks, suspend=True))
    switched = blue("A ### B ###", marks={"B": {"promoted": NOW - 1}}, suspend=True)
    assert planned(switched).actions == ()


def test_repair_of_what_has_the_traffic_does_not_count_previews() -> None:
    decided = planned(blue("A ## B ###"))
    assert born(decided) == [A]
    again = planned(blue("A ##x B ###"))
    assert A in born(again)


def test_scale_applies_to_both_sides() -> None:
    assert sorted(born(planned(blue("A ### B ###", replicas=4)))) == sorted([A, B])
    assert retired(planned(blue("A ### B ###", replicas=2))) == 2


def test_newer_revision_replaces_the_preview_only() -> None:
    decided = planned(blue("A ### B ###", wanted="C"))
    goes = {a.name for a in decided.actions if isinstance(a, Retire)}
    assert goes
    assert all(B in name for name in goes)


def test_previous_ones_are_kept_and_then_retired() -> None:
    marks = {"B": {"promoted": NOW - 10}}
    given = blue("A ### B ###", live="B", marks=marks, way=BlueGreen(keep_for=60.0))
    decided = planned(given)
    assert not retired(decided)
    assert decided.due == NOW + 50
    assert decided.status is not None
    assert condition(decided.status) == "Reconciling KeepingPrevious"
    assert retired(planned(given, NOW + 50)) == 3


def test_previous_ones_stay_until_the_switch_is_seen() -> None:
    marks = {"B": {"promoted": NOW - 1000}}
    given = blue("A ### B ###", marks={**marks, "A": {"promoted": NOW - 2000}})
    decided = planned(given)
    assert SetRoute("web", B, HTTP) in decided.actions
    assert not retired(decided)


def test_revision_that_was_promoted_and_not_completed_is_gone_back_to() -> None:
    """C was given up while B, which is promoted, was not complete: B has the traffic."""
    marks = {"B": {"promoted": NOW - 10, "phase": Phase.SUPERSEDED}}
    given = blue("A ### B ### C ###", live="B", wanted="C", marks=marks)
    c = next(r for r in given.revisions if r.id == C)
    back, _ = going_back(given, c)
    assert back is not None
    assert back.id == B


def test_first_revision_needs_nobody() -> None:
    given = blue("A ###", wanted="A", good=None, marks={"A": {"promoted": None}})
    assert is_promoted(given, A)
    assert not is_promoted(blue("A ##.", wanted="A", good=None, marks={"A": {"promoted": None}}), A)


def test_service_that_was_rolling_keeps_all_until_one_revision_is_whole() -> None:
    marks = {"A": {"promoted": None}}
    mixed = planned(blue("A ## B ##", marks=marks))
    assert SetRoute("web", "", HTTP) in mixed.actions
    assert is_promoted(blue("A ### B #", marks=marks), A)


def test_rolling_again_selects_all() -> None:
    given = blue("A ### B ###")
    rolling = replace(given, spec=replace(given.spec, strategy="Rolling", blue_green=None))
    moves = [a for a in planned(rolling).actions if isinstance(a, SetRoute)]
    assert moves == [SetRoute("web", "", HTTP)]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (blue("A ###", wanted="A"), "has the traffic already"),
        (blue("A ###", wanted="A", marks={"A": {"promoted": None}}), "was promoted yet"),
        (view("A ### B ###", wanted="B"), "rollout.strategy is Rolling"),
    ],
)
@pytest.mark.parametrize("request_", [PROMOTE, ABORT], ids=["promote", "abort"])
def test_action_that_does_not_apply_fails_with_the_reason(
    given: View, says: str, request_: Request
) -> None:
    (outcome,) = plan(replace(given, requests=(request_,)), NOW).outcomes
    assert outcome.phase == "Failed"
    assert says in outcome.message


def test_abort_rejects_the_preview() -> None:
    given = replace(blue("A ### B ###"), requests=(replace(ABORT, reason="wrong"),))
    found = verdicts(planned(given))[B]
    assert (found.phase, found.fallback, found.rejected_by) == (Phase.FAILED, A, "jane")
    assert found.message == "rejected by jane: wrong"


def test_preview_service_stays_inside_of_the_cluster() -> None:
    loud = Traffic((Port(80, 8080, node_port=30080),), "LoadBalancer", annotations=(("dns", "x"),))
    given = replace(blue("A ###"), routes=())
    given = replace(given, spec=replace(given.spec, traffic=loud))
    routes = {a.name: a for a in planned(given).actions if isinstance(a, SetRoute)}
    assert routes["web"].traffic == loud
    quiet = routes["web-preview"].traffic
    assert (quiet.type, quiet.ports[0].node_port, quiet.annotations) == ("ClusterIP", None, ())


def test_service_is_switched_to_all_that_are_wanted_though_the_previous_one_has_more() -> None:
    """As after a scale-down."""
    marks = {"A": {"promoted": NOW - 2000}, "B": {"promoted": NOW - 1}}
    given = blue("A #### B ###", marks=marks)
    assert SetRoute("web", B, HTTP) in planned(given).actions


WORKED: list[tuple[str, str, dict[str, Any], Phase]] = [
    ("all are available", "A ### B ###", {}, Phase.GOOD),
    ("one is not, and the previous ones do not count", "A ### B ##.", {}, Phase.SUPERSEDED),
    ("its bake is over", "A ### B ###", {"bake_seconds": 30}, Phase.GOOD),
    ("it bakes", "A ### B ###", {"bake_seconds": 31}, Phase.SUPERSEDED),
]


@pytest.mark.parametrize(("rule", "drawn", "spec", "phase"), WORKED, ids=[w[0] for w in WORKED])
def test_promoted_revision_that_works_is_good_although_another_one_is_wanted(
    rule: str, drawn: str, spec: dict[str, Any], phase: Phase
) -> None:
    fields = {"promoted": NOW - 60, "phase": Phase.PROGRESSING, "baking": NOW - 30}
    given = blue(drawn, live="B", wanted="C", marks={"B": fields}, **spec)
    verdict = verdicts(planned(given))[B]
    assert verdict.phase is phase, rule
    assert verdict.reason == ("Completed" if phase is Phase.GOOD else "")


def test_one_that_is_kept_is_told_with_its_revision() -> None:
    marks = {"B": {"promoted": NOW - 10}}
    given = blue("A # B ###", live="B", marks=marks, way=BlueGreen(keep_for=60.0))
    status = planned(given).status
    assert status is not None
    kept = f"; 1 instance of revision 1 ({A}) is kept for a rollback until "
    assert kept in status.conditions[0].message


def test_each_rollout_that_waits_for_its_promotion_is_an_event_of_its_own() -> None:
    keys = set()
    for started in (NOW - 500, NOW - 100):
        decided = planned(blue("A ### B ###", marks={"B": {"started": started}}))
        keys |= {a.key for a in decided.announcements if a.reason == "WaitingForPromotion"}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("request_", "then"),
    [(PROMOTE, ""), (ABORT, "; create an action of type RollBack to go back")],
    ids=["promote", "abort"],
)
def test_action_for_what_has_the_traffic_says_what_to_do(request_: Request, then: str) -> None:
    (outcome,) = plan(replace(blue("A ###", wanted="A"), requests=(request_,)), NOW).outcomes
    assert outcome.message == f"revision 1 ({A}) has the traffic already{then}"


def test_repair_of_what_has_the_traffic_succeeds_an_instance_of_its_own() -> None:
    """A preview that is being deleted is no predecessor of it."""
    given = blue("A ## B ##-", wanted="A")
    lost = fleet("A ###")[2]
    decided = planned(replace(given, departed=(lost,)))
    assert [a.replaces for a in decided.actions if isinstance(a, Create)] == [lost.name]
