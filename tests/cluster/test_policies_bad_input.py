"""Bad input under the policies: a refusal with a sentence, and never an error of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from immutable_operator.api.names import LABEL_SERVICE
from tests.cluster.operator_process import Operators
from tests.cluster.people import Attempt, full_rights, run
from tests.cluster.services import KIND_PATH, Service, pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json

OURS = {"labels": {LABEL_SERVICE: "web"}}
PORTS = {"spec": {"ports": [{"port": 80}]}}


@pytest.fixture(scope="module")
def bed(control_plane: ControlPlane, running_operators: Operators) -> Iterator[Service]:
    """The service web with one instance, in a namespace of alice's."""
    running_operators.main.until_leading()
    api, name = control_plane.api(), "test-policies-bad-input"
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    full_rights(control_plane, name)
    service = Service(control_plane, name)
    service.apply(replicas=1)
    service.until_ready()
    yield service
    api.request("DELETE", f"/api/v1/namespaces/{name}")


def outcome(service: Service, attempt: Attempt, person: str = "alice") -> tuple[int, str]:
    try:
        run(service.plane, service.namespace, attempt, person)
    except ApiError as error:
        return error.status, str(error)
    return 200, ""


BIG = 900_000
ENV = [{"name": f"N{i}", "value": "v" * 180} for i in range(BIG // 240)]


def big_pod(name: str, **meta: Any) -> Json:
    containers = [{"name": "web", "image": pin("a"), "env": ENV}]
    return {"metadata": {"name": name, **meta}, "spec": {"containers": containers}}


def test_very_large_objects_are_refused_like_small_ones(bed: Service) -> None:
    forged = Attempt("POST", "pods", big_pod("web-im00000000-aaaaa", **OURS))
    assert outcome(bed, forged)[0] == 403
    assert "pod-create.immutable.dev" in outcome(bed, forged)[1]
    config = {"metadata": {"name": "big", **OURS}, "data": {"a": "x" * BIG}}
    assert outcome(bed, Attempt("POST", "configmaps", config))[0] == 403
    labels = {f"example.com/{i}": "x" * 60 for i in range(5000)}
    many = big_pod("web-im00000000-aaaaa")
    many["metadata"]["labels"] = labels
    assert outcome(bed, Attempt("POST", "pods", many))[0] == 403


def test_very_large_instance_runs_and_is_guarded(bed: Service) -> None:
    """The comparison of two specs must stay within what the API server lets a policy cost."""
    large = Service(bed.plane, bed.namespace, "large")
    document = large.wish.manifest("large", bed.namespace)
    document["spec"]["template"]["spec"]["containers"][0]["env"] = ENV[:2000]
    path = f"{KIND_PATH}/{bed.namespace}/immutableservices"
    bed.plane.api().request("POST", path, document)
    large.until_ready()
    pod = f"pods/{large.pods()[0]['metadata']['name']}"
    notes = {"metadata": {"annotations": {"note": "x" * 200_000}}}
    assert outcome(bed, Attempt("PATCH", pod, notes)) == (200, "")
    code, said = outcome(bed, Attempt("PATCH", pod, {"spec": {"activeDeadlineSeconds": 9}}))
    assert code == 403
    assert "cannot be changed; change spec.template of the ImmutableService large" in said


HOSTILE = ("", "a" * 64, "../../etc", "a\nb", "' || true || '", "\u202e", "\x00", "${jndi:x}")


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_hostile_labels_and_annotations_cause_no_server_error(bed: Service, value: str) -> None:
    for meta in ({"labels": {LABEL_SERVICE: value}}, {"annotations": {"immutable.dev/x": value}}):
        body = {"metadata": {"name": "hostile", **meta}}
        spec = {"spec": {"containers": [{"name": "web", "image": pin("a")}]}}
        for resource, more in (("pods", spec), ("configmaps", {}), ("services", PORTS)):
            code, said = outcome(bed, Attempt("POST", resource, body | more))
            allowed = "annotations" in meta and resource != "pods"
            assert code in ((200, 201) if allowed else (400, 403, 422)), said
            if allowed:
                run(bed.plane, bed.namespace, Attempt("DELETE", f"{resource}/hostile"), "alice")


@pytest.mark.parametrize("user", ["o'brien", 'a"b', "' + 'y", "ü \u202e", "u" * 4000])
def test_hostile_user_name_is_refused_like_any_other(bed: Service, user: str) -> None:
    pod = bed.pods()[0]["metadata"]["name"]
    done = bed.plane.kubectl(
        *("exec", pod, f"--as={user}", "--as-group=system:masters", "--", "true"),
        namespace=bed.namespace,
        check=False,
    )
    assert "connect.immutable.dev" in done.stderr
    assert "immutable:break-glass" in done.stderr
