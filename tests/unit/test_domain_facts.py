"""Facts for receivers: each thing that happens is one fact, with a key that a restart keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from immutable_operator.domain.model import (
    Cause,
    Deviation,
    Fact,
    FactType,
    Move,
    Status,
    View,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.status.facts import facts
from immutable_operator.wire.cloud_event import event_id
from tests.unit.given import (
    NOW,
    REVISIONS,
    failed,
    fleet,
    name_of,
    proven,
    refusal,
    verdict_of,
    view,
    with_verdict,
)

TAINTED_BEFORE = Status(desired=3, deviations=(Deviation(name_of("A0"), "Tainted", "exec"),))


def found(given: View, now: float = NOW) -> dict[FactType, Fact]:
    return {fact.type: fact for fact in facts(given, plan(given, now), now)}


def good(**more: Any) -> View:
    """A service of which revision A is good and runs."""
    return view("A ###", recorded="A", **more)


def bad(back: str = "A", **verdict: Any) -> View:
    """A service whose revision B failed."""
    given = view("A ###", wanted="B", recorded="AB")
    return with_verdict(given, "B", failed("B", back=back, **verdict))


def tainted(**changes: Any) -> View:
    exec_ = {"taint": "exec by jane at 2027-01-15T08:00:00Z", **changes}
    return replace(good(), instances=fleet("A ###", A0=exec_))


def test_good_revision_is_a_fact_with_the_time_of_its_record() -> None:
    got = found(good())
    assert [*got] == [FactType.GOOD]
    fact = got[FactType.GOOD]
    assert (fact.revision, fact.at) == (proven("A"), NOW - 4000)
    assert fact.message == f"{REVISIONS['A']} is good"
    replaced = replace(proven("A").verdict, replaced="3 instances in 9 s")
    text = found(with_verdict(good(), "A", replaced))[FactType.GOOD].message
    assert text == f"{REVISIONS['A']} is good: 3 instances in 9 s"


def test_good_again_after_another_one_is_another_fact() -> None:
    first = found(good())[FactType.GOOD]
    assert event_id(found(good(), NOW + 500)[FactType.GOOD]) == event_id(first)
    again = found(with_verdict(good(), "A", proven("A", ago=10.0).verdict))[FactType.GOOD]
    assert event_id(again) != event_id(first)


def test_revision_under_way_is_not_good_although_it_was() -> None:
    verdict = replace(proven("A").verdict, started=NOW - 5)
    assert FactType.GOOD not in found(with_verdict(good(), "A", verdict))


def test_failed_revision_that_has_a_fallback_is_two_facts() -> None:
    got = found(bad())
    assert {*got} == {FactType.GOOD, FactType.FAILED, FactType.ROLLED_BACK}
    for kind in (FactType.FAILED, FactType.ROLLED_BACK):
        fact = got[kind]
        assert fact.revision is not None
        assert (fact.revision.id, fact.at, fact.by) == (REVISIONS["B"].id, NOW - 50, "")
        assert (fact.reason, fact.message) == (
            "CrashLoop",
            f"{REVISIONS['B']} failed: CrashLoop: {name_of('B0')}: it keeps exiting;"
            f" going back to {REVISIONS['A']}",
        )
    assert event_id(got[FactType.FAILED]) != event_id(got[FactType.ROLLED_BACK])


def test_failed_revision_that_is_kept_is_not_rolled_back() -> None:
    got = found(bad(back=""))
    assert FactType.ROLLED_BACK not in got
    assert "it is kept" in got[FactType.FAILED].message


def test_rejection_names_the_user() -> None:
    why = "rejected by jane: it is slow"
    fact = found(bad(reason="Rejected", rejected_by="jane", message=why))[FactType.ROLLED_BACK]
    assert fact.by == "jane"
    assert fact.message == f"{REVISIONS['B']} was {why}; going back to {REVISIONS['A']}"


def test_stalled_is_a_fact_when_its_event_is_told() -> None:
    quota = refusal(Move.CREATE, "B0", Cause.QUOTA, revision="B")
    given = view("A ###", wanted="B", recorded="AB", refusals=[quota])
    decided = plan(given, NOW)
    [told] = [a for a in decided.announcements if a.reason == "Stalled"]
    fact = found(given)[FactType.STALLED]
    assert (fact.key, f"{fact.reason}: {fact.message}") == (told.key, told.message)
    assert fact.at == NOW
    assert fact.revision is not None
    assert fact.revision.id == REVISIONS["B"].id
    assert decided.status is not None
    assert FactType.STALLED not in found(replace(given, prior=decided.status)), "told once"


def test_tainted_instance_is_a_fact_with_its_user_and_time() -> None:
    given = tainted(tainted_by="jane", tainted_at=NOW - 7)
    fact = found(given)[FactType.TAINTED]
    assert (fact.instance, fact.by, fact.at) == (name_of("A0"), "jane", NOW - 7)
    assert fact.message == f"{name_of('A0')}: exec by jane at 2027-01-15T08:00:00Z"
    assert fact.revision == proven("A")
    later = found(replace(given, prior=TAINTED_BEFORE))[FactType.TAINTED]
    assert event_id(later) == event_id(fact)


def test_tainted_instance_without_a_time_is_a_fact_only_when_it_is_new() -> None:
    assert found(tainted())[FactType.TAINTED].at == NOW
    assert FactType.TAINTED not in found(replace(tainted(), prior=TAINTED_BEFORE))


def test_promotion_is_a_fact_of_the_record() -> None:
    given = with_verdict(good(), "A", replace(verdict_of(good(), "A"), promoted=NOW - 3600))
    [fact] = [f for f in facts(given, plan(given, NOW), NOW) if f.type is FactType.PROMOTED]
    assert (fact.uid, fact.at) == (given.revisions[0].uid, NOW - 3600)
    assert fact.message == "revision 1 (77063059) gets the traffic"
    assert event_id(fact) == event_id(facts(given, plan(given, NOW + 60), NOW + 60)[-1])


def test_nothing_is_said_of_a_service_that_is_being_deleted() -> None:
    given = replace(good(), deleting=True)
    assert facts(given, plan(given, NOW), NOW) == ()
