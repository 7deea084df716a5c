"""What the operator costs the API server, by the audit log of the API server itself.

The lease is not counted: it is renewed by the clock (every two seconds, by one replica),
whatever the operator does. Everything else is: events and status, refused requests too.
"""

from __future__ import annotations

import json
import time

import pytest

from immutable_operator.api.names import API_VERSION
from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.services import Service, Wish, condition, pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.waiting import wait_for

# Three looks at the certificate, six at what counts may be late, fifteen renewals of the lease.
IDLE_SECONDS = 30.0
FLEET = 50
VERDICTS = "patch immutablerevisions/status"
LINEAGES = ("create immutablelineages", "patch immutablelineages")
# The lease; the webhook's certificate, which all replicas look at every ten seconds, and where
# its authority is published.
BY_THE_CLOCK = {"leases", "secrets", "validatingwebhookconfigurations"}


@pytest.mark.parametrize(
    "sim",
    [
        pytest.param({}, id="ready at once"),
        pytest.param({"ready-delay": "1s", "terminate-delay": "1s"}, id="as pods do"),
    ],
)
def test_rollout_of_20_pods_costs_20_creates_and_20_evictions(web: Service, sim: Json) -> None:
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.apply(image="a", replicas=20, sim=sim)
    web.until_ready()
    until_quiet(asked)
    birth = asked.tally()
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.apply(image="b")
    web.until_ready(120)
    web.until("the old ones are gone", lambda: len(web.pods()) == 20)
    until_quiet(asked)
    rollout = asked.tally()
    print(f"birth: {dict(birth)}\nrollout: {dict(rollout)}")
    assert web.images() == [pin("b")] * 20
    assert [birth.pop(write, 0) for write in LINEAGES] == [1, 0], "once all are there"
    assert sum(rollout.pop(write, 0) for write in LINEAGES) <= 2, "not one for each pod"
    assert len(web.lineage()) == 40
    assert birth.pop("create pods") == 20
    assert birth.pop(VERDICTS) <= 3, "Progressing, the first that is available, Good"
    assert birth.total() <= 6, birth
    assert rollout.pop("create pods") <= 20
    assert rollout.pop("create pods/eviction") <= 20
    assert rollout.pop(VERDICTS) <= 2, "Progressing and Good"
    assert rollout.total() <= 8, rollout
    assert rollout["create immutablerevisions"] == 1
    assert rollout["create events"] == 2, "RevisionCreated and ReplacementFinished"


def test_idle_operator_with_50_services_writes_nothing(
    control_plane: ControlPlane, operator: OperatorProcess, namespace: str
) -> None:
    services = [Service(control_plane, namespace, f"web-{i}") for i in range(FLEET)]
    documents = [
        Wish(replicas=1 + i % 2).manifest(service.name, namespace)
        for i, service in enumerate(services)
    ]
    document = {"apiVersion": "v1", "kind": "List", "items": documents}
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/immutableservices"

    def ready() -> int:
        items = control_plane.api().get(path)["items"]
        return sum(condition(item, "Ready").get("status") == "True" for item in items)

    wait_for("all are Ready", lambda: ready() == FLEET, 120, ready)
    until_no_pod_ends(control_plane)
    until_quiet(OperatorRequests.from_now(control_plane))
    asked = OperatorRequests.from_now(control_plane)
    time.sleep(IDLE_SECONDS)  # what must not happen has this long
    assert asked.tally() == {}
    assert [r for r in asked if r.resource == "leases"], "the operator lived and led"
    reads = {(r.verb, r.resource) for r in asked if r.resource not in BY_THE_CLOCK}
    assert {verb for verb, _ in reads} <= {"watch"}, "it learns of changes by watches alone"


def until_no_pod_ends(plane: ControlPlane) -> None:
    """What earlier tests made is deleted without waiting: its end causes writes."""

    def ending() -> list[str]:
        items = plane.api().get("/api/v1/pods")["items"]
        return [i["metadata"]["name"] for i in items if "deletionTimestamp" in i["metadata"]]

    wait_for("no pod is ending", lambda: not ending(), 60, ending)
