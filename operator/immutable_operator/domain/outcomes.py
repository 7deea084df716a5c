"""Outcomes: what the record of a revision says became of it, in the words of the facts."""

from __future__ import annotations

from collections.abc import Iterator

from immutable_operator.domain.model import FactType, Phase, Verdict

__all__ = ["new_outcomes", "outcomes"]


def outcomes(verdict: Verdict) -> Iterator[tuple[FactType, float]]:
    """Yield what became of a revision so far, and when, in seconds since the epoch.

    A revision that the service goes back to after a failure is not good again: it was all the time.
    """
    if verdict.phase is Phase.GOOD and verdict.completed is not None and not verdict.is_under_way:
        yield FactType.GOOD, verdict.completed
    if verdict.is_failed and verdict.failed is not None:
        yield FactType.FAILED, verdict.failed
        if verdict.fallback:
            yield FactType.ROLLED_BACK, verdict.failed
    if verdict.promoted is not None:
        yield FactType.PROMOTED, verdict.promoted


def new_outcomes(before: Verdict, after: Verdict) -> tuple[FactType, ...]:
    """Return what a change of a record tells for the first time."""
    known = set(outcomes(before))
    return tuple(what for what, at in outcomes(after) if (what, at) not in known)
