"""Node classes: which of them keep starting machines from one image."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.wire.node_class import class_problem

AWS = ("karpenter.k8s.aws", "EC2NodeClass", "default")
IMAGE = {"id": "ami-1"}
FIELD = "spec.amiSelectorTerms"


def problem(*terms: dict[str, Any], image: dict[str, str] | None = None, **more: Any) -> str | None:
    body = {"metadata": {}, "spec": {"amiSelectorTerms": list(terms)}, **more}
    return class_problem(json.dumps(body).encode(), *AWS, IMAGE if image is None else image)


def test_class_that_names_the_image_is_good() -> None:
    assert problem({"id": "ami-1"}) is None


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ([{"alias": "al2023@latest"}], f"{FIELD}[0].alias of EC2NodeClass default is set, so the"),
        ([{"alias": "al2023@v20260101"}], f"{FIELD}[0].alias of EC2NodeClass default is set"),
        ([{"tags": {"env": "x"}}], f"{FIELD}[0].tags of EC2NodeClass default is set"),
        ([{"name": "my-*", "owner": "1"}], f"{FIELD}[0].name of EC2NodeClass default is set"),
        ([{"ssmParameter": "p"}], f"{FIELD}[0].ssmParameter of EC2NodeClass default is set"),
        ([{"id": "ami-1"}, {"id": "ami-2"}], f"{FIELD} of EC2NodeClass default has 2 terms"),
        ([{"id": "ami-2"}], f"{FIELD}[0].id of EC2NodeClass default is ami-2, but spec.image.id"),
        ([], f"{FIELD} of EC2NodeClass default is not set, so the image may change; set it to"),
    ],
)
def test_class_that_may_start_another_image_is_refused(
    terms: list[dict[str, Any]], says: str
) -> None:
    assert (problem(*terms) or "").startswith(says)


def test_pool_with_a_digest_cannot_be_matched_to_a_class_with_ids() -> None:
    assert "set spec.image.id of the pool" in (
        problem({"id": "ami-1"}, image={"digest": "x"}) or ""
    )


def test_class_that_is_not_ready_is_refused_with_its_reason() -> None:
    sick = {"type": "Ready", "status": "False", "reason": "NoSubnet", "message": "no subnet found"}
    said = problem({"id": "ami-1"}, status={"conditions": [sick]})
    assert said == "EC2NodeClass default is not ready: no subnet found"


def test_class_that_does_not_say_whether_it_is_ready_is_good() -> None:
    fresh = {"type": "Ready", "status": "Unknown", "reason": "AwaitingReconciliation"}
    assert problem({"id": "ami-1"}, status={"conditions": [fresh]}) is None


def test_class_that_is_being_deleted_is_refused() -> None:
    said = problem({"id": "ami-1"}, metadata={"deletionTimestamp": "2026-11-22T01:00:00Z"})
    assert said == "EC2NodeClass default is being deleted; name another one in nodeClassRef"


def test_class_without_an_image_is_not_asked_for_one() -> None:
    body = json.dumps({"metadata": {}, "spec": {}}).encode()
    assert class_problem(body, "karpenter.kwok.sh", "KWOKNodeClass", "default", IMAGE) is None
