"""`kubectl immutable lineage` and `why`: what is joined, and how it reads."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from immutable_operator.cli.ancestry import Ancestry, living, owner_of
from immutable_operator.cli.lineage import printed, tree
from immutable_operator.cli.owner import Owner
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.why import of_instance, of_owner
from immutable_operator.domain.lineage import Entry
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.times import moment
from immutable_operator.wire.owner import POOL, SERVICE

BORN = "2027-01-15T07:00:00Z"
AT = moment(BORN)
NOW = AT + 3600
OLD, NEW = "aaaaaaaa", "bbbbbbbb"
FIRST = Entry(0, f"web-im{OLD}-00000", "u0", AT, OLD, "Created: the service is new", by="kubectl")
SECOND = Entry(
    *(0, f"web-im{NEW}-11111", "u1", AT + 60, NEW),
    *("Outdated: its revision is not the wanted one", FIRST.name, FIRST.uid, "jenkins"),
)
OTHER = Entry(1, f"web-im{OLD}-22222", "u2", AT, OLD, "Created: the service is new")
GONE = Entry(
    *(0, FIRST.name, "u0", AT, OLD, "Created: the service is new"),
    by="kubectl",
    retired=AT + 90,
    retired_because="Outdated: its revision is not the wanted one",
)
RECORDS: list[dict[str, Any]] = [
    {
        "metadata": {"name": f"web-im{id_}", "creationTimestamp": BORN},
        "spec": {"number": number, "revision": id_, "reason": "Created", "by": "kubectl"},
        "status": {"phase": "Good", "replaced": "2 instances in 3 s"},
    }
    for number, id_ in enumerate((OLD, NEW), 1)
]


def condition(kind: str, status: str, reason: str = "Current", message: str = "all run") -> Any:
    told = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**told, "lastTransitionTime": BORN}


def owner(*conditions: Any, suspend: bool = False, **status: Any) -> Owner:
    body = {
        "metadata": {"name": "web", "uid": "s1", "generation": 2},
        "spec": {"suspend": suspend},
        "status": {"observedGeneration": 2, "conditions": list(conditions), **status},
    }
    return Owner(cast(KubeClient, None), SERVICE, "shop", "web", body)


READY = owner(
    *(condition("Ready", "True"), condition("Reconciling", "False"), condition("Stalled", "False")),
    currentRevision=NEW,
    currentReplicas=2,
    desiredReplicas=2,
)


def test_successor_stands_below_its_predecessor_by_slot() -> None:
    ancestry = Ancestry.of([GONE, SECOND, OTHER], [SECOND, OTHER])
    head, *rows = tree(ancestry)
    cells = [dict(zip(head, row, strict=True)) for row in rows]
    assert [(c["SLOT"], c["INSTANCE"]) for c in cells] == [
        ("0", FIRST.name),
        ("0", f"└ {SECOND.name}"),
        ("1", OTHER.name),
    ]
    assert [c["RETIRED"] for c in cells] == ["2027-01-15T07:01:30Z", "-", "-"]
    assert [c["BY"] for c in cells] == ["kubectl", "jenkins", "-"]
    assert cells[1]["BECAUSE"] == SECOND.because


def test_tries_that_were_given_up_are_indented() -> None:
    tried = Entry(0, "web-tried", "u9", AT + 30, NEW, "Outdated: x", FIRST.name, FIRST.uid)
    names = [row[1] for row in tree(Ancestry.of([GONE, tried, SECOND], []))[1:]]
    assert names == [FIRST.name, "  └ web-tried", f"└ {SECOND.name}"]


def test_predecessor_that_is_not_on_record_is_named() -> None:
    [_, row] = tree(Ancestry.of([SECOND], [SECOND]))
    assert row[-1].endswith(f"(it replaced {FIRST.name}, which is no longer on record)")


def test_instance_that_is_gone_before_its_retirement_is_on_record_is_marked() -> None:
    assert tree(Ancestry.of([FIRST], []))[1][4] == "gone"
    assert tree(Ancestry.of([FIRST], None))[1][4] == "-", "pods cannot be listed"


def test_predecessor_is_known_by_its_uid_because_names_return() -> None:
    again = Entry(0, FIRST.name, "u7", AT + 99, OLD)
    ancestry = Ancestry.of([GONE, SECOND, again], None)
    second = ancestry.find(SECOND.name)
    before = ancestry.predecessor(second)
    assert before is not None
    assert before.entry.uid == "u0"


def test_lineage_that_is_a_circle_ends() -> None:
    one = Entry(0, "web-1", "u1", AT, replaces="web-2", replaces_uid="u2")
    two = Entry(0, "web-2", "u2", AT, replaces="web-1", replaces_uid="u1")
    ancestry = Ancestry.of([one, two], None)
    assert len(ancestry.line_of("web-1")) == 2
    assert of_instance(READY, RECORDS, ancestry, "web-1", NOW)


def test_line_of_a_pod_leaves_out_other_slots() -> None:
    ancestry = Ancestry.of([GONE, SECOND, OTHER], [])
    for name in (FIRST.name, SECOND.name):
        assert [k.name for k in ancestry.line_of(name)] == [FIRST.name, SECOND.name]


def test_unknown_pod_says_where_to_look() -> None:
    with pytest.raises(CannotRun, match=r"list those: kubectl immutable lineage web$"):
        Ancestry.of([], []).line_of(FIRST.name)


def test_living_pod_is_read_from_its_certificate() -> None:
    meta = {
        "name": SECOND.name,
        "uid": "u1",
        "creationTimestamp": "2027-01-15T07:01:00Z",
        "labels": {"immutable.dev/revision": NEW},
        "managedFields": [{"manager": "immutable-operator", "operation": "Update"}],
        "annotations": {
            "immutable.dev/slot": "0",
            "immutable.dev/because": SECOND.because,
            "immutable.dev/replaces": FIRST.name,
            "immutable.dev/replaces-uid": FIRST.uid,
        },
    }
    [read] = living([{"metadata": meta}])
    assert (read.because, read.born) == (SECOND.because, AT + 60)
    assert (read.replaces_uid, read.revision) == ("u0", NEW)


def test_pod_on_record_that_is_being_deleted_is_retired() -> None:
    [known] = Ancestry.of([FIRST], [GONE]).instances
    assert (known.entry.retired, known.entry.by) == (AT + 90, "kubectl")


def test_owner_follows_from_the_name_of_a_pod() -> None:
    assert owner_of(FIRST.name) == "web"
    assert owner_of("web") == "web"


def test_json_has_an_object_for_each_instance() -> None:
    found = json.loads(printed(Ancestry.of([GONE, SECOND], [SECOND]), "service", "web", "shop"))
    assert (found["service"], found["namespace"]) == ("web", "shop")
    one, two = found["instances"]
    assert (one["retired"], one["exists"]) == ("2027-01-15T07:01:30Z", False)
    assert (two["replaces"], two["replacesUid"], two["exists"]) == (FIRST.name, "u0", True)
    assert "retired" not in two


def test_why_of_a_ready_service_says_that_there_is_nothing_to_do() -> None:
    assert of_owner(READY, RECORDS, NOW) == [
        "service web in namespace shop is Ready since 60m (Current): all run.",
        f"2 of 2 instances are of revision 2 ({NEW}), recorded 60m ago (Created, by kubectl);"
        " it is Good: 2 instances in 3 s.",
        "There is nothing to do.",
    ]


def test_why_names_what_is_waited_for_since_when() -> None:
    blocker = {
        "reason": "DisruptionBudget",
        "message": "budget web allows no eviction; raise it",
        "object": "poddisruptionbudget/web",
        "since": "2027-01-15T07:50:00Z",
    }
    waits = owner(condition("Reconciling", "True", "Replacing", "1 of 2"), blockers=[blocker])
    assert of_owner(waits, [], NOW)[-2:] == [
        "It waits for:",
        "- DisruptionBudget (poddisruptionbudget/web) since 10m: budget web allows no eviction;"
        " raise it.",
    ]


@pytest.mark.parametrize(("by", "verb"), [("", "retry"), ("jane", "resume")])
def test_why_of_a_failed_revision_says_how_to_go_on(by: str, verb: str) -> None:
    status = {"phase": "Failed", "reason": "CrashLoop", "message": "exits", "rejectedBy": by}
    stalled = owner(condition("Stalled", "True", "RolledBack", "went back"), currentRevision=OLD)
    lines = of_owner(stalled, [RECORDS[0], {**RECORDS[1], "status": status}], NOW)
    assert lines[-1].endswith(f": kubectl immutable {verb} web")
    assert any(line.startswith(f"revision 2 ({NEW}) is Failed: ") for line in lines)


def test_why_lists_the_checks_of_the_newest_revision_with_their_last_results() -> None:
    results = [{"message": "status 200"}, {"message": "http://web/: status 500, expected 200"}]
    checks = [
        {"name": "up", "phase": "Failed", "measured": 2, "passed": 1, "results": results},
        {"name": "errors", "phase": "Running", "measured": 0},
    ]
    stalled = owner(condition("Stalled", "True", "RolledBack", "went back"), currentRevision=OLD)
    status = {"phase": "Failed", "reason": "CheckFailed", "message": "no", "checks": checks}
    lines = of_owner(stalled, [RECORDS[0], {**RECORDS[1], "status": status}], NOW)
    at = lines.index(f"Checks of revision 2 ({NEW}):")
    assert lines[at + 1 : at + 3] == [
        "- up is Failed (1 of 2 measurements passed): http://web/: status 500, expected 200.",
        "- errors is Running (0 of 0 measurements passed).",
    ]


def test_why_names_secrets_that_are_read_live() -> None:
    live = owner(condition("Ready", "True", "Current", "all run"), liveSecrets=["db", "tls"])
    said = next(line for line in of_owner(live, [], NOW) if "Secret db, tls" in line)
    assert "pinning.secrets.namespaces" in said


def test_why_of_a_suspended_service_names_resume() -> None:
    held = owner(condition("Ready", "False", "Suspended", "suspended"), suspend=True)
    assert of_owner(held, [], NOW)[-1] == (
        "What to do: kubectl immutable resume web ends the suspension."
    )


def test_why_of_a_service_that_no_operator_has_seen_says_so() -> None:
    assert "has not processed service web" in of_owner(owner(), [], NOW)[0]


def test_why_of_a_spec_that_is_not_processed_yet_says_so() -> None:
    late = owner(condition("Ready", "True"), observedGeneration=1)
    assert "has not processed the latest change" in of_owner(late, [], NOW)[1]


def test_why_of_a_pod_shows_its_whole_lineage() -> None:
    ancestry = Ancestry.of([GONE, SECOND], [SECOND])
    assert of_instance(READY, RECORDS, ancestry, SECOND.name, NOW) == [
        f"{SECOND.name} is an instance of service web in namespace shop: slot 0, revision 2"
        f" ({NEW}).",
        "It was created 59m ago (2027-01-15T07:01:00Z), reason Outdated: its revision is not the"
        " wanted one; asked for by jenkins.",
        "It is of the current revision.",
        f"Before it: {FIRST.name}.",
        "It was created 60m ago (2027-01-15T07:00:00Z), reason Created: the service is new; asked"
        " for by kubectl.",
        "It was retired 58m ago (2027-01-15T07:01:30Z), reason Outdated: its revision is not the"
        " wanted one.",
        f"Its successor is {SECOND.name}.",
    ]


def test_why_of_a_pod_that_is_gone_says_why_it_went() -> None:
    ancestry = Ancestry.of([GONE, SECOND], [SECOND])
    lines = of_instance(READY, RECORDS, ancestry, FIRST.name, NOW)
    assert lines[0].startswith(f"{FIRST.name} was an instance of service web")
    assert lines[-1] == f"Its successor is {SECOND.name}."


def test_why_of_a_pod_that_is_to_be_replaced_says_why_and_what_is_waited_for() -> None:
    told = {"instance": OTHER.name, "reason": "Tainted", "message": "exec by jane"}
    blocker = {"reason": "Frozen", "message": "until 8:00", "since": BORN}
    busy = owner(
        condition("Reconciling", "True"),
        currentRevision=NEW,
        deviations=[told],
        blockers=[blocker],
    )
    lines = of_instance(busy, RECORDS, Ancestry.of([OTHER], [OTHER]), OTHER.name, NOW)
    assert lines[2:] == [
        "It is Tainted: exec by jane.",
        f"It is to be replaced, because its revision is not {NEW}.",
        "service web waits for:",
        "- Frozen since 60m: until 8:00.",
    ]


def test_pool_is_named_without_a_namespace() -> None:
    body = {"metadata": {"name": "workers", "uid": "p1"}, "spec": {}}
    pool = Owner(cast(KubeClient, None), POOL, "immutable-system", "workers", body)
    assert "pool workers yet" in of_owner(pool, [], NOW)[0]
