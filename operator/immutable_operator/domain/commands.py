"""Commands of users about a revision: try it again, go back, resume, promote, abort.

A command is carried out by one write to the record of the revision that the spec asks for, with the
uid of the action, so that it is carried out once, also when the operator is restarted in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from immutable_operator.domain.checks import waiting
from immutable_operator.domain.config.snapshots import plan_snapshots
from immutable_operator.domain.fleet import Fleet, count_current
from immutable_operator.domain.goal import current_step, is_previewing, is_stepping
from immutable_operator.domain.model import (
    Command,
    Outcome,
    Pause,
    Phase,
    Request,
    Revision,
    Verdict,
    later_than,
)
from immutable_operator.domain.promotion import is_switched
from immutable_operator.domain.routing import unswitched
from immutable_operator.domain.standing import (
    fallback_of,
    has_begun,
    is_good,
    latest_completed,
    live_revision,
    running_revision,
)
from immutable_operator.domain.turn import RESUME, Turn

__all__ = ["anew", "applies_to_another", "commands"]

NO_SPEC = "waiting until the revision that the spec asks for is on record"
REJECTING = (Command.ROLL_BACK, Command.ABORT)
PROMOTING = (Command.PROMOTE, Command.ABORT)
SUPERSEDED = "superseded by a later action or another revision"


def anew(verdict: Verdict, started: float) -> Verdict:
    """Return the verdict of a revision whose rollout starts now; nothing is known of it yet."""
    return replace(
        verdict,
        started=started,
        reason="",
        message="",
        most_available=0,
        progressed=started,
        paused=None,
        baking=None,
        checks=(),
        previewed=None,
        approved=None,
        step=0,
        stepped=None,
        failed=None,
        rejected_by="",
        fallback="",
    )


def commands(turn: Turn, fleet: Fleet) -> tuple[Verdict | None, tuple[Outcome, ...]]:
    """Return the verdict of the asked revision that users request, and the outcomes to write.

    Commands are carried out one after the other, oldest first; the annotation for retries comes
    last.
    """
    requests = [r for r in turn.view.requests if r.command is not Command.REGENERATE]
    requests.sort(key=lambda r: (r.created, r.name, r.uid))
    records = sorted(turn.view.revisions, key=lambda r: r.number)
    done = {r.verdict.command: r for r in records if r.verdict.command}
    outcomes: list[Outcome] = []
    verdict = None
    for request in requests:
        record = done.get(request.uid)
        if record is not None:
            outcomes += _told(request, record.id, *_progress(turn, fleet, request, record))
            if request.phase != "Running":
                break  # the next one waits until this one is known to be carried out
        elif request.phase == "Running":
            outcomes += _told(request, request.asked, "Succeeded", SUPERSEDED)
        else:
            verdict, phase, message = _carried_out(turn, request)
            asked = request.asked or turn.target.asked_id
            outcomes += _told(request, asked, phase, message) if verdict is None else ()
            if verdict is not None:
                break
    return verdict or _retried(turn), tuple(outcomes)


def _told(request: Request, asked: str, phase: str, message: str) -> Iterable[Outcome]:
    # An action that is carried out at once needs no write of its own for the revision.
    held = phase == "Pending" and bool(asked) and not request.asked
    if held or (phase, message) != (request.phase, request.message):
        yield Outcome(request.name, request.uid, phase, message, asked)


def applies_to_another(then: str, now: str) -> str:
    """Return why an action ends that was held while the spec changed."""
    return (
        f"this action applies to revision {then}, and the spec asks for {now} now; create another"
        f" action for {now} if it is needed"
    )


def _carried_out(turn: Turn, request: Request) -> tuple[Verdict | None, str, str]:
    """Return the new verdict of the asked revision, or the phase of the action and why."""
    asked, asked_id = turn.target.asked, turn.target.asked_id
    if request.asked and asked_id and request.asked != asked_id:
        return None, "Failed", applies_to_another(request.asked, asked_id)
    if turn.spec.suspend:
        owner = turn.words.owner
        return None, "Pending", f"the {owner} is suspended; {RESUME}"
    if asked is None or turn.target.is_open:
        return None, "Pending", NO_SPEC
    if problem := _problem(turn, request, asked):
        return None, "Failed", problem
    if request.command in REJECTING:
        return _rolled_back(turn, request, asked)
    if turn.target.freeze.holds and not request.override_freeze:
        return None, "Pending", turn.target.freeze.message
    if request.command is Command.PROMOTE:
        if not has_begun(turn.view, asked):
            return None, "Pending", f"waiting until the rollout of {asked} begins"
        if turn.spec.canary is not None and not isinstance(current_step(turn), Pause):
            return None, "Pending", f"waiting until {asked} is at a pause"
        return replace(asked.verdict, approved=turn.now, command=request.uid), "", ""
    return replace(_again(turn, asked), command=request.uid), "", ""


def _problem(turn: Turn, request: Request, asked: Revision) -> str:
    """Return why an action does not apply to a revision, or ""."""
    if request.command in PROMOTING:
        return _not_before_promotion(turn, request, asked)
    if request.command is Command.ROLL_BACK:
        return ""
    verdict = asked.verdict
    if not verdict.is_failed:
        return (
            f"{asked}, which the spec asks for, is {verdict.phase}, so there is nothing to"
            f" {'retry' if request.command is Command.RETRY else 'resume'}"
        )
    if request.command is Command.RETRY and verdict.rejected_by:
        return (
            f"{asked} was rejected by {verdict.rejected_by} and did not fail by itself; create an"
            " action of type Resume"
        )
    if request.command is Command.RESUME and not verdict.rejected_by:
        return f"{asked} failed and was not rejected; create an action of type Retry"
    return ""


def _not_before_promotion(turn: Turn, request: Request, asked: Revision) -> str:
    """Return why a revision can be neither promoted nor aborted, or ""."""
    live, verb = live_revision(turn.view), request.command.lower()
    if turn.spec.canary is not None:
        return _not_in_steps(turn, asked, verb)
    if turn.spec.blue_green is None:
        return f"rollout.strategy is {turn.spec.strategy}, so there is nothing to {verb}"
    if live is None:
        return f"no revision was promoted yet, so there is nothing to {verb}"
    if asked.id == live.id:
        back = "; create an action of type RollBack to go back" if verb == "abort" else ""
        return f"{asked} has the traffic already{back}"
    if asked.verdict.is_failed:
        return f"{asked} failed, so there is nothing to {verb}"
    return ""


def _not_in_steps(turn: Turn, asked: Revision, verb: str) -> str:
    """Return why a canary can be neither promoted nor aborted, or ""."""
    if asked.verdict.is_failed:
        return f"{asked} failed, so there is nothing to {verb}"
    if asked != turn.wanted or is_stepping(turn) or (verb == "abort" and is_previewing(turn)):
        return ""
    back = "; create an action of type RollBack to go back" if verb == "abort" else ""
    return f"no step of {asked} is left, so there is nothing to {verb}{back}"


def _rolled_back(turn: Turn, request: Request, asked: Revision) -> tuple[Verdict | None, str, str]:
    view = turn.view
    known = {r.id: r for r in view.revisions}
    if not request.revision:
        back = fallback_of(view, asked)
        if back is None:
            text = f"no good revision other than {asked} is on record, so none can be restored"
            return None, "Failed", text
    elif request.revision not in known:
        good = _good(view.revisions, asked)
        text = f"revision {request.revision} is not on record; set one of the good ones: {good}"
        return None, "Failed", text
    else:
        back = known[request.revision]
    if problem := _not_to(turn, back, asked):
        return None, "Failed", problem
    freeze = turn.target.freeze
    restores = back in (running_revision(view), latest_completed(view))
    if freeze.holds and not request.override_freeze and not restores:
        return None, "Pending", freeze.message
    reason = f": {request.reason}" if request.reason else ""
    verdict = replace(
        asked.verdict,
        phase=Phase.FAILED,
        reason="Rejected",
        message=f"rejected by {request.actor}{reason}",
        failed=turn.now,
        rejected_by=request.actor,
        fallback=back.id,
        retry=view.retry,
        command=request.uid,
    )
    return verdict, "", ""


def _not_to(turn: Turn, back: Revision, asked: Revision) -> str:
    """Return why a service cannot go back to a revision, or ""."""
    if back.id == asked.id:
        return f"{back} is the one that the spec asks for; set another one"
    if not is_good(back):
        good = _good(turn.view.revisions, asked)
        return f"{back} is {back.verdict.phase}; set one of the good ones: {good}"
    if any(i.active and i.revision == back.id for i in turn.view.instances):
        return ""  # what runs of it is better than what is rejected
    copies = plan_snapshots(turn.view, back, turn.now)
    return copies.lacking[0].message if copies.lacking else ""


def _good(revisions: Iterable[Revision], asked: Revision) -> str:
    """Return the text of the other revisions to which a service can go back, newest first."""
    good = sorted((r for r in revisions if is_good(r) and r != asked), key=lambda r: -r.number)
    return ", ".join(map(str, good)) or "none"


def _again(turn: Turn, asked: Revision) -> Verdict:
    """Return the verdict of a failed revision that is tried again."""
    started = later_than((r.verdict.started for r in turn.view.revisions), turn.now)
    begun = anew(replace(asked.verdict, phase=Phase.PROGRESSING), started)
    runs = turn.wanted if turn.target.goes_back else None
    works = runs.id if runs else asked.verdict.takes_over_from
    # That it was good once does not say that it is now.
    return replace(
        begun, completed=None, promoted=None, retry=turn.view.retry, takes_over_from=works
    )


def _retried(turn: Turn) -> Verdict | None:
    """Return the verdict of a failed revision whose owner's annotation has a new value."""
    asked, word = turn.target.asked, turn.view.retry
    if asked is None or not asked.verdict.is_failed or asked.verdict.rejected_by:
        return None
    if not word or word == asked.verdict.retry or turn.spec.suspend or turn.target.is_open:
        return None
    if turn.target.freeze.holds:
        return None
    return _again(turn, asked)


