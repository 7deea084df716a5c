"""Services of the operator: what is written, what is left to others, and what is told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.model import (
    Cause,
    DeleteRoute,
    Move,
    Port,
    Route,
    SetRoute,
    Traffic,
    View,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.routing import ROUTE_REFUSED, ROUTE_TAKEN, digest_of, route_as_set
from tests.unit.given import NOW, condition, refusal, view

HTTP = Port(80, 8080, "http")
TRAFFIC = Traffic((HTTP,), annotations=(("team", "web"),))
WANTED = SetRoute("web", "", TRAFFIC)
OWN = route_as_set(WANTED)
TAKEN = Route("web", "taken")
DELETE = DeleteRoute("web", OWN.uid)
GROWN = replace(TRAFFIC, ports=(HTTP, Port(443, "https", "https")))


def exposed(*routes: Route, **spec: Any) -> View:
    given = view("A ###", **{"traffic": TRAFFIC, **spec})
    return replace(given, routes=routes)


def seen(traffic: Traffic, **fields: Any) -> Route:
    """Give the Service of the operator as it is after others wrote to it."""
    return replace(OWN, traffic=traffic, **fields)


def port(**fields: Any) -> Traffic:
    return replace(TRAFFIC, ports=(replace(HTTP, **fields),))


TURNED = replace(
    route_as_set(SetRoute("web", "", GROWN)), traffic=replace(GROWN, ports=GROWN.ports[::-1])
)
PREVIEW = replace(OWN, name="web-preview", uid="preview")
NO_PREVIEW = DeleteRoute("web-preview", "preview")

TABLE: list[tuple[str, tuple[Route, ...], dict[str, Any], tuple[object, ...]]] = [
    ("none yet", (), {}, (WANTED,)),
    ("as wanted", (OWN,), {}, ()),
    ("the API server chose a port of the nodes", (seen(port(node_port=31000)),), {}, ()),
    (
        "others added an annotation",
        (seen(replace(TRAFFIC, annotations=(("lb", "1"), ("team", "web")))),),
        {},
        (),
    ),
    ("its ports are listed in another order", (TURNED,), {"traffic": GROWN}, ()),
    ("another selector", (replace(OWN, revision=None),), {}, (WANTED,)),
    ("the selector of one revision", (replace(OWN, revision="0a1b2c3d"),), {}, (WANTED,)),
    ("another port", (seen(port(number=81)),), {}, (WANTED,)),
    ("another target", (seen(port(target=1)),), {}, (WANTED,)),
    ("one port more", (seen(GROWN),), {}, (WANTED,)),
    ("another type", (seen(replace(TRAFFIC, type="NodePort")),), {}, (WANTED,)),
    ("sessions", (seen(replace(TRAFFIC, session_affinity="ClientIP")),), {}, (WANTED,)),
    ("a zone", (seen(replace(TRAFFIC, distribution="PreferSameZone")),), {}, (WANTED,)),
    ("an annotation less", (seen(replace(TRAFFIC, annotations=())),), {}, (WANTED,)),
    ("the spec changed", (OWN,), {"traffic": GROWN}, (SetRoute("web", "", GROWN),)),
    ("its note is gone", (replace(OWN, digest=""),), {}, (WANTED,)),
    ("it is being deleted", (replace(OWN, is_leaving=True, revision=None),), {}, ()),
    ("not wanted", (), {"traffic": None}, ()),
    ("no longer wanted", (OWN,), {"traffic": None}, (DELETE,)),
    ("no longer wanted, and going", (replace(OWN, is_leaving=True),), {"traffic": None}, ()),
    ("its name is taken", (TAKEN,), {}, ()),
    ("its name is taken, not wanted", (TAKEN,), {"traffic": None}, ()),
    ("a preview that nobody wants", (OWN, PREVIEW), {}, (NO_PREVIEW,)),
    ("suspended", (), {"suspend": True}, ()),
    ("suspended, no longer wanted", (OWN,), {"suspend": True, "traffic": None}, ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("routes", "spec", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_service_is_what_it_is_to_be(
    routes: tuple[Route, ...], spec: dict[str, Any], expected: tuple[object, ...]
) -> None:
    found = plan(exposed(*routes, **spec), NOW).actions
    assert tuple(a for a in found if isinstance(a, SetRoute | DeleteRoute)) == expected


def test_port_of_the_nodes_is_set_back_if_the_spec_names_it() -> None:
    wanted = port(node_port=30080)
    found = replace(route_as_set(SetRoute("web", "", wanted)), traffic=port(node_port=31000))
    assert plan(exposed(found, traffic=wanted), NOW).actions == (SetRoute("web", "", wanted),)


def test_spec_that_cannot_be_read_deletes_no_service() -> None:
    unread = replace(exposed(OWN), invalid="spec.replicas: no")
    unread = replace(unread, spec=replace(unread.spec, template=None, traffic=None))
    assert plan(unread, NOW).actions == ()


def test_edit_by_somebody_else_is_told_with_its_fields() -> None:
    edited = seen(port(number=81), revision=None, editor="kubectl-edit")
    (told,) = plan(exposed(edited), NOW).announcements
    assert (told.reason, told.warning) == ("ServiceRestored", True)
    assert told.message == (
        "Service web was changed by kubectl-edit: selector, ports; the operator restores it"
    )


def test_change_of_the_spec_is_no_edit_by_somebody_else() -> None:
    assert plan(exposed(OWN, traffic=GROWN), NOW).announcements == ()


def test_taken_name_is_a_blocker_and_stalls_the_service() -> None:
    status = plan(exposed(TAKEN), NOW).status
    assert status is not None
    assert condition(status) == f"Stalled {ROUTE_TAKEN}"
    (blocker,) = status.blockers
    assert blocker.reason == ROUTE_TAKEN
    assert blocker.message.startswith("Service web exists and does not belong to this service")
    works = status.condition("Available")
    assert works is not None
    assert works.status == "True", "its instances work, whoever reaches them"


def test_taken_name_does_not_stop_a_rollout() -> None:
    rolling = replace(exposed(TAKEN, wanted="B"), instances=view("A ###").instances)
    decided = plan(rolling, NOW)
    assert "create" in str(decided.notes)
    assert decided.status is not None
    assert condition(decided.status).startswith("Reconciling")


def test_refused_write_waits_for_its_next_attempt() -> None:
    no = refusal(Move.ROUTE, "web", Cause.FORBIDDEN, message="cannot create")
    given = replace(exposed(), refusals=(no,))
    waiting = plan(given, NOW)
    assert waiting.actions == ()
    assert waiting.due == no.retry_at
    assert plan(given, NOW + 60).actions == (WANTED,)
    assert waiting.status is not None
    assert condition(waiting.status) == f"Stalled {ROUTE_REFUSED}"
    assert [b.message for b in waiting.status.blockers] == ["Service web: cannot create"]


def test_refusal_of_what_is_no_longer_needed_is_no_blocker() -> None:
    no = refusal(Move.ROUTE, "web", Cause.FORBIDDEN)
    for given in (exposed(OWN), exposed(traffic=None)):
        status = plan(replace(given, refusals=(no,)), NOW).status
        assert status is not None
        assert status.blockers == ()
        assert condition(status) == "Ready Current"


def test_busy_api_server_is_no_blocker_at_once() -> None:
    for attempts, told in ((1, "Ready Current"), (3, f"Stalled {ROUTE_REFUSED}")):
        no = refusal(Move.ROUTE, "web", Cause.API_SERVER, attempts=attempts)
        status = plan(replace(exposed(), refusals=(no,)), NOW).status
        assert status is not None
        assert condition(status) == told


def test_digest_depends_on_all_that_is_written() -> None:
    others = [
        SetRoute("web", "0a1b2c3d", TRAFFIC),
        *(SetRoute("web", "", t) for t in (GROWN, port(target=1), port(app_protocol="h2c"))),
        SetRoute("web", "", replace(TRAFFIC, annotations=())),
        SetRoute("web", "", replace(TRAFFIC, type="NodePort")),
    ]
    assert len({digest_of(each) for each in (WANTED, *others)}) == len(others) + 1
    assert digest_of(WANTED) == "4e2b91ba0c6ffa21", (
        "stable across releases: else an upgrade writes each Service"
    )
