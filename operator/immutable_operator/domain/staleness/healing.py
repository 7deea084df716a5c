"""Healing: which modified instances may be replaced now, and at which pace.

The first time, a modified instance is replaced like any other stale one. If its successor is
modified as well, something modifies each new instance (a webhook, a controller, an autoscaler), and
replacing all of them repeatedly would not help: then one at a time is replaced, with growing
pauses. The birth certificates carry the count, so that it survives a restart.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
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
    instances: Sequence[Instance],
    why: Mapping[str, Because],
    revisions: Container[str],
    now: float,
    policy: Policy,
) -> Healing:
    """Judge the active instances of one service, given with those in quarantine.

    Only instances of ``revisions`` are held: of the wanted one, and of the one from which repairs
    are made. The rollout replaces the others anyway.
    """
    known = sorted(
        (i for i in instances if i.name in why and why[i.name].deviates and not i.terminating),
        key=lambda i: (i.born, i.name),
    )
    deviating = [i for i in known if i.active]
    # Those in quarantine count, too: else the others would follow them without any pause.
    relapsed = [i for i in known if i.heals and now - i.born < policy.heal_memory]
    if not relapsed:
        return Healing()
    relapses = max(i.heals for i in relapsed)
    until = max(i.born for i in (*relapsed, *_tries(instances))) + policy.heal.after(relapses)
    counted = frozenset(i.name for i in relapsed)
    waiting = [i.name for i in deviating if i.revision in revisions]
    if now < until:
        return Healing(frozenset(waiting), until if waiting else None, relapses, counted)
    return Healing(frozenset(waiting[1:]), None, relapses, counted)


def _tries(instances: Sequence[Instance]) -> list[Instance]:
    """Return the successors of modified instances that are gone: the next one waits for them."""
    holders = {key for i in instances if i.active for key in (i.uid, i.name)}
    return [i for i in instances if i.active and i.heals and i.predecessor not in holders]
