"""What the operator refuses of an ImmutableService, and the sentence that the user reads."""

import copy
from typing import Any

import pydantic
import pytest

from immutable_operator.api.errors import InvalidSpec
from immutable_operator.api.service import validate_service
from tests.unit.service_specs import PIN, REFUSED, Refused, spec, template


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.why)
def test_invalid_spec_is_refused_with_a_message(case: Refused) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        validate_service(case.name, case.spec)
    assert refusal.value.problems == (case.says,)
    assert str(refusal.value) == case.says


def test_all_problems_of_a_spec_are_reported_at_once() -> None:
    bad = template(containers=[{"name": "a", "image": "a"}, {"name": "b", "image": "b"}])
    with pytest.raises(InvalidSpec) as refusal:
        validate_service("x" * 46, bad)
    assert [problem.split(":")[0] for problem in refusal.value.problems] == [
        "metadata.name",
        "spec.template.spec.containers[0].image",
        "spec.template.spec.containers[1].image",
    ]


def test_spec_with_only_a_template_gets_the_documented_defaults() -> None:
    service = validate_service("web", spec())
    assert service.replicas is None
    assert service.history_limit == 10
    assert service.suspend is False
    assert service.rollout.model_dump(by_alias=True) == {
        "strategy": "Rolling",
        "blueGreen": None,
        "canary": None,
        "maxSurge": "25%",
        "maxUnavailable": 0,
        "podReplacement": "TerminationStarted",
        "drainProtection": False,
        "minReadySeconds": 0,
        "progressDeadlineSeconds": 600,
        "onFailure": "RollBack",
        "bakeSeconds": 0,
        "checks": [],
    }


@pytest.mark.parametrize(
    "given",
    [
        spec(replicas=0),
        spec(replicas=50000),
        spec({"podReplacement": "TerminationComplete"}),
        spec({"maxSurge": 0, "maxUnavailable": 1}),
        spec({"maxSurge": "100%", "maxUnavailable": "1%"}, suspend=True, historyLimit=100),
        template(volumes=[{"name": "model", "image": {"reference": PIN}}, {"name": "tmp"}]),
        template(restartPolicy="Always"),
        {"template": spec()["template"] | {"metadata": {"labels": {"my.immutable.dev/x": "y"}}}},
        {"template": spec()["template"] | {"metadata": {}}},
    ],
)
def test_valid_spec_is_accepted_with_the_longest_name(given: dict[str, Any]) -> None:
    assert validate_service("x" * 45, given).template == given["template"]


def test_template_is_kept_as_written() -> None:
    given = template(containers=[{"name": "web", "image": PIN, "aFieldOfTomorrow": {"x": [1]}}])
    before = copy.deepcopy(given)
    assert validate_service("web", given).template == before["template"]
    assert given == before


def test_unknown_field_of_a_later_version_is_accepted() -> None:
    assert validate_service("web", spec(aFieldOfTomorrow=1)).replicas is None


def test_spec_is_immutable_once_read() -> None:
    service = validate_service("web", spec())
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        service.replicas = 3  # type: ignore[misc]
