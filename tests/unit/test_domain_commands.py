"""What people say of a revision: retry, roll back, resume; and what becomes of their actions.

A is good, B is asked for, C is an older good one unless said otherwise; 3 wanted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain import planner, turn
from immutable_operator.domain.commands import SUPERSEDED, applies_to_another
from immutable_operator.domain.model import (
    ABSENT,
    Command,
    Freeze,
    Outcome,
    Phase,
    Request,
    SetVerdict,
    Source,
    Trouble,
    TroubleKind,
    Verdict,
    View,
)
from immutable_operator.domain.staleness import requested
from tests.unit.both_families import plan
from tests.unit.given import (
    NOW,
    REVISIONS,
    begun,
    condition,
    failed,
    fleet,
    moves,
    proven,
    settled,
    template,
    verdict_of,
    view,
    with_verdict,
    written,
)

A, B, C = (REVISIONS[letter] for letter in "ABC")
STUCK = Trouble(TroubleKind.CRASH_LOOP, "container web keeps exiting", settled=True)
CLOSED = Freeze("closing", "the quarter ends", ends=NOW + 600)
BACK, RETRY, RESUME = Command.ROLL_BACK, Command.RETRY, Command.RESUME


def action(command: Command, uid: str = "u1", **more: Any) -> Request:
    """A person's action."""
    return Request(f"act-{uid}", uid, NOW - 5, "jane", command=command, **more)


def asked(drawn: str = "A ### B .", verdict: Verdict | None = None, **more: Any) -> View:
    """The service asks for B, of which ``verdict`` says what became of it, by default Good."""
    requests = more.pop("requests", ())
    changes = {name: more.pop(name) for name in ("freezes", "retry", "instances") if name in more}
    given = view(drawn, **({"wanted": "B", "recorded": "ABC"} | more))
    good = replace(proven("B", ago=1000).verdict, number_floor=3)
    given = with_verdict(given, "B", good if verdict is None else verdict)
    older = replace(proven("C", ago=9000).verdict, number_floor=3)
    return replace(with_verdict(given, "C", older), requests=tuple(requests), **changes)


def rejected(back: str = "A", **more: Any) -> Verdict:
    """B was rejected by jane, with her action u1."""
    known = {"reason": "Rejected", "message": "rejected by jane", "rejected_by": "jane"}
    return failed("B", back, **(known | {"command": "u1"} | more))


def outcomes(given: View, now: float = NOW) -> list[tuple[str, str]]:
    """The phases and the messages to write."""
    return [(o.phase, o.message) for o in plan(given, now).outcomes]


def marked(given: View, now: float = NOW) -> Verdict | None:
    """The verdict of B to write now, if its record changes."""
    marks = [a for a in plan(given, now).actions if isinstance(a, SetVerdict)]
    return next((m.verdict for m in marks if m.revision.id == B.id), None)


# Roll back.


@pytest.mark.parametrize(
    ("named", "back"), [("", "A"), (A.id, "A"), (C.id, "C")], ids=["last good", "that", "older"]
)
def test_rollback_rejects_what_is_asked_and_names_where_to_go(named: str, back: str) -> None:
    given = asked("B ###", requests=[action(BACK, revision=named, reason="errors in checkout")])
    decided = plan(given, NOW)
    verdict = marked(given)
    assert verdict is not None
    assert (verdict.phase, verdict.reason) == (Phase.FAILED, "Rejected")
    assert verdict.message == "rejected by jane: errors in checkout"
    assert (verdict.rejected_by, verdict.command) == ("jane", "u1")
    assert verdict.fallback == REVISIONS[back].id
    assert [type(a) for a in decided.actions] == [SetVerdict], "nothing before it is on record"
    [told] = decided.announcements
    assert (told.reason, told.warning) == ("RevisionRejected", False)
    went = settled(given, NOW, plan)
    assert moves(plan(went, NOW)) == f"create {back}0"
    assert condition(went.prior) == "Stalled RolledBack"
    assert "create an ImmutableAction of type Resume" in went.prior.conditions[0].message


