"""A service on the wire: its spec as far as it can be read, its status as it was written."""

from __future__ import annotations

import json

import pytest

from immutable_operator.api.regeneration import TOO_YOUNG
from immutable_operator.api.template import IGNORED
from immutable_operator.domain.calendar.regeneration import outlook
from immutable_operator.domain.model import Blocker, Condition, Rollout, Spec, Status
from immutable_operator.wire.owner import OwnerRecord
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


def record(status: dict[str, object] | None = None) -> OwnerRecord:
    return OwnerRecord.of({"metadata": META, "spec": {}, "status": status})


def test_written_status_is_read_after_a_restart() -> None:
    assert stored_status(record(status_body(record(), STATUS)["status"])) == STATUS


def test_apply_names_uid_of_the_object() -> None:
    assert status_body(record(), STATUS)["metadata"]["uid"] == "u"


def test_status_of_a_foreign_writer_counts_as_absent() -> None:
    assert stored_status(record({"rollout": {"revision": 5}})) == Status()
    assert stored_status(record({"blockers": ["x"]})) == Status()
    assert stored_status(record({"observedGeneration": -1})) == Status()


def test_author_is_the_last_writer_of_the_template() -> None:
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
    assert OwnerRecord.of(body).author == "argocd"


def test_foreign_writers_of_a_status_are_found() -> None:
    ours = {"manager": "immutable-operator", "operation": "Apply", "subresource": "status"}
    theirs = {"manager": "curl", "operation": "Update", "subresource": "status", "time": "t"}

    def read(*entries: dict[str, str]) -> tuple[str, ...]:
        body = {"metadata": {**META, "managedFields": entries}, "spec": {}}
        return OwnerRecord.of(body).strangers

    assert read(ours, theirs) == ("curl",)
    # Under our name, but not as we write it.
    assert read({**ours, "operation": "Update"}) == ("immutable-operator",)
    assert read({**theirs, "subresource": "scale"}) == ()


READY = {"type": "Ready", "status": "True"}
WRITTEN = {"status": {"readyReplicas": 2, "conditions": [READY]}}


def stored(version: int, **status: object) -> OwnerRecord:
    meta = {**META, "resourceVersion": str(version)}
    return OwnerRecord.of({"metadata": meta, "spec": {}, "status": status})


@pytest.mark.parametrize(
    ("record", "overwritten"),
    [
        (stored(5, readyReplicas=2, conditions=[READY]), False),
        (stored(6, readyReplicas=3, conditions=[READY]), True),
        (stored(6, readyReplicas=2, conditions=[{**READY, "status": "False"}]), True),
        (stored(6, readyReplicas=2), True),
        (stored(6, readyReplicas=2, conditions=[READY], deviations=[]), True),
        # From before it was written; and with a condition that is somebody else's.
        (stored(4, readyReplicas=1, conditions=[READY]), False),
        (stored(6, readyReplicas=2, conditions=[{"type": "Theirs"}, READY]), False),
    ],
)
def test_overwritten_status_is_reported(record: OwnerRecord, *, overwritten: bool) -> None:
    answer = json.dumps({"metadata": {"resourceVersion": "5"}, **WRITTEN}).encode()
    written = StoredStatus.of(answer, WRITTEN)
    assert written.is_overwritten(record) is overwritten


def test_fields_of_foreign_writers_are_reported() -> None:
    status = {**WRITTEN["status"], "rollout": {}, "deviations": []}
    answer = {"metadata": {"resourceVersion": "5"}, "status": status}
    written = StoredStatus.of(json.dumps(answer).encode(), WRITTEN)
    assert written.beside == ("deviations", "rollout")


