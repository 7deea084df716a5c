"""The objects around instances: services and their records, config snapshots, Services, endpoints.

The ids are those of docs/enforcement.md. What the operator has not made yet (snapshots, Services)
is made here under its name, as the policies must know it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from immutable_operator.api.names import API_VERSION, LABEL_SERVICE
from tests.cluster.guards import without_guards
from tests.cluster.operator_process import USER, Operators
from tests.cluster.people import (
    BREAK_GLASS,
    OPERATOR,
    PERSONS,
    Attempt,
    full_rights,
    refused,
    refused_to_all,
    run,
)
from tests.cluster.services import KIND_PATH, Service
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.waiting import wait_for

CASCADE = "use --cascade=background or --cascade=foreground"
OUTCOME = "only the operator records the outcome of a revision; to run another revision"
TRAFFIC = "only the operator decides where the traffic of an ImmutableService goes"
ADDRESSES = "only the cluster's endpoint controllers can write the addresses"
UNCHANGED = "a config snapshot cannot be changed"

MERGE = "application/merge-patch+json"
OURS = {"labels": {LABEL_SERVICE: "web"}}
each_person = pytest.mark.parametrize("person", PERSONS)


@pytest.fixture(scope="module")
def bed(control_plane: ControlPlane, running_operators: Operators) -> Iterator[Service]:
    """The service web, with snapshots and a Service that only the operator could have made."""
    running_operators.main.until_leading()
    api, name = control_plane.api(), "test-policies-objects"
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    full_rights(control_plane, name)
    service = Service(control_plane, name)
    service.apply(replicas=1)
    service.until_ready()
    service.until_recorded()
    items: list[Json] = [
        {"kind": "ConfigMap", "data": {"a": "1"}, "immutable": True},
        {"kind": "Secret", "stringData": {"a": "1"}, "immutable": True},
        {"kind": "Service", "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}},
    ]
    for item in items:
        body = {"apiVersion": "v1", "metadata": {"name": "ours", **OURS}, **item}
        as_operator(service, "create", "-f", "-", stdin=json.dumps(body))
    with without_guards(control_plane):
        for kind in ("configmaps", "secrets"):  # not immutable by its own field
            run(
                control_plane,
                name,
                Attempt("POST", kind, {"metadata": {"name": "older", **OURS}}),
                "admin",
            )
    yield service
    api.request("DELETE", f"/api/v1/namespaces/{name}")


def as_operator(service: Service, *arguments: str, stdin: str | None = None) -> str:
    """kubectl under the operator's name, with every right."""
    done = service.plane.kubectl(*OPERATOR, *arguments, namespace=service.namespace, stdin=stdin)
    return done.stdout


def kinds(service: Service, resource: str) -> str:
    return f"{KIND_PATH}/{service.namespace}/{resource}"


def owned(service: Service) -> Json:
    """Metadata of something that claims the service as its owner."""
    uid = service.get()["metadata"]["uid"]
    ref = {"apiVersion": API_VERSION, "kind": "ImmutableService", "name": "web"}
    return {"ownerReferences": [{**ref, "uid": uid}]}


def slice_of(**meta: Any) -> Json:
    """An EndpointSlice that leads somewhere else."""
    name = {"kubernetes.io/service-name": "ours"}
    labels = {**name, **meta.pop("labels", {})}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "injected", **meta, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.9.9.9"]}],
        "ports": [{"port": 80}],
    }


def slice_of_the_controller(service: Service) -> str:
    """Path of the slice that the cluster itself keeps for the Service."""
    label = "labelSelector=kubernetes.io/service-name%3Dours"

    def name() -> str:
        items = service.plane.api().get(f"{SLICES}?{label}")["items"]
        return str(items[0]["metadata"]["name"]) if items else ""

    return f"{SLICES}/{wait_for('the Service has a slice', name)}"