def test_older_revision_grows_beside_the_one_that_works_and_replaces_it() -> None:
    """B and the good A run; a person goes back to the older C."""
    for drawn, then in (
        ("A ### B .", "retire B0"),
        ("A ###", "create C0"),
        ("A ### C .", ""),
        ("A ### C #", "retire A0"),
        ("C ###", ""),
    ):
        given = settled(asked(drawn, rejected("C")), NOW, plan)
        assert moves(plan(given, NOW)) == then, drawn
    assert condition(given.prior) == "Stalled RolledBack"
    assert given.prior.last_good_revision == C.id, "it is complete again"


WRONG: list[tuple[str, str, Verdict | None, str]] = [
    # rule, revision named, verdict of C, the start of the message
    (
        "an unknown one",
        "ffffffff",
        None,
        f"revision ffffffff is not on record; set one of the good ones: {C}, {A}",
    ),
    (
        "the one that is asked for",
        B.id,
        None,
        f"revision 2 ({B.id}) is the one that the spec asks for",
    ),
    ("one that failed", C.id, failed("C"), f"revision 3 ({C.id}) is Failed; set one of the good"),
    (
        "one that never was good",
        C.id,
        begun("C", False).verdict,
        f"revision 3 ({C.id}) is Superseded",
    ),
]


@pytest.mark.parametrize(("rule", "named", "other", "message"), WRONG, ids=[w[0] for w in WRONG])
def test_rollback_to_a_wrong_revision_fails_and_says_why(
    rule: str, named: str, other: Verdict | None, message: str
) -> None:
    given = asked("B ###", requests=[action(BACK, revision=named)])
    given = with_verdict(given, "C", other) if other else given
    [(phase, said)] = outcomes(given)
    assert phase == "Failed"
    assert said.startswith(message), rule
    assert not (marked(given) or Verdict()).is_failed


def test_rollback_without_any_good_revision_fails() -> None:
    given = asked("B ###", good=None, recorded="B", requests=[action(BACK)])
    [(phase, said)] = outcomes(given)
    assert (phase, said) == (
        "Failed",
        f"no good revision other than {B} is on record, so none can be restored",
    )


def test_rollback_of_a_release_under_way() -> None:
    given = settled(asked("A ## B #.", begun("B").verdict, requests=[action(BACK)]), NOW, plan)
    assert verdict_of(given, "B").fallback == A.id
    assert moves(plan(given, NOW)) == "retire B1"


def test_rollback_of_a_rollback_goes_to_the_other_one() -> None:
    """B failed and A runs; a person wants C. In the plan that records it nothing else is done."""
    given = asked("A ## B .", failed("B"), requests=[action(BACK, revision=C.id)])
    decided = plan(given, NOW)
    assert [type(a) for a in decided.actions] == [SetVerdict]
    went = settled(given, NOW, plan)
    assert verdict_of(went, "B").fallback == C.id
    assert verdict_of(went, "B").rejected_by == "jane"
    assert went.prior.current_revision == C.id


def test_rollback_holds_until_the_spec_changes() -> None:
    given = asked("A ###", rejected())
    assert plan(given, NOW).actions == ()
    other = with_verdict(
        replace(given, spec=replace(given.spec, template=template("C"))), "C", Verdict()
    )
    assert verdict_of(settled(other, NOW, plan), "C").phase is Phase.PROGRESSING


FREEZES: list[tuple[str, str, dict[str, Any], bool]] = [
    # rule, fleet, the action, whether it is carried out during a freeze
    ("what was good last is restored", "A ## B #", {}, True),
    ("an older one waits", "A ## B #", {"revision": C.id}, False),
    (
        "an older one that overrides it",
        "A ## B #",
        {"revision": C.id, "override_freeze": True},
        True,
    ),
]


@pytest.mark.parametrize(("rule", "drawn", "more", "goes"), FREEZES, ids=[f[0] for f in FREEZES])
def test_rollback_during_a_freeze(rule: str, drawn: str, more: dict[str, Any], goes: bool) -> None:
    verdict = begun("B").verdict
    given = asked(drawn, verdict, requests=[action(BACK, **more)], freezes=(CLOSED,))
    assert (marked(given) is not None) == goes, rule
    if not goes:
        [(phase, said)] = outcomes(given)
        assert phase == "Pending"
        assert said.startswith("ImmutableFreeze closing is active until")
        assert marked(replace(given, freezes=())) is not None, "then it is carried out"


def test_change_that_a_freeze_holds_back_can_be_rejected() -> None:
    """B is on record and waits for the end of the freeze."""
    given = asked("A ###", Verdict(), requests=[action(BACK)], freezes=(CLOSED,))
    verdict = marked(given)
    assert verdict is not None
    assert (verdict.phase, verdict.fallback) == (Phase.FAILED, A.id)


