"""What is remembered of refused writes: enough to wait longer each time, and not for ever."""

from __future__ import annotations

import json

import pytest

from immutable_operator.domain.model import Cause, Move, Refusal
from immutable_operator.instances.refused import Refused, refused
from immutable_operator.kube.errors import ApiError, error_from
from immutable_operator.runtime.refusals import MOST, Refusals


def answer(status: int, message: str, cause: str = "") -> ApiError:
    details = {"causes": [{"reason": cause, "message": message}]} if cause else {}
    return error_from(status, json.dumps({"message": message, "details": details}).encode())


QUOTA = answer(403, 'pods "w" is forbidden: exceeded quota: q, requested: pods=1')
INVALID = answer(422, 'Pod "w" is invalid: spec.x: Required value')
BUDGETED = answer(429, "The disruption budget web needs 3 healthy pods", "DisruptionBudget")
DENIED = answer(403, 'admission webhook "w.example.com" denied the request: not now')
MISSING = answer(403, 'pods "w" is forbidden: no PriorityClass with name high was found')
BUSY = answer(429, "Too many requests, please try again later.")
TAKEN = Refused(Cause.NAME_TAKEN, "pod w exists")


def refuse(
    refusals: Refusals, move: Move, subject: str, revision: str | None, error: ApiError, now: float
) -> Refusal:
    return refusals.note(move, subject, revision, refused(move, error), now)


def of(refusals: Refusals, now: float | None = None) -> list[tuple[Move, str, Cause]]:
    return sorted((r.move, r.subject, r.cause) for r in refusals.all(now))


def test_pause_grows_with_each_attempt_for_any_instance() -> None:
    refusals = Refusals()
    first = refuse(refusals, Move.CREATE, "web-a", "r1", QUOTA, 0.0)
    second = refuse(refusals, Move.CREATE, "web-b", "r1", QUOTA, 10.0)
    assert (first.attempts, second.attempts) == (1, 2)
    assert second.retry_at - 10.0 > first.retry_at - 0.0
    assert second.since == first.since
    assert len(refusals.all()) == 1, "births of one revision share one refusal"


def test_new_revision_starts_without_refusals() -> None:
    refusals = Refusals()
    refuse(refusals, Move.CREATE, "web-a", "r1", INVALID, 0.0)
    assert refuse(refusals, Move.CREATE, "web-b", "r2", INVALID, 9.0).attempts == 1


def test_each_growing_revision_has_its_own_refusal() -> None:
    refusals = Refusals()
    refuse(refusals, Move.CREATE, "web-a", "r1", QUOTA, 0.0)
    refuse(refusals, Move.CREATE, "web-b", "r2", INVALID, 1.0)
    assert len(refusals.all()) == 2
    refusals.accepted(Move.CREATE, "web-c", "r1")
    assert of(refusals) == [(Move.CREATE, "web-b", Cause.TEMPLATE)], "r2 is no better for it"


def test_accepted_move_clears_its_refusal() -> None:
    refusals = Refusals()
    refuse(refusals, Move.CREATE, "web-a", "r1", QUOTA, 0.0)
    refusals.accepted(Move.CREATE, "web-c")
    assert refusals.all() == ()


def test_accepted_birth_keeps_refusals_of_taken_names() -> None:
    refusals = Refusals()
    refusals.note(Move.CREATE, "web-a", "r1", TAKEN, 0.0)
    refusals.accepted(Move.CREATE, "web-b", "r1")
    assert of(refusals) == [(Move.CREATE, "web-a", Cause.NAME_TAKEN)]
    refusals.accepted(Move.CREATE, "web-a", "r1")
    assert refusals.all() == ()


def test_refusal_of_a_retirement_ends_with_the_instance() -> None:
    refusals = Refusals()
    refuse(refusals, Move.RETIRE, "web-a", None, BUDGETED, 0.0)
    refusals.forget_subjects({"web-b"})
    assert refusals.all() == ()


def test_accepted_eviction_clears_all_refusals_of_the_budget() -> None:
    refusals = Refusals()
    refuse(refusals, Move.RETIRE, "web-a", None, BUDGETED, 0.0)
    refuse(refusals, Move.RETIRE, "web-b", None, BUDGETED, 1.0)
    refusals.accepted(Move.RETIRE, "web-a")
    assert refusals.all() == ()


def test_accepted_move_clears_only_its_own_refusal_of_a_webhook() -> None:
    refusals = Refusals()
    refuse(refusals, Move.RETIRE, "web-a", None, DENIED, 0.0)
    refuse(refusals, Move.RETIRE, "web-b", None, DENIED, 1.0)
    refusals.accepted(Move.RETIRE, "web-a")
    assert of(refusals) == [(Move.RETIRE, "web-b", Cause.ADMISSION)]


