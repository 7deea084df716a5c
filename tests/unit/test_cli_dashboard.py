"""What `kubectl immutable dashboard` shows: from the objects to the JSON of its page."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest

from immutable_operator.api.names import (
    ANNOTATION_BECAUSE,
    ANNOTATION_REPLACES,
    ANNOTATION_REPLACES_UID,
    ANNOTATION_SLOT,
    LABEL_REVISION,
)
from immutable_operator.cli.dashboard_lanes import MOST_LANES
from immutable_operator.cli.dashboard_mirror import Link, slim
from immutable_operator.cli.dashboard_view import one, overview
from immutable_operator.cli.dashboard_world import Belongings
from immutable_operator.cli.objects import Json
from immutable_operator.cli.owner import Owner
from immutable_operator.domain.lineage import Entry
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.times import moment, second
from immutable_operator.wire.freeze import decode_freeze
from immutable_operator.wire.owner import SERVICE

NOW = moment("2027-01-15T08:00:00Z")
OLD, NEW = "aaaaaaaa", "bbbbbbbb"
OUTDATED = f"Outdated: revision 2 ({NEW}) replaces revision {OLD}"
FIRST = Entry(0, f"web-im{OLD}-00000", "u0", NOW - 600, OLD, "Created: slot 0 was empty")
RETIRED = replace(FIRST, retired=NOW - 90, retired_because=OUTDATED)
SECOND = Entry(
    0, f"web-im{NEW}-11111", "u1", NOW - 100, NEW, OUTDATED, FIRST.name, FIRST.uid, "jane"
)


def pod(entry: Entry, *, ready: bool = True, leaving: bool = False) -> Json:
    notes = {ANNOTATION_SLOT: str(entry.slot), ANNOTATION_BECAUSE: entry.because}
    if entry.replaces:
        notes[ANNOTATION_REPLACES] = entry.replaces
        notes[ANNOTATION_REPLACES_UID] = entry.replaces_uid
    meta = {
        "name": entry.name,
        "uid": entry.uid,
        "creationTimestamp": second(entry.born),
        "labels": {LABEL_REVISION: entry.revision},
        "annotations": notes,
        **({"deletionTimestamp": second(NOW + 20)} if leaving else {}),
    }
    told = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": meta, "status": {"phase": "Running", "conditions": told}}


def owner(spec: Json | None = None, **status: Any) -> Owner:
    body = {
        "metadata": {
            "name": "web",
            "uid": "s1",
            "generation": 2,
            "creationTimestamp": second(NOW - 700),
        },
        "spec": spec or {},
        "status": {"observedGeneration": 2, "currentRevision": NEW, **status},
    }
    return Owner(cast(KubeClient, None), SERVICE, "shop", "web", body)


def said(kind: str, status: str, reason: str = "Because", message: str = "so it is") -> Json:
    told = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**told, "lastTransitionTime": second(NOW - 60)}


def record(number: int, id_: str, **status: Any) -> Json:
    return {
        "metadata": {"name": f"web-im{id_}", "creationTimestamp": second(NOW - 600)},
        "spec": {"number": number, "revision": id_, "reason": "TemplateChanged", "by": "flux"},
        "status": status,
    }


RECORDS = [record(1, OLD, phase="Superseded"), record(2, NEW, phase="Good", replaced="1 in 3 s")]


def shown(has: Belongings, of: Owner | None = None) -> Any:
    # The page gets JSON: what cannot be encoded, or is not stable, would be found here.
    return json.loads(msgspec.json.encode(one(of or owner(), has, NOW)))


def bars(has: Belongings, of: Owner | None = None) -> dict[str, Any]:
    return {bar["uid"]: bar for lane in shown(has, of)["lanes"] for bar in lane["bars"]}


def test_slot_has_one_lane_with_a_bar_for_each_of_its_instances() -> None:
    other = replace(FIRST, slot=3, name="web-imaaaaaaaa-33333", uid="u3")
    has = Belongings(RECORDS, [RETIRED, SECOND, other], items=[pod(SECOND), pod(other)])
    lanes = shown(has)["lanes"]
    assert [(lane["slot"], [bar["uid"] for bar in lane["bars"]]) for lane in lanes] == [
        (0, ["u0", "u1"]),
        (3, ["u3"]),
    ]


def test_bar_that_ended_says_when_why_and_by_whom() -> None:
    found = bars(Belongings(RECORDS, [RETIRED, SECOND], items=[pod(SECOND)]))
    assert (found["u0"]["born"], found["u0"]["end"]) == (NOW - 600, NOW - 90)
    assert found["u0"]["endedBecause"] == OUTDATED
    assert (found["u0"]["endedBy"], found["u0"]["successor"]) == ("jane", SECOND.name)
    assert (found["u0"]["number"], found["u1"]["number"]) == (1, 2)
    assert (found["u1"]["end"], found["u1"]["lives"], found["u1"]["state"]) == (None, True, "Ready")


def test_end_is_shown_before_the_record_is_written() -> None:
    """The operator writes the record when a rollout has ended; this process saw the pod go."""
    has = Belongings(RECORDS, [FIRST], [replace(FIRST, retired=NOW - 5)], [pod(SECOND)])
    found = bars(has)
    assert (found["u0"]["end"], found["u0"]["endedBecause"]) == (NOW - 5, OUTDATED)
    unseen = bars(Belongings(RECORDS, [FIRST], items=[pod(SECOND)]))
    assert (unseen["u0"]["end"], unseen["u0"]["lives"]) == (None, False)


def test_instance_that_is_not_on_record_is_shown_after_it_vanished() -> None:
    has = Belongings(RECORDS, [], [replace(SECOND, retired=NOW - 5)], [])
    assert bars(has)["u1"]["end"] == NOW - 5


@pytest.mark.parametrize(
    ("given", "state", "stale"),
    [
        (pod(SECOND), "Ready", ""),
        (pod(SECOND, ready=False), "NotReady", ""),
        (pod(FIRST), "Ready", "Outdated"),
        (pod(FIRST, leaving=True), "Terminating", "Outdated"),
    ],
)
def test_living_instance_says_its_state(given: Json, state: str, stale: str) -> None:
    [bar] = bars(Belongings(RECORDS, items=[given])).values()
    assert (bar["lives"], bar["state"], bar["stale"]) == (True, state, stale)


def test_living_instance_says_since_when_it_is_not_ready_or_is_leaving() -> None:
    broken, gone = pod(SECOND, ready=False), pod(FIRST, leaving=True)
    broken["status"]["conditions"][0]["lastTransitionTime"] = second(NOW - 40)
    gone["metadata"]["deletionGracePeriodSeconds"] = 30
    found = bars(Belongings(RECORDS, items=[broken, gone]))
    assert found["u1"]["since"] == NOW - 40
    assert found["u0"]["since"] == NOW + 20 - 30
    assert bars(Belongings(RECORDS, items=[pod(SECOND)]))["u1"]["since"] is None


def test_pods_that_may_not_be_listed_are_unknown_and_not_gone() -> None:
    view = shown(Belongings(RECORDS, [RETIRED, SECOND], items=None))
    assert view["instancesKnown"] is False
    assert [bar["uid"] for lane in view["lanes"] for bar in lane["bars"]] == ["u0", "u1"]


def test_revisions_and_their_bars_show_the_traffic_that_an_http_route_gives_them() -> None:
    old = replace(FIRST, slot=1)
    steps = {"rollout": {"strategy": "Canary"}, "traffic": {"route": {"name": "web"}}}
    records = [record(1, OLD, promotedAt=second(NOW - 500)), record(2, NEW, phase="Progressing")]
    has = Belongings(records=records, items=[pod(old), pod(SECOND)])
    seen = shown(has, owner(steps, rollout={"revision": NEW, "weight": 20}))
    assert [(r["number"], r["traffic"]) for r in seen["revisions"]] == [(2, 20), (1, 80)]
    bars = [bar for lane in seen["lanes"] for bar in lane["bars"] if bar["lives"]]
    assert {bar["number"]: bar["traffic"] for bar in bars} == {1: 80, 2: 20}


def test_lanes_in_which_something_happened_are_kept_when_there_are_too_many() -> None:
    many = [
        replace(FIRST, slot=slot, name=f"web-im{NEW}-{slot:05}", uid=f"p{slot}", revision=NEW)
        for slot in range(MOST_LANES + 50)
    ]
    broken = pod(many[-1], ready=False)
    view = shown(Belongings(RECORDS, items=[*map(pod, many[:-1]), broken]))
    slots = [lane["slot"] for lane in view["lanes"]]
    assert (len(slots), view["lanesLeftOut"]) == (MOST_LANES, 50)
    assert slots == sorted(slots)
    assert slots[-1] == many[-1].slot


def test_freezes_are_periods_within_their_times() -> None:
    spec = {"reason": "quarter end", "from": second(NOW - 60), "until": second(NOW + 3600)}
    body = {"metadata": {"name": "q4"}, "spec": spec}
    freeze = decode_freeze(msgspec.json.encode(body))
    [shade] = shown(Belongings(RECORDS, [RETIRED], freezes=[freeze]))["shades"]
    assert (shade["kind"], shade["name"], shade["reason"]) == ("freeze", "q4", "quarter end")
    assert (shade["from"], shade["to"]) == (NOW - 60, NOW + 3600)


def test_windows_of_freezes_and_of_regeneration_are_periods() -> None:
    nightly = {"schedule": "0 3 * * *", "duration": "2h"}
    body = {"metadata": {"name": "nights"}, "spec": {"reason": "batch", "windows": [nightly]}}
    freeze = decode_freeze(msgspec.json.encode(body))
    of = owner({"regeneration": {"maxAge": "7d", "windows": [{**nightly, "duration": "1h"}]}})
    found = shown(Belongings(RECORDS, [RETIRED], freezes=[freeze]), of)["shades"]
    first = moment("2027-01-16T03:00:00Z")
    assert {(s["kind"], s["from"], s["to"]) for s in found if s["from"] == first} == {
        ("window", first, first + 3600),
        ("freeze", first, first + 7200),
    }
    assert max(s["to"] for s in found) <= NOW + 8 * 86400


def test_view_does_not_change_by_time_alone() -> None:
    """Otherwise each page would be sent again and again."""
    nightly = {"schedule": "0 3 * * *", "duration": "2h"}
    of = owner({"regeneration": {"windows": [nightly]}})
    has = Belongings(RECORDS, [RETIRED, SECOND], items=[pod(SECOND)])
    assert one(of, has, NOW) == one(of, has, NOW + 0.9) == one(of, has, NOW + 30)


def test_what_is_waited_for_has_reason_object_and_since() -> None:
    blocker = {"reason": "Quota", "message": "exceeded", "since": second(NOW - 30), "object": "q"}
    view = shown(Belongings(RECORDS), owner(blockers=[blocker]))
    since = NOW - 30
    assert view["waiting"] == [
        {"reason": "Quota", "object": "q", "message": "exceeded", "since": since}
    ]


def test_verdicts_are_listed_from_the_newest_revision_on() -> None:
    failed = record(3, "cccccccc", phase="Failed", reason="CrashLoop", message="exit 1")
    rows = shown(Belongings([*RECORDS, failed]))["revisions"]
    assert [(row["number"], row["phase"], row["runs"]) for row in rows] == [
        (3, "Failed", False),
        (2, "Good", True),
        (1, "Superseded", False),
    ]
    assert rows[0]["outcome"] == "CrashLoop: exit 1"


def test_guarded_is_always_told_and_other_conditions_if_they_explain_more() -> None:
    told = (said("Guarded", "False"), said("Available", "True"), said("NotStateless", "True"))
    view = shown(Belongings(RECORDS), owner(conditions=list(told)))
    assert [(c["type"], c["status"]) for c in view["conditions"]] == [
        ("Guarded", "False"),
        ("NotStateless", "True"),
    ]


@pytest.mark.parametrize(
    ("conditions", "spec", "tone"),
    [
        ([said("Ready", "True")], {}, "good"),
        ([said("Stalled", "True", "RolledBack"), said("Ready", "True")], {}, "bad"),
        ([said("Reconciling", "True", "Replacing")], {}, "busy"),
        ([said("Reconciling", "True", "Frozen")], {}, "held"),
        ([said("Ready", "True")], {"suspend": True}, "held"),
        ([], {}, "idle"),
    ],
)
def test_row_says_at_a_glance_how_a_service_is(
    conditions: list[Json], spec: Json, tone: str
) -> None:
    [row] = overview([owner(spec, conditions=conditions, readyReplicas=2)])
    assert (row["tone"], row["counts"]["ready"]) == (tone, 2)


def test_service_that_the_operator_has_not_seen_has_a_row_and_a_view() -> None:
    fresh = owner()
    fresh.body.pop("status")
    [row] = overview([fresh])
    assert row["message"] == "The operator has not processed it yet."
    assert shown(Belongings(), fresh)["processed"] is False


def test_templates_and_other_annotations_are_not_kept() -> None:
    body = {
        "metadata": {
            "name": "web",
            "managedFields": [{"manager": "kubectl"}],
            "annotations": {"kubectl.kubernetes.io/last-applied": "secret"},
        },
        "spec": {"template": {"env": "secret"}, "replicas": 2, "config": ["secret"]},
        "data": {"key": "secret"},
    }
    kept = slim(msgspec.json.encode(body))
    assert "secret" not in str(kept)
    assert "managedFields" not in kept["metadata"]
    assert kept["spec"] == {"replicas": 2}


def linked(**codes: str) -> Link:
    link = Link(lambda: None)
    for resource, code in codes.items():
        link.count("watch", resource, code)
    return link


def test_link_says_since_when_the_api_server_is_away() -> None:
    link = linked(pods="200", immutableservices="error")
    assert link.trouble is not None
    assert "does not answer" in link.trouble[1]
    link.count("list", "immutableservices", "200")
    assert link.trouble is None


def test_missing_permission_is_no_trouble_but_is_told() -> None:
    link = linked(pods="200", nodes="403", immutablenodepools="404")
    assert (link.trouble, link.refused) == (None, ["nodes"])


def test_expired_login_and_errors_of_the_api_server_are_told() -> None:
    expired, broken = linked(pods="401").trouble, linked(pods="500").trouble
    assert expired is not None
    assert "Log in again" in expired[1]
    assert broken is not None
    assert "(500)" in broken[1]