@pytest.mark.parametrize("command", [BACK, RETRY, RESUME], ids=str)
def test_command_waits_while_the_service_is_suspended(command: Command) -> None:
    verdict = {BACK: None, RETRY: failed("B"), RESUME: rejected(command="u0")}[command]
    given = asked("A ###", verdict, suspend=True, requests=[action(command)])
    [(phase, said)] = outcomes(given)
    assert (phase, said.partition(";")[2]) == ("Pending", f" {turn.RESUME}")
    assert marked(given) is None
    assert marked(replace(given, spec=replace(given.spec, suspend=False))) is not None


def test_command_waits_until_the_revision_is_on_record() -> None:
    given = view("A ###", wanted="B", recorded="A")
    given = replace(given, requests=(action(BACK),))
    assert [o.phase for o in planner.plan(given, NOW).outcomes] == ["Pending"]


# Retry and Resume.


def test_retry_restarts_the_rollout() -> None:
    given = asked("A ###", failed("B"), requests=[action(RETRY)])
    verdict = marked(given)
    assert verdict is not None
    assert (verdict.phase, verdict.started, verdict.command) == (Phase.PROGRESSING, NOW, "u1")
    assert (verdict.failed, verdict.reason, verdict.fallback) == (None, "", "")
    assert verdict.takes_over_from == A.id
    again = settled(given, NOW, plan)
    assert moves(plan(again, NOW)) == "create B0"
    assert plan(again, NOW).due == NOW + 600, "it has its whole deadline again"


def test_retry_takes_over_from_what_runs_now() -> None:
    """B began on A; C was good since, and its lost instances are born again during the retry."""
    first = failed("B", takes_over_from=A.id)
    given = with_verdict(asked("C ###", first), "C", proven("C", ago=30).verdict)
    verdict = marked(replace(given, requests=(action(RETRY),)))
    assert verdict is not None
    assert verdict.takes_over_from == C.id


def test_retry_that_works_is_good() -> None:
    begins = settled(asked("A ###", failed("B"), requests=[action(RETRY)]), NOW, plan)
    begins = replace(begins, requests=(action(RETRY, phase="Running"),))
    works = replace(begins, instances=fleet("B ###"))
    done = settled(works, NOW + 50, plan)
    assert verdict_of(done, "B").phase is Phase.GOOD
    assert condition(done.prior) == "Ready Current"
    assert outcomes(done, NOW + 50) == [
        (
            "Succeeded",
            f"revision 2 ({B.id}) runs: 3 instances in 50 s; replaced revision 1 ({A.id})",
        )
    ]


def test_retry_that_fails_again_rolls_back_and_reports_it() -> None:
    begins = settled(asked("A ###", failed("B"), requests=[action(RETRY)]), NOW, plan)
    begins = replace(begins, requests=(action(RETRY, phase="Running"),))
    crashes = replace(begins, instances=fleet("A ### B .", B0={"trouble": STUCK}))
    [told] = planner.plan(crashes, NOW + 9).announcements
    assert told.reason == "RevisionFailed"
    assert told.key != f"{B.id}/{int(NOW - 100)}", "it is told again"
    back = settled(crashes, NOW + 9)
    assert verdict_of(back, "B").fallback == A.id
    assert moves(planner.plan(back, NOW + 9)) == "retire B0"
    [outcome] = planner.plan(back, NOW + 9).outcomes
    assert outcome.phase == "Failed"
    assert outcome.message.startswith(f"revision 2 ({B.id}) failed again: CrashLoop: ")


def test_resume_ends_a_rollback() -> None:
    given = asked("A ###", rejected(command="u0"), requests=[action(RESUME)])
    again = settled(given, NOW, plan)
    verdict = verdict_of(again, "B")
    assert (verdict.phase, verdict.rejected_by, verdict.command) == (Phase.PROGRESSING, "", "u1")
    assert moves(plan(again, NOW)) == "create B0"


