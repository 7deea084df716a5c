"""When a revision has failed, when it is good, and which trouble proves neither.

B replaces A, 3 wanted; B began 100 s ago, and has 600 s for its progress. What follows from a
failure is in test_domain_rollback.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain import planner
from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.config.references import content_digest
from immutable_operator.domain.families.nodes import NODES
from immutable_operator.domain.model import (
    ABSENT,
    Cause,
    Change,
    ChangeKind,
    Evidence,
    Freeze,
    Move,
    OnAdmission,
    Phase,
    Pin,
    Plan,
    Retire,
    SetVerdict,
    Source,
    Status,
    Trouble,
    TroubleKind,
    Verdict,
    View,
)
from tests.unit.both_families import as_pool, plan
from tests.unit.given import (
    NOW,
    REVISIONS,
    begun,
    condition,
    fleet,
    moves,
    name_of,
    refusal,
    settled,
    template,
    verdict_of,
    view,
    with_verdict,
)
from tests.unit.given_nodes import machine

CRASHING = Trouble(TroubleKind.CRASH_LOOP, "container web keeps exiting with code 1")
STUCK = replace(CRASHING, settled=True)
PULLING = Trouble(TroubleKind.IMAGE_PULL, "image x cannot be pulled: timeout", since=NOW - 90)
ABSENT_IMAGE = replace(PULLING, message="image x cannot be pulled: not found", is_final=True)
CONFIG = Trouble(TroubleKind.CONTAINER_CONFIG, "CreateContainerConfigError: no", settled=True)
LOST_NODE = Trouble(TroubleKind.NODE_NOT_READY, "node n1 is not ready")
REBOOTED = Trouble(
    TroubleKind.NODE_RESTARTED, "container web was restarted because node n1 rebooted"
)
UNPLACED = Trouble(TroubleKind.UNSCHEDULABLE, "no node has a place for it")
NO_MACHINE = Trouble(TroubleKind.CAPACITY, "no machine of this type is left")
BOOTED_NOT = Trouble(TroubleKind.BOOT_TIMEOUT, "it was not verified within 600 s", settled=True)
READY_NEVER = replace(BOOTED_NOT, kind=TroubleKind.NEVER_READY)
SETTINGS = ("ConfigMap", "settings")


def absent(ago: float) -> dict[str, Any]:
    """An instance whose node began to pull a missing image ``ago`` seconds ago."""
    return {"trouble": replace(ABSENT_IMAGE, since=NOW - ago)}


def pinning(given: View) -> View:
    """The service reads a ConfigMap, of which B has a copy."""
    digest = content_digest({"is": "new"}, {})
    full = revision_hash(template("B"), config={SETTINGS: digest})
    pin = Pin("settings", "web-cfgB", digest)
    records = (
        replace(r, hash=full, config=(pin,)) if r.id == REVISIONS["B"].id else r
        for r in given.revisions
    )
    return replace(
        given,
        spec=replace(given.spec, pinned={SETTINGS: False}),
        revisions=tuple(records),
        configs={SETTINGS: Source(digest)},
        snapshots=frozenset({"web-cfgB"}),
    )


CAUSES: list[tuple[str, str, dict[str, dict[str, Any]], str]] = [
    # rule, fleet, changes, the reason of the failure ("": B goes on)
    (
        "a container that crashes again and again",
        "A ### B .",
        {"B0": {"trouble": STUCK}},
        STUCK.kind,
    ),
    ("that crashed once", "A ### B .", {"B0": {"trouble": CRASHING}}, ""),
    ("also beside others that work", "A # B ##.", {"B2": {"trouble": STUCK}}, STUCK.kind),
    ("in an instance of the predecessor", "A ##. B .", {"A2": {"trouble": STUCK}}, ""),
    ("in an instance that leaves", "A ### B -", {"B0": {"trouble": STUCK}}, ""),
    (
        "a container that may not run as its user",
        "A ### B .",
        {"B0": {"trouble": replace(CONFIG, is_final=True)}},
        CONFIG.kind,
    ),
    (
        "a key that is missing in the copy of a ConfigMap",
        "A ### B .",
        {"B0": {"trouble": replace(CONFIG, lacks="web-cfgB")}},
        CONFIG.kind,
    ),
    (
        "a Secret that is read live, and may be created yet",
        "A ### B .",
        {"B0": {"trouble": replace(CONFIG, lacks="db-password")}},
        "",
    ),
    ("an image that does not exist, after 20 s", "A ### B .", {"B0": absent(20)}, "ImageNotFound"),
    ("not before its second try", "A ### B .", {"B0": absent(19)}, ""),
    ("of each that tries", "A ## B ..", {"B0": absent(60), "B1": absent(20)}, "ImageNotFound"),
    ("also of the one that tried last", "A ## B ..", {"B0": absent(60), "B1": absent(9)}, ""),
    ("one that has it proves that it exists", "A ## B #.", {"B1": absent(60)}, ""),
    (
        "of another one the registry did not answer",
        "A ## B ..",
        {"B0": absent(60), "B1": {"trouble": PULLING}},
        "",
    ),
    (
        "a registry that does not answer, or denies it",
        "A ### B .",
        {"B0": {"trouble": PULLING}},
        "",
    ),
    ("a node that is lost", "A ### B .", {"B0": {"trouble": LOST_NODE}}, ""),
    ("no place on any node", "A ### B .", {"B0": {"trouble": UNPLACED}}, ""),
]


@pytest.mark.parametrize(("rule", "drawn", "changes", "reason"), CAUSES, ids=[c[0] for c in CAUSES])
def test_trouble_of_pods_fails_their_revision(
    rule: str, drawn: str, changes: dict[str, dict[str, Any]], reason: str
) -> None:
    given = pinning(view(instances=fleet(drawn, **changes), wanted="B"))
    decided = planner.plan(given, NOW)
    assert verdict_of(settled(given, NOW), "B").reason == reason, rule
    if reason:
        assert moves(decided, marks=True) == "mark B=Failed", "nothing else, and no status"
        assert decided.status is None


def test_secret_that_is_missing_is_a_blocker() -> None:
    """It is read live and may be created yet: people see what is wrong, and the deadline counts."""
    lacks = {"trouble": replace(CONFIG, lacks="db-password")}
    given = settled(view(instances=fleet("A ### B .", B0=lacks), wanted="B"), NOW)
    assert condition(given.prior) == "Stalled ContainerConfig"
    assert [b.subject for b in given.prior.blockers] == [name_of("B0")]


def test_evidence_names_the_instance_and_what_was_seen() -> None:
    crash = fleet("A ## B ..", B0={"trouble": CRASHING}, B1={"trouble": STUCK})
    given = view(instances=crash, wanted="B")
    verdict = verdict_of(settled(given, NOW), "B")
    assert verdict.message == f"{name_of('B1')}: {STUCK.message}"
    assert (verdict.failed, verdict.fallback) == (NOW, REVISIONS["A"].id)
    [told] = planner.plan(given, NOW).announcements
    assert (told.reason, told.warning) == ("RevisionFailed", True)
    a, b = REVISIONS["A"].id, REVISIONS["B"].id
    assert told.message == (
        f"revision 2 ({b}) failed: CrashLoop: {verdict.message}; going back to revision 1 ({a})"
    )


def test_image_that_does_not_exist_is_judged_at_its_second_try() -> None:
    given = view(instances=fleet("A ### B .", B0=absent(5)), wanted="B")
    assert planner.plan(given, NOW).due == NOW + 15
    unknown = {"trouble": replace(ABSENT_IMAGE, since=None), "born": NOW - 20}
    given = view(instances=fleet("A ### B .", B0=unknown), wanted="B")
    assert verdict_of(settled(given, NOW), "B").reason == "ImageNotFound", "counted from its birth"


NODE_CAUSES: list[tuple[str, dict[str, Any], str]] = [
    ("one machine may be broken", {"trouble": BOOTED_NOT}, ""),
    ("two in a row are not", {"trouble": BOOTED_NOT, "tries": 1}, BOOTED_NOT.kind),
    ("nor two that booted", {"trouble": READY_NEVER, "tries": 1}, READY_NEVER.kind),
    ("a provider without machines", {"trouble": NO_MACHINE, "tries": 3}, ""),
]


def plan_nodes(given: View, now: float) -> Plan:
    return planner.plan(given, now, family=NODES)


@pytest.mark.parametrize(("rule", "change", "reason"), NODE_CAUSES, ids=[c[0] for c in NODE_CAUSES])
def test_trouble_of_nodes_fails_their_revision(
    rule: str, change: dict[str, Any], reason: str
) -> None:
    pool = as_pool(view(instances=fleet("A ### B x"), wanted="B"), NOW)
    assert pool is not None
    *others, last = pool.instances
    pool = replace(pool, instances=(*others, replace(last, **change)))
    assert verdict_of(settled(pool, NOW, plan_nodes), "B").reason == reason, rule


def test_deadline_stands_still_while_a_provider_has_no_machines() -> None:
    """Each claim vanishes until the next try; the revision is not the cause."""
    pool = as_pool(view(instances=fleet("A ### B ."), wanted="B"), NOW)
    assert pool is not None
    *others, last = pool.instances
    assert last.machine is not None
    machine = replace(last.machine, verified=None)
    for trouble, reason in ((NO_MACHINE, ""), (None, "ProgressDeadlineExceeded")):
        lost = replace(last, machine=machine, trouble=trouble, tries=9, born=NOW - 1)
        given = replace(pool, instances=tuple(others), departed=(lost,))
        later = NOW + given.spec.progress_deadline_seconds * 3
        found = settled(settled(given, NOW, plan_nodes), later, plan_nodes)
        assert verdict_of(found, "B").reason == reason


def test_last_good_revision_does_not_fail() -> None:
    """It worked: what ends its instances now is no rollout, and there is nothing to go back to."""
    stuck = fleet("B ##.", B2={"trouble": STUCK})
    given = settled(view(instances=stuck, wanted="B", good="B"), NOW)
    assert verdict_of(given, "B").phase is Phase.GOOD
    assert condition(given.prior) == "Stalled CrashLoop"


def test_superseded_revision_does_not_fail() -> None:
    stuck = fleet("A ### B .", B0={"trouble": STUCK})
    given = settled(view(instances=stuck, wanted="C"), NOW)
    assert verdict_of(given, "B").phase is Phase.SUPERSEDED


# The progress deadline: what stops its clock, and that this goes on exactly once.

Happening = Callable[[View], View]


def failed_after(
    given: View,
    happens: Mapping[float, Happening],
    *,
    forgetful: bool = False,
    planned: Callable[[View, float], Plan] = plan,
) -> float | None:
    """Return after how many seconds B fails, with what ``happens`` meanwhile; None if never.

    The plans are made when they are due. ``forgetful``: each by another operator, which knows
    nothing but the records.
    """
    at: float | None = 0.0
    while at is not None:
        change = happens.get(at)
        given = settled(change(given) if change else given, NOW + at, planned)
        if verdict_of(given, "B").is_failed:
            return at
        given = replace(given, prior=Status()) if forgetful else given
        due = planned(given, NOW + at).due
        later = [t for t in happens if t > at]
        at = min([*later, *([due - NOW] if due else [])], default=None)
        assert at is None or at < 50_000, "it is due for ever"
    return None


def _with(**changes: Any) -> Happening:
    return lambda given: replace(given, **changes)


def _spec(**changes: Any) -> Happening:
    return lambda given: replace(given, spec=replace(given.spec, **changes))


def _without_config(given: View) -> View:
    spec = replace(given.spec, pinned={SETTINGS: False})
    return replace(given, spec=spec, configs={SETTINGS: Source(ABSENT)})


def _refused(move: Move, subject: str, cause: Cause, **more: Any) -> Happening:
    return _with(refusals=(refusal(move, subject, cause, wait=1e6, **more),))


CLOSED = Freeze("closing", "the quarter ends")
PAUSES: list[tuple[str, Happening, Happening]] = [
    ("a quota", _refused(Move.CREATE, "B1", Cause.QUOTA, revision="B"), _with(refusals=())),
    (
        "a PodDisruptionBudget",
        _refused(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET),
        _with(refusals=()),
    ),
    (
        "a namespace that is terminating",
        _refused(Move.CREATE, "B1", Cause.NAMESPACE_TERMINATING, revision="B"),
        _with(refusals=()),
    ),
    ("a freeze", _with(freezes=(CLOSED,)), _with(freezes=())),
    ("suspension", _spec(suspend=True), _spec(suspend=False)),
    ("a ConfigMap that is missing", _without_config, _spec(pinned={})),
    ("a spec that cannot be read", _spec(template=None), _spec(template=template("B"))),
]
FORGETFUL = pytest.mark.parametrize("forgetful", [False, True], ids=["", "another operator"])


def rollout(drawn: str = "A ### B .", **changes: dict[str, Any]) -> View:
    """A rollout that begins now, of an instance that hangs."""
    given = view(instances=fleet(drawn, **changes), wanted="B")
    return with_verdict(given, "B", replace(begun("B").verdict, started=NOW, progressed=NOW))


@pytest.mark.parametrize(
    "drawn", ["A ### B .", "A # B ###"], ids=["one lacks", "an old one is left"]
)
def test_rollout_that_a_budget_delays_is_reported_at_its_deadline_and_does_not_fail(
    drawn: str,
) -> None:
    held = _refused(Move.RETIRE, "A0", Cause.DISRUPTION_BUDGET)(rollout(drawn))
    before = settled(held, NOW + 599)
    assert condition(before.prior) == "Reconciling Replacing"
    late = settled(held, NOW + 600)
    assert condition(late.prior) == "Stalled ProgressDeadlineExceeded"
    assert not verdict_of(late, "B").is_failed


def test_deadline_of_a_rollout_without_noted_progress_begins_at_the_first_plan() -> None:
    """As an older version of the operator recorded it: it may have stood still in between."""
    old = replace(begun("B").verdict, started=NOW - 3000, progressed=None)
    given = with_verdict(rollout(), "B", old)
    [mark] = [a for a in plan(given, NOW).actions if isinstance(a, SetVerdict)]
    assert mark.verdict == replace(old, progressed=NOW)
    assert failed_after(given, {}) == 600


@FORGETFUL
@pytest.mark.parametrize(("rule", "begins", "ends"), PAUSES, ids=[p[0] for p in PAUSES])
def test_clock_of_the_deadline_stands_still_and_goes_on_once(
    rule: str, begins: Happening, ends: Happening, forgetful: bool
) -> None:
    assert failed_after(rollout(), {}, forgetful=forgetful) == 600
    happens = {300.0: begins, 5000.0: ends}
    assert failed_after(rollout(), happens, forgetful=forgetful) == 5300, rule
    twice = happens | {5100.0: begins, 9000.0: ends}
    assert failed_after(rollout(), twice, forgetful=forgetful) == 9200, rule
    assert failed_after(rollout(), {300.0: begins}, forgetful=forgetful) is None, rule


@FORGETFUL
@pytest.mark.parametrize("trouble", [LOST_NODE, REBOOTED], ids=lambda t: t.kind)
def test_lost_nodes_stop_the_clock_of_pods(trouble: Trouble, forgetful: bool) -> None:
    lost = _with(instances=fleet("A ### B .", B0={"trouble": trouble}))
    happens: dict[float, Happening] = {300.0: lost, 5000.0: _with(instances=fleet("A ### B ."))}
    at = failed_after(rollout(), happens, forgetful=forgetful, planned=planner.plan)
    assert at == 5300


@FORGETFUL
def test_short_pause_counts_as_it_is_not_written(forgetful: bool) -> None:
    """Within the first quarter of the deadline nothing is written, so that rollouts stay cheap."""
    short: dict[float, Happening] = {10.0: _with(freezes=(CLOSED,)), 140.0: _with(freezes=())}
    assert failed_after(rollout(), short, forgetful=forgetful) == 600
    longer: dict[float, Happening] = {10.0: _with(freezes=(CLOSED,)), 1140.0: _with(freezes=())}
    assert failed_after(rollout(), longer, forgetful=forgetful) == 600 + 1140 - 150


@pytest.mark.parametrize("cause", [Cause.TEMPLATE, Cause.ADMISSION, Cause.CHANGED], ids=str)
def test_refused_template_counts_towards_the_deadline(cause: Cause) -> None:
    refused = _refused(Move.CREATE, "B0", cause, revision="B", message="a policy forbids it")
    given = refused(rollout("A ###"))
    assert failed_after(given, {}) == 600
    failed = settled(given, NOW + 600)
    assert verdict_of(failed, "B").message == "no progress for 600 s; a policy forbids it"


@FORGETFUL
def test_revision_whose_pods_admission_changes_fails_at_its_deadline_and_names_the_field(
    forgetful: bool,
) -> None:
    """Refused pods come and go in vain; an operator that just started knows of no refusal."""
    proxy = (Change("spec.containers[web].env[HTTP_PROXY]", ChangeKind.ADDED, "1" * 16),)
    given = _spec(admission=OnAdmission.REFUSE)(rollout())
    given = replace(given, evidence=Evidence(admission={"uid-B0": proxy}))
    came, gone = _with(instances=fleet("A ### B .")), _with(instances=fleet("A ###"))
    happens = {20.0 * n: gone if n % 2 else came for n in range(1, 40)}
    at = failed_after(given, happens, forgetful=forgetful, planned=planner.plan)
    assert at == 600
    seen = settled(came(given), NOW + 600, planner.plan)
    verdict = verdict_of(seen, "B")
    assert verdict.reason == "ProgressDeadlineExceeded"
    assert "spec.containers[web].env[HTTP_PROXY] added" in verdict.message
    assert verdict.fallback == REVISIONS["A"].id


def test_deadline_tells_the_trouble_that_was_seen_last() -> None:
    given = settled(rollout(B0={"trouble": UNPLACED}), NOW + 600)
    verdict = verdict_of(given, "B")
    assert verdict.reason == "ProgressDeadlineExceeded"
    assert verdict.message == f"no progress for 600 s; {name_of('B0')}: {UNPLACED.message}"


@FORGETFUL
def test_instance_that_flaps_for_days_does_not_put_off_the_deadline(forgetful: bool) -> None:
    up, down = fleet("A ### B #"), fleet("A ### B .")
    happens = {100.0 * n: _with(instances=up if n % 2 else down) for n in range(1, 300)}
    at = failed_after(rollout(), happens, forgetful=forgetful)
    assert at is not None
    assert 600 <= at <= 900, "the first time counts, within a quarter of the deadline"


def test_modified_predecessor_does_not_stop_the_clock() -> None:
    given = rollout(A0={"taint": "exec by jane", "born": NOW})
    assert failed_after(given, {}) == 600


def test_each_new_instance_has_the_whole_deadline() -> None:
    """Progress is the highest number of available instances, not a total time."""
    more = [fleet("A ### B .", B0={}), *(fleet(f"A ## B {'#' * n}.") for n in (1, 2))]
    happens: dict[float, Happening] = {}
    for n, instances in enumerate(more[1:], 1):
        at = 500.0 * n
        fresh = tuple(
            replace(i, ready_since=NOW + at - 10) if i.ready_since and i.slot == n - 1 else i
            for i in instances
        )
        happens[at] = _with(instances=fresh)
    assert failed_after(rollout(), happens) == 1600


# The bake.


def baking(drawn: str = "B ###", ago: float = 50, **more: Any) -> View:
    """A revision whose instances were all available ``ago`` seconds ago; it bakes 100 s."""
    changes = more.pop("changes", {})
    given = view(instances=fleet(drawn, **changes), wanted="B", bake_seconds=100, **more)
    return with_verdict(given, "B", replace(begun("B").verdict, baking=NOW - ago, most_available=3))


def test_bake_begins_when_all_are_available_and_ends_after_its_time() -> None:
    given = view("B ###", wanted="B", bake_seconds=100)
    begins = settled(given, NOW, plan)
    assert verdict_of(begins, "B").phase is Phase.PROGRESSING
    assert verdict_of(begins, "B").baking == NOW
    assert condition(begins.prior) == "Reconciling Baking"
    assert plan(settled(begins, NOW + 99, plan), NOW + 99).due == NOW + 100
    assert verdict_of(settled(begins, NOW + 99, plan), "B").phase is Phase.PROGRESSING
    over = settled(replace(begins, prior=Status()), NOW + 100, plan)
    assert verdict_of(over, "B").phase is Phase.GOOD
    assert condition(over.prior) == "Ready Current"


BAKES: list[tuple[str, str, dict[str, Any], str]] = [
    # rule, fleet (3 wanted, 50 s of 100 s baked), changes, the reason of the failure
    ("all is well", "B ###", {}, ""),
    ("one crashes", "B ##.", {"changes": {"B2": {"trouble": CRASHING}}}, "FailedWhileBaking"),
    (
        "also where one may be unavailable",
        "B ##.",
        {"changes": {"B2": {"trouble": CRASHING}}, "max_unavailable": 1},
        "FailedWhileBaking",
    ),
    ("fewer are available than must be", "B ##.", {}, "FailedWhileBaking"),
    ("one is not ready, and may be unavailable", "B ##.", {"max_unavailable": 1}, ""),
    ("two are not", "B #..", {"max_unavailable": 1}, "FailedWhileBaking"),
    ("a node is lost", "B ##.", {"changes": {"B2": {"trouble": LOST_NODE}}}, ""),
    ("a node rebooted", "B ##.", {"changes": {"B2": {"trouble": REBOOTED}}}, ""),
    ("an instance was deleted", "B ##", {}, ""),
    ("its successor is not ready yet", "B ##.", {"changes": {"B2": {"born": NOW - 5}}}, ""),
    (
        "one was born when the bake began",
        "B ##.",
        {"changes": {"B2": {"born": NOW - 50}}},
        "FailedWhileBaking",
    ),
    (
        "its successor crashes once",
        "B ##.",
        {"changes": {"B2": {"born": NOW - 5, "trouble": CRASHING}}},
        "",
    ),
    (
        "its successor crashes again and again",
        "B ##.",
        {"changes": {"B2": {"born": NOW - 5, "trouble": STUCK}}},
        "CrashLoop",
    ),
]


@pytest.mark.parametrize(("rule", "drawn", "more", "reason"), BAKES, ids=[b[0] for b in BAKES])
def test_revision_fails_while_it_bakes(
    rule: str, drawn: str, more: dict[str, Any], reason: str
) -> None:
    assert verdict_of(settled(baking(drawn, **more), NOW), "B").reason == reason, rule


def test_crash_after_the_bake_fails_nothing() -> None:
    good = settled(baking(ago=100), NOW)
    assert verdict_of(good, "B").phase is Phase.GOOD
    later = replace(good, instances=fleet("B ##.", B2={"trouble": STUCK}))
    assert verdict_of(settled(later, NOW + 1), "B").phase is Phase.GOOD


def test_bake_longer_than_the_deadline_ends_well() -> None:
    given = replace(baking(ago=0), spec=replace(baking().spec, bake_seconds=9000))
    for at in (500, 700, 5000):
        given = settled(given, NOW + at, plan)
        assert verdict_of(given, "B").phase is Phase.PROGRESSING
    assert verdict_of(settled(given, NOW + 9000, plan), "B").phase is Phase.GOOD


# The write.


def test_plan_that_fails_a_revision_does_nothing_else() -> None:
    """The next plan has another target; what was wanted a moment ago is not done any more."""
    given = rollout("A ##x B ..", B1={"trouble": STUCK})
    decided = planner.plan(given, NOW)
    assert [type(a) for a in decided.actions] == [SetVerdict]
    assert decided.status is None


def test_refused_verdict_is_tried_again_and_then_announced() -> None:
    given = rollout(B0={"trouble": STUCK})
    record = next(r for r in given.revisions if r.id == REVISIONS["B"].id)
    held = replace(given, refusals=(refusal(Move.VERDICT, record.name, Cause.API_SERVER, wait=5),))
    waits = planner.plan(held, NOW)
    assert not [a for a in waits.actions if isinstance(a, SetVerdict | Retire)]
    assert waits.due == NOW + 5
    assert "RevisionFailed" not in told(waits)
    again = planner.plan(held, NOW + 5)
    assert told(again) == ["RevisionFailed"]


def test_failure_is_announced_once_even_if_the_record_is_written_again() -> None:
    given = rollout("B .", B0={"trouble": STUCK})
    given = replace(given, revisions=given.revisions[1:])
    assert told(planner.plan(given, NOW)) == ["RevisionFailed"]
    kept = settled(given, NOW)
    none = replace(kept, spec=replace(kept.spec, replicas=0), instances=())
    assert moves(planner.plan(none, NOW + 1), marks=True) == "mark B=Failed", "the number is noted"
    assert told(planner.plan(none, NOW + 1)) == []


def told(decided: Plan) -> list[str]:
    """The reasons of the events."""
    return [a.reason for a in decided.announcements]


@pytest.mark.parametrize(
    ("smoke", "needs"),
    [("Running", ": its smoke pod has not ended"), ("Succeeded", ""), ("", "")],
)
def test_deadline_tells_that_a_smoke_pod_does_not_end(smoke: str, needs: str) -> None:
    given = rollout(B0={"machine": machine(".", lacks=(), smoke=smoke)})
    told = f"; {name_of('B0')}{needs}" if needs else ""
    assert verdict_of(settled(given, NOW + 600), "B").message == f"no progress for 600 s{told}"


@pytest.mark.parametrize("mark", [".", "x"])
def test_deadline_tells_what_a_new_node_still_needs(mark: str) -> None:
    """A node is given up at the same deadline: it has ended, or it has not yet."""
    lacks = ("DaemonSet monitoring/agent has no ready pod on node node-B0",)
    new = machine(".", lacks=lacks)
    given = rollout(B0={"machine": new, "ended": mark == "x"})
    verdict = verdict_of(settled(given, NOW + 600), "B")
    assert verdict.message == f"no progress for 600 s; {name_of('B0')}: {lacks[0]}"


def test_suspended_service_fails_no_revision() -> None:
    stuck = rollout(B0={"trouble": STUCK})
    assert verdict_of(settled(stuck, NOW), "B").is_failed
    held = replace(stuck, spec=replace(stuck.spec, suspend=True))
    assert not verdict_of(settled(held, NOW), "B").is_failed


def test_rollout_begins_after_all_others_though_the_clock_was_set_back() -> None:
    given = view("A ###", wanted="B")
    given = with_verdict(given, "A", replace(verdict_of(given, "A"), started=NOW + 500))
    given = with_verdict(given, "B", Verdict(number_floor=2))
    begun_at = verdict_of(settled(given, NOW), "B").started
    assert begun_at is not None
    assert begun_at > NOW + 500


def test_deadline_tells_the_trouble_of_now_before_that_of_an_instance_that_ended() -> None:
    gone = {"ended": True, "trouble": Trouble(TroubleKind.ENDED, "it ended (Failed)")}
    given = rollout("A ### B ..", B0=gone, B1={"trouble": UNPLACED})
    verdict = verdict_of(settled(given, NOW + 600), "B")
    assert verdict.message == f"no progress for 600 s; {name_of('B1')}: {UNPLACED.message}"
