"""Healing: which modified instances may be replaced now, and at which pace.

The first time, a modified instance is replaced like any other stale one. If its successor is
modified as well, something modifies each new instance (a webhook, a controller, an autoscaler), and
replacing all of them repeatedly would not help: then one at a time is replaced, with growing
pauses. The birth certificates carry the count, so that it survives a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from immutable_operator.domain.model import Because, Instance, Policy

__all__ = ["Healing", "healing"]


@dataclass(frozen=True, slots=True)
class Healing:
    """``held`` are the names of those that wait; ``until`` is when the next may go, if later than
    now.

    ``relapses`` is the longest row of replacements that did not help; ``relapsed`` are the names of
    the instances whose count still applies.
    """

    held: frozenset[str] = frozenset()
    until: float | None = None
    relapses: int = 0
    relapsed: frozenset[str] = frozenset()

    def heals_after(self, predecessor: Instance, now: float, policy: Policy) -> int:
        """Return the count of a modified instance's successor: one more than its predecessors'."""
        remembered = now - predecessor.born < policy.heal_memory
        return 1 + max(predecessor.heals if remembered else 0, self.relapses)


def healing(
    instances: Iterable[Instance],
    why: Mapping[str, Because],
    wanted: str,
    now: float,
    policy: Policy,
) -> Healing:
    """Judge the active instances of one service.

    Only instances of the ``wanted`` revision are held: the rollout replaces the others anyway.
    """
    deviating = sorted(
        (i for i in instances if i.active and i.name in why and why[i.name].deviates),
        key=lambda i: (i.born, i.name),
    )
    relapsed = [i for i in deviating if i.heals and now - i.born < policy.heal_memory]
    if not relapsed:
        return Healing()
    relapses = max(i.heals for i in relapsed)
    until = max(i.born for i in relapsed) + policy.heal.after(relapses)
    counted = frozenset(i.name for i in relapsed)
    waiting = [i.name for i in deviating if i.revision == wanted]
    if now < until:
        return Healing(frozenset(waiting), until if waiting else None, relapses, counted)
    return Healing(frozenset(waiting[1:]), None, relapses, counted)
