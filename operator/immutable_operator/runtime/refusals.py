"""Refused writes of one owner: what was refused, since when, and when to try again.

Kept in memory only: a restart tries again at once and is told the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from immutable_operator.domain.model import Cause, Move, Refusal
from immutable_operator.instances.refused import Refused, pause_after

__all__ = ["MOST", "Refusals"]

MOST = 64
# No pause is as long: what was not repeated in this time is history, the next one is another story.
STALE_SECONDS = 600.0

# So many subjects refused for one cause are told apart no longer: all wait for one of them.
CROWD = 16

Key = tuple[Move, str, str | None]


@dataclass(frozen=True)
class _Noted:
    refusal: Refusal
    at: float


class Refusals:
    """The refusals of one owner: one a revision for births, one a subject for all other moves.

    Taken names are kept beside them. At most `MOST` are kept: those that hold up most go last, and
    of the others those that were tried longest ago go first, so that each has its turn.
    """

    def __init__(self) -> None:
        self._noted: dict[Key, _Noted] = {}

    def all(self, now: float | None = None) -> tuple[Refusal, ...]:
        """Those that stand; with ``now`` (seconds since the epoch) without those that are over."""
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
            move is Move.CREATE or cause is Cause.DISRUPTION_BUDGET or len(akin) >= CROWD
        )
        # Where they share their fate, whichever subject was tried counts.
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
        """A write went through: what stood against it is history.

        ``revision`` is that of a birth; without it, births of all revisions may be tried again.
        """
        for key, noted in list(self._noted.items()):
            refusal = noted.refusal
            if refusal.move is move and _disproved(refusal, subject, revision):
                del self._noted[key]

    def forget_subjects(self, living: set[str]) -> None:
        """Drop refusals to retire what no longer exists."""
        for key, noted in list(self._noted.items()):
            if noted.refusal.move is Move.RETIRE and noted.refusal.subject not in living:
                del self._noted[key]

    def _expire(self, now: float) -> None:
        """Drop what could have been tried again long since, and was not."""
        for key, noted in list(self._noted.items()):
            if now - noted.at > STALE_SECONDS:
                del self._noted[key]

    def _akin(self, move: Move, revision: str | None, cause: Cause) -> list[Refusal]:
        """Those of the same move and cause; of births, of the same revision."""
        known = (noted.refusal for noted in self._noted.values())
        akin = [r for r in known if r.move is move and r.cause is cause]
        return [r for r in akin if r.revision == revision] if move is Move.CREATE else akin

    def _worth(self, key: Key) -> tuple[bool, float]:
        """What stands for many moves goes last; else what was tried longest ago goes first."""
        noted = self._noted[key]
        one = noted.refusal.move in (Move.RETIRE, Move.QUARANTINE)
        return not (one or noted.refusal.cause is Cause.NAME_TAKEN), noted.at


def _key(refusal: Refusal) -> Key:
    """Of births of one revision the last refusal says what stands against all of them."""
    of_all = refusal.move is Move.CREATE and refusal.cause is not Cause.NAME_TAKEN
    return refusal.move, "" if of_all else refusal.subject, refusal.revision


def _disproved(refusal: Refusal, subject: str, revision: str | None) -> bool:
    if refusal.move is Move.CREATE and refusal.cause is not Cause.NAME_TAKEN:
        return revision in (None, refusal.revision)
    if refusal.subject == subject:
        return True
    # What gave way for one may give way for the others.
    return refusal.shared
