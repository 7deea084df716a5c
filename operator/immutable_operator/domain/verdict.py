"""Verdicts: what is to be written to the records of revisions, so that it survives a restart.

A rollout needs few writes: when a revision becomes the target, and when it is complete. What a
later plan must know of a revision is stored in its record, not in the status of the service.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from immutable_operator.domain.canary import advanced
from immutable_operator.domain.checks import all_passed, passings
from immutable_operator.domain.commands import anew, commands
from immutable_operator.domain.failing import Failure, failure, is_judged, progressed
from immutable_operator.domain.families.admitted import recorded_admission
from immutable_operator.domain.fleet import Fleet
from immutable_operator.domain.model import (
    Announcement,
    Move,
    OnFailure,
    Outcome,
    Phase,
    Revision,
    RunCheck,
    SetVerdict,
    Verdict,
    View,
    later_than,
)
from immutable_operator.domain.promotion import (
    is_switched,
    promoted,
    promotion,
    taken_over,
)
from immutable_operator.domain.proving import is_whole, prove
from immutable_operator.domain.staleness.age import start_seconds
from immutable_operator.domain.standing import (
    fallback_of,
    going_back,
    has_begun,
    latest_completed,
    live_revision,
    ran,
)
from immutable_operator.domain.target import HELD, NOTHING_ELSE
from immutable_operator.domain.turn import Turn

__all__ = ["Verdicts", "failure_in_words", "last_good", "verdicts"]

OPEN = (Phase.PENDING, Phase.PROGRESSING)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is to be written now, when to look again, and the events about it.

    ``outcomes`` are those of the actions that concern a revision, ``checks`` the measurements to
    make.
    """

    marks: tuple[SetVerdict, ...] = ()
    due: tuple[float, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    checks: tuple[RunCheck, ...] = ()

    @property
    def decides(self) -> bool:
        """Whether the next plan has another target: until then nothing else is done or told."""
        return any(_aim(m.verdict) != _aim(m.revision.verdict) for m in self.marks)


def _aim(verdict: Verdict) -> tuple[object, ...]:
    """Return what decides where a service goes while its spec asks for a revision."""
    return verdict.is_failed, verdict.rejected_by, verdict.fallback


def verdicts(turn: Turn, fleet: Fleet) -> Verdicts:
    """Return what is to be written to records, and when that is to be judged again.

    While a service is suspended only what is seen is written: a revision that worked is remembered
    although all of its instances are lost meanwhile.
    """
    wanted = turn.wanted
    commanded, outcomes = commands(turn, fleet)
    if wanted is None:
        return Verdicts(outcomes=outcomes)
    found: dict[str, SetVerdict] = {}
    again: list[float | None] = []
    runs: tuple[RunCheck, ...] = ()
    over = None if turn.spec.suspend else taken_over(turn, fleet)
    for revision in turn.view.revisions:
        if revision == turn.target.asked and commanded is not None:
            new = commanded
        elif revision == wanted:
            new, later, runs = _of_wanted(turn, fleet, wanted)
            again += later
        else:
            new = _of_other(turn, fleet, revision, wanted)
        new = _admitted(turn, revision, new)
        if revision == over and not new.is_failed:
            new = promoted(turn, new)
        if new != revision.verdict:
            found[revision.name] = SetVerdict(revision, new)
    held = {r.subject: r.retry_at for r in turn.view.refusals if r.move is Move.VERDICT}
    again += [held[name] for name in found if held.get(name, 0.0) > turn.now]
    due = [found[name] for name in sorted(found) if held.get(name, 0.0) <= turn.now]
    told = [_announced(turn, mark) for mark in due if _fails(mark)]
    told += [told for mark in due for told in passings(mark.revision, mark.verdict.checks)]
    told += [_given(mark) for mark in due if over is None and _promotes(mark)]
    told += [_gone_on(turn, mark) for mark in due if mark.verdict.step > mark.revision.verdict.step]
    return Verdicts(
        tuple(due),
        tuple(at for at in again if at is not None),
        tuple(told),
        outcomes,
        runs,
    )


def _fails(mark: SetVerdict) -> bool:
    """Return whether a revision fails or is rejected by this write, and was not before."""
    before, verdict = mark.revision.verdict, mark.verdict
    again = bool(verdict.rejected_by) and verdict.command != before.command
    return verdict.is_failed and (again or not before.is_failed)


def _promotes(mark: SetVerdict) -> bool:
    return mark.verdict.promoted not in (None, mark.revision.verdict.promoted)


def _given(mark: SetVerdict) -> Announcement:
    """Return the event of a revision that gets the traffic."""
    text = f"{mark.revision} gets the traffic"
    return Announcement("Promoted", text, f"{mark.revision.id}/{mark.verdict.promoted}")


def _gone_on(turn: Turn, mark: SetVerdict) -> Announcement:
    """Return the event of a step that is done."""
    done, steps = mark.verdict.step, turn.spec.canary.steps if turn.spec.canary else ()
    text = f"{mark.revision}: step {done} of {len(steps)} ({steps[done - 1]}) is done"
    return Announcement("StepCompleted", text, f"{mark.revision.id}/{mark.verdict.started}/{done}")


def _announced(turn: Turn, mark: SetVerdict) -> Announcement:
    """Return the event of a revision that failed or was rejected, with the evidence."""
    revision, verdict = mark.revision, mark.verdict
    text = failure_in_words(turn.view, revision, verdict)
    if verdict.rejected_by:
        return Announcement("RevisionRejected", text, f"{revision.id}/{verdict.command}")
    key = f"{revision.id}/{int(verdict.started or 0)}"
    return Announcement("RevisionFailed", text, key, True)


def failure_in_words(view: View, revision: Revision, verdict: Verdict) -> str:
    """Return the sentence about a revision that failed or was rejected, and what runs instead."""
    back = next((r for r in view.revisions if r.id == verdict.fallback), None)
    then = f"; going back to {back}" if back else f"; it is kept: {_why_kept(view, revision)}"
    if verdict.rejected_by:
        return f"{revision} was {verdict.message}{then}"
    return f"{revision} failed: {verdict.reason}: {verdict.message}{then}"


def _why_kept(view: View, failed: Revision) -> str:
    return NOTHING_ELSE if fallback_of(view, failed) is None else HELD


def _admitted(turn: Turn, revision: Revision, new: Verdict) -> Verdict:
    """Add what admission made of its instances, once that is known."""
    anyway = new.phase is Phase.GOOD and new != revision.verdict
    found = recorded_admission(turn.view, revision, turn.now, anyway=anyway)
    return new if found == new.admission else replace(new, admission=found)


def last_good(turn: Turn, fleet: Fleet) -> Revision | None:
    """Return the revision that was last complete, which may be the wanted one as of now.

    One that bakes is not complete yet, and neither is one that failed and is kept.
    """
    wanted = turn.wanted
    waits = turn.spec.proves and is_judged(turn)
    if wanted is not None and is_whole(turn, fleet) and not waits and not wanted.verdict.is_failed:
        return wanted
    return latest_completed(turn.view)


def _of_other(turn: Turn, fleet: Fleet, revision: Revision, wanted: Revision) -> Verdict:
    verdict = _seen_available(turn, fleet, revision, revision.verdict)
    if turn.target.is_asked and not turn.spec.suspend and verdict.phase in OPEN:
        if _serves(turn, fleet, revision):
            return _good(turn, revision, verdict)
        text = f"revision {wanted.number} ({wanted.id}) superseded it before it was complete"
        verdict = replace(verdict, phase=Phase.SUPERSEDED, message=text)
    return verdict


def _serves(turn: Turn, fleet: Fleet, revision: Revision) -> bool:
    """Return whether a promoted revision works: only what is kept of the previous one is left.

    One that is superseded then is the one to go back to.
    """
    verdict, bakes = revision.verdict, turn.spec.bake_seconds
    if bakes and (verdict.baking is None or verdict.baking + bakes > turn.now):
        return False
    if not all_passed(turn.spec.checks, verdict.checks):
        return False
    own = (i for i in fleet.active if i.revision == revision.id)
    is_live = revision == live_revision(turn.view) and is_switched(turn, revision)
    return is_live and turn.count_available(own) >= turn.budget.desired > 0


def _good(turn: Turn, revision: Revision, verdict: Verdict) -> Verdict:
    """Return a verdict that says that a revision is complete."""
    ends = [r.verdict.completed for r in turn.view.revisions if r != revision]
    return _noted(
        turn,
        replace(
            verdict,
            phase=Phase.GOOD,
            reason="Completed",
            message="",
            first_available=verdict.first_available or turn.now,
            completed=later_than(ends, turn.now),
            failed=None,
            rejected_by="",
            fallback="",
            baking=None,
            paused=None,
        ),
    )


def _seen_available(turn: Turn, fleet: Fleet, revision: Revision, verdict: Verdict) -> Verdict:
    """Until a revision was complete, note each revision that worked once as a possible fallback."""
    if verdict.first_available is not None or latest_completed(turn.view) is not None:
        return verdict
    if not turn.count_available(i for i in fleet.active if i.revision == revision.id):
        return verdict
    return _noted(turn, replace(verdict, first_available=turn.now))


def _of_wanted(
    turn: Turn, fleet: Fleet, wanted: Revision
) -> tuple[Verdict, tuple[float | None, ...], tuple[RunCheck, ...]]:
    failed, again = failure(turn, fleet)
    if failed is not None:
        return _failed(turn, wanted, failed), (), ()
    verdict = wanted.verdict if turn.spec.suspend else _begun(turn, wanted)
    verdict = _seen_available(turn, fleet, wanted, verdict)
    later = None
    if verdict.started == wanted.verdict.started:
        verdict, later = progressed(turn, fleet, verdict)
    proof = prove(turn, fleet, wanted, verdict)
    verdict, decides = promotion(turn, fleet, proof.verdict, passed=proof.passed)
    verdict, goes_on = advanced(turn, fleet, verdict)
    times = (again, later, decides, goes_on, *proof.due)
    if not proof.is_given:
        return verdict, times, proof.runs
    done = _completed(turn, fleet, wanted, verdict)
    return done, times if done == verdict else (), ()


def _failed(turn: Turn, wanted: Revision, found: Failure) -> Verdict:
    back, lost = going_back(turn.view, wanted)
    back = back if turn.spec.on_failure is OnFailure.ROLL_BACK else None
    # If nothing is gone back to, a lost copy is a blocker.
    passed_over = f"; {lost[0].message}" if back and lost else ""
    return _noted(
        turn,
        replace(
            wanted.verdict,
            phase=Phase.FAILED,
            reason=found.reason,
            message=found.message + passed_over,
            failed=turn.now,
            rejected_by="",
            fallback=back.id if back else "",
            retry=turn.view.retry,
        ),
    )


def _begun(turn: Turn, wanted: Revision) -> Verdict:
    verdict = wanted.verdict
    if verdict.is_failed:
        return _counted(turn, verdict)
    starts = [r.verdict.started or 0.0 for r in turn.view.revisions if r != wanted]
    if turn.target.is_asked and not has_begun(turn.view, wanted):
        phase = Phase.GOOD if verdict.phase is Phase.GOOD else Phase.PROGRESSING
        begun = anew(replace(verdict, phase=phase), later_than(starts, turn.now))
        verdict = _noted(turn, replace(begun, takes_over_from=_taken_over_from(turn)))
    return _counted(turn, verdict)


def _counted(turn: Turn, verdict: Verdict) -> Verdict:
    told = turn.spec.template is not None and not turn.target.is_recording
    if told and verdict.replicas != _number(turn):
        if verdict.replicas == 0:  # its instances begin now, and so does their deadline
            verdict = replace(verdict, progressed=turn.now, paused=None)
        verdict = _noted(turn, replace(verdict, replicas=_number(turn)))
    return verdict


def _completed(turn: Turn, fleet: Fleet, wanted: Revision, verdict: Verdict) -> Verdict:
    last = latest_completed(turn.view)
    if turn.target.holds_failed:
        return verdict
    if is_whole(turn, fleet) and (wanted != last or verdict.phase is not Phase.GOOD):
        verdict = replace(
            _good(turn, wanted, verdict),
            replaced=_replaced(fleet, last, turn.now - (turn.target.began or turn.now)),
            start_seconds=start_seconds(fleet.active),
        )
    return verdict


def _number(turn: Turn) -> int | None:
    """Return the wanted number if it must be stored: the spec does not set it, or it is 0.

    A service without instances was either scaled to 0, or lost all of them: this number
    distinguishes the two, also after a restart.
    """
    desired = turn.budget.desired
    return desired if turn.spec.replicas is None or not desired else None


def _taken_over_from(turn: Turn) -> str:
    """Return the revision that works, unless the service was scaled to 0 during its time."""
    works = turn.target.fallback
    if works is None or not turn.budget.desired or not ran(turn.view, works):
        return ""
    return works.id


def _noted(turn: Turn, verdict: Verdict) -> Verdict:
    known = (max(r.number, r.verdict.number_floor) for r in turn.view.revisions)
    return replace(verdict, number_floor=max(known, default=0))


def _replaced(fleet: Fleet, last: Revision | None, seconds: float) -> str:
    count = f"{len(fleet.active)} instances in {max(0, round(seconds))} s"
    return count if last is None else f"{count}; replaced revision {last.number} ({last.id})"