SLICES = "/apis/discovery.k8s.io/v1/namespaces/test-policies-objects/endpointslices"
ENDPOINTS = {"subsets": [{"addresses": [{"ip": "10.9.9.9"}], "ports": [{"port": 80}]}]}
PORTS = {"spec": {"ports": [{"port": 80}]}}
Make = Callable[[Service], Attempt]
# What is asked, by row; who refuses it and in which words.
ROWS: dict[str, tuple[str, str, Make]] = {
    "C2-status": (
        *("service-status", "only the operator can write the status"),
        lambda s: Attempt(
            "PATCH",
            f"{kinds(s, 'immutableservices')}/web/status",
            {"status": {"readyReplicas": 99}},
            MERGE,
        ),
    ),
    "C2-orphan on delete": (
        *("orphans", CASCADE),
        lambda s: Attempt(
            *("DELETE", f"{kinds(s, 'immutableservices')}/web"), {"propagationPolicy": "Orphan"}
        ),
    ),
    "C2-orphan by its old name": (
        *("orphans", CASCADE),
        lambda s: Attempt(
            *("DELETE", f"{kinds(s, 'immutableservices')}/web"), {"orphanDependents": True}
        ),
    ),
    "C2-orphan by query": (
        *("orphans", CASCADE),
        lambda s: Attempt(
            "DELETE", f"{kinds(s, 'immutableservices')}/web?propagationPolicy=Orphan"
        ),
    ),
    "C2-orphan on delete of all": (
        *("orphans", CASCADE),
        lambda s: Attempt(
            *("DELETE", kinds(s, "immutableservices")), {"propagationPolicy": "Orphan"}
        ),
    ),
    "C2-orphan by finalizer": (
        *("orphans", "the finalizer orphan would leave instances without an owner"),
        lambda s: Attempt(
            "PATCH",
            f"{kinds(s, 'immutableservices')}/web",
            {"metadata": {"finalizers": ["orphan"]}},
            MERGE,
        ),
    ),
    "C3-record a revision": (
        *("revisions", "only the operator can create revisions"),
        lambda s: Attempt("POST", kinds(s, "immutablerevisions"), forged_revision(s)),
    ),
    "C3-relabel a revision": (
        *("revisions", "a revision is a record and cannot be changed"),
        lambda s: Attempt(
            "PATCH",
            f"{kinds(s, 'immutablerevisions')}/{s.revisions()[0]['metadata']['name']}",
            {"metadata": {"labels": {"a": "b"}}},
            MERGE,
        ),
    ),
    "C3-disown a revision": (
        *("revisions", "a revision is a record and cannot be changed"),
        lambda s: Attempt(
            "PATCH",
            f"{kinds(s, 'immutablerevisions')}/{s.revisions()[0]['metadata']['name']}",
            {"metadata": {"ownerReferences": None}},
            MERGE,
        ),
    ),
    "C3-delete a revision": (
        *("revisions", "according to spec.historyLimit; decrease historyLimit"),
        lambda s: Attempt(
            "DELETE", f"{kinds(s, 'immutablerevisions')}/{s.revisions()[0]['metadata']['name']}"
        ),
    ),
    "C3-record of what came of a revision": (
        *("revision-status", OUTCOME),
        lambda s: Attempt("PATCH", record_status(s), {"status": {"phase": "Failed"}}, MERGE),
    ),
    "C3-the same as a whole": (
        *("revision-status", OUTCOME),
        lambda s: Attempt("PUT", record_status(s), {**s.revisions()[0], "status": {"step": 9}}),
    ),
    "C3-the same taken away": (
        *("revision-status", OUTCOME),
        lambda s: Attempt(
            "PATCH",
            record_status(s),
            [{"op": "add", "path": "/status", "value": {}}],
            "application/json-patch+json",
        ),
    ),
    "C3-the same by server-side apply": (
        *("revision-status", OUTCOME),
        lambda s: Attempt(
            "PATCH",
            f"{record_status(s)}?fieldManager=immutable-operator&force=true",
            {
                "apiVersion": API_VERSION,
                "kind": "ImmutableRevision",
                "metadata": {"name": s.revisions()[0]["metadata"]["name"]},
                "status": {"phase": "Good"},
            },
            "application/apply-patch+yaml",
        ),
    ),
    "C3-record a lineage": (
        *("lineages", "only the operator can create lineages"),
        lambda s: Attempt(
            "POST",
            kinds(s, "immutablelineages"),
            {
                "apiVersion": API_VERSION,
                "kind": "ImmutableLineage",
                "metadata": {"name": "other"},
                "spec": {"service": "other"},
            },
        ),
    ),
    "C3-change a lineage": (
        *("lineages", "a lineage is a record and cannot be changed"),
        lambda s: Attempt("PATCH", lineage(s), {"spec": {"replacements": None}}, MERGE),
    ),
    "C3-disown a lineage": (
        *("lineages", "a lineage is a record and cannot be changed"),
        lambda s: Attempt("PATCH", lineage(s), {"metadata": {"ownerReferences": None}}, MERGE),
    ),
    "C3-delete a lineage": (
        *("lineages", "a lineage is deleted with its ImmutableService"),
        lambda s: Attempt("DELETE", lineage(s)),
    ),
    "S1-Service with our label": (
        *("service", "to select instances, use the label in spec.selector"),
        lambda s: Attempt("POST", "services", {"metadata": {"name": "mine", **OURS}, **PORTS}),
    ),
    "S1-Service with our owner": (
        *("service", "only the operator can create a Service"),
        lambda s: Attempt("POST", "services", {"metadata": {"name": "mine", **owned(s)}, **PORTS}),
    ),
    "S1-selector": (
        *("service", TRAFFIC),
        lambda s: Attempt("PATCH", "services/ours", {"spec": {"selector": {"app": "evil"}}}),
    ),
    "S1-target port": (
        *("service", TRAFFIC),
        lambda s: Attempt(
            "PATCH", "services/ours", {"spec": {"ports": [{"port": 80, "targetPort": 6666}]}}
        ),
    ),
    "S1-external name": (
        *("service", TRAFFIC),
        lambda s: Attempt(
            *("PATCH", "services/ours"),
            {"spec": {"type": "ExternalName", "externalName": "evil.example"}},
            MERGE,
        ),
    ),
    "S1-label off": (
        *("service", "leave them unchanged"),
        lambda s: Attempt(
            "PATCH", "services/ours", {"metadata": {"labels": {LABEL_SERVICE: None}}}
        ),
    ),
    "S1-label off by status": (
        *("service", "leave them unchanged"),
        lambda s: Attempt(
            "PATCH", "services/ours/status", {"metadata": {"labels": {LABEL_SERVICE: None}}}
        ),
    ),
    "S2-slice": (
        *("endpoints", ADDRESSES),
        lambda s: Attempt("POST", SLICES, slice_of(**OURS)),
    ),
    "S2-slice with our owner": (
        *("endpoints", ADDRESSES),
        lambda s: Attempt("POST", SLICES, slice_of(**owned(s))),
    ),
    "S2-addresses of the controller's slice": (
        *("endpoints", ADDRESSES),
        lambda s: Attempt(
            *("PATCH", slice_of_the_controller(s)),
            {"endpoints": [{"addresses": ["10.9.9.9"]}]},
            MERGE,
        ),
    ),
    "S2-label off the controller's slice": (
        *("endpoints", ADDRESSES),
        lambda s: Attempt(
            "PATCH", slice_of_the_controller(s), {"metadata": {"labels": {LABEL_SERVICE: None}}}
        ),
    ),
    "S2-slice that claims a controller": (
        *("endpoints", ADDRESSES),
        lambda s: Attempt(
            *("POST", SLICES),
            slice_of(
                labels={
                    **OURS["labels"],
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                }
            ),
        ),
    ),
    "S2-endpoints": (
        *("endpoints", ADDRESSES),
        lambda s: Attempt(
            "PUT", "endpoints/ours", {"metadata": {"name": "ours", **OURS}, **ENDPOINTS}
        ),
    ),
}


