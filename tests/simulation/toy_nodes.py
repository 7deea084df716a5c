"""A toy cluster whose instances are nodes, and the operator of their pool.

A node becomes Ready, settles, is admitted, and leaves in two steps: it is retired, its pods are
evicted, and then it is deleted. What must hold for any replacement is checked at each write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from immutable_operator.domain.families.nodes import NODES
from immutable_operator.domain.ledger import Budget
from immutable_operator.domain.model import (
    FACTS,
    Action,
    Admit,
    Create,
    End,
    Evict,
    Guest,
    GuestKind,
    Instance,
    Machine,
    Move,
    Plan,
    Retire,
    View,
)
from immutable_operator.domain.planner import plan
from immutable_operator.instances.refused import refused
from immutable_operator.kube.errors import DISRUPTION_BUDGET, ApiError, NotFound, TooManyRequests
from tests.simulation.story import GOLDEN, Story
from tests.simulation.toy_cluster import GRACE, ToyCluster
from tests.simulation.toy_operator import ToyOperator

__all__ = ["NodeCluster", "NodeOperator", "NodeStory"]

BORN = tuple((fact, f"{fact}-1") for fact in FACTS)


class NodeCluster(ToyCluster):
    """``protected`` are names of pods that a PodDisruptionBudget keeps."""

    protected: frozenset[str] = frozenset()
    births = 0

    def create(self, birth: Create) -> None:
        there = list(self.pods.values())
        assert len(there) < self._budget.most, "more machines than the surge allows"
        heirs = {i.replaces_uid for i in there if i.active and i.replaces_uid}
        assert birth.replaces_uid not in heirs, "a second successor"
        super().create(birth)
        self.births += 1

    def evict(self, retirement: Retire) -> None:
        """Retire a node: it stays until it is drained and deleted."""
        self.writes += 1
        node = self._node(retirement.name, retirement.uid)
        if node.active and node.ready_since is not None:
            others = [i for i in self._working() if i.uid != node.uid]
            least = min(self._budget.fewest_available, len(self._working()))
            assert len(others) >= least, "no verified successor is there"
        machine = replace(_of(node), retiring=self.now, because=retirement.because)
        self._put(replace(node, terminating=True, machine=machine), at_once=True)

    def admit(self, move: Admit) -> None:
        self.writes += 1
        node = self._node(move.name, move.uid)
        machine = _of(node)
        facts = machine.birth_facts or machine.facts
        assert facts, "no node is admitted without its recorded facts"
        machine = replace(machine, verified=self.now, held=False, birth_facts=facts)
        self._put(replace(node, ready_since=self.now, machine=machine), at_once=True)

    def evict_pod(self, move: Evict) -> None:
        self.writes += 1
        node = self.pods.get(move.name)
        if node is None or not any(g.uid == move.uid for g in _of(node).guests):
            raise NotFound(404, "NotFound", f'pods "{move.pod}" not found')
        assert node.terminating
        if move.pod in self.protected and not move.by_force:
            said = f"The disruption budget {move.pod} needs 1 healthy pods and has 1 currently"
            raise TooManyRequests(429, "TooManyRequests", said, causes=(DISRUPTION_BUDGET,))
        self._guests(node, lambda g: replace(g, terminating=g.terminating or g.uid == move.uid))
        self.after(GRACE, lambda: self._leave_node(move))

    def end_node(self, move: End) -> None:
        self.writes += 1
        node = self._node(move.name, move.uid)
        assert node.terminating
        left = [g for g in _of(node).guests if g.kind is not GuestKind.STAYS]
        assert not left, "a node is deleted when its pods have left"
        machine = replace(_of(node), deleted=self.now)
        self._put(replace(node, machine=machine), at_once=True)
        self.after(GRACE, lambda: self._go(node.uid, node.name))

    def place(self, name: str, *pods: str) -> None:
        """Pods run on a node."""
        node = self.pods[name]
        added = tuple(Guest("shop", pod, f"uid-{pod}", GuestKind.EVICTED) for pod in pods)
        machine = replace(_of(node), guests=(*_of(node).guests, *added))
        self._put(replace(node, machine=machine))

    def change(self, name: str, **facts: str) -> None:
        """Something changes a node in place."""
        node = self.pods[name]
        self.tell("changed in place: " + ", ".join(sorted(facts)), name)
        machine = _of(node)
        now = tuple({**dict(machine.facts), **facts}.items())
        self._put(replace(node, machine=replace(machine, facts=now, steady_since=self.now)))

    # Inside.

    @property
    def _budget(self) -> Budget:
        spec = self.spec
        return Budget.of(spec.replicas or 0, spec.max_surge, spec.max_unavailable)

    def failed(self, node: Instance) -> bool:
        """Return whether it was not verified in time: it does not count, though it is there."""
        late = node.born + self.spec.progress_deadline_seconds <= self.now
        return late and _of(node).verified is None

    def _working(self) -> list[Instance]:
        return [i for i in self.pods.values() if i.active and i.ready_since is not None]

    def _node(self, name: str, uid: str) -> Instance:
        node = self.pods.get(name)
        if node is None or node.uid != uid:
            raise NotFound(404, "NotFound", f'nodes "{name}" not found')
        return node

    def _guests(self, node: Instance, change: Callable[[Guest], Guest | None]) -> None:
        kept = tuple(g for g in map(change, _of(node).guests) if g is not None)
        self._put(replace(node, machine=replace(_of(node), guests=kept)))

    def _leave_node(self, move: Evict) -> None:
        if move.name in self.pods:
            self.tell(f"lost pod {move.pod}", move.name)
            self._guests(self.pods[move.name], lambda g: None if g.uid == move.uid else g)

    def _become_ready(self, uid: str, name: str) -> None:
        if node := self._same(uid, name):
            self.tell("Ready", name)
            machine = replace(_of(node), ready_since=self.now, facts=BORN, lacks=())
            self._put(replace(node, machine=machine, trouble=None))

    def _put(self, pod: Instance | None, *, name: str = "", at_once: bool = False) -> None:
        if pod is not None and pod.machine is None:
            lacks = (f"node {pod.name} is not Ready",)
            pod = replace(pod, node=pod.name, machine=Machine(held=True, lacks=lacks))
        super()._put(pod, name=name, at_once=at_once)


class NodeOperator(ToyOperator):
    """The same loop, with the family of nodes."""

    cluster: NodeCluster

    def restart(self) -> None:
        super().restart()
        self._retired: set[str] = set()

    def view(self) -> View:
        return replace(super().view(), retired=frozenset(self._retired))

    def turn(self) -> Plan:
        given = self.view()
        decided = plan(given, self.cluster.now, family=NODES)
        self._act(given, decided)
        self._tell(decided)
        self._store(decided)
        self.due = decided.due
        return decided

    def _active(self) -> int:
        there = self.cluster.pods.values()
        return sum(node.active and not self.cluster.failed(node) for node in there)

    def _write(self, action: Action) -> bool:
        match action:
            case Admit():
                return self._try(Move.ADMIT, action.name, lambda: self.cluster.admit(action))
            case End():
                return self._try(Move.END, action.name, lambda: self.cluster.end_node(action))
            case Evict():
                subject = f"{action.namespace}/{action.pod}"
                return self._try(Move.EVICT, subject, lambda: self.cluster.evict_pod(action))
            case Retire():
                self._retired.add(action.uid)
        return super()._write(action)

    def _try(self, move: Move, subject: str, write: Callable[[], None]) -> bool:
        try:
            write()
        except NotFound:
            return True
        except ApiError as error:
            self.desk.refusals.note(move, subject, None, refused(move, error), self.cluster.now)
            return False
        self.desk.refusals.accepted(move, subject, None)
        return True


class NodeStory(Story):
    """A story of a pool."""

    folder = GOLDEN / "nodes"
    clusters, operators = NodeCluster, NodeOperator
    cluster: NodeCluster
    operator: NodeOperator


def _of(node: Instance) -> Machine:
    assert node.machine is not None
    return node.machine
