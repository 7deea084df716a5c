"""History: which records of revisions are deleted, because there are more than the limit."""

from __future__ import annotations

from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.model import DeleteRevision, Move
from immutable_operator.domain.turn import Turn
from immutable_operator.domain.verdict import last_good

__all__ = ["beyond_history"]


def beyond_history(turn: Turn, fleet: Fleet) -> tuple[DeleteRevision, ...]:
    """Return old revisions beyond the history limit that nothing needs, also during a rollout.

    The wanted revision, the asked one and what it goes back to, the last good one, the fallback,
    those with instances and the newest are kept.
    """
    view, target = turn.view, turn.target
    if turn.spec.suspend or not view.revisions:
        return ()
    good = last_good(turn, fleet)
    asked = target.asked
    kept = {r.id for r in (target.wanted, target.fallback, good, asked) if r is not None}
    if asked is not None:
        kept.add(asked.verdict.fallback)
    else:  # it is not known now, and may be one that failed
        kept |= {r.id for r in view.revisions if r.verdict.is_failed}
    kept.add(max(view.revisions, key=lambda r: r.number).id)
    kept |= {i.revision for i in view.instances}
    held = {r.subject: r.retry_at for r in view.refusals if r.move is Move.FORGET}
    old = sorted((r for r in view.revisions if r.id not in kept), key=lambda r: -r.number)
    beyond = old[turn.spec.history_limit :]
    if good is None:
        beyond = [r for r in beyond if r.verdict.first_available is None]
    return tuple(DeleteRevision(r.name, r.uid) for r in beyond if held.get(r.name, 0.0) <= turn.now)
