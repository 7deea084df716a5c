"""What the API server's refusals mean: its words are data here, as 1.36.3 says them."""

from __future__ import annotations

import json

import pytest

from immutable_operator.domain.model import Cause, Move
from immutable_operator.kube.errors import ApiError, ServerTrouble, error_from
from immutable_operator.runtime.refusals import Refusals, cause_of


def answer(status: int, message: str, reason: str = "", causes: object = None) -> ApiError:
    details = {"causes": causes} if causes else {}
    body = {"kind": "Status", "message": message, "reason": reason, "details": details}
    return error_from(status, json.dumps(body).encode())


CASES = [
    (
        Move.CREATE,
        answer(403, 'pods "w" is forbidden: exceeded quota: q, requested: pods=1', "Forbidden"),
        Cause.QUOTA,
    ),
    (
        Move.CREATE,
        answer(403, 'pods "w" is forbidden: violates PodSecurity "restricted:latest"', "Forbidden"),
        Cause.TEMPLATE,
    ),
    (
        Move.CREATE,
        answer(
            403,
            'pods is forbidden: User "x" cannot create resource "pods" in API group "" in the'
            ' namespace "n"',
            "Forbidden",
        ),
        Cause.FORBIDDEN,
    ),
    (Move.CREATE, answer(422, 'Pod "w" is invalid: spec.x: Required value'), Cause.TEMPLATE),
    (
        Move.CREATE,
        answer(
            403,
            'pods "w" is forbidden: unable to create new content in namespace n because it is'
            " being terminated",
            "Forbidden",
            [{"reason": "NamespaceTerminating"}],
        ),
        Cause.NAMESPACE_TERMINATING,
    ),
    (Move.CREATE, answer(404, 'namespaces "n" not found'), Cause.NAMESPACE_TERMINATING),
    (Move.CREATE, answer(500, "failed calling webhook"), Cause.API_SERVER),
    (
        Move.CREATE,
        answer(403, 'pods "w" is forbidden: cannot find RESTMapping for APIVersion', "Forbidden"),
        Cause.API_SERVER,
    ),
    (Move.CREATE, answer(429, "too many requests"), Cause.API_SERVER),
    (
        Move.RETIRE,
        answer(
            429,
            "Cannot evict pod as it would violate the pod's disruption budget.",
            "TooManyRequests",
            [
                {
                    "reason": "DisruptionBudget",
                    "message": "The disruption budget web needs 3 healthy pods and has 3 currently",
                }
            ],
        ),
        Cause.DISRUPTION_BUDGET,
    ),
    (
        Move.RETIRE,
        answer(500, "This pod has more than one PodDisruptionBudget, which the eviction …"),
        Cause.DISRUPTION_BUDGET,
    ),
]


@pytest.mark.parametrize(("move", "error", "cause"), CASES)
def test_the_cause_is_told_from_the_answer(move: Move, error: ApiError, cause: Cause) -> None:
    assert cause_of(move, error) is cause


def test_the_budget_that_blocks_is_named() -> None:
    budgeted = next(error for _, error, cause in CASES if cause is Cause.DISRUPTION_BUDGET)
    assert budgeted.message.startswith("The disruption budget web needs 3 healthy pods")


def test_an_answer_that_is_no_status_object_is_quoted_in_short() -> None:
    error = error_from(502, b"<html>" + b"x" * 1000)
    assert isinstance(error, ServerTrouble)
    assert len(error.message) <= 200


def test_each_try_waits_longer_whichever_instance_it_is_for() -> None:
    refusals = Refusals()
    quota = CASES[0][1]
    first = refusals.refused(Move.CREATE, "web-a", "r1", quota, 0.0)
    second = refusals.refused(Move.CREATE, "web-b", "r1", quota, 10.0)
    assert (first.attempts, second.attempts) == (1, 2)
    assert second.retry_at - 10.0 > first.retry_at - 0.0
    assert second.since == first.since
    assert len(refusals.all()) == 1, "births of one revision share one refusal"


def test_a_new_revision_starts_afresh() -> None:
    refusals = Refusals()
    refusals.refused(Move.CREATE, "web-a", "r1", CASES[3][1], 0.0)
    assert refusals.refused(Move.CREATE, "web-b", "r2", CASES[3][1], 9.0).attempts == 1


def test_what_is_accepted_is_history() -> None:
    refusals = Refusals()
    refusals.refused(Move.CREATE, "web-a", "r1", CASES[0][1], 0.0)
    refusals.accepted(Move.CREATE, "web-c")
    assert refusals.all() == ()


def test_refusals_to_retire_end_with_the_instance() -> None:
    refusals = Refusals()
    refusals.refused(Move.RETIRE, "web-a", None, CASES[-1][1], 0.0)
    refusals.forget_subjects({"web-b"})
    assert refusals.all() == ()


def test_a_budget_that_gives_way_for_one_is_asked_for_all_again() -> None:
    refusals = Refusals()
    budgeted = next(error for _, error, cause in CASES if cause is Cause.DISRUPTION_BUDGET)
    refusals.refused(Move.RETIRE, "web-a", None, budgeted, 0.0)
    refusals.refused(Move.RETIRE, "web-b", None, budgeted, 1.0)
    refusals.accepted(Move.RETIRE, "web-a")
    assert refusals.all() == ()
