"""One side: the instances of one revision beside those of another one, as if there were no others.

It is Rolling within itself: repairs, a scale and a regeneration are the same step as always.
"""

from __future__ import annotations

from dataclasses import replace

from immutable_operator.domain.fleet import sort_out
from immutable_operator.domain.ledger import Ledger
from immutable_operator.domain.model import Revision
from immutable_operator.domain.strategies.rolling import ROLLING, counts
from immutable_operator.domain.strategies.step import Step
from immutable_operator.domain.turn import Turn

__all__ = ["side"]


def side(turn: Turn, revision: Revision, desired: int) -> Step:
    """Return the step of the instances of a revision that is not the wanted one."""
    view = turn.view
    target = replace(turn.target, wanted=revision, is_asked=False, fallback=None, goes_back=False)
    alone = replace(
        turn,
        target=replace(target, holds_failed=False),
        budget=replace(turn.budget, desired=desired),
        beside=frozenset(i.name for i in (*view.instances, *view.departed)),
        view=replace(
            view,
            instances=tuple(i for i in view.instances if i.revision == revision.id),
            departed=tuple(i for i in view.departed if i.revision == revision.id),
        ),
    )
    own = sort_out(alone)
    return ROLLING.step(alone, own, Ledger(alone.budget, counts(alone, own)))
