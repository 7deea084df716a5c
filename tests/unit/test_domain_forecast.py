"""A forecast plays the planner into the future: what moves, in which order, and what holds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain import forecast as module
from immutable_operator.domain.calendar.cron import Cron
from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.families import Family
from immutable_operator.domain.families.nodes import NODES
from immutable_operator.domain.families.pods import PODS
from immutable_operator.domain.forecast import forecast
from immutable_operator.domain.foreseen import Assumed, Forecast, Limit
from immutable_operator.domain.imagined import World
from immutable_operator.domain.model import (
    Because,
    BlueGreen,
    Canary,
    Check,
    Freeze,
    Machine,
    Pause,
    Plan,
    Policy,
    Port,
    PrometheusQuestion,
    Reason,
    Retire,
    SetReplicas,
    SetRoute,
    Threshold,
    Traffic,
    Trouble,
    TroubleKind,
    View,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.routing import route_as_set
from tests.unit.given import MIN_READY, NOW, REVISIONS, begun, name_of, proven, view
from tests.unit.given_nodes import guest, nodes, pool_view

START = 10.0


def told(given: View, **assumed: Any) -> Forecast:
    return forecast(given, NOW, PODS, Assumed(START, **assumed), Policy())


def edited(**spec: Any) -> View:
    """Three instances of A run, and the spec asks for B, which is not on record."""
    return view("A ###", wanted="B", recorded="A", **spec)


def moves(found: Forecast) -> list[tuple[float, str, int]]:
    return [(s.at - NOW, s.kind, s.slot) for s in found.steps if s.moves_instance]


def test_converged_service_has_nothing_to_do() -> None:
    found = told(view("A ###"))
    assert (found.steps, found.holds, found.ends) == ((), (), NOW)


def test_each_slot_is_replaced_successor_first_and_in_time() -> None:
    found = told(edited())
    swap = START + MIN_READY
    assert moves(found) == [
        (0.0, "create", 0),
        (swap, "retire", 0),
        (swap, "create", 1),
        (2 * swap, "retire", 1),
        (2 * swap, "create", 2),
        (3 * swap, "retire", 2),
    ]
    assert (found.before, found.least, found.most) == (3, 3, 4)
    assert found.ends == NOW + 3 * swap
    assert found.holds == ()
    assert found.revision is not None
    assert found.revision.id == REVISIONS["B"].id


def test_new_instances_have_the_names_that_the_operator_gives() -> None:
    names = [s.name for s in told(edited()).steps if s.kind == "create"]
    assert names == [name_of("B0"), name_of("B1"), name_of("B2")]


def test_less_availability_is_told_where_the_spec_allows_it() -> None:
    found = told(edited(max_surge=0, max_unavailable=1))
    assert (found.least, found.most) == (2, 3)


def test_checks_pass_in_their_time() -> None:
    query = PrometheusQuestion("http://prometheus", "errors", success=Threshold("<", 1.0))
    errors = Check("errors", query, interval=30.0, delay=30.0, count=3)
    without, checked = told(edited()), told(edited(checks=(errors,)))
    assert without.ends is not None
    assert checked.ends == without.ends + 90.0
    assert moves(checked) == moves(without)


def test_freeze_holds_until_it_ends() -> None:
    frozen = replace(edited(), freezes=(Freeze("f", "closing", ends=NOW + 7200),))
    found = told(frozen)
    [hold] = found.holds
    assert (hold.reason, hold.since, hold.until) == ("Frozen", NOW, NOW + 7200)
    assert found.steps[0].at == NOW + 7200
    assert found.ends == NOW + 7200 + 3 * (START + MIN_READY)


@pytest.mark.parametrize(
    ("given", "assumed", "reason"),
    [
        (edited(suspend=True), {}, "Suspended"),
        (replace(edited(), freezes=(Freeze("f", "closing"),)), {}, "Frozen"),
        (edited(), {"limits": (Limit("strict", 5),)}, "PodDisruptionBudget"),
        (edited(), {"room": 0, "quota": "it is full"}, "QuotaExceeded"),
    ],
)
def test_what_never_ends_is_named(given: View, assumed: dict[str, Any], reason: str) -> None:
    found = told(given, **assumed)
    assert found.ends is None
    assert [(h.reason, h.until) for h in found.holds] == [(reason, None)]
    assert found.least == 3


def test_budget_with_room_holds_nothing() -> None:
    assert told(edited(), limits=(Limit("loose", 3),)).holds == ()


def test_scaling_creates_or_retires_only_the_difference() -> None:
    assert [kind for _, kind, _ in moves(told(view("A ###", replicas=5)))] == ["create"] * 2
    assert [kind for _, kind, _ in moves(told(view("A ###", replicas=1)))] == ["retire"] * 2


def test_new_service_is_created_at_once() -> None:
    found = told(view("", recorded="", good=None))
    assert [(at, kind) for at, kind, _ in moves(found)] == [(0.0, "create")] * 3
    assert found.ends == NOW + START + MIN_READY


def test_forecast_of_too_many_steps_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WORK", 10)
    found = told(edited())
    assert (found.is_cut, found.ends) == (True, None)
    assert 0 < len(moves(found)) < 6
    assert not told(view("A ###")).is_cut


def test_forecast_does_not_change_what_it_is_given() -> None:
    given = edited()
    before = repr(given)
    assert told(given) == told(given)
    assert repr(given) == before


def others(found: Forecast) -> list[tuple[float, str, str]]:
    return [(s.at - NOW, s.kind, s.name) for s in found.steps if s.kind in ("switch", "step")]


def test_switch_of_the_traffic_is_foreseen() -> None:
    http = Traffic((Port(80, 8080),))
    way = BlueGreen(is_auto=True, promote_after=60.0, keep_for=30.0)
    given = edited(strategy="BlueGreen", blue_green=way, traffic=http)
    routes = tuple(route_as_set(SetRoute(name, "", http)) for name in ("web", "web-preview"))
    found = told(replace(given, routes=routes))
    ready = START + MIN_READY
    switches = [(at, name) for at, kind, name in others(found) if name == "web"]
    assert switches == [(0.0, "web"), (ready + 60.0, "web")]
    assert found.most == 6
    assert found.ends == NOW + ready + 60.0 + 30.0


def test_steps_of_a_canary_are_foreseen_up_to_the_pause_that_waits_for_a_person() -> None:
    steps = (SetReplicas(1), Pause(30.0), SetReplicas(2), Pause())
    found = told(edited(strategy="Canary", canary=Canary(steps)))
    swap = START + MIN_READY
    assert others(found) == [
        (swap, "step", "step 1 of 4 (setReplicas 1)"),
        (swap + 30.0, "step", "step 2 of 4 (pause)"),
        (2 * swap + 30.0, "step", "step 3 of 4 (setReplicas 2)"),
    ]
    assert found.ends is None
    assert [hold.reason for hold in found.holds] == ["WaitingForPromotion"]


def starting(ago: float, trouble: Trouble | None = None) -> View:
    """A rollout to B whose first instance was created some seconds ago."""
    given = view("A ### B .", wanted="B", recorded="AB")
    late = (
        replace(i, born=NOW - ago, trouble=trouble) if i.revision == REVISIONS["B"].id else i
        for i in given.instances
    )
    return replace(given, instances=tuple(late), revisions=(proven("A"), begun("B")))


def test_instance_that_starts_already_is_ready_so_much_sooner() -> None:
    assert moves(told(starting(4.0)))[0] == (START - 4.0 + MIN_READY, "retire", 0)
    # One that takes longer than assumed is ready at once.
    assert moves(told(starting(50.0)))[0] == (1.0 + MIN_READY, "retire", 0)


def test_instance_in_trouble_that_may_pass_becomes_ready() -> None:
    slow = Trouble(TroubleKind.IMAGE_PULL, "it is being pulled")
    assert moves(told(starting(4.0, slow))) == moves(told(starting(4.0)))


def test_instance_in_trouble_that_waiting_does_not_help_never_becomes_ready() -> None:
    stuck = Trouble(TroubleKind.CRASH_LOOP, "it crashes", settled=True)
    found = told(starting(4.0, stuck))
    assert moves(found) == [(0.0, "retire", 0)], "it is given up"
    assert [hold.reason for hold in found.holds] == ["RolledBack"]
    assert found.ends is None


def test_instance_that_ends_makes_room_when_it_is_gone() -> None:
    end = 25.0
    ending = view("A ##-", max_surge=0, max_unavailable=1, counts_terminating=True)
    assert moves(told(ending, end=end)) == [(end, "create", 2)]
    assert moves(told(view("A ##-"), end=end)) == [(0.0, "create", 2)]


def test_scaling_down_needs_no_budget() -> None:
    """Nobody evicts an instance that the user does not want any more."""
    found = told(view("A ###", replicas=2), limits=(Limit("web", 3),))
    assert [(kind, slot) for _, kind, slot in moves(found)] == [("retire", 2)]


def test_nodes_are_replaced_successor_first() -> None:
    given = pool_view(nodes("A ##"), wanted="B", replicas=2)
    found = forecast(given, NOW, NODES, Assumed(START), Policy())
    kinds = [kind for _, kind, _ in moves(found)]
    assert kinds == ["create", "retire"] * 2


def test_nodes_that_need_longer_than_the_deadline_are_foreseen_to_fail() -> None:
    given = pool_view(nodes("A ##"), wanted="B", replicas=2)
    found = forecast(given, NOW, NODES, Assumed(3000.0), Policy())
    assert found.ends is None
    [hold] = found.holds
    assert hold.reason == "RolledBack"
    assert "no progress for 1800 s" in hold.message
    assert "its node is not ready" in hold.message


def test_forecast_is_cut_beyond_its_bound_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WORK", 3)
    assert not told(view("A ###")).is_cut, "one plan for three instances"
    monkeypatch.setattr(module, "MOST_WORK", 2)
    assert told(view("A ###")).is_cut


def test_instances_that_will_be_created_have_an_age() -> None:
    nightly = Regeneration(schedule=Cron("0 3 * * *", "UTC"), schedule_since=NOW - 9000.0)
    assert moves(told(edited(regeneration=nightly))) == moves(told(edited()))


def world(given: View, family: Family = PODS, **assumed: Any) -> World:
    return World(given, NOW, family, Assumed(START, **assumed))


def test_move_that_is_refused_again_was_refused_since_the_first_time() -> None:
    full = world(edited(), room=0, quota="it is full")
    for seconds in (0.0, 1.0, 60.0):  # the revision is recorded first
        full.advance(NOW + seconds)
        full.carry_out(plan(full.seen(), full.now))
    [refused] = full.seen().refusals
    assert (refused.since, refused.attempts) == (NOW + 1.0, 2)


def test_node_that_is_retired_is_drained_at_once() -> None:
    pool = world(pool_view(nodes("A ###", A0={"machine": Machine(guests=(guest(),))})), NODES)
    leaving = pool.seen().instances[0]
    because = Because(Reason.OUTDATED, "another revision is wanted")
    pool.carry_out(Plan((Retire(leaving.name, leaving.uid, because),)))
    machine = pool.seen().instances[0].machine
    assert machine is not None
    assert (machine.retiring, machine.deleted, machine.guests) == (NOW, NOW, ())
