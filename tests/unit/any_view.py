"""Hypothesis strategies: any view that a planner may be given, however odd.

A fleet is drawn as in `tests.unit.given`, by one text for each revision, and then made odd in a
few places: few draws make for fast tests, and a failing example shrinks to a short drawing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.calendar.windows import Cron, Window
from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.config.references import content_digest
from immutable_operator.domain.model import (
    ABSENT,
    AwaitCheck,
    Because,
    Blocker,
    BlueGreen,
    Canary,
    Cause,
    Check,
    CheckPhase,
    CheckRecord,
    CheckResult,
    Command,
    Condition,
    ConfigKey,
    DisruptionBudget,
    Finding,
    Freeze,
    HttpQuestion,
    HttpRoute,
    Instance,
    Move,
    NodeEnd,
    OnFailure,
    OnInconclusive,
    OnTaint,
    Pause,
    Phase,
    Pin,
    Port,
    Reason,
    Refusal,
    Request,
    Revision,
    Rollout,
    Route,
    RouteLack,
    RouteRef,
    SetReplicas,
    SetRoute,
    SetWeight,
    Source,
    Spec,
    Status,
    Traffic,
    Trouble,
    TroubleKind,
    Verdict,
    View,
)
from immutable_operator.domain.routing import route_as_set
from tests.unit.given import NOW, REVISIONS, SERVICE, UID, fleet, name_of, template

__all__ = ["any_view"]

LETTERS = "ABCD"
_LETTERS = {REVISIONS[letter].id: letter for letter in LETTERS}
IDS = [REVISIONS[letter].id for letter in LETTERS]
MOMENTS = [NOW - 2000, NOW - 100, NOW - 10, NOW - 9.5, NOW - 1, NOW, NOW + 2]
LIMITS: list[int | str] = [0, 0, 1, 1, 2, 5, "0%", "10%", "25%", "50%", "100%", "150%"]
STUCK = Trouble(TroubleKind.CRASH_LOOP, "container web keeps exiting", settled=True)
UNPLACED = Trouble(TroubleKind.UNSCHEDULABLE, "no node has a place for it")
PULLING = Trouble(TroubleKind.IMAGE_PULL, "image cannot be pulled")
NO_IMAGE = Trouble(TroubleKind.IMAGE_PULL, "not found", since=NOW - 90, is_final=True)
NO_NODE = Trouble(TroubleKind.NODE_NOT_READY, "its node is not ready")
ODDITIES: list[dict[str, Any]] = [
    {"slot": 0},
    {"slot": 7},
    {"incarnation": 1},
    {"incarnation": 20, "tries": 20, "born": NOW - 1},
    {"incarnation": -(10**30), "tries": -(10**30)},
    {"node": None, "deletion_cost": -1},
    {"node": "n2", "deletion_cost": 1},
    {"node": "n2"},
    {"node": "n2", "because": Because(Reason.EVACUATING, "node n1 is being deleted")},
    {"born": NOW - 9000},
    {"born": NOW + 2, "ready_since": NOW + 2},
    {"trouble": STUCK},
    {"trouble": PULLING},
    {"trouble": NO_IMAGE, "ready_since": None},
    {"trouble": NO_NODE, "ready_since": None},
    {"trouble": UNPLACED},
    {
        "replaces": name_of("A0"),
        "because": Because(Reason.EXPIRED, "it was old"),
        "purpose": "slot/1800000000",
    },
    {"because": Because(Reason.REQUESTED, "by jane"), "purpose": "request/r1"},
    {"terminating": True},
    {"ended": True},
    {"revision": "ffffffff"},
    {"revision": ""},
    {"replaces": "gone"},
    {"replaces": name_of("A0")},
    {"replaces": name_of("A1")},
    {"replaces": name_of("B0")},
    {"taint": "exec by jane"},
    {"taint": "exec by jane", "heals": 1, "born": NOW - 20},
    {"taint": "exec by jane", "heals": 2, "born": NOW - 600},
    {"taint": "exec by jane", "heals": 9, "born": NOW - 9000},
    {"generation": 3, "editor": "kubectl-edit"},
    {"generation": 1},
    {"images": (("web", "registry.example/other@sha256:" + "e" * 64),)},
    {"restarted": "web"},
    {"taint": "exec by jane", "quarantined": NOW - 10},
    {"taint": "exec by jane", "quarantined": NOW - 9000},
]

ENDS: list[dict[str, NodeEnd]] = [
    *({}, {}, {}),
    {"n1": NodeEnd(NOW - 5, "has the taint karpenter.sh/disrupted")},
    {"n2": NodeEnd(NOW - 5, "has the taint karpenter.sh/disrupted")},
    {"n2": NodeEnd(NOW - 8000, "is being deleted")},
    {"n1": NodeEnd(NOW - 5, "is cordoned", announced=False)},
    {
        "n2": NodeEnd(NOW - 5, "is cordoned", announced=False),
        "n1": NodeEnd(NOW, "is being deleted"),
    },
]
BUDGETS: list[tuple[DisruptionBudget, ...]] = [
    *((), ()),
    (DisruptionBudget("own", "own", 3, is_own=True),),
    (DisruptionBudget("mine", "mine", 1),),
    (DisruptionBudget("mine", "mine"), DisruptionBudget("own", "own", None, is_own=True)),
]
HTTP = Traffic((Port(80, 8080),))
OWN_ROUTE = route_as_set(SetRoute(SERVICE, "", HTTP))
PREVIEW = f"{SERVICE}-preview"
WAYS = [
    BlueGreen(),
    BlueGreen(keep_for=3000.0),
    BlueGreen(is_auto=True),
    BlueGreen(is_auto=True, promote_after=50.0, preview_replicas=1, keep_for=10.0),
    BlueGreen(preview_replicas=2),
]
STEPS = [
    Canary((SetWeight(20), Pause())),
    Canary((SetReplicas(1), AwaitCheck("up"), SetWeight(50), Pause(60.0))),
    Canary((SetWeight(100), Pause(10.0), SetReplicas("50%"), Pause())),
]
ROUTES: list[tuple[Route, ...]] = [
    *((), (), (OWN_ROUTE,)),
    (replace(OWN_ROUTE, revision=None, editor="kubectl-edit"),),
    (replace(OWN_ROUTE, is_leaving=True),),
    (route_as_set(SetRoute(SERVICE, IDS[0], HTTP)),),
    (Route(SERVICE, "foreign"),),
    (OWN_ROUTE, route_as_set(SetRoute(PREVIEW, IDS[1], HTTP))),
    (OWN_ROUTE, Route(PREVIEW, "foreign")),
]
HTTP_ROUTE = HttpRoute(SERVICE, "shop", "route", 7, rules=1, percent=0, is_observed=True)
HTTP_ROUTES: list[HttpRoute | None] = [
    None,
    HTTP_ROUTE,
    replace(HTTP_ROUTE, percent=20, sends=True),
    replace(HTTP_ROUTE, percent=20, sends=True, is_observed=False),
    replace(HTTP_ROUTE, percent=None, sends=True, editor="kubectl-edit", rules=2),
    replace(HTTP_ROUTE, percent=50, sends=True, refused="a backend does not exist"),
    replace(HTTP_ROUTE, rules=0),
    replace(HTTP_ROUTE, percent=20, sends=True, lack=RouteLack.UNGRANTED),
    *(HttpRoute(SERVICE, "shop", lack=lack) for lack in RouteLack),
]
CLOSED = Window(Cron("0 0 1 1 *", "UTC"), 60.0)
REGENERATIONS = [
    Regeneration(),
    Regeneration(),
    Regeneration(),
    Regeneration(max_age=100.0),
    Regeneration(max_age=5100.0, max_concurrent=3),
    Regeneration(max_age=1000.0, windows=(CLOSED,)),
    Regeneration(max_age=1000.0, hard_max_age=2500.0, windows=(CLOSED,), max_concurrent=2),
    Regeneration(schedule=Cron("* * * * *", "UTC")),
]
REQUESTS: list[tuple[Request, ...]] = [
    (),
    (),
    (Request("all", "r1", NOW, "jane"),),
    (Request("one", "r2", NOW, "jane", instance=name_of("B0"), phase="Running"),),
    (Request("urgent", "r3", NOW - 4000, "jane", override_freeze=True),),
    (Request("back", "c1", NOW - 9, "jane", command=Command.ROLL_BACK),),
    (
        Request("to-c", "c2", NOW - 9, "jane", command=Command.ROLL_BACK, revision=IDS[2]),
        Request("again", "c3", NOW - 5, "jane", command=Command.RESUME, override_freeze=True),
    ),
    (Request("promote", "c1", NOW - 9, "jane", command=Command.PROMOTE),),
    (Request("now", "c2", NOW - 9, "jane", command=Command.PROMOTE, override_freeze=True),),
    (Request("abort", "c2", NOW - 9, "jane", command=Command.ABORT),),
    (Request("retry", "c3", NOW - 5, "jane", command=Command.RETRY),),
    (
        Request("known", "c1", NOW - 9, "jane", command=Command.RETRY, phase="Running"),
        Request("waits", "c2", NOW - 8, "jane", command=Command.ROLL_BACK, phase="Pending"),
    ),
]
FREEZES: list[tuple[Freeze, ...]] = [
    (),
    (),
    (),
    (Freeze("all", "closing", ends=NOW + 600),),
    (Freeze("later", "closing", begins=NOW + 600, ends=NOW + 900),),
    (Freeze("over", "closing", ends=NOW - 1),),
    (Freeze("strict", "closing", ends=NOW + 60, repairs=True),),
    (
        Freeze("strict", "closing", ends=NOW + 60, repairs=True),
        Freeze("longer", "closing", ends=NOW + 600),
    ),
    (Freeze("nights", "closing", windows=(CLOSED,)),),
]

UP = Check("up", HttpQuestion(url="http://web/healthz", status=200))
WAITS = replace(UP, on_inconclusive=OnInconclusive.WAIT)
OTHER = replace(UP, name="other", count=2)
ONCE = CheckResult(NOW - 10, Finding.PASSED, "status 200")
CHECKED: list[tuple[CheckRecord, ...]] = [
    (CheckRecord("up", CheckPhase.PASSED, NOW - 10, 1, 1, results=(ONCE,)),),
    (CheckRecord("up", CheckPhase.FAILED, NOW - 10, 1, 0, 1),),
    (CheckRecord("up", CheckPhase.WAITING, NOW - 90, 7, 0, 0, 7, results=(ONCE,)),),
    (CheckRecord("other", CheckPhase.RUNNING, NOW, 1, 1), CheckRecord("gone", measured=3)),
]
moments = st.sampled_from(MOMENTS)
some_specs = st.builds(
    Spec,
    template=st.sampled_from([template(letter) for letter in "BBCAD"]),
    replicas=st.sampled_from([3, 2, 1, 4, 5, 0, 8, None]),
    max_surge=st.sampled_from(LIMITS),
    max_unavailable=st.sampled_from(LIMITS),
    min_ready_seconds=st.sampled_from([10, 0]),
    progress_deadline_seconds=st.sampled_from([600, 30]),
    on_failure=st.sampled_from([*[OnFailure.ROLL_BACK] * 3, OnFailure.HOLD]),
    bake_seconds=st.sampled_from([0, 0, 0, 60]),
    checks=st.sampled_from([(), (), (UP,), (WAITS,), (UP, OTHER)]),
    history_limit=st.integers(1, 3),
    suspend=st.sampled_from([False] * 14 + [True]),
    counts_terminating=st.sampled_from([False, False, True]),
    drain_protection=st.sampled_from([False, True]),
    on_taint=st.sampled_from([OnTaint.REPLACE, OnTaint.QUARANTINE, OnTaint.REPORT]),
    replace_restarted=st.sampled_from([False, True]),
    regeneration=st.sampled_from(REGENERATIONS),
    traffic=st.sampled_from([None, None, HTTP]),
    blue_green=st.sampled_from([None, None, *WAYS]),
    canary=st.sampled_from([None, None, *STEPS]),
)
# What is known of the one ConfigMap that templates may read, where they do; None: it is being read.
OLD, NEW = content_digest({"is": "old"}, {}), content_digest({"is": "new"}, {})
SETTINGS = ("ConfigMap", "settings")
PINNED: list[dict[ConfigKey, bool]] = [{}, {}, {}, {SETTINGS: False}, {SETTINGS: True}]
SOURCES = [
    *(Source(OLD), Source(OLD), Source(NEW), Source(ABSENT)),
    *(Source(None, "no answer"), None),
]


def _with_config(letter: str, digest: str) -> Revision:
    """The revision under its own id, as if the template had read the ConfigMap."""
    full = revision_hash(template(letter), config={SETTINGS: digest})
    pin = Pin("settings", f"web-cfg{letter}", digest)
    return replace(REVISIONS[letter], hash=full, config=(pin,))


some_digests = st.sampled_from([OLD, OLD, NEW, ABSENT])
drawings = st.tuples(*[st.text("#+.x-", max_size=5)] * 3)
oddities = st.lists(st.tuples(st.integers(0, 15), st.sampled_from(ODDITIES)), max_size=4)


def _fleet(texts: tuple[str, ...], odd: list[tuple[int, dict[str, Any]]]) -> list[Instance]:
    drawn = " ".join(
        f"{letter} {marks}" for letter, marks in zip("ABC", texts, strict=True) if marks
    )
    instances = list(fleet(drawn))
    for index, change in odd:
        if instances:
            index %= len(instances)
            instances[index] = replace(instances[index], **change)
    return instances


BIRTHS = [name_of(f"{letter}{slot}") for letter in "BCA" for slot in range(3)]
some_refusals = st.lists(
    st.tuples(
        st.sampled_from([Move.RETIRE, Move.RETIRE, Move.CREATE, Move.RECORD, Move.ROUTE]),
        st.integers(0, 15),
        st.sampled_from(list(Cause)),
        st.sampled_from(["exceeded quota", "no"]),
        moments,
        st.sampled_from([NOW + 3, NOW + 3, NOW + 40, NOW, NOW - 5]),
        st.integers(1, 3),
        st.sampled_from(["B", "C", "A"]),
    ),
    max_size=3,
)


def _refusals(drawn: list[tuple[Any, ...]], instances: list[Instance]) -> tuple[Refusal, ...]:
    """At most one a move and subject, as `runtime.refusals` keeps them."""
    made = {}
    for move, pick, cause, message, since, retry_at, attempts, letter in drawn:
        subjects = {
            Move.RETIRE: [*(i.name for i in instances), "gone"],
            Move.CREATE: BIRTHS,
            Move.RECORD: IDS,
            Move.ROUTE: [SERVICE, PREVIEW],
        }[move]
        subject = subjects[pick % len(subjects)]
        of = REVISIONS[letter].id if move is Move.CREATE else None
        made[move, subject] = Refusal(move, subject, cause, message, since, retry_at, attempts, of)
    return tuple(made.values())


small = st.integers(0, 5)
maybe_ids = st.sampled_from([*IDS, None, "ffffffff"])
some_rollouts = st.builds(
    Rollout,
    revision=st.sampled_from(IDS),
    desired=small,
    most_current=small,
    least_stale=small,
    started_at=moments,
    progressed_at=st.sampled_from([*MOMENTS, None]),
)
KNOWN = [(), (), (Cause.QUOTA,), (Cause.DISRUPTION_BUDGET, TroubleKind.CRASH_LOOP)]


@st.composite
def _prior(draw: st.DrawFn) -> Status:
    true = draw(st.sampled_from(["Ready", "Reconciling", "Stalled", "none", "new"]))
    if true == "new":
        return Status()
    reason = draw(st.sampled_from(["Current", "QuotaExceeded", "CrashLoop", "Suspended"]))
    since = draw(moments)
    return Status(
        observed_generation=draw(st.integers(-1, 9)),
        desired=draw(small),
        current_revision=draw(maybe_ids),
        last_good_revision=draw(maybe_ids),
        blockers=tuple(Blocker(r, "waits", since) for r in draw(st.sampled_from(KNOWN))),
        rollout=draw(st.none() | some_rollouts),
        conditions=tuple(
            Condition(kind, str(kind == true), reason, "as it was", since)
            for kind in ("Ready", "Reconciling", "Stalled")
        ),
    )


some_priors = _prior()
some_records = st.sampled_from(["ABC", "ABCD", "ABCD", "AB", "A", "BD"])
fates = st.sampled_from(["lives"] * 18 + ["invalid", "deleting"])


maybe_moments = st.sampled_from([None, *MOMENTS])
some_verdicts = st.builds(
    Verdict,
    phase=st.sampled_from([*Phase, Phase.FAILED]),
    started=maybe_moments,
    first_available=maybe_moments,
    completed=maybe_moments,
    number_floor=st.sampled_from([0, 2, 9]),
    start_seconds=st.sampled_from([None, 3.0]),
    most_available=st.sampled_from([0, 0, 1, 3]),
    progressed=maybe_moments,
    paused=st.sampled_from([None, None, *MOMENTS]),
    baking=st.sampled_from([None, None, *MOMENTS]),
    previewed=maybe_moments,
    approved=st.sampled_from([None, None, *MOMENTS]),
    promoted=maybe_moments,
    step=st.sampled_from([0, 0, 1, 2, 4]),
    stepped=st.sampled_from([None, *MOMENTS]),
    failed=maybe_moments,
    rejected_by=st.sampled_from(["", "", "jane"]),
    fallback=st.sampled_from(["", *IDS, "ffffffff"]),
    retry=st.sampled_from(["", "one"]),
    command=st.sampled_from(["", "", "c1", "c2"]),
    checks=st.sampled_from([(), (), *CHECKED]),
)


@st.composite
def any_view(draw: st.DrawFn) -> View:
    """Any service in any state: what the planner must be total over."""
    instances = _fleet(draw(drawings), draw(oddities))
    fate = draw(fates)
    gone = draw(st.sets(st.integers(0, 15), max_size=2))
    departed = tuple(i for index, i in enumerate(instances) if index in gone)
    instances = [i for i in instances if i not in departed]
    pinned = draw(st.sampled_from(PINNED))
    spec = replace(draw(some_specs), pinned=pinned)
    if spec.blue_green is not None:
        spec = replace(spec, strategy="BlueGreen", traffic=HTTP, canary=None)
    elif spec.canary is not None:
        spec = replace(spec, strategy="Canary")
        if draw(st.booleans()):
            spec = replace(spec, traffic=HTTP, http_route=RouteRef(SERVICE))
    records = [REVISIONS[letter] for letter in draw(some_records)]
    source = draw(st.sampled_from(SOURCES)) if pinned else None
    if pinned:
        digests = [draw(some_digests) for _ in records]
        letters = [_LETTERS[record.id] for record in records]
        records = [_with_config(*pair) for pair in zip(letters, digests, strict=True)]
    records = [replace(r, verdict=draw(some_verdicts)) for r in records]
    copies = draw(st.sets(st.sampled_from("ABCD"))) if pinned else set()
    return View(
        name=SERVICE,
        namespace="shop",
        uid=UID,
        generation=draw(st.integers(1, 9)),
        spec=replace(spec, template=None) if fate == "invalid" else spec,
        invalid="spec.replicas: no" if fate == "invalid" else None,
        deleting=fate == "deleting",
        instances=tuple(instances),
        departed=departed,
        revisions=tuple(records),
        budgets=draw(st.sampled_from(BUDGETS)),
        routes=draw(st.sampled_from(ROUTES)),
        http_route=draw(st.sampled_from(HTTP_ROUTES)) if spec.http_route else None,
        ends=draw(st.sampled_from(ENDS)),
        configs={SETTINGS: source} if source else {},
        snapshots=frozenset(f"web-cfg{letter}" for letter in copies),
        refusals=_refusals(draw(some_refusals), instances),
        requests=draw(st.sampled_from(REQUESTS)),
        freezes=draw(st.sampled_from(FREEZES)),
        prior=draw(some_priors),
        retry=draw(st.sampled_from(["", "", "one", "two"])),
        desired_before=draw(st.sampled_from([None, None, 0, 3, 5])),
    )
