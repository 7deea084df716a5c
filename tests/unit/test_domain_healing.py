"""Instances that were reached into: what is planned for them, and how soon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.families.pods import SPEC_CHANGED, deviation
from immutable_operator.domain.model import (
    Backoff,
    Cause,
    Create,
    Evidence,
    Instance,
    Move,
    OnTaint,
    Plan,
    Policy,
    Quarantine,
    Retire,
    SetVerdict,
    View,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.status.tell import modified_in_place
from tests.unit.given import (
    MIN_READY,
    NOW,
    condition,
    fleet,
    moves,
    name_of,
    refusal,
    template,
    view,
)

TAINT: dict[str, Any] = {"taint": "exec by jane at noon"}
OTHER = "registry.example/web@sha256:" + "f" * 64
PINNED = template("A")["spec"]["containers"][0]["image"]


def again(heals: int, age: float) -> dict[str, Any]:
    """Tainted like its predecessor; born ``age`` seconds ago."""
    return {**TAINT, "heals": heals, "born": NOW - age}


PLANS: list[tuple[str, str, dict[str, dict[str, Any]], dict[str, Any], str]] = [
    ("successor first", "A ###", {"A1": TAINT}, {}, "create A1'"),
    (
        "all were: the surge paces it",
        "A ###",
        dict.fromkeys(("A0", "A1", "A2"), TAINT),
        {},
        "create A0'",
    ),
    ("not while suspended", "A ###", {"A1": TAINT}, {"suspend": True}, ""),
    ("only told", "A ###", {"A1": TAINT}, {"on_taint": OnTaint.REPORT}, ""),
    (
        "out of traffic at once, and its successor",
        "A ###",
        {"A1": TAINT},
        {"on_taint": OnTaint.QUARANTINE},
        "quarantine A1; create A1'",
    ),
    (
        "all out of traffic: containment comes before the budget",
        "A ###",
        dict.fromkeys(("A0", "A1", "A2"), TAINT),
        {"on_taint": OnTaint.QUARANTINE},
        "quarantine A0 A2 A1; create A0'",
    ),
    (
        "in quarantine it is not counted",
        "A ###",
        {"A1": {**TAINT, "quarantined": NOW - 10}},
        {"on_taint": OnTaint.QUARANTINE},
        "create A1'",
    ),
    (
        "its time is over",
        "A ####",
        {"A3": {**TAINT, "quarantined": NOW - 3600}},
        {"on_taint": OnTaint.QUARANTINE},
        "retire A3",
    ),
    (
        "its time is over also when the service thinks otherwise by now",
        "A ####",
        {"A3": {**TAINT, "quarantined": NOW - 3600}},
        {},
        "retire A3",
    ),
    ("edited", "A ###", {"A2": {"generation": 2}}, {}, "create A2'"),
    ("as it was born", "A ###", {"A2": {"generation": 1}}, {}, ""),
    ("another image", "A ###", {"A0": {"images": (("web", OTHER),)}}, {}, "create A0'"),
    ("restarted in place, allowed", "A ###", {"A0": {"restarted": "web"}}, {}, ""),
    (
        "restarted in place, not allowed",
        "A ###",
        {"A0": {"restarted": "web"}},
        {"replace_restarted": True},
        "create A0'",
    ),
    (
        "restarted in place, not allowed, whatever else is only told",
        "A ###",
        {"A0": {"restarted": "web"}},
        {"replace_restarted": True, "on_taint": OnTaint.REPORT},
        "create A0'",
    ),
    (
        "restarted in place, not allowed, and not ready again",
        "A .##",
        {"A0": {"restarted": "web"}},
        {"replace_restarted": True},
        "create A0'",
    ),
    (
        "restarted again and again, and never ready: a release in trouble",
        "A .##",
        {"A0": {"restarted": "web"}},
        {"replace_restarted": True, "good": None},
        "",
    ),
    # Healing that does not help.
    ("a minute after the first relapse: not yet", "A ###", {"A0": again(1, 59)}, {}, ""),
    ("a minute after the first relapse", "A ###", {"A0": again(1, 60)}, {}, "create A0'"),
    ("four minutes after the third", "A ###", {"A0": again(3, 239)}, {}, ""),
    ("four minutes after the third, now", "A ###", {"A0": again(3, 240)}, {}, "create A0'"),
    (
        "the others wait with it",
        "A ###",
        {"A0": again(1, 30), "A1": TAINT, "A2": TAINT},
        {},
        "",
    ),
    (
        "then one at a time, the oldest",
        "A ######",
        {"A0": again(1, 70), "A1": TAINT, "A2": TAINT},
        {"replicas": 6, "max_surge": 3},
        "create A1'",
    ),
    ("left alone for an hour it starts afresh", "A ###", {"A0": again(9, 3601)}, {}, "create A0'"),
    (
        "a rollout does not wait for it",
        "A ### B #",
        {"A0": again(5, 1), "A1": again(5, 1)},
        {"wanted": "B"},
        "retire A0",
    ),
]


def planned(
    drawn: str, changes: dict[str, dict[str, Any]], spec: dict[str, Any]
) -> tuple[View, Plan]:
    given = view(drawn, instances=fleet(drawn, **changes), **spec)
    return given, plan(given, NOW)


@pytest.mark.parametrize(
    ("drawn", "changes", "spec", "wanted"), [p[1:] for p in PLANS], ids=[p[0] for p in PLANS]
)
def test_tainted_instance_is_replaced_quarantined_or_reported(
    drawn: str, changes: dict[str, dict[str, Any]], spec: dict[str, Any], wanted: str
) -> None:
    assert moves(planned(drawn, changes, spec)[1]) == wanted


def test_successor_counts_the_replacements_before_it() -> None:
    for found, counted in (
        (TAINT, 1),
        (again(1, 100), 2),
        (again(4, 3500), 5),
        (again(4, 7100), 5),
        (again(4, 7300), 1),
    ):
        [create] = [
            a for a in planned("A ###", {"A0": found}, {})[1].actions if isinstance(a, Create)
        ]
        assert create.heals == counted
        assert str(create.because) == "Tainted: exec by jane at noon"


def test_waiting_replacement_is_reported_and_due() -> None:
    given, decided = planned("A ###", {"A0": again(2, 20)}, {})
    assert condition(decided.status) == "Stalled TaintReturns"
    assert decided.due == NOW + 100
    assert decided.status is not None
    [blocker] = decided.status.blockers
    then = "next attempt at 2027-01-15T08:01 UTC"
    assert f"2 replacements in a row were modified as well; {then}" in blocker.message
    assert decided.status.stale == 1
    later = replace(given, prior=decided.status)
    assert plan(later, NOW + 50).status == decided.status, "it says the same until the next try"


def test_reported_only_deviation_leaves_the_service_ready() -> None:
    _, decided = planned("A ###", {"A1": TAINT}, {"on_taint": OnTaint.REPORT})
    assert decided.status is not None
    assert condition(decided.status) == "Ready Current"
    assert modified_in_place(1) in decided.status.conditions[0].message
    [deviation] = decided.status.deviations
    assert (deviation.reason, deviation.message) == ("Tainted", TAINT["taint"])
    assert [a.reason for a in decided.announcements] == ["Tainted"]


def test_plan_is_due_at_the_end_of_a_quarantine() -> None:
    changes = {"A3": {**TAINT, "quarantined": NOW - 3000}}
    _, decided = planned("A ####", changes, {"on_taint": OnTaint.QUARANTINE})
    assert decided.due == NOW + 600
    assert condition(decided.status) == "Ready Current"
    assert decided.status is not None
    assert (decided.status.quarantined, decided.status.replicas) == (1, 3)


def test_quarantine_counts_against_the_budget_of_the_same_plan() -> None:
    """One of four available instances leaves the traffic: no other is retired meanwhile."""
    drawn = "A ## B ##"
    assert moves(plan(view(drawn, wanted="B"), NOW)) == "retire A0"
    given = view(drawn, wanted="B", instances=fleet(drawn, A1=TAINT), on_taint=OnTaint.QUARANTINE)
    assert moves(plan(given, NOW)) == "quarantine A1"


def test_instance_is_not_retired_when_its_quarantine_was_refused() -> None:
    """The user asked for the pod to be kept."""
    no = refusal(Move.QUARANTINE, "A1", Cause.API_SERVER)
    given = view(
        instances=fleet("A ####", A1=TAINT),
        refusals=[no],
        on_taint=OnTaint.QUARANTINE,
        max_unavailable=1,
    )
    decided = plan(given, NOW)
    assert moves(decided) == ""
    assert decided.due == no.retry_at


def test_pauses_grow_to_the_maximum_of_the_policy() -> None:
    policy = Policy(heal=Backoff(2, 30), heal_memory=100)
    for heals, pause in ((1, 2), (2, 4), (4, 16), (5, 30), (60, 30)):
        given = view("A ###", instances=fleet("A ###", A0=again(heals, 1)))
        assert plan(given, NOW, policy).due == NOW - 1 + pause


@pytest.mark.parametrize("on_taint", [OnTaint.REPLACE, OnTaint.QUARANTINE])
@pytest.mark.parametrize("drawn", ["A {}", "B {}"], ids=["at rest", "during a rollout"])
@pytest.mark.parametrize(("replicas", "surge"), [(1, 1), (3, 1), (6, 3)])
def test_persistent_mutator_causes_few_replacements_an_hour(
    replicas: int, surge: int, drawn: str, on_taint: OnTaint
) -> None:
    """A day with a persistent mutator, at the pace of a default installation.

    Each successor is Ready at once and patched at its birth, which is the most that can happen.
    Those that are forgotten after an hour do not outlive their successors without any pause.
    """
    alive = list(fleet(drawn.format("#" * replicas)))
    if drawn.startswith("A"):
        alive = [replace(i, taint="patched", born=NOW) for i in alive]
    births: list[float] = []
    now, day = NOW, NOW + 24 * 3600
    while now < day:
        given = view(
            instances=alive,
            replicas=replicas,
            max_surge=surge,
            on_taint=on_taint,
            good="B" if drawn.startswith("B") else "A",
        )
        decided = plan(given, now)
        for action in decided.actions:
            match action:
                case Create():
                    births.append(now)
                    alive.append(_patched(action, now))
                case Retire():
                    alive = [
                        replace(i, terminating=True) if i.uid == action.uid else i for i in alive
                    ]
                case Quarantine():
                    alive = [
                        replace(i, quarantined=now) if i.uid == action.uid else i for i in alive
                    ]
        if all(isinstance(action, SetVerdict) for action in decided.actions):
            now = max(now + 30, min(decided.due or day, day))
            alive = [i for i in alive if not i.terminating]
        assert len(births) < 1000
    assert births[0] == NOW
    assert births[-1] > day - 3600, "it goes on trying"
    busiest = max(sum(since <= b < since + 3600 for b in births) for since in births)
    rollout = 2 * replicas if drawn.startswith("B") else 0
    rollout += replicas if on_taint is OnTaint.QUARANTINE else 0
    assert busiest <= 6 + surge + rollout, busiest


def _patched(birth: Create, now: float) -> Instance:
    """A pod that is ready, and was changed, in the second of its creation."""
    return Instance(
        name=birth.name,
        uid=f"uid-{birth.name}",
        revision=birth.revision,
        slot=birth.slot,
        incarnation=birth.incarnation,
        replaces=birth.replaces,
        replaces_uid=birth.replaces_uid,
        heals=birth.heals,
        because=birth.because,
        born=now,
        ready_since=now,
        taint="patched",
    )


GATED = {"spec": {**template("A")["spec"], "schedulingGates": [{"name": "queue"}]}}
EVIDENCE: list[tuple[str, dict[str, Any], Any, Evidence, str | None]] = [
    ("nothing", {}, template("A"), Evidence(), None),
    (
        "a mirror with the same digest",
        {"images": (("web", f"mirror.example/w@{PINNED.partition('@')[2]}"),)},
        template("A"),
        Evidence(),
        None,
    ),
    (
        "a sidecar that was injected",
        {"images": (("web", PINNED), ("proxy", OTHER))},
        template("A"),
        Evidence(),
        None,
    ),
    (
        "edited by",
        {"generation": 4, "editor": "kubectl-edit"},
        template("A"),
        Evidence(),
        f"Tainted: {SPEC_CHANGED} (by kubectl-edit)",
    ),
    ("edited without a node", {"generation": 4, "node": None}, template("A"), Evidence(), None),
    ("on its way out", {"generation": 2, "terminating": True}, template("A"), Evidence(), None),
    ("an API server that does not count", {"generation": 0}, template("A"), Evidence(), None),
    (
        "gates in its template, and never any on it",
        {"generation": 2},
        GATED,
        Evidence(),
        f"Tainted: {SPEC_CHANGED}",
    ),
    (
        "gates that are in no template",
        {"generation": 2},
        template("A"),
        Evidence(baselines={"uid-A0": 2}),
        None,
    ),
    (
        "gates that are in no template, edited since",
        {"generation": 3},
        template("A"),
        Evidence(baselines={"uid-A0": 2}),
        f"Tainted: {SPEC_CHANGED}",
    ),
    (
        "gates, as at its baseline",
        {"generation": 4},
        GATED,
        Evidence(baselines={"uid-A0": 4}),
        None,
    ),
    (
        "gates, edited since",
        {"generation": 5},
        GATED,
        Evidence(baselines={"uid-A0": 4}),
        f"Tainted: {SPEC_CHANGED}",
    ),
    (
        "reported otherwise, not proven",
        {"images": (("web", PINNED),), "reported": (("web", OTHER),)},
        template("A"),
        Evidence(),
        None,
    ),
    (
        "reported otherwise, proven",
        {"images": (("web", PINNED),), "reported": (("web", OTHER),)},
        template("A"),
        Evidence(different=frozenset({(PINNED, OTHER)})),
        f"Drifted: container web runs {OTHER}, which is not {PINNED}",
    ),
    (
        "configuration recreated",
        {},
        template("A"),
        Evidence(replaced={"uid-A0": "ConfigMap x was"}),
        "Drifted: ConfigMap x was",
    ),
    ("another revision's image is its own", {"images": (("web", OTHER),)}, None, Evidence(), None),
    (
        "the mark comes first",
        {**TAINT, "generation": 2},
        template("A"),
        Evidence(),
        "Tainted: exec by jane at noon",
    ),
]


@pytest.mark.parametrize(
    ("changes", "born_from", "evidence", "wanted"),
    [e[1:] for e in EVIDENCE],
    ids=[e[0] for e in EVIDENCE],
)
def test_deviation_names_the_difference(
    changes: dict[str, Any], born_from: Any, evidence: Evidence, wanted: str | None
) -> None:
    [instance] = fleet("A #", A0=changes)
    found = deviation(instance, born_from, evidence)
    assert (str(found) if found else None) == wanted


def test_healing_waits_for_min_ready_seconds() -> None:
    given = view("A ###+", instances=fleet("A ###+", A1=TAINT, A3={"replaces": "x"}))
    assert moves(plan(given, NOW)) == ""
    assert moves(plan(given, NOW + MIN_READY)) == "retire A1"


def test_successor_of_a_modified_instance_that_goes_already_counts_on() -> None:
    drawn = "A ##-"
    gone = {"A2": {**again(3, 100), "ready_since": None}}
    [create] = [a for a in planned(drawn, gone, {})[1].actions if isinstance(a, Create)]
    assert (create.replaces, create.heals) == (name_of("A2"), 4)
