"""When a node is verified, when it failed, and which changes of it count as drift."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.families.nodes import NODES
from immutable_operator.domain.model import (
    FACTS,
    Admit,
    Because,
    Cause,
    Create,
    Deviation,
    Evidence,
    Instance,
    Move,
    OnDrift,
    Policy,
    PoolSpec,
    Reason,
    Request,
    Spec,
    Trouble,
    TroubleKind,
    View,
)
from immutable_operator.domain.planner import plan
from tests.unit.given import NOW, condition, moves, name_of, refusal
from tests.unit.given_nodes import (
    as_machine,
    cared,
    changed,
    guest,
    nodes,
    planned,
    pool_view,
    told,
)

DECLARED = {
    "template": {
        "labels": {"tier": "web"},
        "taints": [{"key": "only", "value": "web", "effect": "NoSchedule"}],
    }
}
THERE: dict[str, Any] = {
    "labels": (("tier", "web"),),
    "taints": (("only", "web", "NoSchedule"),),
}


def _node(**changes: Any) -> Instance:
    return nodes("A #", A0=changes)[0]


def _why(
    node: Instance, drift: dict[str, OnDrift] | None = None, template: Any = None
) -> Because | None:
    spec = Spec(None, pool=PoolSpec(drift=drift or {}))
    return NODES.deviation(node, template, Evidence(), spec)


# Drift.


@pytest.mark.parametrize("fact", FACTS)
def test_node_with_a_changed_fact_is_to_be_replaced(fact: str) -> None:
    why = _why(_node(facts=changed(**{fact: "other"})))
    assert why == Because(Reason.DRIFTED, f"{fact}: {fact}-1 → other")


@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.parametrize(("before", "after"), [("", "appeared"), ("known", ""), ("", "")])
def test_fact_that_appears_or_is_not_reported_is_no_drift(
    fact: str, before: str, after: str
) -> None:
    facts, born = changed(**{fact: after}), changed(**{fact: before})
    assert _why(_node(facts=facts, birth_facts=born)) is None


def test_fact_that_was_not_recorded_is_no_drift() -> None:
    assert _why(_node(birth_facts=())) is None


def test_facts_of_a_node_that_is_not_verified_may_change() -> None:
    assert _why(_node(verified=None, facts=changed(bootID="2"))) is None


def test_all_changes_that_replace_a_node_are_reported_in_one_sentence() -> None:
    node = _node(facts=changed(kernelVersion="6.8.0-47", osImage="Ubuntu 24.04.2", bootID="2"))
    why = _why(node, {"bootID": OnDrift.REPORT})
    cause = "osImage: osImage-1 → Ubuntu 24.04.2; kernelVersion: kernelVersion-1 → 6.8.0-47"
    assert why == Because(Reason.DRIFTED, cause)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (OnDrift.REPLACE, Because(Reason.DRIFTED, "bootID: bootID-1 → 2")),
        (OnDrift.REPORT, Because(Reason.DRIFTED, "bootID: bootID-1 → 2", is_reported=True)),
        (OnDrift.IGNORE, None),
    ],
)
def test_pool_says_what_happens_if_a_fact_changes(
    action: OnDrift, expected: Because | None
) -> None:
    assert _why(_node(facts=changed(bootID="2")), {"bootID": action}) == expected


def test_declared_labels_and_taints_that_are_there_are_no_drift() -> None:
    assert _why(_node(**THERE), template=DECLARED) is None
    more = (("other", "x"), ("tier", "web"))
    assert _why(_node(**{**THERE, "labels": more}), template=DECLARED) is None


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"labels": ()}, "label tier: web → removed"),
        ({"labels": (("tier", "db"),)}, "label tier: web → db"),
        ({"taints": ()}, "taint only:NoSchedule: web → removed"),
        ({"taints": (("only", "db", "NoSchedule"),)}, "taint only:NoSchedule: web → db"),
        ({"taints": (("only", "web", "NoExecute"),)}, "taint only:NoSchedule: web → removed"),
    ],
)
def test_changed_declared_label_or_taint_is_reported(change: dict[str, Any], cause: str) -> None:
    node = _node(**{**THERE, **change})
    assert _why(node, template=DECLARED) == Because(Reason.DRIFTED, cause, is_reported=True)
    drift = dict.fromkeys(("declaredLabels", "declaredTaints"), OnDrift.REPLACE)
    assert _why(node, drift, DECLARED) == Because(Reason.DRIFTED, cause)


def test_taint_without_a_value_is_told_as_set() -> None:
    declared = {"template": {"taints": [{"key": "only", "effect": "NoSchedule"}]}}
    why = _why(_node(taints=()), template=declared)
    assert why is not None
    assert why.cause == "taint only:NoSchedule: set → removed"


def test_node_of_another_revision_is_not_compared_with_what_is_declared_now() -> None:
    assert _why(_node(), template=None) is None


def test_node_that_a_pod_reached_into_is_tainted() -> None:
    node = _node(reached="pod shop/debug mounts / of the node")
    cause = "pod shop/debug mounts / of the node"
    assert _why(node) == Because(Reason.TAINTED, cause, is_reported=True)
    assert _why(node, {"reachedInto": OnDrift.REPLACE}) == Because(Reason.TAINTED, cause)
    assert _why(node, {"reachedInto": OnDrift.IGNORE}) is None


def test_forged_certificate_is_reported_before_any_fact() -> None:
    node = replace(_node(facts=changed(bootID="2")), taint="its label was edited")
    assert _why(node) == Because(Reason.TAINTED, "its label was edited")


def _as_before(fact: str, because: str | None, **changes: Any) -> Instance:
    """A node of the first slot, a successor, of which a fact changed."""
    node = _node(facts=changed(**{fact: "2"}))
    born_for = Because.read(because) if because else None
    return replace(node, **{"heals": 1, "born": NOW - 300, "because": born_for} | changes)


REBOOTED = "Drifted: bootID: 1 → 2"
DAY = 86_400


def test_replacing_stops_when_the_successor_changes_like_its_predecessor() -> None:
    """The cause is not the node: the second generation is kept, and the pool says so."""
    given = pool_view([_as_before("bootID", REBOOTED), *nodes("A ###")[1:]])
    decided = planned(given)
    assert told(decided) == ""
    assert condition(decided.status) == "Stalled TaintReturns"
    assert decided.status is not None
    [blocker] = decided.status.blockers
    assert ": bootID: bootID-1 → 2; 1 replacement was modified as well" in blocker.message
    assert NODES.words.relapse in blocker.message
    assert decided.due == NOW - 300 + DAY
    assert told(planned(given, NOW + DAY - 301)) == ""
    assert told(planned(given, NOW + DAY)) == "create A0'"


@pytest.mark.parametrize(
    ("change", "because", "others"),
    [
        ("osImage", REBOOTED, {}),
        ("osImage", f"{REBOOTED}; kernelVersion: 1 → 2", {}),
        ("bootID", "Expired: older than 14d", {}),
        ("bootID", "Tainted: pod shop/debug mounts / of the node", {}),
        ("bootID", REBOOTED, {"heals": 0}),
        ("bootID", REBOOTED, {"born": NOW - 14 * DAY}),
    ],
    ids=["another fact", "none of several", "old", "reached into", "no successor", "long after"],
)
def test_node_that_changes_for_another_cause_is_replaced(
    change: str, because: str, others: dict[str, Any]
) -> None:
    first = _as_before(change, because, **others)
    decided = planned(pool_view([first, *nodes("A ###")[1:]]))
    assert told(decided) == "create A0'"
    [birth] = [a for a in decided.actions if isinstance(a, Create)]
    assert birth.heals == 1


def test_one_of_several_changes_in_common_is_the_same_cause() -> None:
    first = _as_before("kernelVersion", f"{REBOOTED}; kernelVersion: 1 → 2")
    assert told(planned(pool_view([first, *nodes("A ###")[1:]]))) == ""


def test_other_nodes_with_the_same_change_are_kept_and_with_another_replaced() -> None:
    others = nodes(
        "A ###", A1={"facts": changed(bootID="2")}, A2={"facts": changed(osImage="other")}
    )
    given = pool_view([_as_before("bootID", REBOOTED, heals=3), *others[1:]])
    decided = planned(given)
    assert told(decided) == "create A2'"
    [birth] = [a for a in decided.actions if isinstance(a, Create)]
    assert birth.heals == 1, "it is not counted with those that return"


def test_later_attempts_are_one_at_a_time_with_longer_pauses() -> None:
    for heals, days in ((1, 1), (2, 2), (3, 4), (4, 7), (9, 7)):
        same = {
            "facts": changed(bootID="2"),
            "heals": heals,
            "born": NOW - 300,
            "because": Because.read(REBOOTED),
        }
        given = pool_view(
            [_as_before("bootID", REBOOTED, heals=heals), *nodes("A ###", A1=same, A2=same)[1:]],
            max_surge=3,
        )
        due = NOW - 300 + days * DAY
        assert planned(given).due == due
        decided = planned(given, due)
        assert told(decided) == "create A0'"
        [birth] = [a for a in decided.actions if isinstance(a, Create)]
        assert birth.heals == heals + 1


def test_action_of_a_user_replaces_a_node_that_is_kept() -> None:
    asked = Request("again", "uid-again", NOW - 10, "jane")
    first = _as_before("bootID", REBOOTED)
    given = pool_view([first, *nodes("A ###")[1:]])
    assert told(planned(given)) == ""
    assert "create" in told(planned(replace(given, requests=(asked,))))


def test_node_that_is_kept_still_goes_at_its_age() -> None:
    first = _as_before("bootID", REBOOTED, born=NOW - 50_000)
    given = pool_view([first, *nodes("A ###")[1:]])
    assert told(planned(given)) == ""
    aging = replace(given.spec, regeneration=Regeneration(max_age=40_000.0, jitter=0.0))
    [birth] = [a for a in planned(replace(given, spec=aging)).actions if isinstance(a, Create)]
    assert (birth.because.reason, birth.replaces_uid) == (Reason.EXPIRED, first.uid)


# Successors, by pair.


def _two_pairs(**first: Any) -> View:
    """Two nodes with successors, of which only that of the second one is verified.

    The first one drifted, too, so that it goes first where both may.
    """
    drifted = {"facts": changed(bootID="2"), **first}
    pairs = nodes(
        "A ## B .#",
        A0=drifted,
        B0={"replaces_uid": "uid-A0", "born": NOW - 100},
        B1={"replaces_uid": "uid-A1"},
    )
    return pool_view(pairs, wanted="B", good="B", replicas=2, max_surge=2)


def test_node_waits_for_its_own_successor_and_not_for_that_of_another() -> None:
    assert moves(planned(_two_pairs())) == "retire A1"


def test_node_goes_without_its_successor_if_the_pool_may_have_fewer() -> None:
    given = _two_pairs()
    spec = replace(given.spec, max_unavailable=1)
    assert moves(planned(replace(given, spec=spec))) == "retire A0 A1"


def test_successor_of_a_node_that_cannot_be_drained_takes_the_place_of_another() -> None:
    """Else one pod that could run nowhere else would stop the rollout of the whole pool."""
    stuck = {"guests": (guest("db", homeless="uses PersistentVolumeClaim data"),)}
    pairs = nodes("A ## B #", A0=stuck, B0={"replaces_uid": "uid-A0"})
    given = pool_view(pairs, wanted="B", replicas=2)
    assert moves(planned(given)) == "retire A1"


# Failure.


def test_node_that_is_not_verified_in_time_has_failed() -> None:
    given = pool_view(nodes("B .", B0={"born": NOW - 1800, "ready_since": None}), wanted="B")
    [node] = NODES.judged(given, NOW).instances
    assert node.ended
    assert node.trouble is not None
    assert (node.trouble.kind, node.trouble.settled) == (TroubleKind.NEVER_READY, True)
    assert node.trouble.message == "it was not verified within 1800 s: node node-A0 is not Ready"


def test_instance_without_a_node_in_time_has_failed_to_boot() -> None:
    given = pool_view(nodes("B .", B0={"born": NOW - 1800, "node": None}), wanted="B")
    [node] = NODES.judged(given, NOW).instances
    assert node.trouble is not None
    assert node.trouble.kind is TroubleKind.BOOT_TIMEOUT


def test_node_whose_smoke_pod_failed_has_failed_at_once() -> None:
    given = pool_view(nodes("B .", B0={"smoke": "Failed", "lacks": ()}), wanted="B")
    [node] = NODES.judged(given, NOW).instances
    assert node.ended
    assert node.trouble is not None
    assert (node.trouble.kind, node.trouble.message) == (
        TroubleKind.NEVER_READY,
        "its smoke pod failed",
    )


@pytest.mark.parametrize(
    "node",
    [
        pytest.param(nodes("B #", B0={"born": NOW - 90_000})[0], id="verified long ago"),
        pytest.param(nodes("B #", B0={"smoke": "Failed"})[0], id="its old smoke pod is there"),
        pytest.param(nodes("B .", B0={"born": NOW - 1799})[0], id="in time"),
        pytest.param(nodes("B -", B0={"born": NOW - 9, "verified": None})[0], id="retired"),
    ],
)
def test_node_has_not_failed(node: Instance) -> None:
    given = pool_view([node], wanted="B")
    assert NODES.judged(given, NOW).instances == (node,)


def test_machine_that_its_provider_gave_up_counts_as_a_failed_try() -> None:
    gone = as_machine(nodes("B .")[0])
    given = pool_view("A ###", departed=(gone,), wanted="B")
    [found] = NODES.judged(given, NOW).departed
    assert found.ended
    assert found.trouble is not None
    assert (found.trouble.kind, found.trouble.settled) == (TroubleKind.VANISHED, True)


def test_working_node_that_vanished_and_one_that_was_retired_did_not_fail() -> None:
    worked, retired = nodes("B #.", B1={"born": NOW - 9})
    given = replace(
        pool_view("A ###", departed=(worked, retired), wanted="B"),
        retired=frozenset({retired.uid}),
    )
    assert NODES.judged(given, NOW).departed == (worked, retired)


def test_successors_of_machines_that_vanish_are_created_with_growing_pauses() -> None:
    """The predecessor stays: it is not retired before a successor works."""
    gone = replace(nodes("B .")[0], tries=3, born=NOW - 5)
    given = pool_view("A ###", departed=(gone,), wanted="B")
    decided = planned(given)
    assert told(decided) == ""
    assert decided.due is not None
    assert decided.due > NOW
    assert told(planned(given, decided.due)) == "create B0'"


def test_successor_of_a_machine_that_its_provider_deletes_waits_for_its_turn() -> None:
    """Finalizers keep it for a while; it counts as a failed try from the start."""
    going = nodes("B .", B0={"deleted": NOW - 1, "terminating": True, "tries": 3, "born": NOW - 5})
    given = pool_view([*nodes("A ###"), *going], wanted="B", max_surge=2)
    decided = planned(given)
    assert told(decided) == ""
    assert decided.due is not None
    assert told(planned(given, decided.due)) == "create B0'"
    [birth] = [a for a in planned(given, decided.due).actions if isinstance(a, Create)]
    assert birth.tries == 4


def test_node_that_the_operator_retires_is_no_failed_try() -> None:
    going = nodes("B .", B0={"deleted": NOW - 1, "terminating": True, "born": NOW - 5})
    given = pool_view([*nodes("A ###"), *going], wanted="B")
    assert NODES.judged(given, NOW).instances[-1].ended
    known = replace(given, retired=frozenset({going[0].uid}))
    assert not NODES.judged(known, NOW).instances[-1].ended


def test_node_that_was_retired_because_it_failed_counts_as_a_failed_try() -> None:
    """Else its slot would be tried again and again without any pause."""
    late = replace(nodes("B .")[0], born=NOW - 9000)
    given = replace(pool_view("A ###", departed=(late,), wanted="B"), retired=frozenset({late.uid}))
    [found] = NODES.judged(given, NOW).departed
    assert found.ended


# Verification.


def _new(**changes: Any) -> Any:
    ready = {"lacks": (), "ready_since": NOW - 60, "born": NOW - 100, **changes}
    made = nodes("B .", B0={k: v for k, v in ready.items() if k != "ready_since"})[0]
    assert made.machine is not None
    return replace(made, machine=replace(made.machine, ready_since=ready["ready_since"]))


def test_node_that_settled_is_admitted() -> None:
    assert told(cared(pool_view([_new()], wanted="B")).moves) == "admit B0"


def test_node_is_not_admitted_while_it_lacks_something() -> None:
    lacks = ("DaemonSet kube-system/cni has no ready pod on node node-B0",)
    found = cared(pool_view([_new(lacks=lacks)], wanted="B"))
    assert found.moves == ()
    [wait] = found.waits
    assert (wait.subject, wait.message) == (
        "node/node-B0",
        f"{_new().name} is not verified: {lacks[0]}",
    )


def test_lack_is_reported_as_a_blocker_only_after_a_while() -> None:
    young = _new(lacks=("no CNI",), ready_since=NOW - 59)
    found = cared(pool_view([young], wanted="B"))
    assert (found.moves, found.waits) == ((), ())
    assert min(found.due) == NOW + 1


@pytest.mark.parametrize(
    ("times", "due"),
    [
        ({"ready_since": NOW - 59}, NOW + 1),
        ({"ready_since": NOW - 600, "steady_since": NOW - 20}, NOW + 40),
    ],
    ids=["ready for less than settle", "a fact changed since"],
)
def test_node_settles_before_it_is_admitted(times: dict[str, float], due: float) -> None:
    found = cared(pool_view([_new(**times)], wanted="B"))
    assert (found.moves, found.due) == ((), (due,))


SMOKE = PoolSpec(smoke={"containers": []})


@pytest.mark.parametrize(
    ("phase", "expected"),
    [("", "probe B0"), ("Pending", ""), ("Running", ""), ("Succeeded", "admit B0")],
)
def test_smoke_pod_must_succeed_before_a_node_is_admitted(phase: str, expected: str) -> None:
    found = cared(pool_view([_new(smoke=phase)], SMOKE, wanted="B"))
    assert told(found.moves) == expected


def test_smoke_pod_starts_only_on_a_settled_node() -> None:
    found = cared(pool_view([_new(ready_since=NOW - 5)], SMOKE, wanted="B"))
    assert found.moves == ()


def test_refused_admission_waits_for_its_next_try() -> None:
    waits = refusal(Move.ADMIT, "B0", Cause.FORBIDDEN, wait=30)
    found = cared(pool_view([_new()], wanted="B", refusals=(waits,)))
    assert (found.moves, found.due) == ((), (NOW + 30,))
    over = replace(waits, retry_at=NOW)
    assert told(cared(pool_view([_new()], wanted="B", refusals=(over,))).moves) == "admit B0"


def test_taint_that_came_back_on_a_verified_node_is_removed() -> None:
    node = _new(verified=NOW - 10, held=True)
    assert told(cared(pool_view([node], wanted="B")).moves) == "admit B0"


def test_retired_node_is_not_admitted() -> None:
    node = replace(_new(), terminating=True)
    assert "admit" not in told(cared(pool_view([node], wanted="B")).moves)


# The planner with nodes.


def test_predecessor_stays_until_its_successor_is_verified() -> None:
    young = nodes("A ### B .", B0={"born": NOW - 100})
    waiting = pool_view(young, wanted="B", recorded="AB")
    assert told(planned(waiting)) == ""
    verified = pool_view("A ### B #", wanted="B", recorded="AB")
    assert told(planned(verified)) == "retire A0"


def test_drained_node_counts_against_the_surge() -> None:
    given = pool_view("A -## B #", wanted="B", recorded="AB")
    assert "create" not in told(planned(given))
    gone = pool_view(nodes("A ### B #")[1:], wanted="B", recorded="AB")
    assert told(planned(gone)) == "create B1"


def test_node_of_the_operator_goes_last() -> None:
    given = pool_view("A ### B #", wanted="B", recorded="AB")
    policy = Policy(own_node="node-A0")
    assert told(plan(given, NOW, policy, NODES)) == "retire A1"
    alone = pool_view(nodes("A # B ###"), wanted="B", recorded="AB")
    assert told(plan(alone, NOW, policy, NODES)) == "retire A0"


@pytest.mark.parametrize(
    "homeless", ["uses PersistentVolumeClaim data", "needs a node without pods"]
)
def test_pod_that_can_run_nowhere_else_keeps_its_node(homeless: str) -> None:
    node = {"guests": (guest("db", homeless=homeless),)}
    old = nodes("A ### B #", A0=node)
    decided = planned(pool_view(old, wanted="B", recorded="AB"))
    assert told(decided) == "retire A1"
    assert decided.due is not None
    obstacle = NODES.obstacle(old[0], Spec(None, pool=PoolSpec()))
    assert obstacle is not None
    assert obstacle.message == f"node node-A0: pod shop/db {homeless}"
    all_of_them = nodes("A # B ###", A0=node)
    status = planned(pool_view(all_of_them, wanted="B", recorded="AB")).status
    assert status is not None
    assert [b.reason for b in status.blockers] == ["NoOtherNode"]


def test_pod_that_can_run_nowhere_else_is_deleted_with_delete_after() -> None:
    node = {"guests": (guest("db", homeless="uses PersistentVolumeClaim data"),)}
    old = nodes("A ### B #", A0=node)
    given = pool_view(old, PoolSpec(delete_after=True), wanted="B", recorded="AB")
    assert told(planned(given)) == "retire A0"


def test_pool_of_zero_nodes_retires_all_of_them() -> None:
    assert told(planned(pool_view("A ###", replicas=0))) == "retire A2 A1 A0"
    assert told(planned(pool_view("", replicas=0))) == ""


def test_healthy_pool_needs_nothing() -> None:
    decided = planned(pool_view("A ###"))
    assert (decided.actions, decided.due) == ((), None)


# Deletion of a pool.

DRAIN = PoolSpec(drains=True)


@pytest.mark.parametrize(
    ("pool", "protected", "expected"),
    [
        (DRAIN, False, "protect True"),
        (DRAIN, True, ""),
        (PoolSpec(), True, "protect False"),
        (PoolSpec(), False, ""),
    ],
)
def test_finalizer_follows_the_deletion_policy(
    pool: PoolSpec, protected: bool, expected: str
) -> None:
    assert told(planned(pool_view("A ###", pool, is_protected=protected))) == expected


def test_deleted_pool_with_drain_retires_its_nodes_then_it_is_released() -> None:
    given = pool_view("A ###", DRAIN, deleting=True, is_protected=True)
    assert told(planned(given)) == "retire A2 A1 A0"
    suspended = replace(given, spec=replace(given.spec, suspend=True))
    assert told(planned(suspended)) == "retire A2 A1 A0", "a deletion is carried out nevertheless"
    last = pool_view("", DRAIN, deleting=True, is_protected=True)
    assert told(planned(last)) == "protect False"


def test_refused_release_of_a_deleted_pool_is_tried_again() -> None:
    """Nothing else wakes the planner for a pool without nodes."""
    refused = replace(refusal(Move.PROTECT, "web", Cause.API_SERVER, wait=5.0), subject="")
    last = pool_view("", DRAIN, deleting=True, is_protected=True, refusals=(refused,))
    decided = planned(last)
    assert (told(decided), decided.due) == ("", NOW + 5.0)
    assert told(planned(last, NOW + 5.0)) == "protect False"


def test_deleted_pool_leaves_its_nodes_alone_by_default() -> None:
    assert planned(pool_view("A ###", deleting=True)).actions == ()
    kept = pool_view("A ###", deleting=True, is_protected=True)
    assert told(planned(kept)) == "protect False"


# Refused writes for nodes: none is given up, and none is repeated without a pause.


@pytest.mark.parametrize(
    ("move", "drawn", "changes", "expected"),
    [
        (Move.ADMIT, "B #", {"held": True}, "admit B0"),
        (Move.MARK, "B #", {"reached": "pod a/b mounts / of the node"}, "mark B0"),
        (Move.END, "B -", {}, "end B0"),
        (Move.RETIRE, "B -", {"is_open": True}, "retire B0"),
    ],
)
def test_refused_write_for_a_node_is_tried_again_after_a_pause(
    move: Move, drawn: str, changes: dict[str, Any], expected: str
) -> None:
    [node] = nodes(drawn, B0=changes)
    refused = refusal(move, "B0", Cause.API_SERVER, wait=5.0)
    given = pool_view([node], wanted="B", replicas=1, refusals=(refused,))
    waiting = NODES.care(given, NOW)
    assert waiting.moves == ()
    assert NOW + 5.0 in waiting.due
    assert told(NODES.care(given, NOW + 5.0).moves) == expected


def test_only_facts_that_change_on_many_nodes_are_one_incident() -> None:
    said = {"osImage: a:1 → b": "osImage", "taint only:NoSchedule: web → removed": ""}
    for message, incident in said.items():
        assert NODES.incident(Deviation("node-A0", "Drifted", message)) == incident


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (TroubleKind.BOOT_TIMEOUT, "the provider's log shows why no node has registered"),
        (TroubleKind.NEVER_READY, "correct spec.image, or what its nodes need"),
    ],
)
def test_trouble_of_a_failed_try_is_told_while_it_is_being_removed(
    kind: TroubleKind, advice: str
) -> None:
    """The next try waits until the provider has removed its machine."""
    trouble = Trouble(kind, "it was not verified within 600 s", settled=True)
    gone = {"ended": True, "terminating": True, "tries": 1, "trouble": trouble}
    status = planned(pool_view(nodes("A ##.", A2=gone))).status
    assert status is not None
    [blocker] = status.blockers
    assert blocker.reason == kind
    assert blocker.message.endswith(f"; {advice}")


def test_first_pod_that_could_run_on_no_other_node_is_named() -> None:
    """There may be several: the choice is always the same."""
    homeless = (guest("b", homeless="uses a volume"), guest("a", homeless="uses a volume"))
    [node] = nodes("A #", A0={"guests": homeless})
    obstacle = NODES.obstacle(node, pool_view("A #").spec)
    assert obstacle is not None
    assert obstacle.subject == "pod/shop/a"


def test_node_that_lacks_nothing_known_has_failed_at_its_deadline_nevertheless() -> None:
    given = pool_view(nodes("B .", B0={"born": NOW - 1800, "lacks": ()}), wanted="B")
    [node] = NODES.judged(given, NOW).instances
    assert node.trouble is not None
    assert node.trouble.message == "it was not verified within 1800 s"


def test_verified_node_that_still_keeps_workloads_off_is_admitted_again() -> None:
    """The operator was ended between the two writes of an admission."""
    given = pool_view(nodes("A ##.", A2={"verified": NOW - 5, "held": True}))
    assert cared(given).moves == (Admit(name_of("A2"), "uid-A2"),)


def test_node_whose_smoke_pod_never_ends_has_failed_for_this_reason() -> None:
    slow = {"born": NOW - 1800, "lacks": (), "smoke": "Running"}
    given = pool_view(nodes("B .", B0=slow), wanted="B")
    [node] = NODES.judged(given, NOW).instances
    assert node.trouble is not None
    late = "it was not verified within 1800 s: its smoke pod has not ended"
    assert node.trouble.message == late


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        (Cause.FORBIDDEN, "grant this permission to the operator"),
        (Cause.TEMPLATE, "correct spec.template or spec.provider"),
        (Cause.ADMISSION, "exempt the nodes of this pool from it"),
    ],
)
def test_refused_node_is_told_with_what_to_do(cause: Cause, advice: str) -> None:
    refused = refusal(Move.CREATE, "A2", cause, revision="A", message="no")
    status = planned(pool_view(nodes("A ##"), refusals=(refused,))).status
    assert status is not None
    [blocker] = status.blockers
    assert blocker.message.startswith("no; ")
    assert advice in blocker.message
