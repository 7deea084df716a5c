"""Repair: what the working revision must provide while the wanted one does not work.

During a canary that is also what the step does not give to the wanted revision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.goal import share
from immutable_operator.domain.ledger import Ledger
from immutable_operator.domain.model import Cause, Instance, Move, Refusal, Revision
from immutable_operator.domain.standing import latest_completed, ran
from immutable_operator.domain.turn import Turn

__all__ = ["Repair", "is_working", "made_good", "refused_births", "until_steady"]


def is_working(turn: Turn, fleet: Fleet) -> bool:
    """Return whether the wanted revision works: some of it is available, and nothing is wrong.

    The last good revision counts as working as long as nothing is wrong: if none of it is available
    for a moment, that does not bring another revision back.
    """
    wanted = turn.wanted
    if wanted is None or _is_failing(turn, fleet):
        return False
    own = (i for i in fleet.active if i.revision == wanted.id)
    return turn.count_available(own) > 0 or wanted == latest_completed(turn.view)


def _is_failing(turn: Turn, fleet: Fleet) -> bool:
    """Return whether the wanted revision is known to make no progress."""
    wanted = turn.wanted
    if wanted is None or wanted.id in turn.target.unborn or refused_births(turn, wanted):
        return True
    if turn.target.holds_failed:  # with no good one to go back to, what is seen of it decides
        return True
    return any(i.trouble and i.trouble.settled for i in fleet.current)


def refused_births(turn: Turn, revision: Revision) -> list[Refusal]:
    """Return why instances of a revision are not created; a name that is taken does not count."""
    return [
        r
        for r in turn.view.refusals
        if r.move is Move.CREATE and r.revision == revision.id and r.cause is not Cause.NAME_TAKEN
    ]


@dataclass(frozen=True, slots=True)
class Repair:
    """What the working revision must provide while the wanted one does not work.

    ``owed`` of its instances must exist, so that enough of the service is available whatever
    becomes of the wanted revision; ``missing`` of them do not exist. Modified instances are
    replaced by the wanted revision, or, if that is known to fail (``heals``), by their own. An
    instance whose node is about to be taken away gets a successor of its own revision.
    """

    revision: Revision
    owed: int
    there: int
    heals: bool = False

    @property
    def missing(self) -> int:
        return max(0, self.owed - self.there)

    def counts(self, fleet: Fleet, instance: Instance) -> bool:
        """Return whether an instance is one of those that must exist."""
        return instance.revision == self.revision.id and not self.replaces(fleet, instance)

    def replaces(self, fleet: Fleet, instance: Instance) -> bool:
        """Return whether the repair replaces an active instance of its revision."""
        return instance.name in fleet.leaving or (self.heals and fleet.heals(instance))

    @classmethod
    def of(cls, turn: Turn, fleet: Fleet, ledger: Ledger) -> Repair | None:
        fallback = turn.target.fallback
        if fallback is None:
            return None
        given, is_needed = share(turn), not is_working(turn, fleet) and _ran(turn, fleet, fallback)
        if given is None and not is_needed:
            return None
        fails, owed = _is_failing(turn, fleet), 0
        if is_needed and (fails or given is None):
            owed = _owed(turn, fleet, ledger, fallback)
        if given is not None:
            owed = max(owed, turn.budget.desired - given - _of_last_good(turn, fleet, fallback))
        repair = cls(fallback, max(0, owed), 0, fails or given is not None)
        return replace(repair, there=sum(repair.counts(fleet, i) for i in fleet.stale))


def _of_last_good(turn: Turn, fleet: Fleet, fallback: Revision) -> int:
    """Return how many instances of the last good revision there are, if another one stands in."""
    last = latest_completed(turn.view)
    if last is None or last.id == fallback.id:
        return 0
    return sum(i.revision == last.id for i in fleet.stale)


def _owed(turn: Turn, fleet: Fleet, ledger: Ledger, fallback: Revision) -> int:
    """Return how many instances must exist of the fallback of a revision that does not work."""
    strange = [i for i in fleet.active if i.revision != fallback.id]
    others = turn.count_available(strange)
    # A place given to the wanted revision is not taken back while its instance starts.
    living = {key for i in fleet.active for key in (i.name, i.uid)}
    lent = sum(not turn.available(i) and i.predecessor not in living for i in fleet.current)
    owed = max(ledger.budget.fewest_available, ledger.floor - lent) - others
    if turn.target.holds_failed:  # the places that the failed one does not have
        owed = max(owed, ledger.budget.desired - len(strange))
    return owed


def _ran(turn: Turn, fleet: Fleet, fallback: Revision) -> bool:
    """Return whether the fallback ran when the wanted revision became the target.

    It also returns True if nothing of the wanted revision can or may be created. If a service was
    scaled to 0 before its template changed, no instance of the fallback was lost. Until the record
    of the wanted revision says what it takes over from, the record of the fallback decides.
    """
    wanted, view = turn.wanted, turn.view
    if wanted is None or wanted.id in turn.target.unborn or not turn.target.is_asked:
        return True
    if turn.target.holds_failed:  # nothing else may be created
        return True
    if refused_births(turn, wanted) or wanted.verdict.takes_over_from == fallback.id:
        return True
    if wanted.verdict.started is None:
        return ran(view, fallback)
    return any(i.revision == fallback.id for i in (*view.instances, *view.departed))


def made_good(fleet: Fleet) -> list[Instance]:
    """Return instances of the fallback that replaced lost ones since the rollout began.

    Instances that were added because more were wanted do not mean that the wanted revision failed.
    """
    fallback, began = fleet.turn.target.fallback, fleet.turn.target.began
    if fallback is None or began is None:
        return []
    own = (i for i in fleet.stale if i.revision == fallback.id)
    return [i for i in own if i.born > began and i.predecessor]


def until_steady(fleet: Fleet) -> float | None:
    """Return until when working instances stay, because the wanted revision failed recently.

    As long as there are instances that filled in for lost ones, each ready instance of the wanted
    revision has to stay ready for a while: an instance that flaps between ready and unready would
    otherwise have an instance of the fallback retired and created each time.
    """
    if not made_good(fleet):
        return None
    now = fleet.turn.now
    ready = [i.ready_since for i in fleet.current if i.ready_since is not None]
    # A time in the future means a wrong clock: do not wait for it.
    until = max((at for at in ready if at <= now), default=0.0) + fleet.turn.policy.steady
    return until if until > now else None
