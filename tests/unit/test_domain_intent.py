"""Intents are on record: a successor says what it replaces, and for what (case K11)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.calendar.windows import Cron
from immutable_operator.domain.model import (
    Because,
    Cause,
    Create,
    Instance,
    Move,
    Reason,
    Request,
    Retire,
    purpose_of_request,
    purpose_of_slot,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.staleness.age import under_way
from tests.unit.given import NOW, fleet, moves, name_of, proven, refusal, view

HOURLY = Regeneration(max_age=3600.0, jitter=0.0)
OLD = {"born": NOW - 5000}


def heir(of: str, **changes: Any) -> dict[str, Any]:
    """What a successor in the place of ``of`` is born with, for its age."""
    return {
        "replaces": name_of(of),
        "replaces_uid": f"uid-{of}",
        "because": Because(Reason.EXPIRED, "older than maxAge 1h"),
        "born": NOW - 5,
        **changes,
    }


STORMS: list[tuple[str, str, dict[str, dict[str, Any]], dict[str, Any], str]] = [
    # rule, fleet (all of A), changes, spec, then
    (
        "one that leaves after a scale-down takes no place",
        "A ##-",
        {},
        {"replicas": 2},
        "create A0'",
    ),
    (
        "the starting successor lives: nothing more is created and nothing is surplus",
        "A ##.",
        {"A2": heir("A0")},
        {"replicas": 2},
        "",
    ),
    (
        "it is ready: the old one goes",
        "A ###",
        {"A2": heir("A0")},
        {"replicas": 2},
        "retire A0",
    ),
    (
        "the starting successor was deleted: one more, for the same one",
        "A ##-",
        {"A2": heir("A0")},
        {"replicas": 2},
        "create A0'",
    ),
    (
        "a started replacement continues, whatever else is due by now",
        "A ###",
        {"A0": {"born": NOW - 10}, "A1": {"born": NOW - 10}, "A2": heir("A0")},
        {"replicas": 2},
        "retire A0",
    ),
    (
        "a scale-up continues the replacement and fills the free slot",
        "A ##.",
        {"A2": heir("A0")},
        {"replicas": 3},
        "create A0'",
    ),
    (
        "a name that came back is not the one that was replaced",
        "A ##",
        {"A0": {"born": NOW - 5}, "A1": heir("A0", replaces_uid="uid-of-an-older-A0")},
        {"replicas": 2},
        "",
    ),
]


@pytest.mark.parametrize(
    ("rule", "drawn", "changes", "spec", "then"), STORMS, ids=[s[0] for s in STORMS]
)
def test_predecessor_is_the_one_named_by_the_birth_certificate(
    rule: str,
    drawn: str,
    changes: dict[str, dict[str, Any]],
    spec: dict[str, Any],
    then: str,
) -> None:
    given = view(
        instances=fleet(drawn, **changes), regeneration=HOURLY, min_ready_seconds=0, **spec
    )
    assert moves(plan(given, NOW)) == then, rule


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_repeatedly_deleted_successor_costs_one_birth_each_time(
    replicas: int,
) -> None:
    """Plan after plan, as the loop makes them; each new pod is deleted at once by a user."""
    alive = list(fleet("A " + "#" * replicas))
    births = 0
    for deletions in range(1, 20):
        for _ in range(10):  # turns without news in between
            decided = plan(
                view(
                    instances=alive,
                    replicas=replicas,
                    regeneration=HOURLY,
                    min_ready_seconds=0,
                ),
                NOW,
            )
            assert not [a for a in decided.actions if isinstance(a, Retire)]
            for birth in [a for a in decided.actions if isinstance(a, Create)]:
                births += 1
                alive.append(_born(birth))
        assert births == deletions
        alive = [i if i.ready_since else replace(i, terminating=True) for i in alive]


def _born(birth: Create) -> Instance:
    return Instance(
        birth.name,
        f"uid-{birth.name}",
        birth.revision,
        birth.slot,
        birth.incarnation,
        NOW,
        replaces=birth.replaces,
        replaces_uid=birth.replaces_uid,
        because=birth.because,
        purpose=birth.purpose,
    )


ASKED = Request("all", "r1", NOW - 100, "jane")


def test_instance_created_for_a_request_is_not_replaced_by_it() -> None:
    """The clocks of two API servers may differ by seconds."""
    skewed = {"born": NOW - 102, "purpose": purpose_of_request("r1")}
    given = replace(
        view(instances=fleet("A ###", A0=skewed, A1=skewed, A2=skewed)), requests=(ASKED,)
    )
    decided = plan(given, NOW)
    assert moves(decided) == ""
    assert [o.phase for o in decided.outcomes] == ["Succeeded"]


def test_successor_of_a_requested_instance_keeps_the_request() -> None:
    lost = fleet("A ##-", A2={"purpose": purpose_of_request("r1")})
    [birth] = [a for a in plan(view(instances=lost), NOW).actions if isinstance(a, Create)]
    assert birth.purpose == purpose_of_request("r1")


def test_birth_names_the_request_or_slot_that_caused_it() -> None:
    given = replace(view("A ###"), requests=(ASKED,))
    [birth] = [a for a in plan(given, NOW).actions if isinstance(a, Create)]
    assert birth.purpose == purpose_of_request("r1")
    hourly = Regeneration(schedule=Cron("0 * * * *", "UTC"))
    later = NOW - NOW % 3600 + 3600 + 1800
    [birth] = [
        a for a in plan(view("A ###", regeneration=hourly), later).actions if isinstance(a, Create)
    ]
    assert birth.purpose == purpose_of_slot(later - 1800)


def test_instance_created_for_a_slot_is_not_due_by_it() -> None:
    hourly = Regeneration(schedule=Cron("0 * * * *", "UTC"))
    later = NOW - NOW % 3600 + 3600 + 1800
    skewed = {"born": later - 1802, "purpose": purpose_of_slot(later - 1800)}
    given = view(instances=fleet("A #", A0=skewed), replicas=1, regeneration=hourly)
    assert moves(plan(given, later)) == ""


def test_flapping_readiness_does_not_lengthen_the_start_time() -> None:
    """A12: the time until readiness is that of the first starts, as the revision's record says."""
    flapped = {"born": NOW - 43_000, "ready_since": NOW - 10}
    daily = Regeneration(max_age=86_400.0, jitter=0.0)
    given = view(instances=fleet("A ###", A0=flapped, A1=flapped, A2=flapped), regeneration=daily)
    known = replace(proven("A"), verdict=replace(proven("A").verdict, start_seconds=4.0))
    given = replace(given, revisions=(known,))
    assert moves(plan(given, NOW)) == ""