IMAGE = "registry.example/web@sha256:" + "a" * 64
BAD_REGENERATIONS: list[tuple[dict[str, object], str]] = [
    ({"schedule": "every day"}, "spec.regeneration.schedule"),
    ({"schedule": "61 3 * * *"}, '"61" is not a valid minute'),
    ({"schedule": "0 3 ? 13 SUN"}, '"13" is not a valid month'),
    ({"schedule": 5}, "spec.regeneration.schedule"),
    ({"schedule": "0 3 31 2 *"}, "never matches"),
    ({"schedule": "0 3 * * *", "timeZone": "Mars/Olympus"}, "Mars/Olympus"),
    ({"maxAge": "1d", "windows": [{"schedule": "0 0 31 2 *", "duration": "1h"}]}, "windows[0]"),
    ({"maxAge": "1d", "windows": [{"schedule": "0 0 * * *", "duration": "0s"}]}, "windows"),
    ({"maxAge": "2d", "hardMaxAge": "1d"}, "maxAge is greater than hardMaxAge"),
    ({"maxAge": "5s"}, TOO_YOUNG),
    ({"hardMaxAge": "5s"}, TOO_YOUNG),
    ({"maxAge": "soon"}, "maxAge"),
    ({"maxAge": "1d", "jitter": "90%"}, "jitter"),
    ({"maxAge": "1d", "maxConcurrent": 0}, "maxConcurrent"),
]


TEMPLATE = {"spec": {"containers": [{"name": "web", "image": IMAGE}]}}


def spec_of(**given: object) -> tuple[Spec, str | None]:
    found = OwnerRecord.of({"metadata": META, "spec": {"template": TEMPLATE, **given}})
    assert found.spec is not None
    return found.spec, found.invalid


@pytest.mark.parametrize(("regeneration", "words"), BAD_REGENERATIONS)
def test_unreadable_regeneration_field_disables_only_itself(
    regeneration: dict[str, object], words: str
) -> None:
    """This also covers what passed the API server: an older CRD, or a check that CEL lacks."""
    found, invalid = spec_of(regeneration=regeneration, replicas=3)
    assert invalid is None
    assert (found.template, found.replicas) == (TEMPLATE, 3)
    [problem] = found.problems
    assert problem.startswith("spec.regeneration")
    assert words in problem


def test_unreadable_schedule_keeps_the_ages_in_force() -> None:
    found, _ = spec_of(regeneration={"schedule": "0 3 * *", "maxAge": "1d", "hardMaxAge": "2d"})
    wanted = found.regeneration
    assert (wanted.schedule, wanted.max_age, wanted.hard_max_age) == (None, 86400, 172800)


UNREADABLE_WINDOWS: list[object] = [
    [{"schedule": "0 0 31 2 *", "duration": "1h"}],
    [{"schedule": "0 0 * * *", "duration": "1h", "timeZone": "Europe/Berlim"}],
    [{"schedule": "0 0 * * *", "duration": "soon"}],
    [{"duration": "1h"}],
    ["nights"],
    "nights",
]


@pytest.mark.parametrize("windows", UNREADABLE_WINDOWS)
def test_unreadable_window_never_opens(windows: object) -> None:
    """Without windows everything would be allowed at any time."""
    found, _ = spec_of(regeneration={"maxAge": "1d", "hardMaxAge": "2d", "windows": windows})
    assert found.problems
    births = {"u": 1e9}
    aged = outlook(found.regeneration, births, "s", 1e9 + 86400 * 1.5, 60)
    assert [due.may_start for due in aged.due] == [False]
    too_old = outlook(found.regeneration, births, "s", 1e9 + 86400 * 2.5, 60)
    assert [due.may_start for due in too_old.due] == [True]


def test_readable_window_opens_beside_an_unreadable_one() -> None:
    windows = [
        {"schedule": "0 0 * * *", "duration": "1h"},
        {"schedule": "? ? 31 2 ?", "duration": "1h"},
    ]
    found, _ = spec_of(regeneration={"maxAge": "1d", "windows": windows})
    [problem] = found.problems
    assert problem.startswith("spec.regeneration.windows[1]: ")
    [window] = found.regeneration.windows
    assert window.cron.expression == "0 0 * * *"


