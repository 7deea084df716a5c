"""The status as a contract: conditions, blockers, deadlines, and what is told when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.families.pods import PODS
from immutable_operator.domain.fleet import remain
from immutable_operator.domain.model import (
    Blocker,
    Cause,
    Deviation,
    Guard,
    Instance,
    Move,
    OnFailure,
    Plan,
    Refusal,
    Spec,
    Status,
    Trouble,
    TroubleKind,
    Verdict,
    View,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.status.tell import same_but_for_counts
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.status import status_body
from tests.cluster.kstatus import compute
from tests.unit.given import (
    MIN_READY,
    NOW,
    REVISIONS,
    begun,
    condition,
    fleet,
    moves,
    name_of,
    refusal,
    seen,
    settled,
    view,
    with_verdict,
)

STUCK = Trouble(TroubleKind.CRASH_LOOP, "container web keeps exiting with code 1", settled=True)
PULLING = Trouble(TroubleKind.IMAGE_PULL, "image x cannot be pulled")
UNPULLABLE = replace(PULLING, settled=True)

UNREADABLE = Spec(None)


def kstatus(given: View, status: Status) -> str:
    """What Flux, Argo CD and helm --wait make of this status, as it goes over the wire."""
    meta = {
        "name": given.name,
        "namespace": given.namespace,
        "uid": given.uid,
        "generation": given.generation,
        "resourceVersion": "1",
    }
    body = status_body(OwnerRecord.of({"metadata": meta}), status)
    return compute({"metadata": meta, "status": body["status"]})


STATES: list[tuple[str, str, dict[str, Any], str, str]] = [
    # rule, given (3 of B wanted), more, the condition that is True with its reason, kstatus
    ("all is there", "B ###", {}, "Ready Current", "Current"),
    ("none is wanted and none is there", "", {"replicas": 0}, "Ready Current", "Current"),
    ("being born", "B ..", {}, "Reconciling Progressing", "InProgress"),
    ("ready, but not long enough", "B ##+", {}, "Reconciling Progressing", "InProgress"),
    ("being replaced", "A ## B #", {}, "Reconciling Replacing", "InProgress"),
    ("one stale instance remains", "A # B ###", {}, "Reconciling Replacing", "InProgress"),
    ("one too many", "B ####", {}, "Reconciling Progressing", "InProgress"),
    ("one is leaving: all is there", "A - B ###", {}, "Ready Current", "Current"),
    ("one ended, but all are there", "B ###x", {}, "Ready Current", "Current"),
    ("suspended and all is there", "B ###", {"suspend": True}, "Ready Suspended", "Current"),
    (
        "suspended and one is missing",
        "B ##",
        {"suspend": True},
        "- Suspended",
        "InProgress",
    ),
    (
        "suspended and a change waits",
        "A ###",
        {"suspend": True, "recorded": "A"},
        "- Suspended",
        "InProgress",
    ),
    (
        "suspended before the first revision",
        "",
        {"suspend": True, "recorded": "", "good": None},
        "- Suspended",
        "InProgress",
    ),
    (
        "a quota does not mend itself",
        "A ###",
        {"refusals": [refusal(Move.CREATE, "B0", Cause.QUOTA, revision="B")]},
        "Stalled QuotaExceeded",
        "Failed",
    ),
    (
        "nor does a template",
        "A ###",
        {"refusals": [refusal(Move.CREATE, "B0", Cause.TEMPLATE, revision="B")]},
        "Stalled TemplateRefused",
        "Failed",
    ),
    (
        "nor do missing rights",
        "A ### B #",
        {"refusals": [refusal(Move.RETIRE, "A0", Cause.FORBIDDEN)]},
        "Stalled Forbidden",
        "Failed",
    ),
    (
        "an API server in trouble does",
        "A ###",
        {"refusals": [refusal(Move.CREATE, "B0", Cause.API_SERVER, revision="B")]},
        "Reconciling Replacing",
        "InProgress",
    ),
    (
        "a PodDisruptionBudget may give way",
        "A ### B #",
        {"refusals": [refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET)]},
        "Reconciling Replacing",
        "InProgress",
    ),
    (
        "an instance that restarts again and again fails its revision at once",
        "A ### B .",
        {"changes": {"B0": {"trouble": STUCK}}},
        "Stalled RolledBack",
        "Failed",
    ),
    (
        "which is kept, if the service says so",
        "A ### B .",
        {"changes": {"B0": {"trouble": STUCK}}, "on_failure": OnFailure.HOLD},
        "Stalled CrashLoop",
        "Failed",
    ),
    (
        "or if no other one ever worked",
        "B .",
        {"changes": {"B0": {"trouble": STUCK}}, "good": None, "recorded": "B"},
        "Stalled CrashLoop",
        "Failed",
    ),
    (
        "one of a revision that was good stalls at once, and fails nothing",
        "B ##.",
        {"changes": {"B2": {"trouble": STUCK}}, "good": "B"},
        "Stalled CrashLoop",
        "Failed",
    ),
    (
        "one that fails for the first time does not",
        "A ### B .",
        {"changes": {"B0": {"trouble": PULLING}}},
        "Reconciling Replacing",
        "InProgress",
    ),
    (
        "trouble of stale instances is on its way out",
        "A ##. B .",
        {"changes": {"A2": {"trouble": STUCK}}},
        "Reconciling Replacing",
        "InProgress",
    ),
]

advised = PODS.words.advised


@pytest.mark.parametrize(
    ("rule", "drawn", "more", "true", "read"), STATES, ids=[s[0] for s in STATES]
)
def test_status_has_one_true_condition_that_kstatus_reads(
    rule: str, drawn: str, more: dict[str, Any], true: str, read: str
) -> None:
    more = dict(more)
    given = view(wanted="B", instances=fleet(drawn, **more.pop("changes", {})), **more)
    status = settled(given, NOW).prior
    assert condition(status) == true, rule
    assert kstatus(given, status) == read, rule


def test_refused_spec_moves_no_instance_and_updates_counts() -> None:
    before = plan(view("A ##."), NOW - 60).status
    assert before is not None
    given = replace(view("A #", prior=before, generation=2), spec=UNREADABLE, invalid="spec.x: no")
    decided = plan(given, NOW)
    assert decided.actions == ()
    assert condition(decided.status) == "Stalled InvalidSpec"
    assert decided.status is not None
    assert kstatus(given, decided.status) == "Failed"
    assert decided.status.conditions[2].message.endswith(
        "1 of 1 instances are current and available; spec.x: no"
    )
    assert decided.status.observed_generation == 2
    assert decided.status.replicas == 1, "the counts are those of now"
    assert decided.status.last_good_revision == before.last_good_revision


def test_deleted_service_plans_nothing_and_keeps_its_status() -> None:
    decided = plan(replace(view("A #"), deleting=True), NOW)
    assert decided == Plan(notes=("being deleted: the garbage collector removes all dependents",))


def test_suspended_service_plans_no_move() -> None:
    for drawn in ("", "A ###", "A #.x", "A #####", "B #", "A ### B #"):
        decided = plan(view(drawn, wanted="B", suspend=True), NOW)
        assert decided.actions == (), drawn
        assert decided.notes == ("suspended",)
    unrecorded = plan(view("A ###", wanted="B", recorded="A", suspend=True), NOW)
    assert unrecorded.actions == ()
    assert unrecorded.status is not None
    assert unrecorded.status.current_revision == REVISIONS["A"].id


def test_counts_exclude_terminating_instances() -> None:
    status = plan(view("A #.-x B #+.-", wanted="B", replicas=5), NOW).status
    assert status is not None
    assert (status.desired, status.replicas) == (5, 5)
    assert (status.ready, status.available) == (3, 2)
    assert (status.current, status.stale) == (3, 2)
    assert status.selector == "immutable.dev/service=web"
    assert status.oldest_instance == fleet("A #")[0].born
    assert (status.current_revision, status.last_good_revision) == (
        REVISIONS["B"].id,
        REVISIONS["A"].id,
    )


def test_message_has_count_revision_and_blocker() -> None:
    forbids = refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET, message="budget web needs 3")
    status = plan(view("A ### B #", wanted="B", refusals=[forbids]), NOW).status
    assert status is not None
    assert status.conditions[0].message == (
        f"{REVISIONS['B']}: 1 of 3 instances are current and available, {remain(3)};"
        f" blocked by PodDisruptionBudget: {advised(Cause.DISRUPTION_BUDGET, 'budget web needs 3')}"
    )


def test_transition_time_changes_with_the_status_and_not_with_the_wording() -> None:
    first = view("A ### B .", wanted="B")
    later = replace(seen(first, NOW), instances=fleet("A ### B #"))
    status = plan(later, NOW + 20).status
    assert status is not None
    assert {c.since for c in status.conditions} == {NOW}
    done = replace(seen(later, NOW + 20), instances=fleet("B ###"))
    status = plan(done, NOW + 60).status
    assert status is not None
    assert [c.since for c in status.conditions] == [NOW + 60, NOW + 60, NOW, NOW]


def test_observed_generation_never_decreases() -> None:
    given = view("A ###", prior=Status(observed_generation=7), generation=3)
    status = plan(given, NOW).status
    assert status is not None
    assert status.observed_generation == 7


# Progress deadlines. Each line is a look at the service: seconds, fleet, changes of the spec,
# and what the conditions say then. B replaces A, 3 wanted, 600 seconds without progress. What
# fails is kept here (onFailure Hold); test_domain_verdicts.py is about what follows.
Look = tuple[float, str, dict[str, Any], str]
GOES, STALLS = "Reconciling Replacing", "Stalled ProgressDeadlineExceeded"
DEADLINES: list[tuple[str, list[Look]]] = [
    (
        "the deadline counts from the start",
        [(0, "A ### B .", {}, GOES), (599, "A ### B .", {}, GOES), (600, "A ### B .", {}, STALLS)],
    ),
    (
        "progress puts it off",
        [
            (0, "A ### B .", {}, GOES),
            (500, "A ### B #", {}, GOES),
            (1099, "A ## B ##", {}, GOES),
            (1698, "A ## B ##.", {}, GOES),
            (1699, "A ## B ##.", {}, STALLS),
        ],
    ),
    (
        "one stale less is no progress",
        [(0, "A ### B .", {}, GOES), (500, "A ## B ..", {}, GOES), (600, "A # B ..", {}, STALLS)],
    ),
    (
        "flapping does not",
        [
            (0, "A ### B .", {}, GOES),
            (100, "A ### B #", {}, GOES),
            (200, "A ### B .", {}, GOES),
            (300, "A ### B #", {}, GOES),
            (500, "A ### B .", {}, GOES),
            (699, "A ### B #", {}, GOES),
            (700, "A ### B #", {}, STALLS),
        ],
    ),
    (
        "what failed does not come back with late progress",
        [
            (0, "A ### B .", {}, GOES),
            (600, "A ### B .", {}, STALLS),
            (700, "A ### B #", {}, STALLS),
            (1300, "B ###", {}, STALLS),
        ],
    ),
    (
        "another number wanted is no progress",
        [
            (0, "A ### B .", {}, GOES),
            (590, "A #### B .", {"replicas": 4}, GOES),
            (599, "A ### B .", {"replicas": 3}, GOES),
            (600, "A #### B .", {"replicas": 4}, STALLS),
        ],
    ),
    (
        "suspension does not count",
        [
            (0, "A ### B .", {}, GOES),
            (500, "A ### B .", {"suspend": True}, "- Suspended"),
            (5000, "A ### B .", {"suspend": True}, "- Suspended"),
            (6000, "A ### B .", {}, GOES),
            (6099, "A ### B .", {}, GOES),
            (6100, "A ### B .", {}, STALLS),
        ],
    ),
    (
        "it starts again when instances are wanted again",
        [
            (0, "A ### B .", {}, GOES),
            (500, "", {"replicas": 0}, "Ready Current"),
            (6000, "B .", {}, "Reconciling Progressing"),
            (6599, "B .", {}, "Reconciling Progressing"),
            (6600, "B .", {}, STALLS),
        ],
    ),
    (
        "nor the time in which all are available, and old ones stay",
        [
            (0, "A ### B ..", {}, GOES),
            (500, "A # B ###", {}, GOES),
            (5000, "A # B ##.", {}, GOES),
            (5449, "A # B ##.", {}, GOES),
            # That the clock stands was noted at 650, a quarter of the deadline after the progress.
            (5450, "A # B ##.", {}, STALLS),
        ],
    ),
    (
        "a repair has a deadline, too",
        [
            (0, "B ###", {}, "Ready Current"),
            (9000, "B ##.", {}, "Reconciling Progressing"),
            (9599, "B ##.", {}, "Reconciling Progressing"),
            (9600, "B ##.", {}, STALLS),
            (9700, "B ###", {}, "Ready Current"),
        ],
    ),
    (
        "and its stall ends with progress",
        [
            (0, "B ###", {}, "Ready Current"),
            (9000, "B #..", {}, "Reconciling Progressing"),
            (9600, "B #..", {}, STALLS),
            (9700, "B ##.", {}, "Reconciling Progressing"),
            (10299, "B #..", {}, "Reconciling Progressing"),
            (10300, "B #..", {}, STALLS),
        ],
    ),
]


def _ready(instances: tuple[Instance, ...], known: View, now: float) -> tuple[Instance, ...]:
    """The drawn ones as available since now, unless they were so at the last look."""
    before = {i.name: i.ready_since for i in known.instances if i.ready_since}
    return tuple(
        replace(i, ready_since=before.get(i.name, now - MIN_READY)) if i.ready_since else i
        for i in instances
    )


@pytest.mark.parametrize(("rule", "looks"), DEADLINES, ids=[d[0] for d in DEADLINES])
def test_rollout_without_progress_stalls_at_its_deadline(rule: str, looks: list[Look]) -> None:
    known = view(wanted="B", prior=Status(), on_failure=OnFailure.HOLD)
    first = replace(begun("B").verdict, started=NOW)
    known = with_verdict(known, "B", first)
    due: float | None = None
    for seconds, drawn, spec, then in looks:
        now = NOW + seconds
        for _ in range(9):
            if due is None or due >= now:
                break
            known, due = _planned(known, due)
        instances = _ready(fleet(drawn), known, now)
        wants: dict[str, Any] = {"replicas": 3, "suspend": False} | spec
        given = replace(known, instances=instances, spec=replace(known.spec, **wants))
        known, due = _planned(given, now)
        assert condition(known.prior) == then, f"{rule}: after {seconds} s"
        assert due is None or due > now


def _planned(given: View, now: float) -> tuple[View, float | None]:
    """The service after the plans of one moment, and when the next one is due."""
    given = settled(given, now)
    return given, plan(given, now).due


def test_new_revision_restarts_the_deadline() -> None:
    first = view("A ### B .", wanted="B")
    assert plan(first, NOW).due == NOW + 500, "it began 100 s ago"
    recorded = with_verdict(view("A ### B .", wanted="C"), "C", Verdict())
    given, due = _planned(replace(recorded, prior=settled(first, NOW).prior), NOW + 499)
    assert due == NOW + 499 + 600
    assert condition(given.prior) == GOES


def test_time_of_a_refused_spec_does_not_count_towards_the_deadline() -> None:
    """Otherwise the corrected spec would be reported as stalled before its first step."""
    first = view("A ### B .", wanted="B")
    broken = replace(seen(first, NOW), spec=UNREADABLE, invalid="spec.x: no")
    broken = settled(broken, NOW + 100)
    given, due = _planned(replace(broken, spec=first.spec, invalid=None), NOW + 5000)
    assert condition(given.prior) == GOES
    assert due == NOW + 5400, "200 s of the 600 had passed"


def test_plan_past_the_deadline_is_not_due_at_it() -> None:
    late = seen(view("A ### B .", wanted="B", on_failure=OnFailure.HOLD), NOW)
    assert plan(late, NOW + 700).due is None
    assert plan(settled(late, NOW + 700), NOW + 700).due is None
    repair = seen(view("A ##."), NOW)
    assert plan(repair, NOW + 700).due is None


def blocked(given: View, now: float = NOW) -> list[tuple[str, str, float, str | None]]:
    status = plan(given, now).status
    assert status is not None
    return [(b.reason, b.message, b.since, b.subject) for b in status.blockers]


def test_blocker_has_its_cause_and_start() -> None:
    forbids = refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET, since=NOW - 30)
    assert blocked(view("A ### B #", wanted="B", refusals=[forbids])) == [
        ("PodDisruptionBudget", advised(Cause.DISRUPTION_BUDGET, "no"), NOW - 30, name_of("A0"))
    ]
    # A birth that was refused has no object: its name would say nothing to people.
    quota = refusal(Move.CREATE, "B0", Cause.QUOTA, revision="B", since=NOW - 20)
    assert blocked(view("A ###", wanted="B", refusals=[quota])) == [
        ("QuotaExceeded", advised(Cause.QUOTA, "no"), NOW - 20, None)
    ]
    stuck = fleet("A ### B .", B0={"trouble": STUCK})
    kept = settled(view(instances=stuck, wanted="B", on_failure=OnFailure.HOLD), NOW)
    assert blocked(kept) == [
        ("CrashLoop", f"{name_of('B0')}: {advised(STUCK.kind, STUCK.message)}", NOW, name_of("B0"))
    ]


def test_blocker_keeps_its_start_while_message_and_object_change() -> None:
    quota = refusal(Move.CREATE, "B0", Cause.QUOTA, revision="B", since=NOW - 20)
    first = view("A ###", wanted="B", refusals=[quota])
    other = replace(quota, subject=name_of("B1"), message="used 11", since=NOW + 50)
    later = replace(seen(first, NOW), refusals=(other,))
    assert blocked(later, NOW + 60) == [
        ("QuotaExceeded", advised(Cause.QUOTA, "used 11"), NOW - 20, None)
    ]


def test_blockers_have_unique_reasons_with_the_settled_and_oldest_first() -> None:
    instances = fleet(
        "A ### B ...",
        B0={"trouble": PULLING},
        B1={"trouble": UNPULLABLE},
        B2={"trouble": UNPULLABLE},
    )
    assert [b[3] for b in blocked(view(instances=instances, wanted="B"))] == [name_of("B1")]


MOOT: list[tuple[str, str, dict[str, Any], Refusal]] = [
    # The spec changed its mind: what was refused then is not waited for any more.
    ("back to A, and A0 stays", "A ##.", {}, refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET)),
    (
        "scaled down, and none is missing",
        "A ##.",
        {},
        refusal(Move.CREATE, "A3", Cause.QUOTA, revision="A"),
    ),
    (
        "a birth of another revision",
        "A ##",
        {},
        refusal(Move.CREATE, "B0", Cause.TEMPLATE, revision="B"),
    ),
    ("a taken name", "A ##", {}, refusal(Move.CREATE, "A2", Cause.NAME_TAKEN, revision="A")),
    ("a record", "A ##", {}, refusal(Move.RECORD, "12345678", Cause.FORBIDDEN)),
    ("all is well", "A ###", {}, refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET)),
]


@pytest.mark.parametrize(("rule", "drawn", "spec", "refused"), MOOT, ids=[m[0] for m in MOOT])
def test_refusal_of_an_unwanted_revision_is_no_blocker(
    rule: str, drawn: str, spec: dict[str, Any], refused: Refusal
) -> None:
    given = view(drawn, refusals=[refused], **spec)
    assert blocked(given) == [], rule
    assert condition(plan(given, NOW).status) in ("Ready Current", "Reconciling Progressing")


def told(given: View, now: float) -> list[str]:
    return [a.reason for a in plan(given, now).announcements]


def test_finished_rollout_is_announced_once() -> None:
    going = seen(view("A # B ##", wanted="B"), NOW)
    done = replace(going, instances=fleet("B ###"))
    (finished,) = plan(done, NOW + 42).announcements
    a, b = REVISIONS["A"], REVISIONS["B"]
    assert (
        finished.message == f"revision 2 ({b.id}) replaced revision 1 ({a.id}): 3 instances in 42 s"
    )
    assert (finished.reason, finished.warning) == ("ReplacementFinished", False)
    assert told(seen(done, NOW + 42), NOW + 43) == []


def test_rollout_and_rollback_within_a_second_are_announced_separately() -> None:
    done = replace(seen(view("A # B ##", wanted="B"), NOW), instances=fleet("B ###"))
    again = replace(done, generation=done.generation + 2)
    (one,), (other,) = plan(done, NOW).announcements, plan(again, NOW).announcements
    assert one.message == other.message
    assert one.key != other.key


def test_repair_and_first_rollout_are_not_announced_as_a_replacement() -> None:
    repaired = replace(seen(view("A ##."), NOW), instances=fleet("A ###"))
    assert told(repaired, NOW + 1) == []
    born = replace(seen(view("A ...", good=None), NOW), instances=fleet("A ###"))
    assert told(born, NOW + 1) == []


def test_failure_is_announced_once_and_its_stall_not_again() -> None:
    first = view("A ### B .", wanted="B", on_failure=OnFailure.HOLD)
    assert told(first, NOW) == []
    late = seen(first, NOW)
    assert told(late, NOW + 600) == ["RevisionFailed"]
    stalled = settled(late, NOW + 600)
    assert condition(stalled.prior) == STALLS
    assert told(stalled, NOW + 900) == []
    other = replace(stalled, instances=fleet("A ### B .", B0={"trouble": STUCK}))
    assert told(other, NOW + 901) == ["Blocked"], "it is stalled for its failure all the same"


def test_stall_of_a_repair_is_announced_on_its_transition() -> None:
    first = view("A ##.")
    assert told(first, NOW) == []
    late = seen(first, NOW)
    assert told(late, NOW + 600) == ["Stalled"]
    stalled = seen(late, NOW + 600)
    assert told(stalled, NOW + 900) == []
    other = replace(stalled, instances=fleet("A ##.", A2={"trouble": STUCK}))
    assert told(other, NOW + 901) == ["Stalled"]


def test_new_blocker_is_announced_unless_it_is_the_stall() -> None:
    forbids = refusal(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET)
    first = view("A ### B #", wanted="B", refusals=[forbids])
    (blocked_told,) = plan(first, NOW).announcements
    assert (blocked_told.reason, blocked_told.warning) == ("Blocked", True)
    assert blocked_told.message == f"PodDisruptionBudget: {advised(Cause.DISRUPTION_BUDGET, 'no')}"
    assert told(seen(first, NOW), NOW + 1) == []
    quota = refusal(Move.CREATE, "B0", Cause.QUOTA, revision="B")
    assert told(view("A ###", wanted="B", refusals=[quota]), NOW) == ["Stalled"]


def test_refused_spec_is_announced_once_for_each_generation() -> None:
    broken = replace(view("A ###"), spec=UNREADABLE, invalid="spec.x: no")
    (stalled,) = plan(broken, NOW).announcements
    assert stalled.reason == "Stalled"
    assert stalled.message.startswith("InvalidSpec: revision 1")
    assert stalled.message.endswith("3 of 3 instances are current and available; spec.x: no")
    known = replace(broken, prior=plan(broken, NOW).status or Status())
    assert told(known, NOW + 1) == []


def test_resumed_rollout_continues() -> None:
    paused = seen(view("A ### B #", wanted="B", suspend=True), NOW)
    assert moves(plan(paused, NOW)) == ""
    resumed = seen(paused, NOW + 50, spec={"suspend": False})
    assert moves(plan(resumed, NOW + 50)) == "retire A0"


def test_status_write_is_deferred_only_for_counts_and_wording() -> None:
    status = plan(view("A ##."), NOW).status
    assert status is not None
    [first, *others] = status.conditions
    blocked = Blocker("QuotaExceeded", "exceeded quota", NOW)
    later = replace(status, ready=9, available=9, current=9, oldest_instance=NOW)
    reworded = replace(status, conditions=(replace(first, message="other words"), *others))
    assert same_but_for_counts(status, later)
    assert same_but_for_counts(status, reworded)
    changes: list[dict[str, Any]] = [
        {"observed_generation": 9},
        {"desired": 9},
        {"current_revision": "00000000"},
        {"last_good_revision": "00000000"},
        {"blockers": (blocked,)},
        {"conditions": (replace(first, status="Unknown"), *others)},
        {"conditions": (replace(first, reason="Other"), *others)},
        {"deviations": (Deviation("web-1", "Tainted", "exec by jane"),)},
        {"rollout": None},
    ]
    for change in changes:
        assert not same_but_for_counts(status, replace(status, **change)), change


IGNORED = ("spec.regeneration.schedule: Mars/Olympus is no zone", "spec.regeneration.maxAge: soon")


@pytest.mark.parametrize("drawn", ["A ###", "A ##", "A ### B +"])
def test_unreadable_regeneration_is_reported_whatever_else_goes_on(drawn: str) -> None:
    """A service that is Ready does not regenerate, and nothing else shows it."""
    wanted = "B" if "B" in drawn else "A"
    good, given = (view(drawn, wanted=wanted, problems=p) for p in ((), IGNORED))
    status, undisturbed = (plan(g, NOW).status for g in (given, good))
    assert status
    assert undisturbed
    told = status.condition("RegenerationUnreadable")
    assert told is not None
    assert (told.status, told.reason) == ("True", "FieldIgnored")
    assert all(problem in told.message for problem in IGNORED)
    assert status.blockers == undisturbed.blockers, "nothing waits for it"
    for kind in ("Ready", "Reconciling", "Stalled"):
        assert status.condition(kind) == undisturbed.condition(kind)


def test_unreadable_regeneration_has_one_event_until_it_changes() -> None:
    given = view("A ###", problems=IGNORED[:1])
    [first] = plan(given, NOW).announcements
    assert (first.reason, first.warning) == ("RegenerationUnreadable", True)
    assert IGNORED[0] in first.message
    assert plan(seen(given, NOW), NOW + 1).announcements == ()
    [event] = plan(seen(given, NOW, spec={"problems": IGNORED}), NOW + 1).announcements
    assert IGNORED[1] in event.message
    assert first.key != event.key, "an operator that was restarted tells each of them once"
    corrected = plan(seen(given, NOW, spec={"problems": ()}), NOW + 1).status
    assert corrected
    assert corrected.condition("RegenerationUnreadable") is None


@pytest.mark.parametrize(
    ("drawn", "says"),
    [
        ("A ##.", ("True", "at least 2 of 3 instances are available")),
        ("A #..", ("False", "fewer than the required 2 of 3 instances are available")),
    ],
)
def test_available_says_how_many_are_required(drawn: str, says: tuple[str, str]) -> None:
    status = plan(view(drawn, max_unavailable=1), NOW).status
    assert status is not None
    available = status.condition("Available")
    assert available is not None
    assert (available.status, available.message) == says


def test_guarded_says_since_when() -> None:
    given = replace(view("A ###"), guard=Guard(holds=False, reason="Missing", message="no policy"))
    status = plan(given, NOW).status
    assert status is not None
    guarded = status.condition("Guarded")
    assert guarded is not None
    assert (guarded.status, guarded.since) == ("False", NOW)
    later = plan(replace(given, prior=status), NOW + 60).status
    assert later is not None
    assert later.condition("Guarded") == guarded
    # A new leader does not know it at once.
    unknown = plan(replace(given, prior=status, guard=None), NOW + 60).status
    assert unknown is not None
    assert unknown.condition("Guarded") == guarded


@pytest.mark.parametrize(("attempts", "told"), [(2, False), (3, True)])
def test_trouble_of_the_api_server_is_told_at_its_third_attempt(attempts: int, told: bool) -> None:
    busy = refusal(Move.CREATE, "A2", Cause.API_SERVER, attempts=attempts, revision="A")
    status = plan(view("A ##", refusals=[busy]), NOW).status
    assert status is not None
    assert [b.reason for b in status.blockers] == (["ApiServer"] if told else [])


def test_next_regeneration_is_told_while_nothing_is_due() -> None:
    status = plan(view("A ###", regeneration=Regeneration(max_age=86_400.0)), NOW).status
    assert status is not None
    assert status.next_regeneration is not None
    assert NOW < status.next_regeneration <= NOW + 86_400
    regenerating = status.condition("Regenerating")
    assert regenerating is not None
    assert (regenerating.status, regenerating.reason) == ("False", "NothingDue")
