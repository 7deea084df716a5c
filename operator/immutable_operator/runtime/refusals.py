"""Refused writes of one owner: what was refused, since when, and when to retry.

They are kept in memory only: after a restart the operator retries at once and gets the same
refusal.
"""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.model import Cause, Move, Refusal
from immutable_operator.instances.refused import Refused, pause_after

__all__ = ["MOST", "Refusals"]

MOST = 64
# No pause is this long: a refusal that was not repeated in this time no longer counts.
STALE_SECONDS = 600.0

# From this number of subjects refused for one cause on, all wait for a retry of one of them.
CROWD = 16

Key = tuple[Move, str, str | None]


@dataclass(frozen=True)
class _Noted:
    refusal: Refusal
    at: float


class Refusals:
    """The refusals of one owner: one per revision for births, one per subject for all other moves.

    Taken names are kept in addition. At most `MOST` are kept: those that block most are dropped
    last, and among the others those tried longest ago are dropped first, so that each gets its
    turn.
    """

    def __init__(self) -> None:
        self._noted: dict[Key, _Noted] = {}

    def all(self, now: float | None = None) -> tuple[Refusal, ...]:
        """Return the refusals; with ``now`` (seconds since the epoch) without the expired ones."""
        if now is not None:
            self._expire(now)
        return tuple(noted.refusal for noted in self._noted.values())

    def note(
        self, move: Move, subject: str, revision: str | None, said: Refused, now: float
    ) -> Refusal:
        """Note a refusal; every further one of the same kind waits longer."""
        cause = said.cause
        self._expire(now)
        akin = self._akin(move, revision, cause)
        shared = cause is not Cause.NAME_TAKEN and (
            move is Move.CREATE
            or (move is Move.RETIRE and cause is Cause.DISRUPTION_BUDGET)
            or len(akin) >= CROWD
        )
        # A shared refusal counts the tries of all subjects.
        repeated = akin if shared else [r for r in akin if r.subject == subject]
        before = max(repeated, key=lambda r: r.attempts, default=None)
        attempts = before.attempts + 1 if before else 1
        since = before.since if before else now
        refusal = Refusal(
            move=move,
            subject=subject,
            cause=cause,
            message=said.message,
            since=since,
            retry_at=now + pause_after(said, attempts, now - since),
            attempts=attempts,
            revision=revision,
            shared=shared,
        )
        self._noted[_key(refusal)] = _Noted(refusal, now)
        while len(self._noted) > MOST:
            del self._noted[min(self._noted, key=self._worth)]
        return refusal

    def accepted(self, move: Move, subject: str, revision: str | None = None) -> None:
        """Note that a write succeeded: the refusals that it disproves are dropped.

        ``revision`` is that of a birth; without it, births of all revisions may be retried.
        """
        for key, noted in list(self._noted.items()):
            refusal = noted.refusal
            if refusal.move is move and _disproved(refusal, subject, revision):
                del self._noted[key]

    def forget_subjects(self, living: set[str]) -> None:
        """Drop refusals to retire instances that no longer exist."""
        for key, noted in list(self._noted.items()):
            if noted.refusal.move is Move.RETIRE and noted.refusal.subject not in living:
                del self._noted[key]

    def forget(self, cause: Cause) -> None:
        """Drop the refusals of a cause that may have ended."""
        self._noted = {k: noted for k, noted in self._noted.items() if noted.refusal.cause != cause}

    def _expire(self, now: float) -> None:
        """Drop refusals that could have been retried long ago, and were not."""
        for key, noted in list(self._noted.items()):
            if now - noted.at > STALE_SECONDS:
                del self._noted[key]

    def _akin(self, move: Move, revision: str | None, cause: Cause) -> list[Refusal]:
        """Return refusals of the same move and cause; for births, of the same revision."""
        known = (noted.refusal for noted in self._noted.values())
        akin = [r for r in known if r.move is move and r.cause is cause]
        return [r for r in akin if r.revision == revision] if move is Move.CREATE else akin

    def _worth(self, key: Key) -> tuple[bool, float]:
        """Rank a refusal for dropping: those that stand for many moves last, else oldest first."""
        noted = self._noted[key]
        one = noted.refusal.move in (Move.RETIRE, Move.QUARANTINE)
        return not (one or noted.refusal.cause is Cause.NAME_TAKEN), noted.at


def _key(refusal: Refusal) -> Key:
    """Return the key: all births of one revision share one, which holds the last refusal."""
    of_all = refusal.move is Move.CREATE and refusal.cause is not Cause.NAME_TAKEN
    return refusal.move, "" if of_all else refusal.subject, refusal.revision


def _disproved(refusal: Refusal, subject: str, revision: str | None) -> bool:
    if refusal.move is Move.CREATE and refusal.cause is not Cause.NAME_TAKEN:
        return revision in (None, refusal.revision)
    if refusal.subject == subject:
        return True
    # If one subject succeeded, the others may succeed, too.
    return refusal.shared
