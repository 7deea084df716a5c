"""The Service of spec.traffic on a real API server, with what users and others do to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.audit import OperatorRequests, until_quiet
from tests.cluster.services import Service, condition, names, names_of, pin, ports
from tests.controlplane.api import Json

# Where the policies deny, nobody else can change the Service: test_policies_objects.py.
pytestmark = pytest.mark.usefixtures("without_policies")
HTTP = {"name": "http", "port": 80, "targetPort": 8080}
SELECTOR = {"immutable.dev/service": "web"}


def expose(web: Service, *given: Json, **traffic: Any) -> None:
    web.apply(spec={"traffic": {"ports": list(given) or [HTTP], **traffic}})


def service(web: Service, name: str = "web") -> Json:
    return web.plane.api().get(f"/api/v1/namespaces/{web.namespace}/services/{name}")


def is_there(web: Service, name: str = "web") -> bool:
    return name in ports(web)


def edit(web: Service, change: Json) -> None:
    web.kubectl("patch", "service", "web", "--type=merge", "-p", json.dumps(change))


def addresses(web: Service) -> set[str]:
    """Names of the ready pods that the cluster has found for the Service."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{web.namespace}/endpointslices"
    slices = [
        item
        for item in web.plane.api().get(path)["items"]
        if item["metadata"]["labels"].get("kubernetes.io/service-name") == "web"
    ]
    found = [e for s in slices for e in s.get("endpoints") or () if e["conditions"]["ready"]]
    return {endpoint["targetRef"]["name"] for endpoint in found}


@pytest.fixture
def exposed(web: Service) -> Service:
    web.apply(image="a", replicas=2, spec={"traffic": {"ports": [HTTP]}})
    web.until_ready()
    web.until("it has a Service", lambda: is_there(web))
    return web


def test_service_selects_by_reserved_labels_and_leaves_with_its_owner(exposed: Service) -> None:
    body = service(exposed)
    assert body["spec"]["selector"] == SELECTOR
    assert body["metadata"]["labels"] == SELECTOR
    (owner,) = body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ImmutableService", "web", True)
    (port,) = body["spec"]["ports"]
    assert port == {**HTTP, "protocol": "TCP"}
    exposed.until("all pods are found", lambda: addresses(exposed) == names(exposed))
    exposed.kubectl("delete", "imsvc", "web")
    exposed.until("it is gone", lambda: not is_there(exposed))


def test_change_of_traffic_changes_the_service_and_no_pod(exposed: Service) -> None:
    before, address = names(exposed), service(exposed)["spec"]["clusterIP"]
    more = {"name": "dns", "port": 53, "protocol": "UDP", "appProtocol": "example.com/dns"}
    expose(
        exposed,
        HTTP,
        more,
        type="NodePort",
        sessionAffinity="ClientIP",
        trafficDistribution="PreferSameZone",
        annotations={"example.com/size": "small"},
    )
    exposed.until("the ports are there", lambda: ports(exposed) == {"web": [80, 53]})
    exposed.until_ready()
    spec = service(exposed)["spec"]
    assert (spec["type"], spec["sessionAffinity"]) == ("NodePort", "ClientIP")
    assert spec["trafficDistribution"] == "PreferSameZone"
    assert spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] == 10800
    annotations = service(exposed)["metadata"]["annotations"]
    assert annotations["example.com/size"] == "small"
    chosen = {port["port"]: port["nodePort"] for port in spec["ports"]}
    # What the API server chose stays, whatever else changes.
    expose(exposed, {**HTTP, "targetPort": "web"}, more, type="NodePort")
    exposed.until("no sessions", lambda: service(exposed)["spec"]["sessionAffinity"] == "None")
    body = service(exposed)
    assert {port["port"]: port["nodePort"] for port in body["spec"]["ports"]} == chosen
    assert "trafficDistribution" not in body["spec"]
    assert "sessionAffinityConfig" not in body["spec"]
    assert "example.com/size" not in body["metadata"]["annotations"]
    expose(exposed)
    exposed.until("as at first", lambda: service(exposed)["spec"]["type"] == "ClusterIP")
    spec = service(exposed)["spec"]
    assert spec["ports"] == [{**HTTP, "protocol": "TCP"}]
    assert spec["clusterIP"] == address
    assert names(exposed) == before, "no pod was replaced"
    assert len(exposed.revisions()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"selector": {"app": "other"}}},
        {"spec": {"selector": {"immutable.dev/service": "other"}}},
        {"spec": {"ports": [{**HTTP, "port": 81}, {"name": "more", "port": 82}]}},
        {"spec": {"type": "ExternalName", "externalName": "example.com"}},
    ],
    ids=["selector", "other service", "ports", "type"],
)
def test_edit_by_others_is_set_back_and_told(exposed: Service, change: Json) -> None:
    edit(exposed, change)
    exposed.until(
        "it is set back",
        lambda: (
            (spec := service(exposed)["spec"])["selector"] == SELECTOR
            and spec["type"] == "ClusterIP"
            and [p["port"] for p in spec["ports"]] == [80]
        ),
    )
    exposed.until("it is told", lambda: exposed.events("ServiceRestored"))
    (event,) = exposed.events("ServiceRestored")
    assert event["message"].startswith("Service web was changed by kubectl-patch: ")
    assert event["type"] == "Warning"


