"""Decoders are total: whatever an object holds, it is read, or it is left out and nothing else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from immutable_operator.admission.fault import Found
from immutable_operator.admission.policies import policies
from immutable_operator.admission.selfcheck import BREAK_GLASS, faults
from immutable_operator.instances.pods.codec import decode_pod
from immutable_operator.instances.pods.strays import strays_in
from immutable_operator.kube.errors import ApiError, error_from
from immutable_operator.kube.reader import Reader
from immutable_operator.kube.reading import (
    READ_ERRORS,
    Identity,
    decoded,
    shallow,
    version_of,
)
from immutable_operator.kube.times import moment, second, stamp
from immutable_operator.wire import owner
from immutable_operator.wire.action import decode_action
from immutable_operator.wire.config import decode_config, decode_content
from immutable_operator.wire.freeze import decode_freeze
from immutable_operator.wire.guard import decode_guard
from immutable_operator.wire.lineage import decode_lineage
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.revision import decode_revision
from tests.unit.examples import examples

DEEP = "[" * 5000 + "]" * 5000
Path = tuple[str | int, ...]

META: dict[str, Any] = {
    "name": "web-im0a1b2c3d-x7k2p",
    "namespace": "shop",
    "uid": "u1",
    "resourceVersion": "41",
    "generation": 2,
    "creationTimestamp": "2026-11-22T01:00:00Z",
    "labels": {"immutable.dev/service": "web", "immutable.dev/revision": "0a1b2c3d"},
    "annotations": {
        "immutable.dev/slot": "0",
        "immutable.dev/incarnation": "0",
        "immutable.dev/quarantined": '{"since":"2026-11-22T01:00:00Z","because":"Tainted: x"}',
        "immutable.dev/tainted": '{"what":"exec","by":"eve","at":"2026-11-22T01:00:00Z"}',
    },
    "ownerReferences": [
        {"kind": "ImmutableService", "name": "web", "uid": "s1", "controller": True}
    ],
    "managedFields": [
        {
            "manager": "kubectl",
            "operation": "Apply",
            "time": "2026-11-22T01:00:00Z",
            "fieldsV1": {"f:spec": {"f:template": {}, "f:regeneration": {}}},
        }
    ],
}
IMAGE = "registry.example/web@sha256:" + "9f" * 32
POD: dict[str, Any] = {
    "metadata": META,
    "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": IMAGE}]},
    "status": {
        "phase": "Running",
        "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T01:00:05Z"}
        ],
        "containerStatuses": [
            {
                "name": "web",
                "image": IMAGE,
                "imageID": IMAGE,
                "restartCount": 1,
                "state": {"running": {"startedAt": "2026-11-22T01:00:02Z"}},
                "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
            }
        ],
    },
}
SERVICE: dict[str, Any] = {
    "metadata": META,
    "spec": {
        "replicas": 3,
        "template": {"spec": {"containers": POD["spec"]["containers"]}},
        "regeneration": {"maxAge": "30d", "schedule": "0 3 * * *", "timeZone": "Europe/Berlin"},
    },
    "status": {"observedGeneration": 2, "blockers": [{"reason": "x"}]},
}
SPEC = {"revision": "0a1b2c3d", "number": 1, "hash": "v2:0", "config": []}
ACTION = {"service": "web", "actor": "alice", "overrideFreeze": True, "reason": "because"}
WINDOW = {"schedule": "0 3 * * *", "duration": "1h", "timeZone": "Europe/Berlin"}
FREEZE = {"reason": "closing", "from": "2026-11-22T01:00:00Z", "windows": [WINDOW]}
BORN = {"slot": 0, "name": "web-1", "uid": "u1", "born": "2026-11-22T01:00:00Z"}
STATUS = {"phase": "Running", "startedAt": "2026-11-22T01:00:00Z"}

Decode = Callable[[bytes | msgspec.Raw], Any]
KINDS: dict[str, tuple[Decode, dict[str, Any]]] = {
    "pod": (decode_pod, POD),
    "revision": (decode_revision, {"metadata": META, "spec": SPEC}),
    "action": (decode_action, {"metadata": META, "spec": ACTION, "status": STATUS}),
    "freeze": (decode_freeze, {"metadata": META, "spec": FREEZE}),
    "config": (decode_config, {"metadata": META}),
    "content": (lambda raw: decode_content(bytes(raw)), {"metadata": META, "data": {"a": "b"}}),
    "lineage": (decode_lineage, {"metadata": META, "spec": {"replacements": [BORN]}}),
    "guard": (decode_guard, {"metadata": META, "spec": {"failurePolicy": "Fail"}}),
    "service": (lambda raw: OwnerRecord.of(msgspec.json.decode(raw)), SERVICE),
    "strays": (
        lambda raw: strays_in(bytes(raw)),
        {"metadata": {"resourceVersion": "5"}, "items": [{"metadata": META}]},
    ),
}

oddities = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        [
            "2026-11-22t01:00:00z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:60.123456789+23:59",
            "-1",
            "9" * 5000,
            "\x00",
            DEEP,
            '{"since":' + DEEP + "}",
        ]
    ),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just({"": None}),
)


def paths_of(value: Any, here: Path = ()) -> list[Path]:
    found = [here] if here else []
    children = list(value.items()) if isinstance(value, dict) else []
    children += list(enumerate(value)) if isinstance(value, list) else []
    for key, child in children:
        found += paths_of(child, (*here, key))
    return found


def mutated(value: Any, path: Path, odd: Any) -> Any:
    if not path:
        return odd
    key, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {**value, key: mutated(value.get(key), rest, odd)}
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return [mutated(each, rest, odd) if i == key else each for i, each in enumerate(value)]
    return value


@pytest.mark.parametrize("kind", KINDS)
def test_valid_object_of_each_kind_is_read(kind: str) -> None:
    decode, body = KINDS[kind]
    told: list[str] = []
    assert Reader(kind, decode, told.append).read(json.dumps(body).encode()) is not None
    assert told == []


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=examples(60), deadline=None)
def test_mutated_object_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    decode, body = KINDS[kind]
    given_paths = paths_of(body)
    for path in data.draw(st.lists(st.sampled_from(given_paths), min_size=1, max_size=3)):
        body = mutated(body, path, data.draw(oddities))
    raw = json.dumps(body).encode()
    told: list[str] = []
    reader = Reader(kind, decode, told.append)
    unread = reader.read(raw) is None
    reader.read(raw)
    assert told == ([kind] if unread else []), "told once a version"


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_arbitrary_bytes_are_read_or_refused(raw: bytes) -> None:
    for kind, (decode, _) in KINDS.items():
        Reader(kind, decode, lambda _: None).read(raw)


STRANGERS = [
    ("immutable.dev/tainted", DEEP),
    ("immutable.dev/tainted", "null"),
    ("immutable.dev/quarantined", DEEP),
    ("immutable.dev/quarantined", '{"since":"soon"}'),
    ("immutable.dev/slot", "9" * 5000),
    ("immutable.dev/incarnation", "-" + "9" * 30),
    ("controller.kubernetes.io/pod-deletion-cost", "1e9"),
]


@pytest.mark.parametrize(("key", "text"), STRANGERS)
def test_invalid_annotation_does_not_hide_the_state_of_a_pod(key: str, text: str) -> None:
    """Otherwise a user who may write annotations could make the operator keep an old state."""
    meta = {**META, "annotations": {**META["annotations"], key: text}}
    found = decode_pod(json.dumps({**POD, "metadata": meta}).encode())
    assert found.content.ready_since is not None
    assert abs(found.content.incarnation) < 2**31


def test_malformed_pod_hides_no_stray() -> None:
    body = {"metadata": {}, "items": [None, {"metadata": {"name": 5}}, {"metadata": META}]}
    assert [meta.uid for meta in strays_in(json.dumps(body).encode())] == ["u1"]


def test_service_with_an_unreadable_spec_reports_it() -> None:
    def fails(name: str, body: Any, since: float) -> Any:
        raise RecursionError("maximum recursion depth exceeded")

    record = OwnerRecord.of(SERVICE, replace(owner.SERVICE, read=fails))
    assert record.spec.template is None
    assert str(record.invalid).startswith("spec cannot be read")


def test_freeze_with_an_unreadable_spec_holds_for_all_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A freeze that is dropped would let every rollout through."""

    def fails(windows: Any, path: str) -> Any:
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr("immutable_operator.wire.freeze.windows_problem", fails)
    found = decode_freeze(json.dumps(KINDS["freeze"][1]).encode())
    assert (found.namespaces, found.labels, found.content.ends) == ((), (), None)
    assert "cannot be read" in found.content.reason