def test_new_instance_is_not_due_when_its_age_cannot_be_met() -> None:
    minute = Regeneration(max_age=60.0, jitter=0.0, max_concurrent=3)
    young = {"born": NOW - 5, "ready_since": None}
    given = view(
        instances=fleet("A ...", A0=young, A1=young, A2=young),
        regeneration=minute,
        min_ready_seconds=0,
    )
    assert moves(plan(given, NOW)) == ""


def test_replacement_of_a_lost_instance_retires_no_other_instance() -> None:
    """A repair may name an instance as lost that is still running."""
    because = Because(Reason.MISSING, "it was deleted")
    instances = fleet("A ####", A3=heir("A0", because=because))
    assert under_way(instances, instances) == {}
    expired = fleet("A ####", A3=heir("A0"))
    assert list(under_way(expired, expired)) == [name_of("A0")]


def test_successor_without_surge_says_why_its_predecessor_was_retired() -> None:
    """The predecessor is retired first; it is judged again by its last known state."""
    request = Request("go", "r1", NOW - 30, "jane")
    leaving = {"leaving": "EvictionByEvictionAPI: evicting", "born": NOW - 5000}
    spec: dict[str, Any] = {"max_surge": 0, "max_unavailable": 1}
    given = view(instances=fleet("A ##-", A2=leaving), **spec)
    aged = replace(given, spec=replace(given.spec, regeneration=HOURLY))
    for seen, reason, purpose in (
        (given, Reason.MISSING, ""),
        (replace(given, requests=(request,)), Reason.REQUESTED, purpose_of_request("r1")),
        (aged, Reason.EXPIRED, ""),
    ):
        own = replace(seen, retired=frozenset({"uid-A2"}))
        [birth] = [a for a in plan(own, NOW).actions if isinstance(a, Create)]
        assert (birth.replaces, birth.because.reason, birth.purpose) == (
            name_of("A2"),
            reason,
            purpose,
        )
        [other] = [a for a in plan(seen, NOW).actions if isinstance(a, Create)]
        assert other.because.reason is Reason.MISSING, "another client evicted it"


def test_successor_that_is_gone_does_not_keep_its_predecessor_in_place() -> None:
    """The successor was force-deleted during a watch outage and still looks alive."""
    [gone] = fleet("C #", C0={"replaces": name_of("A0"), "replaces_uid": "uid-A0"})
    given = view("A # B ##", wanted="B")
    assert moves(plan(given, NOW)) == "create B2"
    assert moves(plan(replace(given, departed=(gone,)), NOW)) == "create B2"


def test_successor_is_of_the_one_that_goes_for_its_age_if_another_needs_none() -> None:
    """The tainted one is beyond the wanted number, and a budget keeps it.

    As its successor, the new instance would be surplus in the next plan: nothing would say that it
    replaces the old one, and the two plans would alternate without end.
    """
    instances = fleet("A ###", A0={"taint": "exec by jane"})
    spec: dict[str, Any] = {"replicas": 2, "max_surge": 2, "regeneration": HOURLY}
    blocked = refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET)
    given = view(instances=instances, refusals=(blocked,), **spec)
    [birth] = [a for a in plan(given, NOW).actions if isinstance(a, Create)]
    assert birth.replaces == name_of("A1")
    born = replace(_born(birth), ready_since=None, born=NOW)
    after = replace(given, instances=(*instances, born))
    assert moves(plan(after, NOW + 1)) == "", "the successor is retired again"


def test_instance_that_stays_after_all_gets_another_successor_for_its_age() -> None:
    """The end of its node was taken back, and its heir is one of the wanted number by now.

    If the heir still counted, the new instance would fill an empty place, be surplus in the next
    plan, and be born again, without end.
    """
    left = Because(Reason.EVACUATING, "node n1 has the taint karpenter.sh/disrupted")
    young = heir("A0", because=left, born=NOW - 60)
    instances = fleet("A ##", A1=young)
    given = view(instances=instances, replicas=2, max_surge=1, regeneration=HOURLY)
    [birth] = [a for a in plan(given, NOW).actions if isinstance(a, Create)]
    assert birth.replaces == name_of("A0")
    born = replace(_born(birth), ready_since=None, born=NOW)
    for order in ((*instances, born), (born, *reversed(instances))):
        after = replace(given, instances=order)
        assert moves(plan(after, NOW + 1)) == "", "the successor is retired again"


def test_birth_that_was_requested_says_by_whom() -> None:
    asked = replace(view("A ###"), requests=(Request("go", "r1", NOW - 30, "jane"),))
    [birth] = [a for a in plan(asked, NOW).actions if isinstance(a, Create)]
    assert birth.because == Because(Reason.REQUESTED, "requested by jane (go)", birth.purpose)
