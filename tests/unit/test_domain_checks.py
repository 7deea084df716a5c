"""Checks: when they are asked, what their answers mean, and that nothing is good without them.

B replaces A, 3 wanted, and all instances of B are available; B has one check, `up`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from immutable_operator.domain.model import (
    Check,
    CheckPhase,
    Finding,
    Freeze,
    HttpQuestion,
    Measured,
    OnFailure,
    OnInconclusive,
    Phase,
    Plan,
    RunCheck,
    SetVerdict,
    View,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.standing import is_good
from tests.unit.any_view import any_view
from tests.unit.examples import examples
from tests.unit.given import (
    NOW,
    begun,
    condition,
    failed,
    fleet,
    name_of,
    proven,
    settled,
    verdict_of,
    view,
    with_verdict,
    written,
)

UP = Check("up", HttpQuestion(url="http://web/healthz", status=200))
PASSED, FAILED, INCONCLUSIVE = Finding
WAITS = replace(UP, on_inconclusive=OnInconclusive.WAIT, inconclusive_limit=2)


def rollout(*checks: Check, drawn: str = "B ###", **more: Any) -> View:
    return view(drawn, wanted="B", checks=checks or (UP,), **more)


def answered(given: View, decided: Plan, finding: Finding, now: float, said: str = "so") -> View:
    answers = tuple(Measured(run.key, now, finding, said) for run in decided.checks)
    return replace(given, measured=answers)


def asking(given: View, now: float) -> tuple[View, float]:
    """Let time pass until something is asked."""
    while not (decided := plan(given, now)).checks:
        assert decided.due is not None, "nothing is asked any more"
        given, now = settled(given, decided.due), decided.due
    return given, now


def played(given: View, findings: Sequence[Finding], now: float = NOW) -> tuple[View, float]:
    """Answer each measurement at once; return the service once no more findings are left."""
    given = settled(given, now)
    for finding in findings:
        given, now = asking(given, now)
        decided = plan(given, now)
        given = settled(answered(given, decided, finding, now), now)
        given = replace(given, measured=())
    return given, now


def test_checks_are_asked_once_all_instances_are_available() -> None:
    assert plan(settled(rollout(drawn="A # B ##."), NOW), NOW).checks == ()
    begins = settled(rollout(), NOW)
    run = plan(begins, NOW).checks[0]
    started = verdict_of(begins, "B").started
    assert run.key == ("uid-B", "up", started, 0, run.check.digest)
    assert run.instance in {name_of(f"B{slot}") for slot in range(3)}
    assert verdict_of(begins, "B").phase is Phase.PROGRESSING
    assert condition(begins.prior) == "Reconciling Checking"


def test_revision_is_good_once_its_checks_have_passed_and_the_result_is_on_record() -> None:
    good, _ = played(rollout(), [PASSED])
    verdict = verdict_of(good, "B")
    assert (verdict.phase, verdict.checks[0].phase) == (Phase.GOOD, CheckPhase.PASSED)
    assert [r.found for r in verdict.checks[0].results] == [PASSED]
    assert condition(good.prior) == "Ready Current"
    assert plan(good, NOW + 9000).checks == ()


def test_result_is_written_before_the_verdict() -> None:
    given = settled(rollout(), NOW)
    arrived = answered(given, plan(given, NOW), FAILED, NOW)
    first = plan(arrived, NOW)
    marks = [a for a in first.actions if isinstance(a, SetVerdict)]
    assert [m.verdict.phase for m in marks] == [Phase.PROGRESSING]
    after = plan(written(replace(arrived, measured=()), first), NOW)
    verdicts = [a.verdict for a in after.actions if isinstance(a, SetVerdict)]
    assert [v.reason for v in verdicts] == ["CheckFailed"]


def test_failed_check_rolls_back_with_its_evidence() -> None:
    given, now = settled(rollout(), NOW), NOW
    given = answered(given, plan(given, now), FAILED, now, "http://web/healthz: status 500")
    given = settled(given, now)
    verdict = verdict_of(given, "B")
    assert (verdict.phase, verdict.reason) == (Phase.FAILED, "CheckFailed")
    assert verdict.message == "check up: failed: http://web/healthz: status 500"
    assert verdict.fallback == proven("A").id
    assert condition(given.prior) == "Stalled RolledBack"


FINDINGS: list[tuple[str, Check, list[Finding], CheckPhase]] = [
    ("one that passes", UP, [PASSED], CheckPhase.PASSED),
    ("one that fails", UP, [FAILED], CheckPhase.FAILED),
    ("no result is no pass", UP, [INCONCLUSIVE], CheckPhase.RUNNING),
    ("nor a failure", UP, [INCONCLUSIVE] * 4, CheckPhase.RUNNING),
    ("until the limit", UP, [INCONCLUSIVE] * 5, CheckPhase.FAILED),
    ("a result begins the count again", UP, [INCONCLUSIVE] * 4 + [PASSED], CheckPhase.PASSED),
    ("it waits where that is wanted", WAITS, [INCONCLUSIVE] * 2, CheckPhase.WAITING),
    ("also for long", WAITS, [INCONCLUSIVE] * 40, CheckPhase.WAITING),
    ("and passes later", WAITS, [INCONCLUSIVE] * 9 + [PASSED], CheckPhase.PASSED),
    ("or fails", WAITS, [INCONCLUSIVE] * 9 + [FAILED], CheckPhase.FAILED),
    ("as many as are to pass", replace(UP, count=3), [PASSED] * 2, CheckPhase.RUNNING),
    ("all of them", replace(UP, count=3), [PASSED] * 3, CheckPhase.PASSED),
    (
        "some may fail",
        replace(UP, count=2, failure_limit=1),
        [PASSED, FAILED, PASSED],
        CheckPhase.PASSED,
    ),
    (
        "not more",
        replace(UP, count=3, failure_limit=1),
        [FAILED, PASSED, PASSED, FAILED],
        CheckPhase.FAILED,
    ),
    ("a failure within its time", replace(UP, within=60), [FAILED] * 3, CheckPhase.RUNNING),
    ("and then a pass", replace(UP, within=60), [FAILED, INCONCLUSIVE, PASSED], CheckPhase.PASSED),
    ("a failure after its time", replace(UP, within=60), [FAILED] * 13, CheckPhase.FAILED),
]


@pytest.mark.parametrize(
    ("rule", "check", "findings", "phase"), FINDINGS, ids=lambda v: str(v)[:40]
)
def test_findings_decide_a_check(
    rule: str, check: Check, findings: list[Finding], phase: CheckPhase
) -> None:
    given, _ = played(rollout(check), findings)
    verdict = verdict_of(given, "B")
    record = verdict.checks[0]
    assert record.phase is phase, rule
    assert record.measured == len(findings)
    assert len(record.results) == min(10, len(findings))
    wanted = {CheckPhase.PASSED: Phase.GOOD, CheckPhase.FAILED: Phase.FAILED}
    assert verdict.phase is wanted.get(phase, Phase.PROGRESSING)


def test_inconclusive_measurements_are_repeated_with_growing_pauses() -> None:
    given, now = played(rollout(WAITS), [INCONCLUSIVE])
    pauses = []
    for _ in range(9):
        pauses.append(asking(given, now)[1] - now)
        given, now = played(given, [INCONCLUSIVE], now)
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_waiting_is_told_with_the_check_and_its_evidence() -> None:
    given, _ = played(rollout(WAITS), [INCONCLUSIVE] * 2)
    assert condition(given.prior) == "Reconciling Checking"
    assert given.prior.conditions[0].message.endswith("waiting for check up: so")
    assert [(b.reason, b.subject) for b in given.prior.blockers] == [("CheckInconclusive", "up")]


def test_all_checks_must_pass() -> None:
    other = replace(UP, name="other")
    given = settled(rollout(UP, other), NOW)
    runs = plan(given, NOW).checks
    assert [run.check.name for run in runs] == ["up", "other"]
    given = settled(replace(given, measured=(Measured(runs[0].key, NOW, PASSED),)), NOW)
    assert verdict_of(given, "B").phase is Phase.PROGRESSING
    given = settled(replace(given, measured=(Measured(runs[1].key, NOW, PASSED),)), NOW)
    assert verdict_of(given, "B").phase is Phase.GOOD


def test_bake_and_checks_run_at_the_same_time_and_both_must_end() -> None:
    given, _ = played(rollout(bake_seconds=100), [PASSED])
    assert verdict_of(given, "B").phase is Phase.PROGRESSING
    assert condition(given.prior) == "Reconciling Baking"
    assert verdict_of(settled(given, NOW + 100), "B").phase is Phase.GOOD


def _no_answers_of(change: Callable[[View], View]) -> tuple[RunCheck, ...]:
    given = settled(rollout(), NOW)
    return plan(settled(change(given), NOW), NOW).checks


HELD: list[tuple[str, Callable[[View], View]]] = [
    ("a freeze", lambda v: replace(v, freezes=(Freeze("f", "closing", ends=NOW + 600),))),
    ("suspend", lambda v: replace(v, spec=replace(v.spec, suspend=True))),
    ("an instance that is lost", lambda v: replace(v, instances=fleet("B ##"))),
    ("a predecessor that is left", lambda v: replace(v, instances=fleet("A # B ###"))),
    ("scaled to 0", lambda v: replace(v, spec=replace(v.spec, replicas=0), instances=())),
]


@pytest.mark.parametrize(("held", "change"), HELD, ids=[h[0] for h in HELD])
def test_nothing_is_asked_during(held: str, change: Callable[[View], View]) -> None:
    assert _no_answers_of(lambda v: v) != ()
    assert _no_answers_of(change) == ()


def test_answer_that_arrives_during_a_freeze_is_recorded() -> None:
    given = settled(rollout(), NOW)
    given = answered(given, plan(given, NOW), PASSED, NOW)
    frozen = replace(given, freezes=(Freeze("f", "closing", ends=NOW + 600),))
    assert verdict_of(settled(frozen, NOW), "B").checks[0].phase is CheckPhase.PASSED


def test_good_revision_is_repaired_and_regenerated_without_checks() -> None:
    for shown in ("A ###", "A ##.", "A ##"):
        given = view(shown, wanted="A", checks=(UP,))
        assert plan(given, NOW).checks == ()
        assert verdict_of(settled(given, NOW), "A").phase is Phase.GOOD


def test_rollback_waits_for_no_check() -> None:
    given = with_verdict(rollout(drawn="A ###"), "B", failed("B"))
    given = settled(given, NOW)
    assert plan(given, NOW).checks == ()
    assert condition(given.prior) == "Stalled RolledBack"


def test_answer_of_another_rollout_or_measurement_counts_nothing() -> None:
    given = settled(rollout(), NOW)
    uid, name, started, number, digest = plan(given, NOW).checks[0].key
    for key in (
        (uid, name, started - 1, number, digest),
        (uid, name, started, number + 1, digest),
        ("uid-A", name, started, number, digest),
        (uid, "other", started, number, digest),
        (uid, name, started, number, "what-was-asked-before"),
    ):
        late = replace(given, measured=(Measured(key, NOW, PASSED),))
        assert verdict_of(settled(late, NOW), "B").phase is Phase.PROGRESSING, key


def test_first_revision_that_fails_its_check_is_kept_and_does_not_become_good() -> None:
    given, now = played(view("B ###", wanted="B", good=None, recorded="B", checks=(UP,)), [FAILED])
    later = settled(given, now + 900)
    verdict = verdict_of(later, "B")
    assert (verdict.phase, verdict.reason) == (Phase.FAILED, "CheckFailed")
    assert condition(later.prior) == "Stalled CheckFailed"
    assert plan(later, now + 900).checks == ()


def test_revision_that_recovers_from_another_failure_passes_its_checks_first() -> None:
    slow = failed("B", back="", reason="ProgressDeadlineExceeded")
    given = view("B ###", wanted="B", good=None, recorded="B", checks=(UP,))
    given = settled(with_verdict(given, "B", slow), NOW)
    assert verdict_of(given, "B").is_failed
    assert verdict_of(played(given, [PASSED])[0], "B").phase is Phase.GOOD


def test_first_measurement_waits_for_its_delay() -> None:
    late = replace(UP, delay=30.0)
    given = settled(rollout(late), NOW)
    assert plan(given, NOW).checks == ()
    assert asking(given, NOW)[1] == NOW + 30
    kept = with_verdict(given, "B", failed("B", back="", reason="ProgressDeadlineExceeded"))
    kept = replace(kept, revisions=tuple(r for r in kept.revisions if r.id == begun("B").id))
    assert asking(settled(kept, NOW - 40), NOW - 40)[1] == NOW - 20


def test_kept_revision_is_not_asked_again_with_hold() -> None:
    given = rollout(on_failure=OnFailure.HOLD)
    given, now = played(given, [FAILED])
    assert verdict_of(given, "B").is_failed
    assert plan(given, now + 900).checks == ()


def test_new_rollout_of_a_revision_asks_again() -> None:
    """A was good; B was good after it; then the spec asks for A again."""
    passed, _ = played(rollout(), [PASSED])
    back = view("A ###", wanted="A", recorded="AB", checks=(UP,))
    results = verdict_of(passed, "B").checks
    first = proven("A", ago=9000)
    records = (
        replace(first, verdict=replace(first.verdict, checks=results)),
        replace(proven("B"), verdict=verdict_of(passed, "B")),
    )
    given = settled(replace(back, revisions=records), NOW + 10)
    assert [run.check.name for run in plan(given, NOW + 10).checks] == ["up"]
    assert plan(given, NOW + 10).status is not None
    assert condition(given.prior) == "Reconciling Checking"


def test_events_tell_which_check_passed() -> None:
    given = settled(rollout(), NOW)
    decided = plan(answered(given, plan(given, NOW), PASSED, NOW, "status 200"), NOW)
    said = [a.message for a in decided.announcements if a.reason == "CheckPassed"]
    assert said == [f"revision 2 ({begun('B').id}): check up passed: status 200"]


@settings(
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@drawn(any_view(), st.lists(st.sampled_from(Finding), max_size=3), st.data())
def test_no_revision_becomes_good_before_all_its_checks_have_passed(
    given: View, findings: list[Finding], data: st.DataObject
) -> None:
    """Whatever else is the case, and whatever is answered."""
    given = replace(given, spec=replace(given.spec, checks=(UP, replace(UP, name="other"))))
    for finding in findings:
        decided = plan(given, NOW)
        asked = [run for run in decided.checks if data.draw(st.booleans())]
        given = written(given, decided)
        given = replace(given, measured=tuple(Measured(r.key, NOW, finding) for r in asked))
    decided = plan(given, NOW)
    for mark in (a for a in decided.actions if isinstance(a, SetVerdict)):
        if mark.verdict.completed in (None, mark.revision.verdict.completed):
            continue
        records = mark.revision.verdict.checks
        passed = {c.name for c in records if c.passed and not c.failed}
        was_good = is_good(mark.revision)  # it is restored, or repaired
        assert passed >= {"up", "other"} or was_good
