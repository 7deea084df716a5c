"""The deletion of a service is seen after that of what it owned."""

from __future__ import annotations

from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.faults.stage import Stage
from tests.cluster.services import Service


def test_nothing_is_created_while_the_watch_of_a_deleted_service_is_late(
    stage: Stage, web: Service
) -> None:
    web.apply(image="a", replicas=3)
    web.until_ready()
    until_quiet(OperatorRequests.from_now(stage.plane))
    asked = OperatorRequests.from_now(stage.plane, web.namespace)
    stage.proxy.hold = lambda path: 6.0 if path.endswith("/immutableservices") else 0.0
    web.kubectl("delete", "imsvc", web.name)
    web.until("its pods are gone", lambda: not web.pods())
    until_quiet(asked)
    made = [r.target for r in asked.writes() if r.verb == "create"]
    assert [target for target in made if target != "events"] == []
