"""Nouns on the wire: what is written is read again, cut to what a CRD allows, and never guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immutable_operator.domain.model import (
    Admission,
    Blocker,
    Change,
    ChangeKind,
    Condition,
    Deviation,
    Phase,
    Revision,
    Rollout,
    Status,
    Verdict,
)
from immutable_operator.kube.times import second
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import decode_revision, verdict_body
from immutable_operator.wire.status import status_body, stored_status

SECONDS = st.integers(0, 2**32).map(float)
TEXT = st.text(min_size=1, max_size=20)
COUNT = st.integers(0, 2**31 - 1)
STATUS = st.builds(
    Status,
    observed_generation=st.integers(-1, 2**40),
    **dict.fromkeys(("desired", "replicas", "ready", "available"), COUNT),
    **dict.fromkeys(("current", "stale", "quarantined"), COUNT),
    selector=TEXT,
    **dict.fromkeys(("current_revision", "last_good_revision"), st.none() | TEXT),
    **dict.fromkeys(("oldest_instance", "next_regeneration"), st.none() | SECONDS),
    blockers=st.lists(st.builds(Blocker, TEXT, TEXT, SECONDS, st.none() | TEXT), max_size=3).map(
        tuple
    ),
    rollout=st.none() | st.builds(Rollout, TEXT, COUNT, COUNT, COUNT, SECONDS, st.none() | SECONDS),
    deviations=st.lists(st.builds(Deviation, TEXT, TEXT, TEXT), max_size=3).map(tuple),
    conditions=st.lists(
        st.builds(Condition, TEXT, TEXT, TEXT, TEXT, SECONDS), min_size=1, max_size=3
    ).map(tuple),
)
CHANGES = st.lists(
    st.builds(Change, TEXT, st.sampled_from(list(ChangeKind)), TEXT), max_size=3
).map(tuple)
VERDICT = st.builds(
    Verdict,
    st.sampled_from(list(Phase)),
    *(TEXT | st.just(""),) * 2,
    *(st.none() | SECONDS,) * 3,
    *(TEXT | st.just(""),) * 2,
    COUNT,
    st.none() | st.integers(0, 1000).map(float),
    st.none() | COUNT,
    COUNT,
    *(st.none() | SECONDS,) * 4,
    *(TEXT | st.just(""),) * 4,
    st.none() | st.builds(Admission.of, CHANGES, st.none() | SECONDS),
)
META = {"name": "web", "namespace": "shop", "uid": "s1", "resourceVersion": "1"}


def service(status: dict[str, Any]) -> OwnerRecord:
    return OwnerRecord.of({"metadata": META, "spec": {}, "status": status})


@given(STATUS)
def test_status_survives_a_round_trip(status: Status) -> None:
    body = json.loads(json.dumps(status_body(service({}), status)))
    assert stored_status(service(body["status"])) == status
    assert None not in body["status"].values()


@given(VERDICT)
def test_verdict_survives_a_round_trip(verdict: Verdict) -> None:
    record = Revision("0a1b2c3d", 1, "v3:0", "web-im0a1b2c3d", "r1")
    body = json.loads(json.dumps(verdict_body("shop", record, verdict)))
    meta = {"metadata": {**META, **body["metadata"], "creationTimestamp": second(0)}}
    read = decode_revision(json.dumps({**body, **meta}).encode()).content
    assert read.verdict == verdict
    assert None not in body["status"].values()


def test_texts_are_truncated_to_the_lengths_of_the_crd() -> None:
    long = "x" * 5000
    status = Status(
        blockers=(Blocker("R", long, 0.0),),
        deviations=(Deviation("web-1", "Tainted", long),),
        conditions=(Condition("Ready", "True", "R", long, 0.0),),
    )
    body = status_body(service({}), status)["status"]
    assert len(body["blockers"][0]["message"]) == 4096
    assert len(body["deviations"][0]["message"]) == 1024
    assert len(body["conditions"][0]["message"]) == 4096
    record = Revision("0a1b2c3d", 1, "v3:0", "web-im0a1b2c3d", "r1")
    told = verdict_body("shop", record, Verdict(reason=long, message=long, replaced=long))
    said = told["status"]
    assert [len(said[key]) for key in ("reason", "message", "replaced")] == [128, 1024, 512]


FORGED: list[dict[str, Any]] = [
    {"blockers": [{"reason": "R", "message": "m", "since": "yesterday"}]},
    {"blockers": [{"reason": "R", "message": 7, "since": second(0)}]},
    {"blockers": {"reason": "R"}},
    {"conditions": [{"type": "Ready"}]},
    {"rollout": {"revision": "0a1b2c3d"}},
    {"desiredReplicas": "many"},
    {"oldestInstance": ["2026"]},
    {"deviations": [None]},
]


@pytest.mark.parametrize("status", FORGED, ids=[json.dumps(status)[:40] for status in FORGED])
def test_unreadable_status_counts_as_absent(status: dict[str, Any]) -> None:
    assert stored_status(service({"readyReplicas": 3, **status})) == Status()


def test_missing_status_fields_have_their_defaults() -> None:
    assert stored_status(service({"readyReplicas": 3})) == replace(Status(), ready=3)
