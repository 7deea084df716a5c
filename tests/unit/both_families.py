"""The planner's tables for pods, planned for nodes as well: the plans must be the same.

`plan` is the planner. For a service that could be a pool, too, it also plans a pool of verified
nodes in the same states, and compares: what differs between the families is when an instance is
ready, how it deviates and how soon that is healed again, whose successor it waits for, and how it
leaves, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from immutable_operator.domain import planner
from immutable_operator.domain.families import Family, Relapse
from immutable_operator.domain.families.nodes import NODES, Nodes
from immutable_operator.domain.families.pods import PODS
from immutable_operator.domain.model import (
    Action,
    Because,
    CreateRevision,
    Evidence,
    Instance,
    Machine,
    Move,
    OnTaint,
    Plan,
    Policy,
    PoolSpec,
    Revision,
    Status,
    View,
)

__all__ = ["as_pool", "plan"]

# Fields of a status with sentences, or with the label of the family.
SAID = frozenset({"conditions", "blockers", "selector"})
ALIKE = {"Draining": "Terminating"}


@dataclass(frozen=True)
class CountedNodes(Nodes):
    """Nodes that are paired and healed as pods are; what is said of nodes is tested on its own."""

    is_one_to_one = False

    def signals(self, because: Because) -> frozenset[str]:
        return PODS.signals(because)

    def relapse(self, policy: Policy) -> Relapse:
        return PODS.relapse(policy)


COUNTED = CountedNodes()


def plan(given: View, now: float, policy: Policy = planner.POLICY, family: Family = PODS) -> Plan:
    """Return the plan for a service, after comparing it with that for such a pool."""
    decided = planner.plan(given, now, policy, family)
    apart = any(_judged_apart(i, r) for i in given.instances for r in given.revisions)
    pool = as_pool(given, now) if family is PODS and not apart else None
    if pool is not None:
        of_nodes = planner.plan(pool, now, policy, COUNTED)
        assert _moves(of_nodes.actions) == _moves(decided.actions), "another plan for nodes"
        assert _told(of_nodes.status) == _told(decided.status), "another status for nodes"
        if not any(i.terminating for i in given.instances):
            assert of_nodes.due == decided.due, "another time for nodes"
    return decided


def as_pool(given: View, now: float) -> View | None:
    """Return the same view of a pool of verified nodes; None if no pool can be like that."""
    spec = given.spec
    only_pods = (
        spec.on_taint is not OnTaint.REPLACE
        or spec.replace_restarted
        or spec.drain_protection
        or spec.pinned
        or given.budgets
        or given.evidence != Evidence()
        or any(_is_a_pod(i) for i in (*given.instances, *given.departed))
        or any(r.config for r in given.revisions)
        # It names the record, and that of a pool has another id.
        or any(r.move is Move.RECORD for r in given.refusals)
    )
    if only_pods:
        return None
    return replace(
        given,
        spec=replace(spec, pool=PoolSpec()),
        instances=tuple(_as_node(i, now) for i in given.instances),
        departed=tuple(_as_node(i, now) for i in given.departed),
    )


def _is_a_pod(instance: Instance) -> bool:
    """Return whether it has a state that nodes never have."""
    return bool(
        instance.quarantined is not None
        or instance.generation
        or instance.images
        or instance.restarted
        or instance.edited
        or instance.deletion_cost
    )


def _judged_apart(instance: Instance, revision: Revision) -> bool:
    """Return whether its trouble says something else of its revision in the other family."""
    trouble = instance.trouble
    if trouble is None:
        return False
    apart = PODS.failure(instance, revision) != NODES.failure(instance, revision)
    return apart or PODS.excuses(trouble) != NODES.excuses(trouble)


def _as_node(instance: Instance, now: float) -> Instance:
    machine = Machine(ready_since=instance.ready_since, verified=instance.born)
    if instance.terminating:
        machine = replace(machine, retiring=now, deleted=now)
    return replace(instance, machine=machine)


def _moves(actions: Iterable[Action]) -> list[object]:
    """The actions; the id of a new record depends on the algorithm of its family."""
    return [(a.number, a.reason, a.author) if isinstance(a, CreateRevision) else a for a in actions]


def _told(status: Status | None) -> object:
    """What a status says in numbers and words; sentences name services or pools."""
    if status is None:
        return None
    conditions = [(c.type, c.status, ALIKE.get(c.reason, c.reason)) for c in status.conditions]
    blockers = [(b.reason, b.since, b.subject) for b in status.blockers]
    others = [getattr(status, field) for field in Status.__slots__ if field not in SAID]
    return conditions, blockers, others