def test_fields_and_annotations_of_others_are_left_alone(exposed: Service) -> None:
    others = {"externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": True}
    expose(exposed, type="LoadBalancer")
    exposed.until("type", lambda: service(exposed)["spec"]["type"] == "LoadBalancer")
    edit(exposed, {"metadata": {"annotations": {"cloud/id": "7"}}, "spec": others})
    health = service(exposed)["spec"]["healthCheckNodePort"]
    path = f"/api/v1/namespaces/{exposed.namespace}/services/web/status"
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    exposed.plane.api().merge_patch(path, status)
    asked = OperatorRequests.from_now(exposed.plane, exposed.namespace)
    until_quiet(asked)
    assert not [r for r in asked.writes() if r.resource == "services"]
    expose(exposed, {**HTTP, "port": 81}, type="LoadBalancer")
    exposed.until("its port", lambda: ports(exposed) == {"web": [81]})
    body = service(exposed)
    assert body["metadata"]["annotations"]["cloud/id"] == "7"
    assert body["spec"]["externalTrafficPolicy"] == "Local"
    assert body["spec"]["healthCheckNodePort"] == health
    assert body["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.1"


def test_deleted_service_is_created_again_and_a_removed_one_is_deleted(exposed: Service) -> None:
    uid = service(exposed)["metadata"]["uid"]
    exposed.kubectl("delete", "service", "web")
    exposed.until("a new one", lambda: is_there(exposed))
    assert service(exposed)["metadata"]["uid"] != uid
    exposed.apply(spec={})
    exposed.until("it is gone", lambda: not is_there(exposed))
    exposed.until_ready()


def test_taken_name_stalls_and_nothing_is_overwritten(web: Service) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": web.namespace},
        "spec": {"selector": {"app": "other"}, "ports": [{"port": 7}]},
    }
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(foreign))
    before = service(web)
    web.apply(image="a", replicas=1, spec={"traffic": {"ports": [HTTP]}})
    told = web.until_stalled("NameTaken")
    assert "Service web exists and does not belong to this service" in told["message"]
    web.until("its pod runs", lambda: condition(web.get(), "Available")["status"] == "True")
    assert service(web) == before
    web.kubectl("delete", "service", "web")
    web.until_ready()
    assert ports(web) == {"web": [80]}
    assert web.status()["blockers"] == []


def test_refused_service_stalls_with_the_reason(exposed: Service) -> None:
    taken = {**HTTP, "nodePort": 30123}
    other = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "other", "namespace": exposed.namespace},
        "spec": {"type": "NodePort", "ports": [{"port": 7, "nodePort": 30123}]},
    }
    exposed.plane.kubectl("apply", "-f", "-", stdin=json.dumps(other))
    expose(exposed, taken, type="NodePort")
    told = exposed.until_stalled("ServiceRefused")
    assert "provided port is already allocated" in told["message"]
    expose(exposed)
    exposed.until_ready()


def test_quarantined_pod_gets_no_traffic(exposed: Service) -> None:
    exposed.apply(
        spec={
            "traffic": {"ports": [HTTP]},
            "immutability": {"onTaint": "Quarantine", "quarantineFor": "1h"},
        }
    )
    exposed.until_ready()
    exposed.until("all pods are found", lambda: addresses(exposed) == names(exposed))
    pod = min(names(exposed))
    container = {"name": "debugger", "image": pin("debugger"), "targetContainerName": "web"}
    exposed.kubectl(
        *("patch", "pod", pod, "--subresource=ephemeralcontainers", "--type=strategic"),
        *("-p", json.dumps({"spec": {"ephemeralContainers": [container]}})),
    )
    exposed.until("it is out of traffic", lambda: pod not in addresses(exposed))
    exposed.until("the successor is in", lambda: len(addresses(exposed)) == 2)
    assert pod in names_of(exposed.pods()), "it is kept"


def test_settled_service_costs_no_write(exposed: Service) -> None:
    until_quiet(OperatorRequests.from_now(exposed.plane, exposed.namespace))
    asked = OperatorRequests.from_now(exposed.plane, exposed.namespace)
    exposed.apply(replicas=3)
    exposed.until_ready()
    until_quiet(asked)
    assert not [r for r in asked.writes() if r.resource == "services"]


def test_new_service_costs_one_write_more(web: Service) -> None:
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.apply(image="a", replicas=1, spec={"traffic": {"ports": [HTTP]}})
    web.until_ready()
    until_quiet(asked)
    assert [r.verb for r in asked.writes() if r.resource == "services"] == ["create"]


def test_explain_reads_well(web: Service) -> None:
    told = web.kubectl("explain", "imsvc.spec.traffic")
    for field in ("ports", "type", "sessionAffinity", "trafficDistribution", "annotations"):
        assert field in told
    assert "Number of the port on which the Service is reached" in web.kubectl(
        "explain", "imsvc.spec.traffic.ports.port"
    )