@pytest.mark.parametrize("content", [5, [], {"matchResources": 5}, {"validationActions": 7}])
def test_malformed_guard_hides_no_other_fault(content: Any) -> None:
    wanted = policies("operator")
    first, *others = wanted
    found = Found(wanted, {guard: content if guard == first else None for guard in wanted}, {})
    told = faults(found, "operator", break_glass=False)
    assert [fault.guard for fault in told if fault.reason == "BindingMissing"] == others
    assert first in {fault.guard for fault in told}


@pytest.mark.parametrize("webhooks", [5, {"a": 1}, [5], [{"rules": 5}], [{"rules": [None]}]])
def test_malformed_webhook_is_a_fault(webhooks: Any) -> None:
    found = Found({}, {}, {BREAK_GLASS: webhooks})
    assert faults(found, "operator", break_glass=True)[-1].guard == BREAK_GLASS


@pytest.mark.parametrize(
    "fields",
    [None, {}, "x", [None], [5], [{"time": "soon", "fieldsV1": {"f:spec": {"f:regeneration": 1}}}]],
)
def test_malformed_managed_fields_affect_nothing_else(fields: Any) -> None:
    record = OwnerRecord.of({**SERVICE, "metadata": {**META, "managedFields": fields}})
    assert record.spec.template is not None
    assert record.spec.regeneration.schedule_since == moment(META["creationTimestamp"])