def snapshot_rows(kind: str, word: str) -> dict[str, tuple[str, str, Make]]:
    """The same rows for ConfigMaps and Secrets."""
    create = (
        f"only the operator can create a {word} with the label immutable.dev/service or an owner"
    )
    return {
        f"M1-data of a {word}": (
            *(kind, UNCHANGED),
            lambda s: Attempt("PATCH", f"{kind}s/older", {"data": {"a": "Mg=="}}, MERGE),
        ),
        f"M1-label off a {word}": (
            *(kind, "only the operator can write"),
            lambda s: Attempt("PATCH", f"{kind}s/ours", {"metadata": {"labels": None}}, MERGE),
        ),
        f"M1-annotation of a {word}": (
            *(kind, "only the operator can write labels, annotations and the owner"),
            lambda s: Attempt(
                "PATCH",
                f"{kind}s/ours",
                {"metadata": {"annotations": {"immutable.dev/digest": "x"}}},
                MERGE,
            ),
        ),
        f"M2-delete a {word}": (
            *(kind, "cannot be deleted by hand; to remove it, delete the ImmutableService"),
            lambda s: Attempt("DELETE", f"{kind}s/ours"),
        ),
        f"M2-create a {word}": (
            *(kind, create),
            lambda s: Attempt("POST", f"{kind}s", {"metadata": {"name": "mine", **OURS}}),
        ),
        f"M2-create a {word} with our owner": (
            *(kind, create),
            lambda s: Attempt("POST", f"{kind}s", {"metadata": {"name": "mine", **owned(s)}}),
        ),
    }