def test_overloaded_api_server_is_no_disruption_budget() -> None:
    refusals = Refusals()
    refuse(refusals, Move.RETIRE, "web-a", None, BUSY, 0.0)
    assert of(refusals) == [(Move.RETIRE, "web-a", Cause.API_SERVER)]


def test_missing_dependency_is_retried_more_rarely_after_half_a_minute() -> None:
    refusals, now, asked = Refusals(), 1000.0, 0
    while now < 1000.0 + 300.0:
        refusal = refuse(refusals, Move.CREATE, f"web-{asked}", "r1", MISSING, now)
        assert 1.0 <= refusal.retry_at - now <= 30.0
        assert refusal.since == 1000.0
        now, asked = refusal.retry_at, asked + 1
    assert 30 < asked < 60


@pytest.mark.parametrize("later", [601.0, 1e6])
def test_refusal_after_ten_minutes_is_a_new_one(later: float) -> None:
    """Otherwise the refusal would appear to have lasted all the time."""
    refusals = Refusals()
    for _ in range(5):
        refuse(refusals, Move.CREATE, "web-a", "r1", QUOTA, 0.0)
    fresh = refuse(refusals, Move.CREATE, "web-b", "r1", QUOTA, later)
    assert (fresh.attempts, fresh.since) == (1, later)


def test_refusal_of_an_unused_name_expires() -> None:
    refusals = Refusals()
    refusals.note(Move.CREATE, "web-a", "r1", TAKEN, 0.0)
    assert of(refusals, now=300.0)
    assert of(refusals, now=601.0) == []


def test_repeated_refusals_stay() -> None:
    refusals, now = Refusals(), 0.0
    for attempt in range(1, 20):
        refusal: Refusal = refuse(refusals, Move.CREATE, "web-a", "r1", INVALID, now)
        assert refusal.attempts == attempt
        assert refusals.all(refusal.retry_at) == (refusal,)
        now = refusal.retry_at


def test_number_of_refusals_is_bounded() -> None:
    refusals = Refusals()
    refuse(refusals, Move.CREATE, "web-new", "r2", QUOTA, 0.0)
    refuse(refusals, Move.RECORD, "r3", None, DENIED, 0.0)
    for number in range(4000):
        refuse(refusals, Move.RETIRE, f"web-{number}", None, DENIED, number / 100)
        refusals.note(Move.CREATE, f"name-{number}", "r2", TAKEN, number / 100)
    found = of(refusals)
    assert len(found) == MOST
    assert (Move.CREATE, "web-new", Cause.QUOTA) in found, "what stands for many moves stays"
    assert (Move.RECORD, "r3", Cause.ADMISSION) in found
    assert (Move.CREATE, "name-3999", Cause.NAME_TAKEN) in found, "and the last of the others"


def test_number_of_refused_revisions_is_bounded() -> None:
    refusals = Refusals()
    for number in range(4000):
        refuse(refusals, Move.CREATE, "web", f"r{number}", QUOTA, number / 100)
    assert len(refusals.all()) == MOST


def test_many_refusals_of_one_cause_share_a_pause() -> None:
    """Otherwise the subjects that are not remembered would be tried at each plan."""
    refusals, now = Refusals(), 0.0
    for number in range(200):
        refusal = refuse(refusals, Move.RETIRE, f"web-{number}", None, DENIED, now)
        now += 0.01
    assert refusal.shared
    assert refusal.attempts > 100
    assert refusal.retry_at - now > 29.0
    refusals.accepted(Move.RETIRE, "web-other")
    assert not any(r.shared for r in refusals.all()), "it gave way for one"


def test_few_refusals_are_separate() -> None:
    refusals = Refusals()
    for number in range(5):
        assert not refuse(refusals, Move.RETIRE, f"web-{number}", None, DENIED, 0.0).shared
    assert refuse(refusals, Move.RETIRE, "web-0", None, DENIED, 1.0).attempts == 2


def test_each_subject_of_a_shared_refusal_is_tried() -> None:
    """Subjects that are not remembered come first, so one that is not blocked is found."""
    refusals, order = Refusals(), list[str]()
    names = [f"web-{number:03}" for number in range(200)]
    for turn in range(400):
        known = {r.subject: r.attempts for r in refusals.all()}
        chosen = min(names, key=lambda name: (known.get(name, 0), name))
        refuse(refusals, Move.RETIRE, chosen, None, BUDGETED, float(turn))
        order.append(chosen)
    assert len(set(order)) > MOST


def test_refusals_are_shared_except_those_of_taken_names() -> None:
    refusals = Refusals()
    assert refuse(refusals, Move.CREATE, "web-a", "r1", QUOTA, 0.0).shared
    assert refuse(refusals, Move.RETIRE, "web-a", None, BUDGETED, 0.0).shared
    for number in range(40):
        name = f"web-{number}"
        assert not refusals.note(Move.CREATE, name, "r1", TAKEN, 0.0).shared
