"""The status on the wire: what is written is what is read after a restart."""

from __future__ import annotations

import pytest

from immutable_operator.domain.model import Blocker, Condition, Rollout, Status
from immutable_operator.kube.services import ServiceRecord, status_body

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
    assert record(status_body(record(), STATUS)["status"]).status == STATUS


def test_the_apply_names_the_very_object() -> None:
    assert status_body(record(), STATUS)["metadata"]["uid"] == "u"


def test_a_status_by_a_stranger_counts_as_absent() -> None:
    assert record({"rollout": {"revision": 5}}).status == Status()
    assert record({"blockers": ["x"]}).status == Status()
    assert record({"observedGeneration": -1}).status == Status()


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


def test_a_status_that_somebody_else_wrote_into_is_news_and_our_own_is_not() -> None:
    ours = {"manager": "immutable-operator", "operation": "Apply", "subresource": "status"}
    theirs = {"manager": "curl", "operation": "Update", "subresource": "status", "time": "t"}

    def read(*entries: dict[str, str]) -> ServiceRecord:
        return ServiceRecord.of({"metadata": {**META, "managedFields": entries}, "spec": {}})

    assert read(ours).content == read().content
    assert read(ours, theirs).content != read(ours).content
    assert read(ours, theirs).strangers == (("curl", "t"),)
    # Under our name, but not as we write it.
    assert read({**ours, "operation": "Update"}).strangers == (("immutable-operator", ""),)
    assert read({**theirs, "subresource": "scale"}).strangers == ()


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
