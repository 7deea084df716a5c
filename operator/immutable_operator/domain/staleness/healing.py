"""Healing: which modified instances may be replaced now, and at which pace.

The first time, a modified instance is replaced like any other stale one. If its successor is
modified in the same way, something modifies each new instance (a webhook, a controller, a tool that
updates nodes), and replacing all of them repeatedly would not help: then one at a time is
replaced, with growing pauses. What is the same way, and how long the pauses are, the family says.
The birth certificates carry the count, so that it survives a restart.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from immutable_operator.domain.model import Because, Instance
from immutable_operator.domain.turn import Turn

__all__ = ["Healing", "healing", "repeats"]


@dataclass(frozen=True, slots=True)
class Healing:
    """``held`` are the names of those that wait; ``until`` is when the next may go, if later than
    now.

    ``relapses`` is the longest row of replacements that did not help; ``relapsed`` are the names of
    the instances whose count still applies, ``signals`` what they have in common with others.
    """

    held: frozenset[str] = frozenset()
    until: float | None = None
    relapses: int = 0
    relapsed: frozenset[str] = frozenset()
    signals: frozenset[str] = frozenset()

    def heals_after(self, before: int, signals: frozenset[str]) -> int:
        """Return the count of a modified instance's successor: one more than its predecessors'.

        ``before`` is the count of the modified instance if it applies, ``signals`` is what was
        modified.
        """
        return 1 + max(before, self.relapses if signals & self.signals else 0)


def repeats(turn: Turn, instance: Instance, because: Because) -> bool:
    """Return whether an instance was modified like the one that it replaced, not long after."""
    family, before = turn.family, instance.because
    if not instance.heals or turn.now - instance.born >= family.relapse(turn.policy).memory:
        return False
    return before is None or bool(family.signals(before) & family.signals(because))


def healing(
    turn: Turn,
    instances: Sequence[Instance],
    why: Mapping[str, Because],
    revisions: Container[str],
) -> Healing:
    """Judge the active instances of one owner, given with those in quarantine.

    Only instances of ``revisions`` are held: of the wanted one, and of the one from which repairs
    are made. The rollout replaces the others anyway.
    """
    known = sorted(
        (i for i in instances if i.name in why and why[i.name].deviates and not i.terminating),
        key=lambda i: (i.born, i.name),
    )
    deviating = [i for i in known if i.active]
    # Those in quarantine count, too: else the others would follow them without any pause.
    relapsed = [i for i in known if repeats(turn, i, why[i.name])]
    if not relapsed:
        return Healing()
    relapses = max(i.heals for i in relapsed)
    pause = turn.family.relapse(turn.policy).pause.after(relapses)
    until = max(i.born for i in (*relapsed, *_tries(instances))) + pause
    counted = frozenset(i.name for i in relapsed)
    signals_of = {i.name: turn.family.signals(why[i.name]) for i in known}
    signals = frozenset[str]().union(*(signals_of[i.name] for i in relapsed))
    alike = [i for i in deviating if signals_of[i.name] & signals]
    waiting = [i.name for i in alike if i.revision in revisions]
    if turn.now < until:
        later = until if waiting else None
        return Healing(frozenset(waiting), later, relapses, counted, signals)
    return Healing(frozenset(waiting[1:]), None, relapses, counted, signals)


def _tries(instances: Sequence[Instance]) -> list[Instance]:
    """Return the successors of modified instances that are gone: the next one waits for them."""
    holders = {key for i in instances if i.active for key in (i.uid, i.name)}
    return [i for i in instances if i.active and i.heals and i.predecessor not in holders]
