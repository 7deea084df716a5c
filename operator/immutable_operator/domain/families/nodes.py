"""Nodes as a family of instances: when one is verified, how one drifts, and how one is drained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from immutable_operator.api.names import LABEL_POOL
from immutable_operator.domain.families import GRANT_ADVICE, Care, Family, Relapse, Words, tried
from immutable_operator.domain.families.draining import Draining
from immutable_operator.domain.families.verifying import Verifying
from immutable_operator.domain.model import (
    FACTS,
    NODE_HASH,
    REACHED_INTO,
    Because,
    Cause,
    Deviation,
    Evidence,
    Instance,
    Machine,
    Mark,
    Move,
    Obstacle,
    OnDrift,
    Policy,
    PoolSpec,
    Protect,
    Reason,
    Revision,
    Spec,
    Trouble,
    TroubleKind,
    View,
    instance_name,
)

__all__ = ["NODES", "NO_OTHER_NODE", "Nodes"]

NO_OTHER_NODE = "NoOtherNode"
# What to do about causes that an API server or a provider describes in its own words. Messages
# about capacity and settings of a provider say it themselves.
ADVICE: Mapping[str, str] = {
    Cause.TEMPLATE: "correct spec.template or spec.provider, or the policy that refuses it",
    Cause.ADMISSION: "correct the policy or webhook, or exempt the nodes of this pool from it",
    Cause.FORBIDDEN: GRANT_ADVICE,
    TroubleKind.BOOT_TIMEOUT: "the provider's log shows why no node has registered",
    TroubleKind.NEVER_READY: "correct spec.image, or what its nodes need",
}


@dataclass(frozen=True)
class Nodes:
    """The family of nodes."""

    words = Words(
        owner="pool",
        label=LABEL_POOL,
        listing=f"kubectl get nodes -l {LABEL_POOL}",
        reporting="drift",
        relapse="find and stop the cause that changes every new node, or set that field of"
        " spec.drift to Report",
        leaving="Draining",
        advice=ADVICE,
    )
    hash_version = NODE_HASH
    is_one_to_one = True

    def name(self, owner: str, uid: str, revision: str, slot: int, incarnation: int) -> str:
        return instance_name(owner, uid, revision, slot, incarnation)

    def judged(self, view: View, now: float) -> View:
        """Return the view with the nodes that failed to start, as ended ones.

        A pool that is to be drained before it is deleted wants no nodes.
        """
        spec = view.spec
        instances = tuple(_failed(_given_up(i, view), spec, now) for i in view.instances)
        departed = tuple(_vanished(i, view, now) for i in view.departed)
        view = replace(view, instances=instances, departed=departed)
        drains = spec.pool is not None and spec.pool.drains and view.is_protected
        if view.deleting and drains and instances:
            view = replace(view, deleting=False, spec=replace(spec, replicas=0, suspend=False))
        return view

    def deviation(
        self,
        instance: Instance,
        template: Mapping[str, Any] | None,
        evidence: Evidence,
        spec: Spec,
    ) -> Because | None:
        machine = instance.machine
        if instance.taint:
            return Because(Reason.TAINTED, instance.taint)
        if machine is None or spec.pool is None or machine.verified is None:
            return None
        found = list(_changes(machine, template or {}))
        for action in (OnDrift.REPLACE, OnDrift.REPORT):
            told = [(fact, text) for fact, text in found if spec.pool.on_drift(fact) is action]
            if told:
                entered = any(fact == REACHED_INTO for fact, _ in told)
                reason = Reason.TAINTED if entered else Reason.DRIFTED
                cause = "; ".join(text for _, text in told)
                return Because(reason, cause, is_reported=action is OnDrift.REPORT)
        return None

    def available_at(self, instance: Instance, least: float) -> float | None:
        return instance.available_at(least)

    def signals(self, because: Because) -> frozenset[str]:
        """Return the facts, labels and taints that changed, or that a pod reached into the node."""
        if because.reason is Reason.TAINTED:
            return frozenset({REACHED_INTO})
        if because.reason is not Reason.DRIFTED:
            return frozenset()
        return frozenset(part.partition(": ")[0] for part in because.cause.split("; "))

    def relapse(self, policy: Policy) -> Relapse:
        return Relapse(policy.heal_nodes, policy.heal_nodes_memory)

    def incident(self, deviation: Deviation) -> str:
        """Return the fact that changed: many nodes that reboot within minutes are one incident."""
        fact = deviation.message.partition(":")[0]
        return fact if fact in FACTS else ""

    def obstacle(self, instance: Instance, spec: Spec) -> Obstacle | None:
        """Return a pod that could run on no other node: it is found before the drain begins."""
        if instance.machine is None or (spec.pool is not None and spec.pool.delete_after):
            return None
        homeless = (g for g in instance.machine.guests if g.homeless and not g.terminating)
        first = min(homeless, key=lambda g: (g.namespace, g.name), default=None)
        if first is None:
            return None
        text = f"node {instance.node}: pod {first.namespace}/{first.name} {first.homeless}"
        return Obstacle(NO_OTHER_NODE, text, f"pod/{first.namespace}/{first.name}")

    def failure(self, instance: Instance, revision: Revision) -> str | None:
        """One machine may be broken; a second one that never works proves that the image is."""
        trouble = instance.trouble
        if trouble is None or instance.tries < 1:
            return None
        never = (TroubleKind.BOOT_TIMEOUT, TroubleKind.NEVER_READY)
        return trouble.kind if trouble.kind in never else None

    def excuses(self, trouble: Trouble) -> bool:
        return trouble.kind in (TroubleKind.CAPACITY, TroubleKind.CONFIG)

    def care(self, view: View, now: float) -> Care:
        pool = view.spec.pool
        if pool is None:
            return Care()
        parts = [self._protection(view, pool, now)]
        if view.deleting:
            return parts[0]
        for instance in sorted(view.instances, key=lambda i: i.name):
            machine = instance.machine
            if machine is None:
                continue
            if instance.terminating:
                parts.append(Draining(view, pool, now).of(instance, machine))
            elif instance.active and (machine.verified is None or machine.held):
                parts.append(Verifying(view, pool, now).of(instance, machine))
            elif machine.reached and not machine.marked and instance.active:
                parts.append(_mark(view, pool, now, instance))
        return Care(
            moves=tuple(move for part in parts for move in part.moves),
            waits=tuple(wait for part in parts for wait in part.waits),
            due=tuple(at for part in parts for at in part.due),
            notes=tuple(note for part in parts for note in part.notes),
        )

    def _protection(self, view: View, pool: PoolSpec, now: float) -> Care:
        """Let a deletion of the pool wait for the drain of its nodes, if that is wanted.

        `judged` hides the deletion as long as there are nodes to drain.
        """
        waits = pool.drains and not view.deleting
        if waits == view.is_protected:
            return Care()
        return tried(view, now, Protect(waits), Move.PROTECT, "")


NODES: Family = Nodes()


def _mark(view: View, pool: PoolSpec, now: float, instance: Instance) -> Care:
    """Record an intrusion: the pod that shows it may be deleted."""
    if instance.machine is None or pool.on_drift(REACHED_INTO) is OnDrift.IGNORE:
        return Care()
    mark = Mark(instance.name, instance.uid, instance.machine.reached)
    return tried(view, now, mark, Move.MARK, instance.name)


def _changes(machine: Machine, wanted: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield by fact what changed since the node was verified; a value that was empty may appear.

    ``wanted`` is what the pool declares, empty for nodes of another revision.
    """
    now = dict(machine.facts)
    for fact, before in machine.birth_facts:
        after = now.get(fact)
        if before and after and before != after:
            yield fact, f"{fact}: {before} → {after}"
    declared = wanted.get("template") or {}
    labels = dict(machine.labels)
    for key, value in sorted((declared.get("labels") or {}).items()):
        if labels.get(key) != value:
            yield "declaredLabels", f"label {key}: {value} → {labels.get(key, 'removed')}"
    taints = {(key, effect): value for key, value, effect in machine.taints}
    for taint in declared.get("taints") or ():
        key, effect, value = taint.get("key"), taint.get("effect"), taint.get("value") or ""
        now_there = taints.get((key, effect))
        if now_there != value:
            there = "removed" if now_there is None else now_there
            yield "declaredTaints", f"taint {key}:{effect}: {value or 'set'} → {there}"
    if machine.reached:
        yield REACHED_INTO, machine.reached


