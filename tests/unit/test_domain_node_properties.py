"""What holds for any pool whatsoever: its nodes in any state, half created, drained, drifted."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from immutable_operator.domain.families.nodes import NODES
from immutable_operator.domain.ledger import Budget
from immutable_operator.domain.model import (
    Admit,
    Because,
    Cause,
    Create,
    End,
    Evict,
    Guest,
    GuestKind,
    Instance,
    Move,
    OnDrift,
    Plan,
    PoolSpec,
    Reason,
    Retire,
    View,
)
from tests.unit.examples import examples
from tests.unit.given import NOW, refusal
from tests.unit.given_nodes import changed, guest, nodes, planned, pool_view

some_pools = settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
HOMELESS = guest("db", homeless="uses PersistentVolumeClaim data")
GUESTS = (
    *((), (guest("a"),), (guest("a"), guest("dns", critical=True))),
    (guest("web", GuestKind.INSTANCE), guest("cni", GuestKind.STAYS)),
    (guest("a", terminating=True),),
    (HOMELESS,),
    (guest("job", keeps="has the annotation x"),),
)
OLD = Because(Reason.OUTDATED, "it is old")
ODDITIES: list[dict[str, Any]] = [
    *({"guests": guests} for guests in GUESTS),
    {"facts": changed(bootID="2")},
    {"facts": changed(kernelVersion="")},
    {"facts": changed(bootID="2"), "heals": 3, "born": NOW - 300},
    {"reached": "pod shop/debug mounts / of the node"},
    {"lacks": ()},
    {"lacks": (), "ready_since": NOW - 90},
    {"lacks": (), "steady_since": NOW - 1},
    {"lacks": (), "smoke": "Failed"},
    {"lacks": (), "smoke": "Succeeded"},
    {"verified": None, "held": True, "birth_facts": ()},
    {"held": True},
    {"deleted": NOW - 500, "kept_by": ("x/y",), "terminating": True},
    {"retiring": NOW - 90_000, "is_open": True},
    {"retiring": NOW + 50},
    {"because": None},
    {"machine": None},
    {"node": None},
    {"born": NOW - 100},
    {"born": NOW + 100},
    {"replaces_uid": "uid-A0"},
    {"replaces_uid": "uid-A1", "heals": 1},
    {"tries": 4},
]
POOLS = [
    PoolSpec(),
    PoolSpec(delete_after=True, drain_timeout=300),
    PoolSpec(smoke={"containers": []}, settle_seconds=0),
    PoolSpec(drains=True, drift={"reachedInto": OnDrift.REPLACE}),
]
REFUSALS = [
    refusal(Move.EVICT, "shop/a", Cause.DISRUPTION_BUDGET),
    refusal(Move.ADMIT, "B0", Cause.FORBIDDEN),
    refusal(Move.END, "A0", Cause.API_SERVER, wait=0),
    refusal(Move.CREATE, "B0", Cause.QUOTA, revision="B"),
]


@st.composite
def any_pool(draw: st.DrawFn) -> View:
    """A pool with nodes of two revisions in any state."""
    texts = draw(st.tuples(st.text("##.-x", max_size=4), st.text("##.-x", max_size=3)))
    drawn = " ".join(f"{r} {marks}" for r, marks in zip("AB", texts, strict=True) if marks)
    found = list(nodes(drawn))
    for index, change in draw(
        st.lists(st.tuples(st.integers(0, 9), st.sampled_from(ODDITIES)), max_size=5)
    ):
        if found:
            index %= len(found)
            found[index] = _changed(found[index], change)
    departed = draw(st.sets(st.integers(0, 9), max_size=1))
    return pool_view(
        [i for n, i in enumerate(found) if n not in departed],
        draw(st.sampled_from(POOLS)),
        departed=tuple(i for n, i in enumerate(found) if n in departed),
        deleting=draw(st.sampled_from([False] * 9 + [True])),
        is_protected=draw(st.booleans()),
        wanted=draw(st.sampled_from("BBA")),
        recorded="AB",
        replicas=draw(st.sampled_from([3, 2, 1, 4, 0])),
        max_surge=draw(st.sampled_from([1, 1, 2, 0, "50%"])),
        max_unavailable=draw(st.sampled_from([0, 0, 1])),
        suspend=draw(st.sampled_from([False] * 9 + [True])),
        refusals=draw(st.lists(st.sampled_from(REFUSALS), max_size=2, unique=True)),
    )


def _changed(instance: Instance, change: dict[str, Any]) -> Instance:
    of_machine: dict[str, Any] = {}
    others = dict(change)
    if instance.machine is not None:
        of_machine = {k: v for k, v in change.items() if hasattr(instance.machine, k)}
        others = {k: v for k, v in change.items() if k not in of_machine}
        others.setdefault("machine", replace(instance.machine, **of_machine))
    else:
        others = {k: v for k, v in change.items() if k in Instance.__slots__}
    return replace(instance, **others)


def _of(plan: Plan, *kinds: type[Any]) -> list[Any]:
    return [a for a in plan.actions if isinstance(a, kinds)]


@some_pools
@given(any_pool())
def test_rules_hold_for_any_pool(view: View) -> None:
    plan = planned(view)
    by_uid = {i.uid: i for i in view.instances}
    _births(view, plan)
    _retirements(view, plan)
    for move in _of(plan, Admit):
        machine = by_uid[move.uid].machine
        assert machine is not None
        assert by_uid[move.uid].active
        assert machine.held or machine.verified is None
        if machine.verified is None:
            assert (machine.lacks, machine.ready_since is None) == ((), False)
            assert view.spec.pool is not None
            assert view.spec.pool.smoke is None or machine.smoke == "Succeeded"
    for move in _of(plan, Evict, End):
        node = next(i for i in view.instances if i.name == move.name)
        assert node.terminating, "only retired nodes are drained"
        assert node.machine is not None
        assert node.machine.deleted is None
        if isinstance(move, Evict):
            left = {g.uid: g for g in node.machine.guests}[move.uid]
            assert left.kind is not GuestKind.STAYS
            assert move.by_force or left.kind is not GuestKind.INSTANCE
    if view.spec.suspend and not view.deleting:
        assert not _of(plan, Evict, End, Create, Retire)


def _births(view: View, plan: Plan) -> None:
    """Draining nodes count against the surge; at most one live successor a predecessor."""
    births = _of(plan, Create)
    judged = NODES.judged(view, NOW)
    there = [i for i in judged.instances if i.active or i.terminating]
    budget = Budget.of(view.spec.replicas or 0, view.spec.max_surge, view.spec.max_unavailable)
    assert len(there) + len(births) <= max(budget.most, len(there))
    heirs = Counter(b.replaces_uid for b in births if b.replaces_uid)
    living = {i.predecessor for i in judged.instances if i.active}
    assert all(count == 1 for count in heirs.values())
    assert not heirs.keys() & living


def _retirements(view: View, plan: Plan) -> None:
    """No available node goes before enough verified ones are there."""
    if view.deleting:
        return
    gone = {r.uid for r in _of(plan, Retire)}
    judged = NODES.judged(view, NOW).instances
    works = [i for i in judged if i.active and i.ready_since is not None]
    budget = Budget.of(view.spec.replicas or 0, view.spec.max_surge, view.spec.max_unavailable)
    stay = [i for i in works if i.uid not in gone]
    assert len(stay) >= min(len(works), budget.fewest_available)
    places, left = _places(works), _places(stay)
    assert left >= min(places, budget.fewest_available), "the successor of another is verified"


def _places(works: list[Instance]) -> int:
    """A node and its successor hold one place, if the node can be drained."""
    succeeded = {i.predecessor for i in works}
    pairs = [i for i in works if i.is_among(succeeded)]
    return len(works) - sum(HOMELESS not in _guests(i) for i in pairs)


def _guests(instance: Instance) -> tuple[Guest, ...]:
    return instance.machine.guests if instance.machine else ()


@some_pools
@given(any_pool(), st.integers(0, 2**16))
def test_plan_for_a_pool_does_not_depend_on_the_order_of_the_view(view: View, seed: int) -> None:
    shuffler = random.Random(seed)
    mixed = list(view.instances)
    shuffler.shuffle(mixed)
    assert planned(replace(view, instances=tuple(mixed))) == planned(view)
