"""Pods that go: what the operator remembers of them for the plan that follows."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from immutable_operator.instances.pods.codec import PodRecord, decode_pod
from immutable_operator.instances.pods.watched import OWNERS_REMEMBERED, Pods

SWEPT = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}


def pod(**status: Any) -> PodRecord:
    owner = {"uid": "owner", "kind": "ImmutableService", "controller": True}
    meta = {
        "name": "web-imdeadbeef-abcde",
        "namespace": "shop",
        "uid": "u1",
        "creationTimestamp": "2026-11-22T01:00:00Z",
        "labels": {"immutable.dev/service": "web", "immutable.dev/revision": "deadbeef"},
        "ownerReferences": [owner],
    }
    body = {"metadata": meta, "spec": {"nodeName": "n1"}, "status": status}
    return decode_pod(json.dumps(body).encode())


def test_one_that_was_swept_away_between_two_plans_still_says_who_took_it() -> None:
    """The pod garbage collector marks and removes at once: no plan sees the mark on the pod."""
    suspects: list[PodRecord] = []
    pods = Pods(lambda owner: None, suspects.append)
    pods.upsert(pod(phase="Running"), 1)
    assert pods.gone("owner") == {}
    pods.upsert(pod(phase="Failed", conditions=[SWEPT]), 2)
    pods.remove(pod(phase="Failed", conditions=[SWEPT]), 3)
    assert suspects, "it may have lost its label only: somebody looks"
    pods.forget("u1")
    [gone] = pods.gone("owner").values()
    assert (gone.leaving or "").startswith("DeletionByPodGC")
    assert pods.gone("owner") == {}, "it is told once"


def test_what_nobody_asks_for_is_not_kept_for_ever() -> None:
    pods = Pods(lambda owner: None, lambda record: None)
    record = pod(phase="Running")
    for n in range(OWNERS_REMEMBERED + 10):
        pods.upsert(msgspec.structs.replace(record, uid=f"u{n}", owner=f"owner-{n}"), n)
        pods.forget(f"u{n}")
    assert pods.gone("owner-0") == {}
    assert len([n for n in range(OWNERS_REMEMBERED + 10) if pods.gone(f"owner-{n}")]) == (
        OWNERS_REMEMBERED
    )
