"""Events: which changes of the status are reported to people, each once."""

from __future__ import annotations

from immutable_operator.domain.model import Announcement, Cause, Rollout, Status
from immutable_operator.domain.status.disrupted import DISRUPTED, disruption_announcements
from immutable_operator.domain.status.notices import noticed
from immutable_operator.domain.status.promoting import promotions
from immutable_operator.domain.turn import Turn

__all__ = ["announcements"]


def announcements(turn: Turn, status: Status) -> tuple[Announcement, ...]:
    """Return the events for this change of the status."""
    told = [*_finished(turn, status), *_stalled(turn, status), *_deviations(turn, status)]
    reconciling = status.condition("Reconciling")
    if turn.wanted is not None and reconciling and reconciling.reason == DISRUPTED:
        was = turn.view.prior.condition("Reconciling")
        told += disruption_announcements(turn.view, turn.wanted, was, _since(status.rollout))
    told += [*_blocked(turn, status), *noticed(turn, status), *promotions(turn, status)]
    for refusal in sorted(turn.view.refusals, key=lambda r: r.subject):
        if refusal.cause is Cause.NAME_TAKEN:
            told.append(Announcement("NameTaken", refusal.message, refusal.subject, True))
    return tuple(told)


def _finished(turn: Turn, status: Status) -> list[Announcement]:
    view, prior, wanted = turn.view, turn.view.prior, turn.wanted
    rollout = prior.rollout
    if not rollout or status.last_good_revision == prior.last_good_revision:
        return []
    before = next((r for r in view.revisions if r.id == prior.last_good_revision), None)
    if before is None or wanted is None or status.last_good_revision != wanted.id:
        return []  # the one before was promoted, and is good since this one superseded it
    seconds = max(0, round(turn.now - rollout.started_at))
    text = (
        f"revision {wanted.number} ({wanted.id}) replaced revision {before.number}"
        f" ({before.id}): {status.current} instances in {seconds} s"
    )
    # Two rollouts of one revision within a second differ only in the generation.
    key = f"{wanted.id}/{_since(rollout)}/{view.generation}"
    return [Announcement("ReplacementFinished", text, key)]


def _stalled(turn: Turn, status: Status) -> list[Announcement]:
    """Return the warning that progress has stopped, if that (or its reason) is new."""
    stalled, was = status.condition("Stalled"), turn.view.prior.condition("Stalled")
    if stalled is None or stalled.status != "True":
        return []
    if turn.target.asked is not None and turn.target.asked.verdict.is_failed:
        return []  # the event of the failure says it all
    if was is not None and (was.status, was.reason) == (stalled.status, stalled.reason):
        return []
    asked = turn.wanted is not None and turn.target.is_asked
    about = turn.wanted.id if asked and turn.wanted else str(turn.view.generation)
    text = f"{stalled.reason}: {stalled.message}"
    return [
        Announcement("Stalled", text, f"{stalled.reason}/{about}/{_since(status.rollout)}", True)
    ]


def _deviations(turn: Turn, status: Status) -> list[Announcement]:
    """Return one warning for each reason with new deviations, naming the first.

    Those of an incident that is known already are listed in the status only.
    """
    prior = turn.view.prior.deviations
    known = {d.name for d in prior}
    replacing = turn.view.prior.rollout is not None
    incidents = {turn.family.incident(d) for d in prior if replacing} - {""}
    told = []
    for reason in dict.fromkeys(d.reason for d in status.deviations):
        new = [d for d in status.deviations if d.reason == reason and d.name not in known]
        new = [d for d in new if turn.family.incident(d) not in incidents]
        if new:
            others = f" (and {len(new) - 1} more)" if len(new) > 1 else ""
            text = f"{new[0].name}: {new[0].message}{others}"
            told.append(Announcement(reason, text, "/".join(d.name for d in new), True))
    return told


def _blocked(turn: Turn, status: Status) -> list[Announcement]:
    """Return one warning for each new blocker that is not reported as the reason of Stalled."""
    told = []
    stalled = status.condition("Stalled")
    known = {b.reason for b in turn.view.prior.blockers}
    wanted = turn.wanted.id if turn.wanted else ""
    for blocker in status.blockers:
        stalls = stalled and stalled.reason == blocker.reason and stalled.status == "True"
        if blocker.reason in known or stalls:
            continue
        key = f"{blocker.reason}/{wanted}/{_since(status.rollout)}"
        text = f"{blocker.reason}: {blocker.message}"
        told.append(Announcement("Blocked", text, key, True))
    return told


def _since(rollout: Rollout | None) -> int:
    """Return what distinguishes a replacement from a later one with the same revisions."""
    return int(rollout.started_at) if rollout else 0
