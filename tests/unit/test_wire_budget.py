"""Which PodDisruptionBudgets cover the pods of a service."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.api.names import API_VERSION
from immutable_operator.domain.model import SetBudget
from immutable_operator.wire.budget import budget_body, budget_change, covering, decode_budget
from immutable_operator.wire.owner import OwnerRecord
from tests.unit.service_specs import spec

META = {"name": "web", "namespace": "shop", "uid": "s1", "resourceVersion": "1"}
TEMPLATE = {"metadata": {"labels": {"app": "web", "tier": "front"}}, **spec()["template"]}
WEB = OwnerRecord.of({"metadata": META, "spec": {"template": TEMPLATE}})


def budget(selector: Any, *, owner: str = "", **limit: Any) -> bytes:
    meta: dict[str, Any] = {"name": "keep", "namespace": "shop", "uid": "b1"}
    if owner:
        meta["ownerReferences"] = [{"uid": owner, "controller": True}]
    return json.dumps({"metadata": meta, "spec": {"selector": selector, **limit}}).encode()


def expression(operator: str, *values: str, key: str = "app") -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": [*values] or None}]}


@pytest.mark.parametrize(
    ("selector", "covers"),
    [
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"immutable.dev/service": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "back"}}, False),
        ({"matchLabels": {"app": "other"}}, False),
        ({}, True),
        (None, False),
        (expression("In", "web", "api"), True),
        (expression("In", "api"), False),
        (expression("NotIn", "api"), True),
        (expression("NotIn", "web"), False),
        (expression("NotIn", "x", key="absent"), True),
        (expression("Exists"), True),
        (expression("Exists", key="absent"), False),
        (expression("DoesNotExist", key="absent"), True),
        (expression("DoesNotExist"), False),
    ],
)
def test_budget_covers_pods_that_its_selector_matches(selector: Any, covers: bool) -> None:
    found = covering(WEB, [decode_budget(budget(selector, minAvailable=1))])
    assert bool(found) is covers
    assert all(not b.is_own for b in found)


@pytest.mark.parametrize(
    ("limit", "least"),
    [({"minAvailable": 2}, 2), ({"minAvailable": "50%"}, None), ({"maxUnavailable": 1}, None)],
)
def test_own_budget_is_known_by_its_owner(limit: dict[str, Any], least: int | None) -> None:
    changed = budget({"matchLabels": {"app": "other"}}, owner="s1", **limit)
    (found,) = covering(WEB, [decode_budget(changed)])
    assert found.is_own
    assert found.min_available == least


def test_budget_with_the_name_of_its_own_is_known_though_it_covers_nothing() -> None:
    stranger = budget({"matchLabels": {"app": "other"}}, minAvailable=7)
    named = stranger.replace(b'"keep"', b'"web-drain-protection"')
    assert covering(WEB, [decode_budget(stranger)]) == ()
    (found,) = covering(WEB, [decode_budget(named)])
    assert (found.is_own, found.covers) == (False, False)


def test_budget_that_is_written_covers_the_service_and_is_its_own() -> None:
    body = budget_body(WEB, SetBudget(2))
    assert body["metadata"]["ownerReferences"][0]["apiVersion"] == API_VERSION
    body["metadata"]["uid"] = "b1"
    (found,) = covering(WEB, [decode_budget(json.dumps(body).encode())])
    assert (found.is_own, found.min_available) == (True, 2)
    assert body["spec"]["selector"] == {"matchLabels": {"immutable.dev/service": "web"}}


def test_budget_of_one_revision_is_read_as_written_and_changed_to_all() -> None:
    move = SetBudget(2, "0a1b2c3d")
    body = budget_body(WEB, move)
    body["metadata"]["uid"] = "b1"
    record = decode_budget(json.dumps(body).encode())
    (found,) = covering(WEB, [record])
    assert (found.is_own, found.min_available, found.revision) == (True, 2, "0a1b2c3d")
    change = budget_change(WEB, SetBudget(2), record)
    assert change["spec"]["selector"]["matchLabels"] == {
        "immutable.dev/service": "web",
        "immutable.dev/revision": None,
    }


def test_budget_with_another_selector_is_seen() -> None:
    own = budget({"matchLabels": {"app": "web"}}, owner="s1", minAvailable=2)
    (found,) = covering(WEB, [decode_budget(own)])
    assert found.revision is None
