"""The operator's Services against an API server's answers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from immutable_operator.domain.model import Cause, DeleteRoute, Port, SetRoute, Traffic
from immutable_operator.instances.driver import Refused, Seen, Unknown
from immutable_operator.kube.store import Children
from immutable_operator.runtime.routes import RouteWriter
from immutable_operator.wire.route import ROUTES, RouteRecord, decode_route, route_body
from tests.wire.scripted import CUT, SERVICE, Answer, Script, refusal

COLLECTION, ITEM = ROUTES.collection("shop"), ROUTES.item("shop", "web")
SET = SetRoute("web", "", Traffic((Port(80, 8080),)))
OTHER = SetRoute("web", "0a1b2c3d", Traffic((Port(81, 8080),)))
DELETE = DeleteRoute("web", "u-r1")
SLOW = refusal(500, "etcdserver: request timed out")


def service(move: SetRoute = SET, *, version: int = 7) -> dict[str, Any]:
    body = route_body(SERVICE, move)
    body["metadata"] |= {"uid": "u-r1", "resourceVersion": str(version)}
    return body


def known(*services: dict[str, Any]) -> Children[RouteRecord]:
    found: Children[RouteRecord] = Children(lambda key: None)
    found.replace([decode_route(msgspec.json.encode(each)) for each in services], 1)
    return found


def written(
    script: Script, move: SetRoute | DeleteRoute, view: Children[RouteRecord] | None = None
) -> Seen:
    there = known() if view is None else view
    return script.run(lambda client: RouteWriter(client, there).write(SERVICE, move))


def test_service_is_created_where_none_is_known() -> None:
    view, script = known(), Script(service())
    seen = written(script, SET, view)
    assert script.lines == [f"POST {COLLECTION}"]
    assert script.asked[0].body["spec"]["ports"] == [
        {"port": 80, "targetPort": 8080, "protocol": "TCP"}
    ]
    assert not seen()
    view.upsert(decode_route(msgspec.json.encode(service())), 7)
    assert seen()


def test_known_service_is_changed_and_only_this_very_one() -> None:
    script = Script(service(OTHER))
    written(script, OTHER, known(service()))
    assert script.lines == [f"PATCH {ITEM}"]
    body = script.asked[0].body
    assert body["metadata"]["uid"] == "u-r1"
    assert body["spec"]["selector"]["immutable.dev/revision"] == "0a1b2c3d"


def test_foreign_service_is_not_taken_over() -> None:
    foreign = service()
    foreign["metadata"]["ownerReferences"] = []
    script = Script(refusal(409, "already exists"))
    with pytest.raises(Refused, match="does not belong to this service") as caught:
        written(script, SET, known(foreign))
    assert caught.value.cause is Cause.NAME_TAKEN
    assert script.lines == [f"POST {COLLECTION}"]


def test_deletion_names_the_uid_and_a_missing_service_is_as_good() -> None:
    gone = refusal(404, "not found", kind="services", name="web")
    answers: tuple[Answer | dict[str, Any], ...] = ({"kind": "Status"}, gone)
    for answer in answers:
        view, script = known(service()), Script(answer)
        seen = written(script, DELETE, view)
        assert script.lines == [f"DELETE {ITEM}"]
        assert script.asked[0].body == {"preconditions": {"uid": "u-r1"}}
        assert not seen()
        view.replace([], 8)
        assert seen()


def test_service_that_waits_for_its_load_balancer_counts_as_deleted() -> None:
    view = known(service())
    seen = written(Script({"kind": "Status"}), DELETE, view)
    leaving = service()
    leaving["metadata"]["deletionTimestamp"] = "2026-11-22T04:30:00Z"
    view.upsert(decode_route(msgspec.json.encode(leaving)), 8)
    assert seen()


@pytest.mark.parametrize("move", [SET, DELETE], ids=["set", "delete"])
@pytest.mark.parametrize("answer", [CUT, SLOW], ids=["cut", "slow"])
def test_write_with_an_unknown_result_is_neither_done_nor_refused(
    move: SetRoute | DeleteRoute, answer: Answer
) -> None:
    with pytest.raises(Unknown):
        written(Script(answer), move)


@pytest.mark.parametrize("move", [SET, DELETE], ids=["set", "delete"])
def test_missing_permission_is_a_refusal(move: SetRoute | DeleteRoute) -> None:
    text = 'services is forbidden: User "o" cannot create resource "services"'
    with pytest.raises(Refused) as caught:
        written(Script(refusal(403, text)), move)
    assert caught.value.cause is Cause.FORBIDDEN
