"""Nodes for the tables in test_domain_*: the drawings of `tests.unit.given`, with machines.

The marks: ``#`` is verified and Ready, ``.`` is not verified (its taint is still there), ``-`` is
being drained, ``x`` failed. The node of the instance ``A0`` is called ``node-A0``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from immutable_operator.domain.families import Care
from immutable_operator.domain.families.nodes import NODES
from immutable_operator.domain.model import (
    FACTS,
    Action,
    Admit,
    Because,
    End,
    Evict,
    Guest,
    GuestKind,
    Instance,
    Machine,
    Mark,
    Plan,
    PoolSpec,
    Probe,
    Protect,
    Reason,
    View,
)
from immutable_operator.domain.planner import plan
from tests.unit.given import NOW, fleet, moves, view

__all__ = [
    "BORN_FACTS",
    "as_machine",
    "cared",
    "changed",
    "guest",
    "machine",
    "nodes",
    "planned",
    "pool_view",
    "told",
]

BORN_FACTS = tuple((fact, f"{fact}-1") for fact in FACTS)
VERIFIED = NOW - 900


def changed(**facts: str) -> tuple[tuple[str, str], ...]:
    """The facts of a node of which some are different from those at its birth."""
    return tuple({**dict(BORN_FACTS), **facts}.items())


def machine(mark: str = "#", **changes: Any) -> Machine:
    """The machine of an instance that is drawn with this mark."""
    is_new = mark in ".x"
    base = Machine(
        ready_since=None if is_new else NOW - 1000,
        facts=BORN_FACTS,
        birth_facts=() if is_new else BORN_FACTS,
        verified=None if is_new else VERIFIED,
        held=is_new,
        lacks=("node node-A0 is not Ready",) if is_new else (),
        retiring=NOW - 100 if mark == "-" else None,
        because=Because(Reason.OUTDATED, "it is old") if mark == "-" else None,
    )
    return replace(base, **changes)


def as_machine(instance: Instance, **changes: Any) -> Instance:
    """An instance of any family as a node, in the same state."""
    mark = "x" if instance.ended else "-" if instance.terminating else "#"
    if mark == "#" and instance.ready_since is None:
        mark = "."
    return replace(instance, machine=machine(mark, **changes))


def nodes(drawn: str, **changes: Mapping[str, Any]) -> tuple[Instance, ...]:
    """The nodes of a drawing; ``A0={"facts": …}`` changes the machines of single ones.

    A change of a field that machines do not have is one of the instance.
    """
    found = []
    for instance in fleet(drawn):
        label = instance.uid.removeprefix("uid-")
        wish = changes.get(label, {})
        of_machine = {k: v for k, v in wish.items() if k in Machine.__slots__}
        others = {k: v for k, v in wish.items() if k not in of_machine}
        made = as_machine(replace(instance, node=f"node-{label}"), **of_machine)
        found.append(replace(made, **others))
    return tuple(found)


def pool_view(
    drawn: str | Iterable[Instance] = "", pool: PoolSpec | None = None, **given: Any
) -> View:
    """A pool that wants 3 nodes of revision A, surge 1, with the drawn nodes."""
    instances = nodes(drawn) if isinstance(drawn, str) else tuple(drawn)
    fields = {k: given.pop(k) for k in ("deleting", "is_protected", "departed") if k in given}
    defaults: dict[str, Any] = {
        "pool": pool or PoolSpec(),
        "min_ready_seconds": 0,
        "counts_terminating": True,
        "progress_deadline_seconds": 1800,
    }
    made = view(instances=instances, **(defaults | given))
    return replace(made, **fields)


def guest(name: str = "a", kind: GuestKind = GuestKind.EVICTED, **changes: Any) -> Guest:
    return Guest("shop", name, f"uid-{name}", kind, **changes)


def cared(given: View, now: float = NOW) -> Care:
    """What the nodes of a pool need."""
    return NODES.care(given, now)


def planned(given: View, now: float = NOW) -> Plan:
    return plan(given, now, family=NODES)


def told(actions: Plan | Iterable[Action]) -> str:
    """The moves for nodes in words, in order: ``"admit B0; evict a, b by force; end A0"``."""
    plan_of = actions if isinstance(actions, Plan) else Plan(actions=tuple(actions))
    words: dict[str, list[str]] = {}
    for action in plan_of.actions:
        match action:
            case Admit() | Mark() | Probe() | End():
                verb = type(action).__name__.lower()
                words.setdefault(verb, []).append(action.uid.removeprefix("uid-"))
            case Evict():
                words.setdefault("delete" if action.by_force else "evict", []).append(action.pod)
            case Protect():
                words.setdefault("protect", []).append(str(action.waits))
            case _:
                pass
    both = [*(f"{verb} {' '.join(what)}" for verb, what in words.items()), moves(plan_of)]
    return "; ".join(filter(None, both))
