"""AdmissionReviews of a CONNECT: what they say, what is answered. No input is an error of ours."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from immutable_operator.admission.review import (
    MOST_BYTES,
    BadReview,
    Connect,
    allow,
    clean,
    deny,
    read_review,
    status,
    taint,
)

POD = "web-im5f2ed9b0-37nt2"
REVIEW: dict[str, Any] = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "PodExecOptions"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "subResource": "exec",
        "name": POD,
        "namespace": "shop",
        "operation": "CONNECT",
        "userInfo": {"username": "jane", "groups": ["immutable:break-glass"]},
        "object": {"kind": "PodExecOptions", "command": ["sh"]},
        "oldObject": None,
        "dryRun": False,
    },
}


def review(**changes: Any) -> bytes:
    changed = copy.deepcopy(REVIEW)
    changed["request"].update(changes)
    return json.dumps(changed).encode()


def test_review_gives_user_pod_and_subresource() -> None:
    assert read_review(review()) == Connect(
        REVIEW["request"]["uid"], "shop", POD, "exec", "jane", dry_run=False
    )


NAMES = {
    POD: POD,
    f"{POD}:8080": POD,
    f"https:{POD}:8080": POD,
    f":{POD}:": POD,
    "web": "",
    "web-0": "",
    f"{POD}-1": "",
    f"https:web:{POD}": "",
    f"web:{POD}": "",
    f"a:b:{POD}:c": "",
    f"../secrets/{POD}": "",
    f"{POD}/../x": "",
    f"{POD}\n": "",
    f"x\n{POD}": "",
    f"{POD}?dryRun=All": "",
    POD.upper(): "",
    "": "",
}


@pytest.mark.parametrize(("name", "instance"), NAMES.items(), ids=[repr(n) for n in NAMES])
def test_instance_name_has_the_reserved_shape_and_is_no_path(name: str, instance: str) -> None:
    assert read_review(review(name=name)).instance == instance


BAD: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"kind": "\xff"}',
    "half a character": review().replace(b"jane", b"\\ud800"),
    "a list": b"[]",
    "deep": b"[" * 200_000,
    "deep in what is skipped": b'{"x":' * 100_000,
    "another kind": review().replace(b'"AdmissionReview"', b'"TokenReview"'),
    "another version": review().replace(b"k8s.io/v1", b"k8s.io/v1beta1"),
    "no request": b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}',
    "no uid": review(uid=""),
    "a uid without end": review(uid="x" * 300),
    "another operation": review(operation="CREATE"),
    "another resource": review(resource={"group": "", "resource": "nodes"}),
    "another group": review(resource={"group": "x", "resource": "pods"}),
    "no namespace": review(namespace=""),
    "a path for a namespace": review(namespace="../x"),
    "two lines for a namespace": review(namespace="shop\n"),
    "a number for a name": review(name=5),
    "null for a user": review(userInfo=None),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_body_that_is_no_review_is_refused_with_a_message(body: bytes) -> None:
    with pytest.raises(BadReview) as caught:
        read_review(body)
    assert caught.value.code == 400
    line = status(caught.value.code, caught.value.message)
    assert line.count(b"\n") == 1
    assert json.loads(line)["kind"] == "Status"
    assert json.loads(line)["message"]


def test_oversized_review_is_answered_with_a_denial() -> None:
    """The API server ignores an error response, because failurePolicy is Ignore."""
    body = review(object={"command": ["x" * MOST_BYTES]})
    with pytest.raises(BadReview) as caught:
        read_review(body)
    assert (caught.value.code, caught.value.uid) == (413, REVIEW["request"]["uid"])
    answer = json.loads(deny(caught.value.uid, 413, caught.value.message))
    assert answer["response"]["allowed"] is False
    assert answer["response"]["uid"] == REVIEW["request"]["uid"]


def test_oversized_body_that_is_no_review_is_rejected() -> None:
    with pytest.raises(BadReview) as caught:
        read_review(b"x" * (MOST_BYTES + 1))
    assert (caught.value.code, caught.value.uid) == (413, "")


def attempt(body: bytes) -> Connect | BadReview:
    try:
        return read_review(body)
    except BadReview as bad:
        return bad


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(REVIEW["request"])), anything)
def test_review_with_any_value_in_any_field_is_read_or_refused(key: str, value: Any) -> None:
    read = attempt(review(**{key: value}))
    if isinstance(read, BadReview):
        assert read.code == 400
        assert read.message.isprintable()
    else:
        assert read.instance in ("", POD)
        assert (read.by + read.what).isprintable()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(BadReview):
        read_review(body)


@given(st.integers(0, len(review()) - 1), st.binary(max_size=4))
def test_damaged_review_is_read_or_refused(place: int, damage: bytes) -> None:
    body = review()
    read = attempt(body[:place] + damage + body[place + len(damage) :])
    assert (read.message if isinstance(read, BadReview) else read.by).isprintable()


@given(st.text(max_size=400))
@example("jane\n{}")
@example('"; DROP\r\n')
@example("\u202egnp.exe")
@example("a\u2028b\x85c\x00")
@example("é" * 10_000)
def test_user_name_is_one_printable_line_of_limited_length(name: str) -> None:
    kept = clean(name)
    assert kept.isprintable()
    assert len(kept) <= 201
    if name.isprintable() and len(name) <= 200:
        assert kept == name
    connect = Connect("uid", "shop", POD, "exec", kept, dry_run=False)
    mark = taint(connect, datetime(2026, 11, 22, 4, 30, tzinfo=UTC))
    assert json.loads(mark) == {"what": "exec", "by": kept, "at": "2026-11-22T04:30:00Z"}
    assert mark.isprintable()


def test_answer_has_the_form_that_the_api_server_reads() -> None:
    assert json.loads(allow("u", "tainted", "careful")) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            **{"uid": "u", "allowed": True, "warnings": ["careful"]},
            "auditAnnotations": {"taint": "tainted"},
        },
    }
    assert "warnings" not in json.loads(allow("u", "no-instance"))["response"]
    assert json.loads(deny("u", 503, "no"))["response"] == {
        **{"uid": "u", "allowed": False, "status": {"code": 503, "message": "no"}},
    }
