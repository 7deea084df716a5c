"""When instances end and when the API server refuses: what is tried, when, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.model import (
    Backoff,
    Cause,
    CreateRevision,
    Move,
    Policy,
    Refusal,
    Trouble,
    TroubleKind,
    revision_id,
)
from immutable_operator.domain.planner import plan
from tests.unit.given import (
    NOW,
    REVISIONS,
    condition,
    fleet,
    moves,
    refusal,
    template,
    view,
)

ENDED: list[tuple[str, str, dict[str, Any], str]] = [
    # rule, given (3 of A wanted), changes, then
    ("the first that ends gets a successor at once", "A ##x", {}, "create A2'"),
    ("it stays until all is well: people look at it", "A ##x B .", {}, "create A2'"),
    ("once all is well it is cleared", "A ###x", {}, "retire A3"),
    ("not while its successor is not available", "A ##x.", {}, ""),
    ("one of another revision is cleared at once", "A ### B x", {}, "retire B0"),
    ("one that leaves already is left", "A ###-", {"A3": {"ended": True}}, ""),
    (
        "only the last one in a slot is kept",
        "A ##xx",
        {"A3": {"slot": 2, "incarnation": 1, "born": NOW - 60}},
        "retire A2; create A2''",
    ),
]


@pytest.mark.parametrize(("rule", "drawn", "changes", "then"), ENDED, ids=[e[0] for e in ENDED])
def test_ended_instance_is_replaced(
    rule: str, drawn: str, changes: dict[str, Any], then: str
) -> None:
    assert moves(plan(view(instances=fleet(drawn, **changes)), NOW)) == then, rule


PACES = [
    # incarnation that ended, seconds after its birth until the next one may be born
    (0, 0),
    (1, 2),
    (2, 4),
    (5, 32),
    (9, 300),
    (1000, 300),
]


@pytest.mark.parametrize(("incarnation", "pause"), PACES)
def test_pause_grows_between_births_that_end(incarnation: int, pause: int) -> None:
    """A node that rejects pods at admission does not get one pod after the other."""
    born = NOW - 1
    ended = fleet("A ##x", A2={"incarnation": incarnation, "tries": incarnation, "born": born})
    given = view(instances=ended)
    at = born + pause
    if pause > 1:
        assert moves(plan(given, NOW)) == ""
        assert plan(given, NOW).due == at
        assert moves(plan(given, at - 0.01)) == ""
    after = moves(plan(given, max(at, NOW)))
    assert after == "create A2" + "'" * (incarnation + 1)


def test_delayed_birth_keeps_its_slot() -> None:
    """Otherwise a node that rejects pods would get one pod after the other, each in a new slot."""
    ended = fleet(
        "A xx",
        A0={"incarnation": 6, "tries": 6, "born": NOW},
        A1={"incarnation": 1, "tries": 1, "born": NOW},
    )
    given = view(instances=ended, replicas=2)
    assert moves(plan(given, NOW)) == ""
    assert plan(given, NOW).due == NOW + 2
    assert moves(plan(given, NOW + 2)) == "create A1''"


def test_delayed_birth_does_not_delay_others() -> None:
    given = view(
        instances=fleet("A #x", A1={"incarnation": 6, "tries": 6, "born": NOW}), replicas=4
    )
    assert moves(plan(given, NOW)) == "create A2 A3"
    assert plan(given, NOW).due == NOW + 64


def test_retry_pause_follows_the_policy() -> None:
    given = view(instances=fleet("A ##x", A2={"incarnation": 3, "tries": 3, "born": NOW}))
    assert plan(given, NOW, Policy(retry_ended=Backoff(1, 3))).due == NOW + 3


QUOTA: dict[str, Any] = {"cause": Cause.QUOTA, "message": "exceeded quota: pods", "revision": "B"}
REFUSED: list[tuple[str, str, list[Refusal], str, float | None]] = [
    # rule, given (3 of B wanted since 100 s, surge 2), refusals, then, due in (500: the progress
    # deadline; 50: when it is noted that this stands still, a quarter of 600 s after the start)
    (
        "births wait for their time",
        "A ###",
        [refusal(Move.CREATE, "B0", wait=5, **QUOTA)],
        "",
        5,
    ),
    (
        "then one probe, not all of them",
        "A ###",
        [refusal(Move.CREATE, "B0", wait=0, **QUOTA)],
        "create B0",
        50,
    ),
    (
        "a template that is refused waits the same",
        "A ###",
        [refusal(Move.CREATE, "B0", Cause.TEMPLATE, wait=30, revision="B")],
        "",
        30,
    ),
    (
        "what was refused of another revision does not matter",
        "A ###",
        [refusal(Move.CREATE, "A0", Cause.TEMPLATE, wait=30, revision="A")],
        "create B0 B1",
        500,
    ),
    (
        "retirements go on while births are refused",
        "A ### B #",
        [refusal(Move.CREATE, "B1", wait=5, **QUOTA)],
        "retire A0",
        5,
    ),
    (
        "a taken name is passed over",
        "A ###",
        [refusal(Move.CREATE, "B0", Cause.NAME_TAKEN, wait=60, revision="B")],
        "create B0' B1",
        500,
    ),
    (
        "also after its time: the stranger may still be there",
        "A ###",
        [refusal(Move.CREATE, "B0", Cause.NAME_TAKEN, wait=-60, revision="B")],
        "create B0' B1",
        500,
    ),
    (
        "a retirement waits for its time",
        "B ####",
        [refusal(Move.RETIRE, "B3", Cause.API_SERVER, wait=5)],
        "",
        5,
    ),
    (
        "and is tried again then",
        "B ####",
        [refusal(Move.RETIRE, "B3", Cause.API_SERVER, wait=0)],
        "retire B3",
        None,
    ),
    (
        "a refused retirement does not hide others",
        "A ### B ##",
        [refusal(Move.RETIRE, "A0", Cause.API_SERVER, wait=5)],
        "retire A1 A2",
        50,
    ),
    (
        "a PodDisruptionBudget that forbids one is not asked for others meanwhile",
        "A ### B ##",
        [refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET, wait=5)],
        "",
        5,
    ),
    (
        "then it is probed with one that was tried least",
        "A ### B ##",
        [refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET, wait=0)],
        "retire A1",
        50,
    ),
    (
        "fewest attempts first",
        "A ### B #",
        [
            refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET, wait=-1, attempts=3),
            refusal(Move.RETIRE, "A1", Cause.DISRUPTION_BUDGET, wait=-1, attempts=2),
            refusal(Move.RETIRE, "A2", Cause.DISRUPTION_BUDGET, wait=-1, attempts=1),
        ],
        "retire A2; create B1",
        50,
    ),
    (
        "births go on while a PodDisruptionBudget forbids retirements",
        "A ### B .",
        [refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET, wait=5)],
        "create B1",
        50,
    ),
    (
        "a budget does not protect what ended",
        "A ##x B ###",
        [refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET, wait=5)],
        "retire A2",
        5,
    ),
]


@pytest.mark.parametrize(
    ("rule", "drawn", "refusals", "then", "due"), REFUSED, ids=[r[0] for r in REFUSED]
)
def test_refused_move_is_retried_when_due(
    rule: str, drawn: str, refusals: list[Refusal], then: str, due: float | None
) -> None:
    given = view(drawn, wanted="B", max_surge=2, refusals=refusals, good="A")
    decided = plan(given, NOW)
    assert moves(decided) == then, rule
    assert decided.due == (None if due is None else NOW + due), rule


def record_refusal(letter: str, cause: Cause, wait: float) -> Refusal:
    short = revision_id(revision_hash(template(letter)), ())
    return Refusal(Move.RECORD, short, cause, "no record", NOW - 9, NOW + wait)


def test_template_is_recorded_before_its_first_birth() -> None:
    decided = plan(view("A ###", wanted="B", recorded="A"), NOW)
    b = REVISIONS["B"]
    record = CreateRevision(b.id, 2, b.hash, "TemplateChanged", "kubectl")
    assert decided.actions == (record,)
    assert decided.status is None
    text = f"revision 2 ({b.id}) recorded: TemplateChanged, template written by kubectl"
    assert [(a.reason, a.message) for a in decided.announcements] == [("RevisionCreated", text)]


def test_first_record_has_the_reason_created() -> None:
    (record,) = plan(view("", recorded="", good=None), NOW).actions
    assert isinstance(record, CreateRevision)
    assert (record.number, record.reason) == (1, "Created")


def test_refused_record_waits_and_uses_no_number() -> None:
    given = view("A ###", wanted="B", recorded="A", refusals=[record_refusal("B", Cause.QUOTA, 4)])
    waiting = plan(given, NOW)
    assert (waiting.actions, waiting.due) == ((), NOW + 4)
    assert condition(waiting.status) == "Stalled QuotaExceeded"
    (record,) = plan(given, NOW + 4).actions
    assert isinstance(record, CreateRevision)
    assert record.number == 2


def test_refused_record_of_another_template_is_ignored() -> None:
    """A corrected template does not wait for the retry time of the refused one."""
    refused = record_refusal("B", Cause.TEMPLATE, 300)
    given = view("A ###", wanted="C", recorded="A", refusals=[refused])
    assert moves(plan(given, NOW)) == "record C"
    back = plan(view("A ##", wanted="A", recorded="A", refusals=[refused]), NOW)
    assert condition(back.status) == "Reconciling Progressing"
    assert back.status is not None
    assert back.status.blockers == ()


HISTORY: list[tuple[str, str, dict[str, Any], str]] = [
    ("nothing within the limit", "C ###", {"history_limit": 2}, ""),
    ("the oldest beyond it", "C ###", {"history_limit": 1}, "forget A"),
    ("those with instances stay", "C ### A -", {"history_limit": 1}, ""),
    ("also while not all is well", "C ##.", {"history_limit": 1}, "forget A"),
    ("none while suspended", "C ###", {"history_limit": 1, "suspend": True}, ""),
]


@pytest.mark.parametrize(("rule", "drawn", "spec", "then"), HISTORY, ids=[h[0] for h in HISTORY])
def test_old_revisions_are_deleted_beyond_the_history_limit(
    rule: str, drawn: str, spec: dict[str, Any], then: str
) -> None:
    given = view(drawn, wanted="C", good="C", **spec)
    assert moves(plan(given, NOW)) == then, rule


def test_last_good_revision_is_kept_at_any_age() -> None:
    """Scaled to 0, C is complete but was never available: A is the last good revision."""
    given = view("", wanted="C", replicas=0, good="A", history_limit=1)
    assert moves(plan(given, NOW)) == ""
    given = view("", wanted="F", recorded="ABCDEF", replicas=0, good="A", history_limit=1)
    assert moves(plan(given, NOW)) == "forget D C B"


def test_revision_with_the_highest_number_is_kept() -> None:
    given = view("A ###", wanted="A", recorded="ABCDEF", history_limit=1)
    assert moves(plan(given, NOW)) == "forget D C B"


def test_trouble_of_an_instance_does_not_make_it_stale() -> None:
    stuck = {"trouble": Trouble(TroubleKind.CRASH_LOOP, "keeps exiting", settled=True)}
    assert moves(plan(view(instances=fleet("A ##.", A2=stuck)), NOW)) == ""