REFUSED: list[tuple[str, Command, Verdict | None, str]] = [
    ("retry what is good", RETRY, None, "is Good, so there is nothing to retry"),
    (
        "retry what goes on",
        RETRY,
        begun("B").verdict,
        "is Progressing, so there is nothing to retry",
    ),
    ("resume what is good", RESUME, None, "is Good, so there is nothing to resume"),
    (
        "retry what a person rejected",
        RETRY,
        rejected(command="u0"),
        "create an action of type Resume",
    ),
    ("resume what failed by itself", RESUME, failed("B"), "create an action of type Retry"),
]


@pytest.mark.parametrize(
    ("rule", "command", "verdict", "said"), REFUSED, ids=[r[0] for r in REFUSED]
)
def test_action_that_does_not_apply_fails_and_says_what_does(
    rule: str, command: Command, verdict: Verdict | None, said: str
) -> None:
    given = asked("A ### B #", verdict, requests=[action(command)])
    [(phase, message)] = outcomes(given)
    assert phase == "Failed"
    assert message.endswith(said), rule


@pytest.mark.parametrize("command", [RETRY, RESUME], ids=str)
def test_retry_and_resume_wait_for_the_end_of_a_freeze(command: Command) -> None:
    """They begin a rollout, as a change of the spec does."""
    verdict = failed("B") if command is RETRY else rejected(command="u0")
    given = asked("A ###", verdict, requests=[action(command)], freezes=(CLOSED,))
    assert [phase for phase, _ in outcomes(given)] == ["Pending"]
    assert marked(given) is None
    assert marked(replace(given, freezes=())) is not None
    override = action(command, override_freeze=True)
    assert marked(replace(given, requests=(override,))) is not None


# The annotation.


def test_new_word_in_the_annotation_tries_again_once() -> None:
    given = asked("A ###", failed("B", retry="one"), retry="one")
    assert plan(given, NOW).actions == (), "it is the word that was there when it failed"
    again = settled(replace(given, retry="two"), NOW, plan)
    assert verdict_of(again, "B").phase is Phase.PROGRESSING
    assert verdict_of(again, "B").retry == "two"
    crashes = replace(again, instances=fleet("A ### B .", B0={"trouble": STUCK}))
    failed_again = settled(crashes, NOW + 9)
    assert verdict_of(failed_again, "B").phase is Phase.FAILED, "a used word is not used twice"
    assert verdict_of(failed_again, "B").retry == "two"


NO_RETRY: list[tuple[str, dict[str, Any], Verdict]] = [
    ("no word", {"retry": ""}, failed("B", retry="one")),
    ("what a person rejected", {}, rejected()),
    ("during a freeze", {"freezes": (CLOSED,)}, failed("B")),
    ("while suspended", {"suspend": True}, failed("B")),
]


@pytest.mark.parametrize(("rule", "more", "verdict"), NO_RETRY, ids=[n[0] for n in NO_RETRY])
def test_annotation_does_not_try_again(rule: str, more: dict[str, Any], verdict: Verdict) -> None:
    assert marked(asked("A ###", verdict, **({"retry": "two"} | more))) is None, rule


def test_word_that_is_there_at_the_first_failure_is_used() -> None:
    """Otherwise the annotation of an earlier retry would try each failed revision once more."""
    crash = fleet("A ### B .", B0={"trouble": STUCK})
    given = asked(verdict=begun("B").verdict, retry="old", instances=crash)
    assert verdict_of(settled(given, NOW), "B").retry == "old"


# Outcomes, and more than one action.


def test_rollback_is_running_until_the_fleet_is_back() -> None:
    running = action(BACK, phase="")
    given = asked("A ## B #", rejected(), requests=[running])
    assert outcomes(given) == [
        ("Running", f"going back to {A}: 2 of 3 instances are current and available")
    ]
    there = asked("A ###", rejected(), requests=[replace(running, phase="Running")])
    assert outcomes(there) == [
        ("Succeeded", f"{A} runs: 3 of 3 instances are current and available")
    ]


def test_same_outcome_is_not_written_twice() -> None:
    given = asked("A ## B #", rejected(), requests=[action(BACK)])
    [(phase, message)] = outcomes(given)
    known = replace(given, requests=(action(BACK, phase=phase, message=message),))
    assert outcomes(known) == []


@pytest.mark.parametrize("phase", ["", "Pending", "Running"], ids=["new", "waited", "known"])
def test_operator_that_died_after_the_verdict_does_not_carry_it_out_again(phase: str) -> None:
    """The record has the uid of the action; B was retried since, and is not rejected again."""
    given = asked("A ### B .", rejected(), requests=[action(BACK, phase=phase)])
    assert marked(given) is None


