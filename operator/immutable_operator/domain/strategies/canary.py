"""Canary: Rolling with a share of the instances, until the last step is done.

While the share changes, it is one step of Rolling on one ledger: the births of the new revision are
limited to its share, and of the previous one the rest stays. Once the share is reached, the
instances of the previous revision are Rolling within themselves, so that a pause of days does not
delay their regeneration.
"""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.goal import share
from immutable_operator.domain.ledger import Ledger
from immutable_operator.domain.standing import latest_completed
from immutable_operator.domain.strategies.rolling import ROLLING, counts
from immutable_operator.domain.strategies.side import side
from immutable_operator.domain.strategies.step import Step
from immutable_operator.domain.turn import Turn

__all__ = ["CANARY", "CanaryStrategy"]


@dataclass(frozen=True, slots=True)
class CanaryStrategy:
    """The strategy; it has no state."""

    def step(self, turn: Turn, fleet: Fleet, ledger: Ledger) -> Step:
        """Return one step of the change to the share, or of the previous instances alone."""
        given, before = share(turn), latest_completed(turn.view)
        if given is None or before is None or not _stands(turn, fleet, given, before.id):
            return ROLLING.step(turn, fleet, ledger)
        step = side(turn, before, turn.budget.desired - given)
        room = turn.budget.most - len(fleet.active) - counts(turn, fleet).terminating
        del step.creates[max(0, room) :]
        step.due += [turn.quarantine_ends(i) for i in fleet.quarantined if i.revision != before.id]
        return step


CANARY = CanaryStrategy()


def _stands(turn: Turn, fleet: Fleet, count: int, before: str) -> bool:
    """Return whether each of the two revisions has its share, and no other one has instances.

    An instance and its successor of the same revision have one place of the share.
    """
    apart = (i for i in fleet.quarantined if turn.quarantine_ends(i) <= turn.now)
    others = (*fleet.stale, *apart, *fleet.ended)
    if any(i.revision != before for i in others) or len(fleet.current) != count:
        return False
    succeeded = {i.predecessor for i in fleet.stale}
    places = sum(not i.is_among(succeeded) for i in fleet.stale)
    return fleet.available_current == count and places <= turn.budget.desired - count