def test_memory_of_reported_problems_is_bounded() -> None:
    told: list[str] = []

    def fails(raw: bytes | msgspec.Raw) -> str:
        raise ValueError("no")

    reader = Reader("things", fails, told.append)
    for version in range(3000):
        meta = {"uid": "u", "resourceVersion": str(version)}
        assert reader.read(json.dumps({"metadata": meta}).encode()) is None
    assert len(told) == 3000
    assert len(reader._told) <= 1000


SHALLOW = [
    ('{"a":[1,{"b":[2]}],"c":3}', 2, '{"a":[1,null],"c":3}'),
    ('{"a":[1,{"b":[2]}],"c":3}', 3, '{"a":[1,{"b":null}],"c":3}'),
    ('{"a":[1,{"b":[2]}],"c":3}', 9, '{"a":[1,{"b":[2]}],"c":3}'),
    (r'{"a":"[[\"[","b":[[["\\"]]]}', 2, r'{"a":"[[\"[","b":[null]}'),
    ("[[[],[]],[[]]]", 2, "[[null,null],[null]]"),
]


@pytest.mark.parametrize(("given_text", "most", "wanted"), SHALLOW)
def test_too_deeply_nested_value_becomes_null(given_text: str, most: int, wanted: str) -> None:
    assert shallow(given_text.encode(), most).decode() == wanted


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
)


@given(json_values)
@settings(deadline=None, max_examples=examples(40))
def test_shallow_body_is_kept_byte_for_byte(value: Any) -> None:
    text = json.dumps(value).encode()
    assert shallow(text) == text
    json.loads(shallow(text, 1))


def test_shallow_part_of_a_deep_body_is_read() -> None:
    class Form(msgspec.Struct):
        kept: int = 0

    for deep in (DEEP, '{"a":' * 5000 + "1" + "}" * 5000):
        assert decoded(f'{{"x":{deep},"kept":3}}'.encode(), Form).kept == 3


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"\xff", b'{"metadata":[]}'])
def test_object_without_a_name_is_reported_by_its_content(body: bytes) -> None:
    assert Identity.of(body).version.startswith("sha256:") or Identity.of(body) == Identity()


