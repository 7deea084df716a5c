"""Services on the wire: whose they are, what they select, and what is written of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from immutable_operator.api.names import API_VERSION
from immutable_operator.domain.model import Port, Route, SetRoute, Traffic
from immutable_operator.domain.routing import digest_of, route_as_set
from immutable_operator.wire.owner import OwnerRecord
from immutable_operator.wire.route import (
    RouteRecord,
    decode_route,
    names_of_routes,
    owners_of_route,
    route_body,
    route_change,
    routes_of,
)
from tests.unit.service_specs import spec

META = {"name": "web", "namespace": "shop", "uid": "s1", "resourceVersion": "1"}
TRAFFIC = {
    "type": "LoadBalancer",
    "sessionAffinity": "ClientIP",
    "trafficDistribution": "PreferSameZone",
    "annotations": {"lb/size": "small"},
    "ports": [
        {"name": "http", "port": 80, "targetPort": "web", "appProtocol": "http"},
        {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053},
    ],
}
WEB = OwnerRecord.of({"metadata": META, "spec": spec(traffic=TRAFFIC)})
WANTED = Traffic(
    (Port(80, "web", "http", app_protocol="http"), Port(53, 53, "dns", "UDP", node_port=30053)),
    *("LoadBalancer", "ClientIP", "PreferSameZone"),
    annotations=(("lb/size", "small"),),
)


def stored(move: SetRoute, **spec_: Any) -> dict[str, Any]:
    """Give the object as the API server stores it, with what it fills in."""
    body = route_body(WEB, move)
    body["metadata"] |= {"uid": "r1", "resourceVersion": "7"}
    filled = {"clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], "internalTrafficPolicy": "Cluster"}
    ports = [{"nodePort": 31000 + n, **p} for n, p in enumerate(body["spec"]["ports"])]
    body["spec"] |= {**filled, "healthCheckNodePort": 32000, "ports": ports, **spec_}
    body["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    return body


def record(body: dict[str, Any]) -> RouteRecord:
    return decode_route(json.dumps(body).encode())


def seen(body: dict[str, Any]) -> Route:
    (found,) = routes_of(WEB, [record(body)])
    return found


def test_spec_is_read_with_the_defaults_of_kubernetes() -> None:
    assert WEB.spec.traffic == WANTED
    least = OwnerRecord.of({"metadata": META, "spec": spec(traffic={"ports": [{"port": 80}]})})
    assert least.spec.traffic == Traffic((Port(80, 80),))
    assert OwnerRecord.of({"metadata": META, "spec": spec()}).spec.traffic is None


@pytest.mark.parametrize("revision", ["", "0a1b2c3d"])
def test_what_is_written_is_read_as_wanted(revision: str) -> None:
    move = SetRoute("web", revision, WANTED)
    found = seen(stored(move))
    assert (found.is_own, found.revision, found.is_leaving) == (True, revision, False)
    assert found.digest == digest_of(move) == route_as_set(move).digest
    assert found.traffic is not None
    assert [p.target for p in found.traffic.ports] == ["web", 53]
    assert [p.node_port for p in found.traffic.ports] == [31000, 30053]


def test_selector_is_of_reserved_labels_only() -> None:
    body = route_body(WEB, SetRoute("web-preview", "0a1b2c3d", WANTED))
    assert body["metadata"]["name"] == "web-preview"
    assert body["metadata"]["ownerReferences"][0]["apiVersion"] == API_VERSION
    assert body["spec"]["selector"] == {
        "immutable.dev/service": "web",
        "immutable.dev/revision": "0a1b2c3d",
    }


@pytest.mark.parametrize(
    "selector",
    [
        None,
        {"app": "web"},
        {"immutable.dev/service": "other"},
        {"immutable.dev/service": "web", "app": "web"},
        {"immutable.dev/revision": "0a1b2c3d"},
    ],
)
def test_any_other_selector_is_seen(selector: Any) -> None:
    body = stored(SetRoute("web", "", WANTED), selector=selector)
    assert seen(body).revision is None


def test_of_a_service_of_somebody_else_only_the_name_is_kept() -> None:
    body = stored(SetRoute("web", "", WANTED))
    body["metadata"]["ownerReferences"][0] |= {
        "kind": "Route",
        "apiVersion": "serving.knative.dev/v1",
    }
    assert record(body) == RouteRecord("r1", "shop/web", "shop", "web")
    assert seen(body) == Route("web", "r1")
    del body["metadata"]["ownerReferences"]
    assert seen(body) == Route("web", "r1")


def test_service_of_a_deleted_namesake_is_not_its_own() -> None:
    body = stored(SetRoute("web", "", WANTED))
    body["metadata"]["ownerReferences"][0]["uid"] = "s0"
    assert seen(body) == Route("web", "r1")


def test_change_has_the_operators_fields_and_removes_what_is_not_wanted() -> None:
    body = stored(SetRoute("web", "0a1b2c3d", WANTED))
    body["metadata"]["annotations"] |= {"cloud/status": "ok"}
    fields: dict[str, Any] = {
        "f:metadata": {"f:annotations": {".": {}, "f:lb/size": {}, "f:lb/old": {}}}
    }
    entry = {"manager": "immutable-operator", "operation": "Update", "fieldsV1": fields}
    other: dict[str, Any] = {"f:metadata": {"f:annotations": {"f:cloud/status": {}}}}
    body["metadata"]["managedFields"] = [entry, {"manager": "cloud", "fieldsV1": other}]
    body["spec"]["selector"]["app"] = "web"
    plain = SetRoute("web", "", Traffic((Port(80, 80),)))
    change = route_change(WEB, plain, record(body))
    assert change["metadata"]["uid"] == "r1"
    annotations = change["metadata"]["annotations"]
    assert annotations == {
        "lb/size": None,
        "lb/old": None,
        "immutable.dev/digest": digest_of(plain),
    }
    assert change["spec"] == {
        "type": "ClusterIP",
        "externalName": None,
        "selector": {
            "immutable.dev/service": "web",
            "immutable.dev/revision": None,
            "app": None,
        },
        "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
        "sessionAffinity": "None",
        "sessionAffinityConfig": None,
        "trafficDistribution": None,
    }


def test_editor_is_the_last_writer_of_the_spec() -> None:
    body = stored(SetRoute("web", "", WANTED))
    own = {"manager": "immutable-operator", "time": "2026-11-22T04:30:00Z"}
    cloud = {"manager": "cloud", "time": "2026-11-22T04:32:00Z", "subresource": "status"}
    entries = [{**own, "fieldsV1": {"f:spec": {}}}, {**cloud, "fieldsV1": {"f:spec": {}}}]
    body["metadata"]["managedFields"] = entries
    assert seen(body).editor == ""
    edit = {"manager": "kubectl-edit", "time": "2026-11-22T04:31:00Z"}
    body["metadata"]["managedFields"].append({**edit, "fieldsV1": {"f:spec": {}}})
    assert seen(body).editor == "kubectl-edit"


def test_names_lead_to_services_and_back() -> None:
    assert names_of_routes("web") == ("web", "web-preview")
    assert owners_of_route("web") == {"web"}
    assert owners_of_route("web-preview") == {"web", "web-preview"}
