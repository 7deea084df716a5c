"""Drains: which pods leave a retired node, in which order, what they wait for, and when it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.families.draining import GRACE, PATIENCE
from immutable_operator.domain.model import (
    Because,
    Cause,
    Guest,
    GuestKind,
    Move,
    PoolSpec,
    Reason,
    Retire,
    View,
)
from tests.unit.given import NOW, refusal
from tests.unit.given_nodes import cared, guest, nodes, planned, pool_view, told

WAIT, FORCE = PoolSpec(drain_timeout=300), PoolSpec(drain_timeout=300, delete_after=True)
STAYS = (guest("cni", GuestKind.STAYS), guest("mirror", GuestKind.STAYS, critical=True))


def _drained(
    *guests: Guest, since: float = 100, pool: PoolSpec = WAIT, wanted: str = "B", **given: Any
) -> View:
    """Pool of which the old node A0 has been drained for ``since`` seconds."""
    changes = {"guests": guests, "retiring": NOW - since, **given.pop("A0", {})}
    return pool_view(nodes("A - B ###", A0=changes), pool, wanted=wanted, **given)


def _waits(given: View) -> list[tuple[str, str]]:
    return [(wait.reason, wait.message) for wait in cared(given).waits]


def test_pods_are_evicted_from_a_retired_node() -> None:
    given = _drained(guest("a"), guest("b"), *STAYS)
    assert told(planned(given)) == "evict a b"


def test_critical_pods_are_evicted_last() -> None:
    critical = guest("dns", critical=True)
    assert told(cared(_drained(critical, guest("a"))).moves) == "evict a"
    leaving = guest("a", terminating=True)
    assert told(cared(_drained(critical, leaving)).moves) == ""
    assert told(cared(_drained(critical, *STAYS)).moves) == "evict dns"


def test_pod_that_leaves_already_is_not_evicted_again() -> None:
    assert cared(_drained(guest("a", terminating=True))).moves == ()


def test_instance_of_a_service_is_left_to_its_planner() -> None:
    given = _drained(guest("web-1", GuestKind.INSTANCE))
    assert cared(given).moves == ()
    text = "node node-A0: pod shop/web-1 is evicted when its successor on another node is available"
    assert _waits(given) == [("Evacuating", text)]


def test_pod_with_a_do_not_disrupt_annotation_is_waited_for() -> None:
    keeps = "has the annotation karpenter.sh/do-not-disrupt: true; remove it to allow the eviction"
    given = _drained(guest("job", keeps=keeps))
    assert cared(given).moves == ()
    assert _waits(given) == [("DoNotDisrupt", f"node node-A0: pod shop/job {keeps}")]


def test_refused_eviction_is_a_blocker_that_names_the_pod_and_the_budget() -> None:
    said = "The disruption budget db needs 1 healthy pods and has 1 currently"
    no = refusal(Move.EVICT, "shop/db", Cause.DISRUPTION_BUDGET, wait=5, message=said)
    given = _drained(guest("db"), guest("a"), refusals=(no,))
    assert told(cared(given).moves) == "evict a", "the others do not wait"
    assert min(cared(given).due) == NOW + 5
    assert _waits(given) == [("PodDisruptionBudget", f"node node-A0: pod shop/db: {said}")]
    status = planned(given).status
    assert status is not None
    [blocker] = status.blockers
    assert (blocker.reason, blocker.message) == _waits(given)[0]
    again = _drained(guest("db"), refusals=(replace(no, retry_at=NOW),))
    assert told(cared(again).moves) == "evict db"


def test_node_is_deleted_when_only_what_stays_is_left() -> None:
    assert told(cared(_drained(*STAYS)).moves) == "end A0"
    assert told(cared(_drained()).moves) == "end A0"


def test_node_is_kept_while_a_pod_terminates() -> None:
    assert told(cared(_drained(guest("a", terminating=True), *STAYS)).moves) == ""


def test_refused_deletion_of_a_node_waits_for_its_next_try() -> None:
    no = refusal(Move.END, "A0", Cause.API_SERVER, wait=7)
    found = cared(_drained(refusals=(no,)))
    assert (found.moves, found.due) == ((), (NOW + 7,))
    over = replace(no, retry_at=NOW)
    assert told(cared(_drained(refusals=(over,))).moves) == "end A0"


LEFT = [
    guest("db"),
    guest("dns", critical=True),
    guest("job", keeps="has the annotation x"),
    guest("web-1", GuestKind.INSTANCE),
]


def test_drain_that_lasts_too_long_waits_and_says_what_to_do() -> None:
    given = _drained(*LEFT, since=300)
    assert told(cared(given).moves) == "evict db"
    late = [text for reason, text in _waits(given) if reason == "DrainTimeout"]
    end = "is still on the node after drain.timeout; delete it, or set drain.onBlocked: DeleteAfter"
    names = ("db", "dns", "job", "web-1")
    assert late == [f"node node-A0: pod shop/{name} {end}" for name in names]


def test_nothing_is_deleted_before_the_drain_times_out() -> None:
    given = _drained(*LEFT, since=299, pool=FORCE)
    assert told(cared(given).moves) == "evict db"
    assert min(cared(given).due) == NOW + 1
    assert "DrainTimeout" not in [reason for reason, _ in _waits(given)]


def test_pods_that_are_left_are_deleted_after_the_time_out_if_wanted() -> None:
    given = _drained(*LEFT, *STAYS, since=300, pool=FORCE)
    assert told(cared(given).moves) == "delete db dns job web-1"
    assert "DrainTimeout" not in [reason for reason, _ in _waits(given)], "it asks for what is set"


def test_node_is_deleted_a_while_after_its_pods_were_deleted() -> None:
    terminating = guest("a", terminating=True)
    before = _drained(terminating, since=300 + GRACE - 1, pool=FORCE)
    assert cared(before).moves == ()
    assert min(cared(before).due) == NOW + 1
    after = _drained(terminating, since=300 + GRACE, pool=FORCE)
    assert told(cared(after).moves) == "end A0"
    waits = _drained(terminating, since=300 + GRACE, pool=WAIT)
    assert cared(waits).moves == (), "it waits for ever unless the pool says otherwise"


def test_suspended_pool_evicts_nothing_and_ends_nothing() -> None:
    assert cared(_drained(guest("a"), suspend=True)).moves == ()
    assert cared(_drained(suspend=True)).moves == ()


def test_taint_that_was_taken_off_a_retired_node_is_set_again() -> None:
    why = Because(Reason.DRIFTED, "bootID: 1 → 2")
    given = _drained(guest("a"), A0={"is_open": True, "because": why})
    name = given.instances[0].name
    assert cared(given).moves == (Retire(name, "uid-A0", why),)


@pytest.mark.parametrize(
    ("kept_by", "says"),
    [
        (("karpenter.sh/termination", "x/y"), "waits for karpenter.sh/termination, x/y; check"),
        ((), "still exists; check that its provider is running"),
    ],
)
def test_node_whose_deletion_takes_long_is_a_blocker_that_names_the_finalizers(
    kept_by: tuple[str, ...], says: str
) -> None:
    long = {"deleted": NOW - PATIENCE, "kept_by": kept_by}
    given = _drained(guest("a"), A0=long)
    assert cared(given).moves == ()
    [(reason, text)] = _waits(given)
    assert reason == "DeletionBlocked"
    assert f"is being deleted and {says}" in text
    young = {**long, "deleted": NOW - PATIENCE + 1}
    assert _waits(_drained(A0=young)) == []
    assert cared(_drained(A0=young)).due == (NOW + 1,)


def test_node_is_drained_on_a_clock_that_was_set_back() -> None:
    """A time in the future does not end anything early."""
    given = _drained(guest("a"), since=-5000, pool=FORCE)
    assert told(cared(given).moves) == "evict a"


def test_drains_of_several_nodes_go_on_at_once() -> None:
    changes: dict[str, Any] = {
        "A0": {"guests": (guest("a"),)},
        "A1": {"guests": ()},
    }
    given = pool_view(nodes("A -- B ##", **changes), wanted="B", max_surge=2)
    assert told(cared(given).moves) in ("evict a; end A1", "end A1; evict a")
