"""The order in which instances are retired: which are worth least, which stale ones go first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.goal import is_stepping
from immutable_operator.domain.model import Instance, Refusal
from immutable_operator.domain.standing import latest_completed
from immutable_operator.domain.strategies.repair import made_good

__all__ = ["by_worth", "stale_in_order"]


def stale_in_order(fleet: Fleet, refused: Mapping[str, Refusal]) -> list[Instance]:
    """Return stale instances, first to go first: untried, unhealthy, tainted, succeeded, oldest.

    Among the healthy ones those that filled in for a lost instance come first, so that the rest of
    the rollout does not wait until its revision is steady. Until the wanted revision has proved
    itself, and during a canary, healthy instances of the revision that works come last, including
    those of revisions that were wanted in between. The node on which the operator runs comes last
    of all.
    """
    turn = fleet.turn
    succeeded = {i.predecessor for i in fleet.current if turn.available(i)}
    works = (turn.target.fallback, latest_completed(turn.view))
    kept = () if fleet.available_current and not is_stepping(turn) else works
    worth = {revision.id: place for place, revision in enumerate(kept, 1) if revision}

    repairs = {i.name for i in made_good(fleet)}

    def order(i: Instance) -> tuple[bool, int, int, bool, bool, bool, bool, bool, float, str]:
        available = turn.available(i)
        attempts = refused[i.name].attempts if i.name in refused else 0
        sound = i.name not in fleet.deviations
        kept = worth.get(i.revision, 0) if sound and available else 0
        later = i.name not in repairs
        unmet = not i.is_among(succeeded)
        remains = i.name not in fleet.leaving
        own = turn.is_home(i)
        return own, kept, attempts, available, sound, remains, later, unmet, i.born, i.name

    return sorted(fleet.stale, key=order)


def by_worth(fleet: Fleet, instances: Sequence[Instance]) -> list[Instance]:
    """Return least worth first: tainted ones, then as a ReplicaSet: unready, cheap, crowded,
    youngest.

    Among the tainted ones those with an available successor go first, and the one with the most
    counted replacements goes last: only its birth certificate stores that count. A count that no
    longer applies is ignored; otherwise an old instance would outlive each of its successors, and
    nothing would pace them.
    """
    turn = fleet.turn
    crowd = Counter(i.node for i in fleet.active)
    succeeded = {i.predecessor for i in fleet.current if turn.available(i)}

    def order(i: Instance) -> tuple[bool, bool, bool, int, bool, bool, bool, int, int, float, str]:
        held = i.name in fleet.deviations
        return (
            turn.is_home(i),
            not held,
            not (held and i.is_among(succeeded)),
            i.heals if i.name in fleet.healing.relapsed else 0,
            turn.available(i),
            i.ready_since is not None,
            i.node is not None,
            i.deletion_cost,
            -crowd[i.node],
            -i.born,
            i.name,
        )

    return sorted(instances, key=order)
