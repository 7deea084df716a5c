"""Refused writes: what the API server's answer means, and when to try again.

Kept in memory only: a restart tries again at once and is told the same.
"""

from __future__ import annotations

from immutable_operator.domain.model import Cause, Move, Refusal
from immutable_operator.kube.errors import (
    ApiError,
    Forbidden,
    Invalid,
    NotFound,
    TooManyRequests,
)

__all__ = ["Refusals", "cause_of"]

# Seconds before the second try, and the most between two tries.
BACKOFF: dict[Cause, tuple[float, float]] = {
    Cause.DISRUPTION_BUDGET: (1.0, 10.0),
    Cause.QUOTA: (1.0, 30.0),
    Cause.TEMPLATE: (5.0, 300.0),
    Cause.FORBIDDEN: (5.0, 60.0),
    Cause.NAME_TAKEN: (60.0, 60.0),
    Cause.NAMESPACE_TERMINATING: (5.0, 60.0),
    Cause.API_SERVER: (0.5, 30.0),
}


def cause_of(move: Move, error: ApiError) -> Cause:
    """What a refusal means. The API server's own words are the only sign for most of them."""
    text = error.message
    if "exceeded quota" in text:
        return Cause.QUOTA
    if isinstance(error, NotFound) or "NamespaceTerminating" in error.causes:
        return Cause.NAMESPACE_TERMINATING
    if "is being terminated" in text:
        return Cause.NAMESPACE_TERMINATING
    if move is Move.RETIRE and isinstance(error, TooManyRequests):
        return Cause.DISRUPTION_BUDGET
    if move is Move.RETIRE and "more than one PodDisruptionBudget" in text:
        return Cause.DISRUPTION_BUDGET
    if "cannot find RESTMapping" in text:
        # The API server does not know our definitions yet, seconds after they were installed.
        return Cause.API_SERVER
    if isinstance(error, Forbidden):
        by_rbac = " cannot " in text and "in API group" in text
        return Cause.FORBIDDEN if by_rbac or move is not Move.CREATE else Cause.TEMPLATE
    if isinstance(error, Invalid):
        return Cause.TEMPLATE
    return Cause.API_SERVER


class Refusals:
    """The refusals of one owner, by move and subject."""

    def __init__(self) -> None:
        self._by_subject: dict[tuple[Move, str], Refusal] = {}

    def all(self) -> tuple[Refusal, ...]:
        return tuple(self._by_subject.values())

    def refused(
        self, move: Move, subject: str, revision: str | None, error: ApiError, now: float
    ) -> Refusal:
        """Note a refusal; every further one of the same kind waits longer."""
        return self.note(move, subject, revision, cause_of(move, error), error, now)

    def note(
        self,
        move: Move,
        subject: str,
        revision: str | None,
        cause: Cause,
        error: ApiError,
        now: float,
    ) -> Refusal:
        before = self._before(move, subject, revision, cause)
        attempts = before.attempts + 1 if before else 1
        base, most = BACKOFF[cause]
        pause = min(most, base * 2.0 ** min(attempts - 1, 12))
        refusal = Refusal(
            move=move,
            subject=subject,
            cause=cause,
            message=error.message,
            since=before.since if before else now,
            retry_at=now + max(pause, error.retry_after or 0.0),
            attempts=attempts,
            revision=revision,
        )
        self._drop_births(move, cause)
        self._by_subject[move, subject] = refusal
        return refusal

    def accepted(self, move: Move, subject: str) -> None:
        """A write went through: what stood against it is history."""
        self._by_subject.pop((move, subject), None)
        if move is Move.CREATE:
            self._drop_births(move, None)
        if move is Move.RETIRE:
            # The budget gave way for one, so the others may be tried as well.
            for key, refusal in list(self._by_subject.items()):
                if refusal.cause is Cause.DISRUPTION_BUDGET:
                    del self._by_subject[key]

    def forget_subjects(self, living: set[str]) -> None:
        """Drop refusals to retire what no longer exists."""
        for move, subject in list(self._by_subject):
            if move is Move.RETIRE and subject not in living:
                del self._by_subject[move, subject]

    def _before(
        self, move: Move, subject: str, revision: str | None, cause: Cause
    ) -> Refusal | None:
        """The refusal that this one repeats, whose attempts and ``since`` it carries on.

        Births of one revision share their fate, and so do retirements that a budget forbids:
        whichever instance was tried counts.
        """
        known = [r for r in self._by_subject.values() if r.move is move and r.cause is cause]
        if move is Move.CREATE and cause is not Cause.NAME_TAKEN:
            known = [r for r in known if r.revision == revision]
        elif cause is not Cause.DISRUPTION_BUDGET:
            known = [r for r in known if r.subject == subject]
        return max(known, key=lambda r: r.attempts, default=None)

    def _drop_births(self, move: Move, cause: Cause | None) -> None:
        """Keep one refusal of births at a time, beside those about taken names."""
        if move is not Move.CREATE or cause is Cause.NAME_TAKEN:
            return
        for key, refusal in list(self._by_subject.items()):
            if refusal.move is Move.CREATE and refusal.cause is not Cause.NAME_TAKEN:
                del self._by_subject[key]
