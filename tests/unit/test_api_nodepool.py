"""What the operator refuses of an ImmutableNodePool, and the sentence that the user reads."""

from __future__ import annotations

from typing import Any

import pytest

from immutable_operator.api.errors import InvalidSpec
from immutable_operator.api.nodepool import validate_pool
from tests.unit.pool_specs import IMAGE_IDS, POOLS, POOLS_REFUSED, pool
from tests.unit.service_specs import Refused


@pytest.mark.parametrize("case", POOLS_REFUSED, ids=lambda case: case.why)
def test_invalid_pool_is_refused_with_a_message(case: Refused) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        validate_pool(case.name, case.spec)
    assert refusal.value.problems == (case.says,)


@pytest.mark.parametrize("given", POOLS)
def test_valid_pool_is_accepted_with_the_longest_name(given: dict[str, Any]) -> None:
    validate_pool("x" * 45, given)


@pytest.mark.parametrize("image", IMAGE_IDS)
def test_id_of_one_image_is_accepted(image: str) -> None:
    assert validate_pool("web", pool(image={"id": image})).image.id == image


def test_image_id_with_a_line_break_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="is not a valid image id"):
        validate_pool("web", pool(image={"id": "ami-0abc\n"}))


@pytest.mark.parametrize("amount", [True, None, [], {}])
def test_capacity_of_another_type_is_refused(amount: object) -> None:
    given = pool(provider={"simulated": {"capacity": {"cpu": amount}}})
    with pytest.raises(InvalidSpec, match="not a quantity"):
        validate_pool("web", given)


def test_all_problems_of_a_pool_are_reported_at_once() -> None:
    bad = pool({"maxSurge": 0}, image={"id": "ami-*"}, replicas=-1)
    with pytest.raises(InvalidSpec) as refusal:
        validate_pool("x" * 46, bad)
    assert sorted(problem.split(":")[0] for problem in refusal.value.problems) == [
        "metadata.name",
        "spec.image.id",
        "spec.replicas",
        "spec.rollout",
    ]


def test_pool_with_an_image_and_a_provider_gets_the_documented_defaults() -> None:
    found = validate_pool("web", pool())
    assert found.model_dump(by_alias=True, exclude_none=True) == {
        "image": {"id": "ami-0abc1234def567890"},
        "provider": {"simulated": {"capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"}}},
        "controlPlane": False,
        "rollout": {
            "maxSurge": 1,
            "maxUnavailable": 0,
            "progressDeadlineSeconds": 1800,
            "onFailure": "RollBack",
            "bakeSeconds": 0,
            "verify": {"settle": "60s"},
        },
        "regeneration": {"jitter": "10%", "maxConcurrent": 1, "windows": [], "timeZone": "UTC"},
        "drift": {
            "machineID": "Replace",
            "bootID": "Replace",
            "osImage": "Replace",
            "kernelVersion": "Replace",
            "kubeletVersion": "Replace",
            "containerRuntimeVersion": "Replace",
            "declaredLabels": "Report",
            "declaredTaints": "Report",
            "reachedInto": "Report",
        },
        "drain": {"timeout": "1h", "onBlocked": "Wait"},
        "deletionPolicy": "Orphan",
        "historyLimit": 10,
        "suspend": False,
    }