ROWS |= snapshot_rows("configmap", "ConfigMap") | snapshot_rows("secret", "Secret")


def record_status(service: Service) -> str:
    """Path of the status of the service's first revision."""
    name = service.revisions()[0]["metadata"]["name"]
    return f"{kinds(service, 'immutablerevisions')}/{name}/status"


def lineage(service: Service) -> str:
    """Path of the service's lineage."""
    return f"{kinds(service, 'immutablelineages')}/{service.name}"


def forged_revision(service: Service) -> Json:
    [record] = service.revisions()
    meta = {"name": "web-im00000000", "ownerReferences": record["metadata"]["ownerReferences"]}
    spec = {**record["spec"], "revision": "00000000", "number": 99}
    return {**record, "metadata": meta, "spec": spec}


@pytest.mark.parametrize(("guard", "says", "make"), ROWS.values(), ids=ROWS)
def test_change_around_instances_is_refused(
    bed: Service, guard: str, says: str, make: Make
) -> None:
    assert says in refused_to_all(bed.plane, bed.namespace, make(bed), guard)


@pytest.mark.parametrize("resource", ["configmaps", "secrets"])
def test_m2_deletion_of_all_snapshots_at_once_is_refused(bed: Service, resource: str) -> None:
    attempt = Attempt("DELETE", f"{resource}?labelSelector={LABEL_SERVICE.replace('/', '%2F')}")
    said = refused_to_all(bed.plane, bed.namespace, attempt, resource[:-1])
    assert "cannot be deleted by hand" in said


@each_person
def test_m1_own_objects_cannot_be_labelled_as_snapshots(bed: Service, person: str) -> None:
    """M1: what is the user's own stays the user's, and free to change."""
    for resource in ("configmaps", "secrets"):
        name = f"own-of-{person}"
        run(
            bed.plane,
            bed.namespace,
            Attempt("POST", resource, {"metadata": {"name": name}}),
            person,
        )
        change = Attempt("PATCH", f"{resource}/{name}", {"data": {"a": "Mg=="}}, MERGE)
        run(bed.plane, bed.namespace, change, person)
        mark = Attempt("PATCH", f"{resource}/{name}", {"metadata": OURS}, MERGE)
        said = refused(bed.plane, bed.namespace, mark, person, resource[:-1])
        assert "leave the label immutable.dev/service out of" in said
        run(bed.plane, bed.namespace, Attempt("DELETE", f"{resource}/{name}"), person)


