"""The operator's PodDisruptionBudgets against an API server's answers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from immutable_operator.domain.model import Cause, DeleteBudget, SetBudget
from immutable_operator.instances.driver import Refused, Seen, Unknown
from immutable_operator.kube.store import Children
from immutable_operator.runtime.budgets import BudgetWriter
from immutable_operator.wire.budget import BUDGETS, BudgetRecord, budget_body, decode_budget
from tests.wire.scripted import CUT, SERVICE, Answer, Script, refusal

NAME = "web-drain-protection"
COLLECTION, ITEM = BUDGETS.collection("shop"), BUDGETS.item("shop", NAME)
DELETE = DeleteBudget(NAME, "u-b1")
SLOW = refusal(500, "etcdserver: request timed out")


def budget(least: int, *, version: int = 7) -> dict[str, Any]:
    body = budget_body(SERVICE, SetBudget(least))
    body["metadata"] |= {"uid": "u-b1", "resourceVersion": str(version)}
    return body


def known(*budgets: dict[str, Any]) -> Children[BudgetRecord]:
    found: Children[BudgetRecord] = Children(lambda namespace: None)
    found.replace([decode_budget(msgspec.json.encode(each)) for each in budgets], 1)
    return found


def written(
    script: Script, move: SetBudget | DeleteBudget, view: Children[BudgetRecord] | None = None
) -> Seen:
    there = known() if view is None else view
    return script.run(lambda client: BudgetWriter(client, there).write(SERVICE, move))


def test_budget_is_created_where_none_is_known() -> None:
    view, script = known(), Script(budget(3))
    seen = written(script, SetBudget(3), view)
    assert script.lines == [f"POST {COLLECTION}"]
    assert script.asked[0].body["spec"]["minAvailable"] == 3
    assert not seen()
    view.upsert(decode_budget(msgspec.json.encode(budget(3))), 7)
    assert seen()


def test_known_budget_is_changed_and_only_this_very_one() -> None:
    script = Script(budget(2))
    written(script, SetBudget(2), known(budget(3)))
    assert script.lines == [f"PATCH {ITEM}"]
    body = script.asked[0].body
    assert body["metadata"] == {"uid": "u-b1"}
    assert body["spec"]["selector"]["matchExpressions"] is None
    assert body["spec"]["minAvailable"] == 2
    assert body["spec"]["maxUnavailable"] is None, "the other form of a limit is removed"


def test_foreign_budget_is_not_taken_over() -> None:
    script = Script(refusal(409, "already exists"))
    with pytest.raises(Refused, match="does not belong to this service") as caught:
        written(script, SetBudget(3))
    assert caught.value.cause is Cause.NAME_TAKEN
    assert script.lines == [f"POST {COLLECTION}"]


def test_deletion_names_the_uid_and_a_missing_budget_is_as_good() -> None:
    gone = refusal(404, "not found", kind="poddisruptionbudgets", name=NAME)
    answers: tuple[Answer | dict[str, Any], ...] = ({"kind": "Status"}, gone)
    for answer in answers:
        view, script = known(budget(3)), Script(answer)
        seen = written(script, DELETE, view)
        assert script.lines == [f"DELETE {ITEM}"]
        assert script.asked[0].body == {"preconditions": {"uid": "u-b1"}}
        assert not seen()
        view.replace([], 8)
        assert seen()


@pytest.mark.parametrize("move", [SetBudget(3), DELETE], ids=["set", "delete"])
@pytest.mark.parametrize("answer", [CUT, SLOW], ids=["cut", "slow"])
def test_write_with_an_unknown_result_is_neither_done_nor_refused(
    move: SetBudget | DeleteBudget, answer: Answer
) -> None:
    with pytest.raises(Unknown):
        written(Script(answer), move)


@pytest.mark.parametrize("move", [SetBudget(3), DELETE], ids=["set", "delete"])
def test_missing_permission_is_a_refusal(move: SetBudget | DeleteBudget) -> None:
    text = 'poddisruptionbudgets.policy is forbidden: User "o" cannot create resource'
    with pytest.raises(Refused) as caught:
        written(Script(refusal(403, text)), move)
    assert caught.value.cause is Cause.FORBIDDEN
