"""`kubectl immutable verify`, as people run it: through kubectl, which finds the plug-in."""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import Iterator

import pytest

from immutable_operator.cli.paths import PATHS, UNTRIED
from immutable_operator.domain.families.pods import SPEC_CHANGED
from tests.cluster.guards import BINDING, changed, guarded, without_guards
from tests.cluster.operator_process import Operators
from tests.cluster.people import full_rights
from tests.cluster.services import KIND_PATH, Service, pin
from tests.cluster.verify import PREFIX, SEEN, Done, end, left, start, verify
from tests.controlplane import ControlPlane

IMAGE = f"--image={pin('sleeper')}"
ONLY_ADMISSION = {
    *("P6-exec", "P6-websocket", "P6-attach", "P6-portforward", "P6-proxy"),
    *("P7-exec", "P7-run", "P20-checkpoint"),
    *("P12-finalizer", "P13-not-ready", "P13-address", "P13-image-id"),
    *("P15-label", "C2-orphan", "C3-forge", "C3-edit", "C3-verdict"),
    *("S1-service", "S2-addresses", "M2-configmap", "M2-secret"),
}
"""Paths that are not detected where no policy refuses them."""
BY_THE_API_SERVER = {"P4-resize", "P14-binding", "P18-tag", "M1-data"}


@pytest.fixture(scope="module")
def witness(control_plane: ControlPlane, running_operators: Operators) -> Iterator[Service]:
    """A service that is seen to: a new API server knows a new kind's owners only after a while."""
    running_operators.main.until_leading()
    name = f"test-verify-{secrets.token_hex(3)}"
    control_plane.api().request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    service = Service(control_plane, name)
    service.apply(replicas=1)
    service.until_ready()
    yield service
    control_plane.api().request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="module")
def bed(witness: Service) -> ControlPlane:
    """The control plane, with an operator at work."""
    return witness.plane


@pytest.fixture(autouse=True)
def _nothing_is_left(bed: ControlPlane, operators: Operators) -> Iterator[None]:
    yield
    assert left(bed) == []


def somebody(plane: ControlPlane, role: str = "cluster-admin") -> str:
    """A user whom only this test knows, so that the audit log tells what the command did."""
    name = f"verifier-{secrets.token_hex(3)}"
    group = "rbac.authorization.k8s.io"
    body = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
    }
    plane.api().request("POST", f"/apis/{group}/v1/clusterrolebindings", body)
    return name


def test_verify_passes_where_policies_are_enforced(bed: ControlPlane) -> None:
    person, mark = somebody(bed), bed.audit().mark()
    done = verify(bed, IMAGE, "-o", "json", actor=person)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["ok"] is True
    assert said["guarded"]["status"] == "True"
    assert said["cluster"]["user"] == person
    assert [row["id"] for row in said["results"]] == [p.id for p in PATHS] + [u[0] for u in UNTRIED]
    assert done.tried("Healed") == SEEN
    assert done.tried("Prevented") == {path.id for path in PATHS} - SEEN
    for name, row in done.rows.items():
        if row["result"] == "Prevented" and name not in BY_THE_API_SERVER:
            assert row["layer"].startswith("L2 policy "), row
        assert (row["seconds"] is not None) == (row["result"] == "Healed"), row
    assert done.rows["P6-exec"]["layer"] == "L2 policy connect"
    assert "Tainted: exec by" in done.rows["P6-break-glass"]["detail"]
    assert f"all {len(PATHS)} paths are protected" in done.err.splitlines()[-3]
    assert_only_its_own(bed, person, mark)


def assert_only_its_own(plane: ControlPlane, person: str, mark: int) -> None:
    """All requests of this person, except reads, are in, of, or about the temporary namespace."""
    wrote = [
        r
        for r in plane.audit().since(mark)
        if r.user == person and r.verb not in ("get", "list", "watch")
    ]
    [place] = {r.namespace for r in wrote if r.namespace}
    assert place.startswith(PREFIX)
    for record in wrote:
        own = record.namespace == place or record.resource in ("namespaces", "selfsubjectreviews")
        assert own or f"/{place}/" in record.uri, record