def _progress(turn: Turn, fleet: Fleet, request: Request, record: Revision) -> tuple[str, str]:
    """Return the phase and the message of an action that is carried out."""
    verdict, target = record.verdict, turn.target
    is_asked = target.asked is not None and target.asked.id == record.id
    if request.command is Command.PROMOTE:
        return _promotion_of(turn, fleet, record, is_asked=is_asked)
    if request.command not in REJECTING:
        if verdict.is_failed:
            return "Failed", f"{record} failed again: {verdict.reason}: {verdict.message}"
        if verdict.completed is not None and not verdict.is_under_way:
            return "Succeeded", f"{record} runs: {verdict.replaced}"
        return ("Running", f"{record} is being rolled out") if is_asked else ("Failed", SUPERSEDED)
    if not is_asked or target.wanted is None or not target.goes_back:
        return "Succeeded", SUPERSEDED
    there = count_current(fleet)
    if fleet.is_complete:
        return "Succeeded", f"{target.wanted} runs: {there}"
    return "Running", f"going back to {target.wanted}: {there}"


def _promotion_of(turn: Turn, fleet: Fleet, record: Revision, *, is_asked: bool) -> tuple[str, str]:
    """Return the phase and the message of an action that promotes a revision."""
    verdict = record.verdict
    if turn.spec.canary is not None and not verdict.is_failed:
        return "Succeeded", f"{record} goes on with its next step"
    is_live = record == live_revision(turn.view)
    if is_live and is_switched(turn, record):
        return "Succeeded", f"{record} has the traffic"
    if is_live and (held := unswitched(turn, record)) is not None:
        return "Running", held
    if verdict.is_failed:
        return "Failed", f"{record} failed: {verdict.reason}: {verdict.message}"
    if not is_asked:
        return "Failed", SUPERSEDED
    if (check := waiting(turn.spec.checks, verdict.checks)) is not None:
        return "Running", f"{record} gets the traffic when check {check.name} has passed"
    text = f"{record} gets the traffic when all instances are available"
    return "Running", f"{text}: {count_current(fleet)}"
