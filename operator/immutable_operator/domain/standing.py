"""The standing of revisions: which works, which runs, and which one to go back to.

Only the records of the revisions and the instances are read here, not the status of the service.
"""

from __future__ import annotations

from immutable_operator.domain.config.snapshots import SNAPSHOT_LOST, plan_snapshots
from immutable_operator.domain.model import Obstacle, OnFailure, Revision, View

__all__ = [
    "fallback_of",
    "going_back",
    "has_begun",
    "is_good",
    "is_held",
    "is_proven",
    "latest_completed",
    "live_revision",
    "proven",
    "ran",
    "running_revision",
]


def is_good(revision: Revision) -> bool:
    """Return whether a revision was complete once, and did not fail since."""
    return revision.verdict.completed is not None and not revision.verdict.is_failed


def latest_completed(view: View) -> Revision | None:
    """Return the last good revision: the one that was last complete."""
    good = [r for r in view.revisions if is_good(r)]
    return max(good, key=lambda r: (r.verdict.completed or 0.0, r.number), default=None)


def has_begun(view: View, revision: Revision) -> bool:
    """Return whether the rollout of a revision is on record, and no other one began since."""
    started = revision.verdict.started
    others = (r.verdict.started or 0.0 for r in view.revisions if r.id != revision.id)
    return started is not None and started >= max(others, default=0.0)


def live_revision(view: View) -> Revision | None:
    """Return the revision that has the traffic with BlueGreen: the one that was promoted last.

    None if another one was completed since, by Rolling, or if none was promoted: then all instances
    have it.
    """
    if view.spec.sides is None or not view.revisions:
        return None

    def stamp(revision: Revision) -> float:
        return max(revision.verdict.promoted or 0.0, revision.verdict.completed or 0.0)

    found = []
    for revision in view.revisions:
        promoted = revision.verdict.promoted
        others = (stamp(r) for r in view.revisions if r.id != revision.id)
        if promoted is not None and promoted >= max(others, default=0.0):
            found.append(revision)
    return max(found, key=lambda r: r.number, default=None)


def running_revision(view: View) -> Revision | None:
    """Return the revision that is the target already; without a record, the most frequent one.

    If that one failed, it is the one that runs instead.
    """
    started = [r for r in view.revisions if r.verdict.started is not None]
    newest = max(started, key=lambda r: (r.verdict.started or 0.0, r.number), default=None)
    found = newest or _most_frequent(view)
    if found is None or not found.verdict.is_failed:
        return found
    back = fallback_of(view, found)
    return found if back is None or is_held(view, found) else back


def _most_frequent(view: View) -> Revision | None:
    counts = {r.id: sum(i.revision == r.id for i in view.instances) for r in view.revisions}
    seen = [r for r in view.revisions if counts[r.id]]
    return max(seen, key=lambda r: (counts[r.id], r.number), default=None)


def ran(view: View, revision: Revision) -> bool:
    """Return whether a revision has instances, or is believed to have had some as the target."""
    if revision.verdict.replicas != 0:
        return True
    return any(i.revision == revision.id for i in (*view.instances, *view.departed))


def is_proven(view: View, revision: Revision | None) -> bool:
    """Return whether a revision worked once, and was not scaled to 0 since."""
    if revision is None:
        return False
    verdict = revision.verdict
    worked = verdict.completed is not None or verdict.first_available is not None
    return worked and ran(view, revision)


def proven(view: View, wanted: Revision | None) -> list[Revision]:
    """Return other revisions that work, best first: the last good one, and those that work now.

    If ``wanted`` is the last good revision itself, an older one does not come back. Revisions that
    worked once and are stuck now come last.
    """
    least, last = view.spec.min_ready_seconds, latest_completed(view)
    ready = {i.revision for i in view.instances if i.available_at(least) is not None}
    works = [
        r
        for r in view.revisions
        if r != wanted
        and not r.verdict.is_failed
        and (r == last or r.id in ready or (not last and r.verdict.first_available is not None))
    ]
    stuck = {i.revision for i in view.instances if i.trouble and i.trouble.settled} - ready
    return sorted(works, key=lambda r: (r.id in stuck, r != last, r.id not in ready, -r.number))


def is_held(view: View, failed: Revision) -> bool:
    """Return whether a failed revision is kept although there is one to go back to."""
    return view.spec.on_failure is OnFailure.HOLD and not failed.verdict.rejected_by


def fallback_of(view: View, failed: Revision) -> Revision | None:
    """Return the good revision to go back to from another one; None if there is none."""
    return going_back(view, failed)[0]


def going_back(view: View, failed: Revision) -> tuple[Revision | None, tuple[Obstacle, ...]]:
    """Return the good revision to go back to, and why better ones are passed over.

    The one that is recorded comes first, unless another rollout started since, then the one that
    has the traffic, then the latest. One without copies of its configuration is only chosen if it
    has instances, because no instance of it can be created.
    """
    others = [r for r in view.revisions if r.id != failed.id]
    moved_on = any((r.verdict.started or 0.0) > (failed.verdict.failed or 0.0) for r in others)
    recorded = "" if moved_on else failed.verdict.fallback
    live = live_revision(view)
    has_traffic = None if live is None or live.verdict.is_failed else live
    good = [r for r in others if is_good(r) or r == has_traffic]
    good.sort(key=lambda r: (r.verdict.completed or 0.0, r.number), reverse=True)
    good.sort(key=lambda r: r != has_traffic)
    good.sort(key=lambda r: r.id != recorded)
    runs = {i.revision for i in view.instances if i.active}
    lost: list[Obstacle] = []
    for revision in good:
        lacking = plan_snapshots(view, revision, 0.0).lacking
        gone = [obstacle for obstacle in lacking if obstacle.reason == SNAPSHOT_LOST]
        if revision.id in runs or not gone:
            return revision, tuple(lost)
        lost += gone
    return None, tuple(lost)