def test_verify_without_policies_reports_healed_and_uncovered_paths(
    bed: ControlPlane, witness: Service
) -> None:
    with without_guards(bed):
        witness.until("it is told", lambda: guarded(witness) == ("False", "BindingMissing"))
        done = verify(bed, IMAGE, "-o", "json")
    assert done.code == 1, done.err
    assert done.tried("Not covered") == ONLY_ADMISSION
    assert done.tried("Prevented") == BY_THE_API_SERVER
    healed = {path.id for path in PATHS} - ONLY_ADMISSION - BY_THE_API_SERVER
    assert done.tried("Healed") == healed
    assert all(done.rows[name]["seconds"] > 0 for name in healed)
    assert done.rows["P1-image"]["detail"].startswith("Drifted: container sleeper has image")
    said = json.loads(done.out)
    assert said["ok"] is False
    assert said["guarded"]["reason"] == "BindingMissing"
    [last] = [line for line in done.err.splitlines() if "paths are not protected" in line]
    assert all(name in last for name in ONLY_ADMISSION)


def test_verify_reports_policy_in_audit_mode(bed: ControlPlane, witness: Service) -> None:
    with changed(bed, BINDING, {"validationActions": ["Audit"]}):
        witness.until("it is told", lambda: guarded(witness) == ("False", "NotDenied"))
        done = verify(bed, IMAGE, "--paths=P1,P12,P13-not-ready,P6-exec")
    assert done.code == 1, done.err
    head, *rows, last = done.out.splitlines()
    assert head.split() == ["PATH", "WHAT", "IS", "TRIED", "RESULT", "BY"]
    results = {row.split()[0]: row[head.index("RESULT") :] for row in rows}
    assert results["P1-image"].startswith("Healed in ")
    assert results["P12-finalizer"].startswith("Not covered")
    assert "expected: Prevented" in results["P12-finalizer"]
    assert results["P13-not-ready"].split() == ["Prevented", "L2", "policy", "pod-status"]
    assert results["P6-exec"].split() == ["Prevented", "L2", "policy", "connect"]
    assert last == "1 of 4 paths are not protected: P12-finalizer"
    assert (
        "protection is incomplete: policy running-pod.immutable.dev does not deny (Audit)"
        in done.err
    )


