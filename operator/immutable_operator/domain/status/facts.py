"""Facts: what is sent to a receiver outside of the cluster, each with its own stable key.

Those of a revision are read from its record, so that a leader that takes over finds them again, and
nothing is sent that is not on record. The others are those of which events tell.
"""

from __future__ import annotations

from collections.abc import Iterator

from immutable_operator.domain.model import (
    Fact,
    FactType,
    Instance,
    Plan,
    Reason,
    Revision,
    Status,
    View,
)
from immutable_operator.domain.outcomes import outcomes
from immutable_operator.domain.verdict import failure_in_words

__all__ = ["facts"]

STALLED_EVENT = "Stalled"


def facts(view: View, decided: Plan, now: float) -> tuple[Fact, ...]:
    """Return what can be said of an owner now; a fact that stays true is returned each time."""
    if view.deleting:
        return ()
    found = [
        fact
        for revision in sorted(view.revisions, key=lambda r: r.number)
        for fact in _of_record(view, revision)
    ]
    if decided.status is not None:
        found += [*_announced(view, decided, decided.status, now)]
        found += [*_tainted(view, decided.status, now)]
    return tuple(found)


def _of_record(view: View, revision: Revision) -> Iterator[Fact]:
    """Yield what became of a revision, as its record says."""
    verdict = revision.verdict
    for kind, at in outcomes(verdict):
        reason, by = verdict.reason, ""
        match kind:
            case FactType.GOOD:
                text = f"{revision} is good: {verdict.replaced}".removesuffix(": ")
            case FactType.PROMOTED:
                reason, text = "", f"{revision} gets the traffic"
            case _:
                text, by = failure_in_words(view, revision, verdict), verdict.rejected_by
        yield Fact(kind, revision.uid, str(int(at)), revision, reason, text, at, by)


def _announced(view: View, decided: Plan, status: Status, now: float) -> Iterator[Fact]:
    """Yield the facts of which an event tells in this plan."""
    current = _revision(view, status.current_revision)
    for told in decided.announcements:
        stalled = status.condition(STALLED_EVENT)
        if told.reason == STALLED_EVENT and stalled is not None:
            about = (stalled.reason, stalled.message, now)
            yield Fact(FactType.STALLED, view.uid, told.key, current, *about)


def _tainted(view: View, status: Status, now: float) -> Iterator[Fact]:
    """Yield the instances that are tainted; one without a time only while that is new."""
    there = {i.name: i for i in view.instances}
    known = {d.name for d in view.prior.deviations}
    for deviation in status.deviations:
        instance: Instance | None = there.get(deviation.name)
        if deviation.reason != Reason.TAINTED or instance is None:
            continue
        if instance.tainted_at is None and instance.name in known:
            continue
        yield Fact(
            type=FactType.TAINTED,
            uid=instance.uid,
            key="",
            revision=_revision(view, instance.revision),
            reason=Reason.TAINTED,
            message=f"{instance.name}: {deviation.message}",
            at=now if instance.tainted_at is None else instance.tainted_at,
            by=instance.tainted_by,
            instance=instance.name,
        )


def _revision(view: View, wanted: str | None) -> Revision | None:
    return next((r for r in view.revisions if r.id == wanted), None)