def test_identity_is_read_as_far_as_possible() -> None:
    raw = b'{"metadata":{"name":"x","uid":5,"resourceVersion":"7","deep":' + DEEP.encode() + b"}}"
    assert Identity.of(raw) == Identity(namespace="", name="x", uid="", version="7")


@pytest.mark.parametrize("text", ["", "-1", "+1", "1_0", " 1", "١", "1.0", "9" * 20, None, 5])
def test_resource_version_has_64_bits(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        version_of(text)
    assert version_of("9" * 19) == 10**19 - 1


TIMES = [
    ("1970-01-01T00:00:00Z", 0.0),
    ("2026-11-22T01:00:00Z", 1795309200.0),
    ("2026-11-22t01:00:00z", 1795309200.0),
    ("2026-11-22T01:00:00.5Z", 1795309200.5),
    ("2026-11-22T01:00:00.500000000Z", 1795309200.5),
    ("2026-11-22T01:00:00,5Z", 1795309200.5),
    ("2026-11-22T02:30:00+01:30", 1795309200.0),
    ("2026-11-21T22:00:00-03:00", 1795309200.0),
    ("2026-11-22T00:59:60Z", 1795309200.0),
    ("0001-01-01T00:00:00Z", -62135596800.0),
    ("0000-12-31T00:00:00Z", -62135683200.0),
    ("0000-02-29T00:00:00+99:59", -62162481540.0),
]


def test_time_after_the_year_9999_is_written_as_its_end() -> None:
    """As of a maxAge of 3000000d."""
    assert second(3e11) == "9999-12-31T23:59:59Z"
    assert stamp(3e11) == "9999-12-31T23:59:59.000000Z"


@pytest.mark.parametrize(("text", "seconds"), TIMES)
def test_every_time_of_an_api_server_is_read(text: str, seconds: float) -> None:
    assert moment(text) == seconds


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from("Tt"),
)
def test_time_in_any_zone_is_the_same_moment(at: datetime, minutes: int, t: str) -> None:
    if timedelta(days=2) < at - datetime.min.replace(tzinfo=UTC) and at.year < 9999:
        text = at.astimezone(timezone(timedelta(minutes=minutes))).isoformat().replace("T", t)
        assert moment(text) == pytest.approx(at.timestamp(), abs=1e-5)


@given(st.one_of(st.text(), oddities, st.from_regex(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d[Zz]")))
def test_invalid_time_is_a_value_error(text: Any) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(moment(text), float)


answers = st.recursive(
    oddities,
    lambda v: (
        st.lists(v, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["details", "causes", "reason", "message", "retryAfterSeconds", "kind", "name"]
            ),
            v,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.integers(-5, 700), answers, st.one_of(st.none(), st.text()))
@settings(deadline=None)
def test_every_answer_becomes_an_api_error(status: int, body: Any, pause: str | None) -> None:
    error = error_from(status, json.dumps(body).encode(), pause)
    assert isinstance(error, ApiError)
    assert error.message
    assert error.retry_after is None or 0 <= error.retry_after <= 300
    assert all(isinstance(text, str) for text in (error.reason, error.kind, *error.causes))


RETRIES = [
    ("7", 7.0),
    ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ("²", None),
    ("-3", None),
    ("nan", None),
    ("inf", 300.0),
    ("9" * 400, 300.0),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("header", "seconds"), RETRIES)
def test_retry_after_is_limited(header: str | None, seconds: float | None) -> None:
    assert error_from(429, b"{}", header).retry_after == seconds


def test_subject_of_a_refusal_is_read_from_malformed_details() -> None:
    body = {
        "reason": "NotFound",
        "message": 'namespaces "n" not found',
        "details": {"kind": "namespaces", "name": "n", "causes": [None, {"reason": "X"}, 5]},
    }
    error = error_from(404, json.dumps(body).encode())
    assert (error.kind, error.name, error.causes) == ("namespaces", "n", ("X",))
    listed = error_from(503, json.dumps({**body, "details": ["no"]}).encode())
    assert (listed.kind, listed.reason) == ("", "NotFound")


def test_reading_errors_are_no_os_errors() -> None:
    assert not any(issubclass(kind, OSError) for kind in READ_ERRORS)