def _failed(instance: Instance, spec: Spec, now: float) -> Instance:
    """Return an instance that was not verified in time, or whose smoke pod failed, as ended."""
    machine = instance.machine
    if machine is None or machine.verified is not None or instance.ended:
        return instance
    if machine.smoke == "Failed":
        trouble = Trouble(TroubleKind.NEVER_READY, "its smoke pod failed", settled=True)
        return replace(instance, ended=True, trouble=trouble)
    if instance.born + spec.progress_deadline_seconds > now:
        return instance
    kind = TroubleKind.BOOT_TIMEOUT if instance.node is None else TroubleKind.NEVER_READY
    lacks = f": {machine.waits_for}" if machine.waits_for else ""
    late = f"it was not verified within {spec.progress_deadline_seconds} s{lacks}"
    return replace(instance, ended=True, trouble=Trouble(kind, late, settled=True))


def _given_up(instance: Instance, view: View) -> Instance:
    """Return an instance that another client deletes before it was verified, as an ended one.

    Its finalizers keep it for a while; without this its successor would not wait for its turn.
    """
    machine = instance.machine
    if machine is None or machine.verified is not None or machine.deleted is None:
        return instance
    if machine.retiring is not None or instance.uid in view.retired:
        return instance
    return replace(instance, ended=True)


def _vanished(instance: Instance, view: View, now: float) -> Instance:
    """Return an instance that is gone, and that never was a working node, as ended.

    A provider deletes what it cannot start: the next try waits longer each time.
    """
    machine = instance.machine
    if machine is None or machine.verified is not None:
        return instance
    if instance.uid in view.retired:
        return _failed(instance, view.spec, now)
    text = f"{instance.name} was deleted before its node was verified; see the provider's log"
    trouble = instance.trouble or Trouble(TroubleKind.VANISHED, text)
    return replace(instance, ended=True, trouble=replace(trouble, settled=True))