REFUSED_SPECS: dict[str, tuple[dict[str, object], str]] = {
    "an image by tag": (
        {"template": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}},
        "spec.template.spec.containers[0].image",
    ),
    "no template": ({"template": None}, "spec.template"),
    "a template of another shape": ({"template": {"spec": [1]}}, "spec.template"),
    "containers of another shape": ({"template": {"spec": {"containers": "web"}}}, "spec.template"),
    "a surge that is none": ({"rollout": {"maxSurge": "some"}}, "spec.rollout.maxSurge"),
    "a number that is none": ({"replicas": "many"}, "spec.replicas"),
}


@pytest.mark.parametrize("why", REFUSED_SPECS)
def test_refused_spec_keeps_its_other_fields_in_force(why: str) -> None:
    """Running instances are repaired by its fields; only the wanted revision is unknown."""
    changes, words = REFUSED_SPECS[why]
    given: dict[str, object] = {
        "replicas": 4,
        "rollout": {"maxSurge": 2},
        "suspend": True,
        "historyLimit": 3,
        "regeneration": {"maxAge": "1d"},
    }
    found, invalid = spec_of(**{**given, **changes})
    assert words in str(invalid)
    assert found.template is None
    assert found.pinned == {}
    assert found.replicas == (None if "replicas" in changes else 4)
    assert found.max_surge == ("25%" if "rollout" in changes else 2)
    assert (found.suspend, found.history_limit) == (True, 3)
    assert found.regeneration.max_age == 86400


@pytest.mark.parametrize("body", [None, [], "x", {}])
def test_shapeless_spec_is_read_as_empty(body: object) -> None:
    found = OwnerRecord.of({"metadata": META, "spec": body})
    assert found.spec is not None
    assert (found.spec.template, found.spec.replicas) == (None, None)
    assert found.invalid


def test_template_fields_that_a_deployment_ignores_are_dropped() -> None:
    """The fields are not hashed, not recorded and not set on a pod."""
    pod = {"containers": [{"name": "web", "image": IMAGE, "env": None, "args": ["a", None]}]}
    metadata = {
        **dict.fromkeys(IGNORED, "x"),
        "creationTimestamp": None,
        "labels": {"app": "web", "tier": None},
        "annotations": None,
        "finalizers": ["example.com/drain"],
    }
    found, invalid = spec_of(template={"metadata": metadata, "spec": {**pod, "volumes": None}})
    assert invalid is None
    assert found.template == {
        "metadata": {"labels": {"app": "web", "tier": ""}, "finalizers": ["example.com/drain"]},
        "spec": {"containers": [{"name": "web", "image": IMAGE, "args": ["a", ""]}]},
    }


def managed(manager: str, at: str, **fields: object) -> dict[str, object]:
    return {"manager": manager, "time": at, "fieldsV1": {"f:spec": fields}}


SCHEDULE: dict[str, object] = {"f:regeneration": {"f:schedule": {}}}
OTHER_FIELD: dict[str, object] = {"f:regeneration": {"f:maxAge": {}}}
WRITTEN_TIMES: list[tuple[list[dict[str, object]], float]] = [
    ([managed("a", "1970-01-01T00:01:00Z", **SCHEDULE)], 60),
    # Others that never wrote the schedule do not move it.
    (
        [
            managed("a", "1970-01-01T00:01:00Z", **SCHEDULE),
            managed("b", "1970-01-01T00:02:00Z", **OTHER_FIELD),
            managed("c", "1970-01-01T00:03:00Z", **{"f:replicas": {}}),
        ],
        60,
    ),
    ([managed("a", "1970-01-01T00:02:00Z", **OTHER_FIELD)], 120),
    # Not on record: it is no older than the service.
    ([], 30),
    ([managed("c", "1970-01-01T00:03:00Z", **{"f:replicas": {}})], 30),
]


@pytest.mark.parametrize(("fields", "latest"), WRITTEN_TIMES)
def test_schedule_time_is_the_last_write_of_its_owners(
    fields: list[dict[str, object]], latest: float
) -> None:
    meta = {**META, "creationTimestamp": "1970-01-01T00:00:30Z", "managedFields": fields}
    found = OwnerRecord.of({"metadata": meta, "spec": {"template": TEMPLATE}})
    assert found.spec is not None
    assert found.spec.regeneration.schedule_since == latest
