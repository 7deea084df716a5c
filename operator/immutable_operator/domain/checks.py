"""Checks: which measurements are to be made now, and what those on record mean.

Everything is a function of the checks that are wanted, the record of the revision and the answers
that have arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from immutable_operator.domain.model import (
    Announcement,
    Backoff,
    Check,
    CheckKey,
    CheckPhase,
    CheckRecord,
    CheckResult,
    Finding,
    Measured,
    OnInconclusive,
    Revision,
    RunCheck,
)

__all__ = ["CheckTurn", "Checked", "all_passed", "failed_check", "look", "passings", "waiting"]

MOST_RESULTS = 10


@dataclass(frozen=True, slots=True)
class CheckTurn:
    """What `look` needs beside the checks and the record.

    ``begun`` is when the checks were asked for first, ``instances`` are the names of the instances
    that can be asked. ``asks`` are the names of the checks that run now.
    """

    now: float
    measured: Iterable[Measured]
    retry: Backoff
    begun: float
    instances: Sequence[str] = ()
    asks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Checked:
    """The records with the answers that arrived, what is to be measured now, and what later."""

    records: tuple[CheckRecord, ...] = ()
    runs: tuple[RunCheck, ...] = ()
    due: tuple[float, ...] = ()


def look(checks: Sequence[Check], revision: Revision, turn: CheckTurn) -> Checked:
    """Return what is to be written about the checks of a revision, and what to measure.

    Answers are put on record first; what they mean for the revision is decided from the record.
    """
    started = revision.verdict.started
    if started is None:
        return Checked(revision.verdict.checks)
    answers = {answer.key: answer for answer in turn.measured}
    known = {record.name: record for record in revision.verdict.checks}
    records, runs, due = [], [], []
    for check in checks:
        before = _before(check, known)
        record = _told(check, _noted(check, before, answers, (revision.uid, started)))
        if record != known.get(check.name) and record.measured:
            records.append(record)
        elif check.name in known:
            records.append(known[check.name])
        if record.phase in (CheckPhase.PASSED, CheckPhase.FAILED) or check.name not in turn.asks:
            continue
        at = _next(check, record, turn)
        if at > turn.now:
            due.append(at)
        else:
            runs.append(_run(check, record, revision, turn))
    return Checked(tuple(records), tuple(runs), tuple(due))


def _noted(
    check: Check,
    record: CheckRecord,
    answers: Mapping[CheckKey, Measured],
    rollout: tuple[str, float],
) -> CheckRecord:
    key = (rollout[0], check.name, rollout[1], record.measured, check.digest)
    answer = answers.get(key)
    if answer is None:
        return record
    since = answer.at if record.since is None else record.since
    counts = answer.at >= since + check.within
    inconclusive = answer.found is Finding.INCONCLUSIVE
    return replace(
        record,
        digest=check.digest or record.digest,
        since=since,
        measured=record.measured + 1,
        passed=record.passed + (answer.found is Finding.PASSED),
        failed=record.failed + (counts and answer.found is Finding.FAILED),
        inconclusive=(record.inconclusive + counts) if inconclusive else 0,
        results=(*record.results, CheckResult(answer.at, answer.found, answer.message))[
            -MOST_RESULTS:
        ],
    )


def _told(check: Check, record: CheckRecord) -> CheckRecord:
    return replace(record, phase=_phase(check, record))


def _phase(check: Check, record: CheckRecord) -> CheckPhase:
    if record.failed > check.failure_limit:
        return CheckPhase.FAILED
    if record.passed >= check.count:
        return CheckPhase.PASSED
    if record.inconclusive < check.inconclusive_limit:
        return CheckPhase.RUNNING
    fails = check.on_inconclusive is OnInconclusive.FAIL
    return CheckPhase.FAILED if fails else CheckPhase.WAITING


def _next(check: Check, record: CheckRecord, turn: CheckTurn) -> float:
    """Return when the next measurement is due."""
    if record.last is None:
        return turn.begun + check.delay
    return record.last.at + max(check.interval, turn.retry.after(record.inconclusive))


def _run(check: Check, record: CheckRecord, revision: Revision, turn: CheckTurn) -> RunCheck:
    names = sorted(turn.instances)
    instance = names[record.measured % len(names)] if names else ""
    started = revision.verdict.started or 0.0
    return RunCheck(check, revision.id, revision.uid, started, record.measured, instance)


def _records(checks: Iterable[Check], records: Iterable[CheckRecord]) -> list[CheckRecord]:
    """Return what the records say of each check that is wanted now."""
    known = {record.name: record for record in records}
    return [_told(check, _before(check, known)) for check in checks]


def _before(check: Check, known: Mapping[str, CheckRecord]) -> CheckRecord:
    """Return what is on record of a check; nothing if it asks something else now."""
    found = known.get(check.name)
    if found is None or (check.digest and found.digest and check.digest != found.digest):
        return CheckRecord(check.name, digest=check.digest)
    return found


def all_passed(checks: Iterable[Check], records: Iterable[CheckRecord]) -> bool:
    """Return whether every check has passed according to the record."""
    return all(record.phase is CheckPhase.PASSED for record in _records(checks, records))


def failed_check(checks: Iterable[Check], records: Iterable[CheckRecord]) -> str | None:
    """Return the evidence if a check has failed according to the record."""
    for record in _records(checks, records):
        if record.phase is CheckPhase.FAILED:
            return f"check {record.name}: {_evidence(record)}"
    return None


def _evidence(record: CheckRecord) -> str:
    """Return what a check that failed found, and how often."""
    if record.inconclusive:
        last = _last(record)
        return f"no result after {record.inconclusive} inconclusive measurements in a row{last}"
    times = f"{record.failed} measurements failed" if record.failed > 1 else "failed"
    return f"{times}{_last(record)}"


def _last(record: CheckRecord) -> str:
    return f": {record.last.message}" if record.last and record.last.message else ""


def waiting(checks: Iterable[Check], records: Iterable[CheckRecord]) -> CheckRecord | None:
    """Return the first check that has not passed yet: those without a result come last."""
    open_ = [r for r in _records(checks, records) if r.phase is not CheckPhase.PASSED]
    stuck = [r for r in open_ if r.phase is CheckPhase.WAITING]
    return next(iter((*stuck, *(r for r in open_ if r.results), *open_)), None)


def passings(revision: Revision, new: Iterable[CheckRecord]) -> list[Announcement]:
    """Return an event for each check that passes by this write."""
    passed = {r.name for r in revision.verdict.checks if r.phase is CheckPhase.PASSED}
    started = int(revision.verdict.started or 0)
    return [
        Announcement(
            "CheckPassed",
            f"{revision}: check {r.name} passed{_last(r)}",
            f"{revision.id}/{r.name}/{started}",
        )
        for r in new
        if r.phase is CheckPhase.PASSED and r.name not in passed
    ]