@pytest.mark.parametrize("phase", ["", "Pending"], ids=["new", "waited"])
def test_next_action_waits_until_the_first_is_known_to_be_carried_out(phase: str) -> None:
    """Otherwise the first would be carried out again after a crash between the two writes."""
    first, second = action(BACK, phase=phase), action(RESUME, "u2", phase="")
    second = replace(second, created=NOW - 1)
    given = asked("A ###", Verdict(), requests=[second, first])
    given = with_verdict(given, "B", proven("B", ago=1000).verdict)
    decided = plan(given, NOW)
    assert marked(given) is not None
    assert decided.outcomes == ()
    done = written(given, decided)
    assert marked(done) is None
    assert [o.name for o in plan(done, NOW).outcomes] == ["act-u1"]
    known = replace(done, requests=(replace(first, phase="Running"), second))
    resumed = marked(known)
    assert resumed is not None
    assert (resumed.phase, resumed.command) == (Phase.PROGRESSING, "u2")


def test_action_that_a_later_one_replaced_is_over() -> None:
    given = asked("A ###", rejected(command="u2"), requests=[action(BACK, phase="Running")])
    assert outcomes(given) == [("Succeeded", SUPERSEDED)]


def test_rollback_ends_when_the_spec_changes() -> None:
    given = asked("A ###", rejected(), wanted="C", requests=[action(BACK, phase="Running")])
    assert [phase for phase, _ in outcomes(given)] == ["Succeeded"]


def test_retry_fails_when_the_spec_changes() -> None:
    retried = replace(begun("B").verdict, command="u1")
    given = asked("A ###", retried, wanted="C", requests=[action(RETRY, phase="Running")])
    [(phase, message)] = outcomes(given)
    assert phase == "Failed"
    assert message == SUPERSEDED


@pytest.mark.parametrize("command", [BACK, RETRY, RESUME])
@pytest.mark.parametrize("held", ["suspend", "freeze"])
def test_held_action_notes_to_which_revision_it_applies(command: Command, held: str) -> None:
    verdict = {BACK: None, RETRY: failed("B"), RESUME: rejected("A", command="")}[command]
    named = {"revision": C.id} if command is BACK else {}
    more: dict[str, Any] = {"suspend": True} if held == "suspend" else {"freezes": (CLOSED,)}
    given = asked("A ###", verdict, requests=[action(command, **named)], **more)
    [outcome] = plan(given, NOW).outcomes
    assert (outcome.phase, outcome.asked) == ("Pending", B.id)
    again = action(command, phase="Pending", message=outcome.message, asked=B.id, **named)
    assert plan(replace(given, requests=(again,)), NOW).outcomes == ()


@pytest.mark.parametrize("command", [BACK, RETRY, RESUME])
@pytest.mark.parametrize("recorded", ["ABC", "AB"], ids=["on record", "not yet on record"])
def test_held_action_never_applies_to_a_later_spec(command: Command, recorded: str) -> None:
    """Undo, then a corrected spec: the correction is rolled out."""
    waiting = action(command, phase="Pending", asked=B.id)
    given = asked("A ###", wanted="C", recorded=recorded, requests=[waiting])
    [(phase, message)] = outcomes(given)
    assert (phase, message) == ("Failed", applies_to_another(B.id, C.id))
    marks = [a for a in plan(given, NOW).actions if isinstance(a, SetVerdict)]
    assert not any(m.verdict.rejected_by for m in marks)


def test_regeneration_is_no_command_for_a_revision() -> None:
    given = asked("A ###", failed("B"), requests=[action(Command.REGENERATE)])
    assert marked(given) is None
    assert plan(given, NOW).outcomes == (Outcome("act-u1", "u1", "Running", requested.REPLACING),)


def test_held_action_names_no_revision_while_configuration_is_missing() -> None:
    """Which one the spec asks for is not known before its ConfigMap is there."""
    given = asked("A ###", wanted="B", recorded="A", requests=[action(RETRY)])
    spec = replace(given.spec, pinned={("ConfigMap", "settings"): False})
    missing = {("ConfigMap", "settings"): Source(ABSENT)}
    [outcome] = plan(replace(given, spec=spec, configs=missing), NOW).outcomes
    assert (outcome.phase, outcome.asked) == ("Pending", "")
