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


def test_pod_removed_between_two_plans_keeps_its_disruption_cause() -> None:
    """The pod garbage collector sets a condition and deletes at once: no plan sees it."""
    suspects: list[PodRecord] = []
    pods = Pods(lambda owner: None, suspects.append)
    pods.upsert(pod(phase="Running"), 1)
    assert pods.gone("owner") == {}
    pods.upsert(pod(phase="Failed", conditions=[SWEPT]), 2)
    pods.remove(pod(phase="Failed", conditions=[SWEPT]), 3)
    assert suspects, "it may have lost its label only: the operator looks"
    pods.forget("u1")
    [gone] = pods.gone("owner").values()
    assert (gone.leaving or "").startswith("DeletionByPodGC")
    assert pods.gone("owner") == {}, "it is told once"


def test_unused_claims_are_not_kept_forever() -> None:
    pods = Pods(lambda owner: None, lambda record: None)
    record = pod(phase="Running")
    for n in range(OWNERS_REMEMBERED + 10):
        pods.upsert(msgspec.structs.replace(record, uid=f"u{n}", owner=f"owner-{n}"), n)
        pods.forget(f"u{n}")
    assert pods.gone("owner-0") == {}
    assert len([n for n in range(OWNERS_REMEMBERED + 10) if pods.gone(f"owner-{n}")]) == (
        OWNERS_REMEMBERED
    )
