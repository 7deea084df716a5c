"""The status on the wire: what is written is what is read after a restart."""

from __future__ import annotations

import json

import pytest

from immutable_operator.domain.model import Blocker, Condition, Rollout, Status
from immutable_operator.wire.service import ServiceRecord
from immutable_operator.wire.status import StoredStatus, status_body, stored_status

META = {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "5", "generation": 3}
STATUS = Status(
    observed_generation=3,
    desired=3,
    replicas=4,
    ready=3,
    available=3,
    current=1,
    stale=3,
    selector="immutable.dev/service=web",
    current_revision="deadbeef",
    last_good_revision="cafebabe",
    oldest_instance=1000.0,
    blockers=(Blocker("QuotaExceeded", "quota q is full", 1001.0, "web-x"),),
    rollout=Rollout("deadbeef", 3, 1, 3, 1000.0, 1002.0),
    conditions=(Condition("Ready", "False", "Replacing", "1 of 3", 1000.0),),
)


def record(status: dict[str, object] | None = None) -> ServiceRecord:
    return ServiceRecord.of({"metadata": META, "spec": {}, "status": status})


def test_a_restart_reads_the_status_that_was_written() -> None:
    assert stored_status(record(status_body(record(), STATUS)["status"])) == STATUS


def test_the_apply_names_the_very_object() -> None:
    assert status_body(record(), STATUS)["metadata"]["uid"] == "u"


def test_a_status_by_a_stranger_counts_as_absent() -> None:
    assert stored_status(record({"rollout": {"revision": 5}})) == Status()
    assert stored_status(record({"blockers": ["x"]})) == Status()
    assert stored_status(record({"observedGeneration": -1})) == Status()


def test_the_author_is_the_last_writer_of_the_template() -> None:
    fields = [
        {
            "manager": "helm",
            "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {"f:spec": {"f:template": {}}},
        },
        {
            "manager": "hpa",
            "time": "2026-01-03T00:00:00Z",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        },
        {
            "manager": "argocd",
            "time": "2026-01-02T00:00:00Z",
            "fieldsV1": {"f:spec": {"f:template": {}}},
        },
        {"manager": "x", "time": "2026-01-04T00:00:00Z", "subresource": "status", "fieldsV1": {}},
    ]
    body = {"metadata": {**META, "managedFields": fields}, "spec": {}}
    assert ServiceRecord.of(body).author == "argocd"


def test_who_beside_the_operator_wrote_into_a_status() -> None:
    ours = {"manager": "immutable-operator", "operation": "Apply", "subresource": "status"}
    theirs = {"manager": "curl", "operation": "Update", "subresource": "status", "time": "t"}

    def read(*entries: dict[str, str]) -> tuple[str, ...]:
        body = {"metadata": {**META, "managedFields": entries}, "spec": {}}
        return ServiceRecord.of(body).strangers

    assert read(ours, theirs) == ("curl",)
    # Under our name, but not as we write it.
    assert read({**ours, "operation": "Update"}) == ("immutable-operator",)
    assert read({**theirs, "subresource": "scale"}) == ()


READY = {"type": "Ready", "status": "True"}
WRITTEN = {"status": {"readyReplicas": 2, "conditions": [READY]}}


def stored(version: int, **status: object) -> ServiceRecord:
    meta = {**META, "resourceVersion": str(version)}
    return ServiceRecord.of({"metadata": meta, "spec": {}, "status": status})


@pytest.mark.parametrize(
    ("record", "overwritten"),
    [
        (stored(5, readyReplicas=2, conditions=[READY]), False),
        (stored(6, readyReplicas=3, conditions=[READY]), True),
        (stored(6, readyReplicas=2, conditions=[{**READY, "status": "False"}]), True),
        (stored(6, readyReplicas=2), True),
        (stored(6, readyReplicas=2, conditions=[READY], deviants=[]), True),
        # From before it was written; and with a condition that is somebody else's.
        (stored(4, readyReplicas=1, conditions=[READY]), False),
        (stored(6, readyReplicas=2, conditions=[{"type": "Theirs"}, READY]), False),
    ],
)
def test_a_status_that_somebody_wrote_over_is_told(
    record: ServiceRecord, *, overwritten: bool
) -> None:
    answer = json.dumps({"metadata": {"resourceVersion": "5"}, **WRITTEN}).encode()
    written = StoredStatus.of(answer, WRITTEN)
    assert written.is_overwritten(record) is overwritten


def test_what_others_hold_beside_what_was_written_is_told() -> None:
    status = {**WRITTEN["status"], "rollout": {}, "deviants": []}
    answer = {"metadata": {"resourceVersion": "5"}, "status": status}
    written = StoredStatus.of(json.dumps(answer).encode(), WRITTEN)
    assert written.beside(WRITTEN) == ["deviants", "rollout"]


IMAGE = "registry.example/web@sha256:" + "a" * 64
BAD_REGENERATIONS: list[tuple[dict[str, object], str]] = [
    ({"schedule": "every day"}, "spec.regeneration.schedule"),
    ({"schedule": "61 3 * * *"}, '"61" is no minute'),
    ({"schedule": "0 3 31 2 *"}, "never happens"),
    ({"schedule": "0 3 * * *", "timeZone": "Mars/Olympus"}, "Mars/Olympus"),
    ({"maxAge": "1d", "windows": [{"schedule": "0 0 31 2 *", "duration": "1h"}]}, "windows[0]"),
    ({"maxAge": "1d", "windows": [{"schedule": "0 0 * * *", "duration": "0s"}]}, "windows"),
    ({"maxAge": "2d", "hardMaxAge": "1d"}, "maxAge is more than hardMaxAge"),
    ({"maxAge": "5s"}, "ages below 10s are not possible"),
    ({"hardMaxAge": "5s"}, "ages below 10s are not possible"),
    ({"maxAge": "soon"}, "maxAge"),
    ({"maxAge": "1d", "jitter": "90%"}, "jitter"),
    ({"maxAge": "1d", "maxConcurrent": 0}, "maxConcurrent"),
]


@pytest.mark.parametrize(("regeneration", "words"), BAD_REGENERATIONS)
def test_the_operator_itself_refuses_what_makes_no_sense(
    regeneration: dict[str, object], words: str
) -> None:
    """Also where it got past the API server: an older definition, or a check that CEL has not."""
    template = {"spec": {"containers": [{"name": "web", "image": IMAGE}]}}
    spec = {"template": template, "regeneration": regeneration}
    found = ServiceRecord.of({"metadata": META, "spec": spec})
    assert found.spec is None
    assert found.invalid
    assert words in found.invalid