def test_verify_shows_reported_changes(bed: ControlPlane) -> None:
    with without_guards(bed):
        done = verify(bed, IMAGE, "--paths=P2", "--on-taint=Report", "-o", "json")
    assert done.code == 0, done.err
    assert done.tried("Reported") == {"P2-deadline", "P2-toleration"}
    assert SPEC_CHANGED in done.rows["P2-deadline"]["detail"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_verify_leaves_nothing(bed: ControlPlane, number: signal.Signals) -> None:
    process = start(bed, IMAGE)
    assert process.stdout
    assert process.stdout.readline().startswith("PATH")
    [namespace] = left(bed)
    process.send_signal(number)
    done = end(process, 60)
    assert done.code == 130, done.err
    assert "interrupted: cleaning up; interrupt again to exit immediately" in done.err
    assert f"namespace {namespace} was deleted" in done.err


def test_verify_interrupted_twice_names_what_is_left(bed: ControlPlane) -> None:
    process = start(bed, IMAGE)
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline().startswith("PATH")
    [namespace] = left(bed)
    # It does not go as long as this is there: cleaning up would take two minutes.
    held = {"metadata": {"name": "held", "finalizers": ["example.com/held"]}}
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    bed.api().request("POST", path, held)
    process.send_signal(signal.SIGINT)
    while "cleaning up: deleting" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    try:
        done = end(process, 60)
        assert done.code == 130
        assert left(bed) == [namespace]
    finally:
        bed.api().merge_patch(f"{path}/held", {"metadata": {"finalizers": None}})
    [command] = [
        x.partition(": ")[2] for x in done.err.splitlines() if x.startswith("exiting without")
    ]
    bed.kubectl(*command.split()[1:], "--ignore-not-found")


def test_verify_in_one_namespace_needs_only_its_admin_role(
    bed: ControlPlane, namespace: str
) -> None:
    """Some of it by RBAC, which is said; the namespace is as before."""
    # Somebody whom no other test gives rights.
    bed.grant("olga", namespace)
    done = verify(bed, IMAGE, f"--namespace={namespace}", "-o", "json", actor="olga")
    assert done.code == 0, done.err
    assert done.rows["P7-exec"]["layer"] == "L3 RBAC for olga"
    assert done.rows["P1-image"]["layer"] == "L2 policy running-pod"
    assert "only because you lack permissions" in done.err
    for kind in ("imsvc", "pods", "services", "secrets"):
        assert bed.kubectl("get", kind, "-o", "name", namespace=namespace).stdout == ""
    assert bed.api().get(f"/api/v1/namespaces/{namespace}")["status"]["phase"] == "Active"
    maps = bed.kubectl("get", "configmaps", "-o", "name", namespace=namespace).stdout
    assert maps.split() == ["configmap/kube-root-ca.crt"]


def test_verify_keep_leaves_service_with_image_of_operator(
    bed: ControlPlane, namespace: str
) -> None:
    labels = {"app.kubernetes.io/name": "immutable-operator", "app.kubernetes.io/version": "7"}
    image = pin("operator")
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "operator", "image": image}]},
    }
    body = {
        "metadata": {"name": "its", "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }
    bed.api().request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
    done = verify(bed, "--paths=P1,P2", "-o", "json", "--keep")
    bed.kubectl("delete", "deployment", "its", namespace=namespace)
    [place] = left(bed)
    assert f"to remove it: kubectl delete namespace {place}" in done.err
    assert bed.api().get(f"{KIND_PATH}/{place}/immutableservices")["items"]
    pods = bed.api().get(f"/api/v1/namespaces/{place}/pods")["items"]
    bed.kubectl("delete", "namespace", place)
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {image}
    assert pods[0]["spec"]["containers"][0]["command"][0] == "python3"
    operator = json.loads(done.out)["operator"]
    assert operator == {
        "deployment": f"{namespace}/its",
        "version": "7",
        "image": image,
        "ready": 0,
    }


# It could not run: exit code 2, one sentence, nothing left.


def error(done: Done) -> str:
    assert done.code == 2, (done.out, done.err)
    assert done.out == ""
    [text] = [line for line in done.err.splitlines() if "error: " in line]
    return text


def test_verify_without_rights_says_what_to_ask_for(bed: ControlPlane) -> None:
    said = error(verify(bed, IMAGE, actor="stranger"))
    assert 'cannot create namespaces: namespaces is forbidden: User "stranger" cannot' in said
    assert "ask for the permission, or specify a namespace in which you have the role admin" in said


def test_verify_without_rights_in_namespace_is_refused(bed: ControlPlane, namespace: str) -> None:
    said = error(verify(bed, IMAGE, f"--namespace={namespace}", actor="stranger"))
    assert f"in namespace {namespace}" in said or "serviceaccounts" in said


def test_verify_fails_without_operator(bed: ControlPlane, operators: Operators) -> None:
    operators.main.stop()
    said = error(verify(bed, IMAGE, "--timeout=4"))
    assert (
        "no operator processed the service within 4 s, so nothing would be healed; start it" in said
    )


def test_verify_reports_image_that_does_not_start(bed: ControlPlane) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    place = f"test-verify-{secrets.token_hex(3)}"
    bed.api().request("POST", "/api/v1/namespaces", {"metadata": {"name": place}})
    bed.api().request("POST", f"/api/v1/namespaces/{place}/resourcequotas", quota)
    done = verify(bed, IMAGE, f"--namespace={place}", "--timeout=15")
    bed.api().request("DELETE", f"/api/v1/namespaces/{place}")
    assert "was not ready within 15 s" in error(done)
    assert "quota" in error(done)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "cannot determine an image for the temporary service"),
        (("--image=web:latest",), "web:latest"),
        ((IMAGE, "--paths=P99"), "unknown path 'P99'; the known paths are P1"),
        ((IMAGE, "--timeout=-1"), "invalid number of seconds value"),
        ((IMAGE, "--context=nowhere"), "kubectl config get-contexts"),
        ((IMAGE, "--kubeconfig=/nowhere"), "specify another file with --kubeconfig"),
        ((IMAGE, "--namespace=nowhere"), "namespace nowhere does not exist"),
    ],
    ids=str,
)
def test_verify_refuses_bad_arguments(
    bed: ControlPlane, arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in error(verify(bed, *arguments))


def test_verify_with_full_namespace_rights_meets_policies(
    bed: ControlPlane, namespace: str
) -> None:
    """Rights on everything there, status and nodes/proxy too: no path is left to RBAC."""
    full_rights(bed, namespace)
    done = verify(bed, IMAGE, f"--namespace={namespace}", "-o", "json", actor="alice")
    assert done.code == 0, done.err
    by_rights = {name for name, row in done.rows.items() if row["layer"].startswith("L3")}
    assert by_rights == {"P6-break-glass"}