@pytest.mark.parametrize("kind", ["configmap", "secret"])
def test_m1_operator_cannot_change_snapshot(bed: Service, kind: str) -> None:
    """What the field `immutable` says is the API server's own; before it, the policy."""
    change = ("-p", '{"data": {"a": "Mg=="}}')
    with pytest.raises(RuntimeError, match="data: Forbidden: field is immutable"):
        as_operator(bed, "patch", kind, "ours", *change)
    with pytest.raises(RuntimeError, match=UNCHANGED):
        as_operator(bed, "patch", kind, "older", *change)


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_m1_snapshot_is_created_immutable(bed: Service, kind: str) -> None:
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "open", **OURS}}
    with pytest.raises(
        RuntimeError, match="a config snapshot must be created with immutable: true"
    ):
        as_operator(bed, "create", "-f", "-", stdin=json.dumps(body))


def test_s2_endpoint_controllers_write_addresses(bed: Service) -> None:
    """They copy the label of the Service onto the slice, and follow a new instance."""

    def addresses() -> set[str]:
        label = "labelSelector=kubernetes.io/service-name%3Dours"
        found = bed.plane.api().get(f"{SLICES}?{label}")["items"]
        assert all(LABEL_SERVICE in item["metadata"]["labels"] for item in found)
        return {a for item in found for e in item["endpoints"] or () for a in e["addresses"]}

    wait_for("the slice leads to the instance", lambda: addresses() == _ips(bed))
    path = f"/api/v1/namespaces/{bed.namespace}/endpoints/ours"
    wait_for("so do the endpoints", lambda: bed.plane.api().get(path)["subsets"])
    bed.apply(image="b")
    bed.until_ready()
    wait_for("the slice follows", lambda: addresses() == _ips(bed))


def _ips(service: Service) -> set[str]:
    return {pod["status"]["podIP"] for pod in service.active()}


def test_s1_load_balancers_can_annotate_service(bed: Service) -> None:
    """Finalizers, annotations and the status of a Service are theirs."""
    note = {"metadata": {"annotations": {"lb.example/id": "1"}, "finalizers": ["lb.example/x"]}}
    run(bed.plane, bed.namespace, Attempt("PATCH", "services/ours", note, MERGE), "alice")
    off = Attempt("PATCH", "services/ours", {"metadata": {"finalizers": []}}, MERGE)
    run(bed.plane, bed.namespace, off, "alice")
    own = {
        "metadata": {"name": "own"},
        "spec": {"selector": {LABEL_SERVICE: "web"}, **PORTS["spec"]},
    }
    run(bed.plane, bed.namespace, Attempt("POST", "services", own), "alice")


def test_c3_break_glass_member_cannot_change_revision(bed: Service) -> None:
    name = bed.revisions()[0]["metadata"]["name"]
    change = ("imrev", name, "--type=merge", "--subresource=status", "-p")
    told = bed.kubectl(
        "patch", *change, '{"status": {"phase": "Failed"}}', *BREAK_GLASS, check=False
    )
    assert OUTCOME in told
    gone = bed.kubectl("delete", "imrev", name, *BREAK_GLASS, check=False)
    assert "according to spec.historyLimit" in gone


def test_c3_operator_records_revision_status(bed: Service) -> None:
    """With the rights that the chart gives it, by server-side apply of the status alone."""
    name = bed.revisions()[0]["metadata"]["name"]
    body = {
        "apiVersion": API_VERSION,
        "kind": "ImmutableRevision",
        "metadata": {"name": name},
        "status": {"message": "as the operator has it"},
    }
    apply = ("apply", "--server-side", "--subresource=status", "--field-manager=test", "-f", "-")
    as_the_account = f"--as={USER}"
    bed.plane.kubectl(*apply, as_the_account, namespace=bed.namespace, stdin=json.dumps(body))
    assert bed.kubectl("get", "imrev", name, "-o", "jsonpath={.status.message}") == (
        "as the operator has it"
    )
    body["spec"] = {"service": "other"}
    bed.plane.kubectl(*apply, as_the_account, namespace=bed.namespace, stdin=json.dumps(body))
    assert bed.kubectl("get", "imrev", name, "-o", "jsonpath={.spec.service}") == "web"
