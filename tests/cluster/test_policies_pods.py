"""Every path into a running instance that the API server sees, tried by people with every right.

The ids are those of docs/enforcement.md. Each attempt would succeed without the policies
(`test_refused_attempts_succeed_without_policies`), and leaves the instance as it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.api.names import API_VERSION, LABEL_SERVICE
from tests.cluster.changes import (
    DEBUGGER,
    JSON_PATCH,
    NO_ACCESS,
    ON_THE_SPEC,
    PATHS,
    RESERVED,
    RESIZE,
    RUNNING,
    Path,
    patch,
    path_of,
    status,
)
from tests.cluster.guards import without_guards
from tests.cluster.operator_process import Operators
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
from tests.cluster.services import Service, pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import ApiError, Json

each_path = pytest.mark.parametrize("path", PATHS, ids=lambda p: f"{p.row}-{p.what}")
each_person = pytest.mark.parametrize("person", PERSONS)


@pytest.fixture(scope="module")
def bed(control_plane: ControlPlane, running_operators: Operators) -> Iterator[Service]:
    """The service web with two instances, for tests that leave them as they are."""
    running_operators.main.until_leading()
    api, name = control_plane.api(), "test-policies-pods"
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    full_rights(control_plane, name)
    service = Service(control_plane, name)
    service.apply(pod={"initContainers": [{"name": "init", "image": pin("a")}]}, replicas=2)
    service.until_ready()
    yield service
    api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def instance(bed: Service) -> Iterator[Json]:
    """One instance; the test must leave it as it found it."""
    pod = bed.pods()[0]
    path = f"/api/v1/namespaces/{bed.namespace}/{path_of(pod)}"
    yield pod
    now = bed.plane.api().get(path)
    assert now["metadata"]["resourceVersion"] == pod["metadata"]["resourceVersion"]


@each_path
def test_change_in_place_is_refused(bed: Service, instance: Json, path: Path) -> None:
    said = refused_to_all(bed.plane, bed.namespace, path.ask(instance), path.guard)
    assert path.says in said


# The words of break-glass, and its limits.

REACH = {
    "exec": ("exec", "{pod}", "--", "true"),
    "attach": ("attach", "{pod}"),
    "cp": ("cp", "{pod}:/etc/hosts", "/dev/null"),
    "portforward": ("port-forward", "{pod}", ":80"),
}


@each_person
@pytest.mark.parametrize("how", REACH)
def test_p6_access_is_refused_with_instructions(
    bed: Service, instance: Json, how: str, person: str
) -> None:
    pod = instance["metadata"]["name"]
    arguments = [argument.replace("{pod}", pod) for argument in REACH[how]]
    done = bed.plane.kubectl(*arguments, namespace=bed.namespace, actor=person, check=False)
    assert done.returncode != 0
    assert f"{pod} {NO_ACCESS}" in done.stderr
    command = {"cp": "exec", "portforward": "port-forward"}.get(how, how)
    asked = (
        f"kubectl {command} --as={person} --as-group=immutable:break-glass -n {bed.namespace} {pod}"
    )
    assert asked in done.stderr
    assert "the instance is then marked as tainted and replaced" in done.stderr


PROXIED = ("{pod}", "{pod}:80", "http:{pod}:80", "https:{pod}:", ":{pod}:80")


METHODS = ("GET", "POST", "PUT", "DELETE")


@pytest.mark.parametrize("name", PROXIED)
def test_p6_proxy_to_a_pod_is_refused_under_every_name(
    bed: Service, instance: Json, name: str
) -> None:
    target = name.replace("{pod}", instance["metadata"]["name"])
    # The name is read by one expression, whatever the method is: each once is enough.
    for method in METHODS if name == PROXIED[0] else METHODS[:1]:
        attempt = Attempt(method, f"pods/{target}/proxy/some/path")
        said = refused_to_all(bed.plane, bed.namespace, attempt, "connect")
        assert NO_ACCESS in said


@pytest.mark.parametrize("sub", ["exec?command=true&stdout=true", "attach?stdout=true"])
def test_p6_a_websocket_is_refused(bed: Service, instance: Json, sub: str) -> None:
    for method in METHODS[:2]:
        attempt = Attempt(method, path_of(instance, sub))
        refused_to_all(bed.plane, bed.namespace, attempt, "connect")


NODE_PATHS = {
    "P7-exec": "exec/{ns}/{pod}/web?command=id",
    "P7-exec with uid": "exec/{ns}/{pod}/1234/web?command=id",
    "P7-run": "run/{ns}/{pod}/web?cmd=id",
    "P7-attach": "attach/{ns}/{pod}/web",
    "P7-portForward": "portForward/{ns}/{pod}",
    "P7-escaped": "%65xec/{ns}/{pod}/web?command=id",
    "P7-escaped name": "exec/{ns}/{escaped}/web?command=id",
    "P7-without a container": "attach/{ns}/{pod}",
    "P7-doubled slash": "/exec/{ns}/{pod}/web?command=id",
    "P7-through logs": "containerLogs/../exec/{ns}/{pod}/web?command=id",
    "P7-through escaped dots": "containerLogs/%2e%2e/exec/{ns}/{pod}/web?command=id",
    "P20-checkpoint": "checkpoint/{ns}/{pod}/web",
}


@pytest.mark.parametrize("path", NODE_PATHS.values(), ids=NODE_PATHS)
def test_kubelet_api_through_node_proxy_is_refused(bed: Service, instance: Json, path: str) -> None:
    pod = instance["metadata"]["name"]
    escaped = f"{pod[:-9]}%{ord(pod[-9]):02x}{pod[-8:]}"
    below = path.format(ns=bed.namespace, pod=pod, escaped=escaped)
    for method in METHODS[:2]:
        attempt = Attempt(method, f"/api/v1/nodes/{instance['spec']['nodeName']}/proxy/{below}")
        said = refused_to_all(bed.plane, bed.namespace, attempt, "node-proxy")
        assert "use kubectl logs, or kubectl exec, which explains how" in said


@pytest.mark.parametrize(
    "path", ["metrics", "stats/summary", "containerLogs/{ns}/{pod}/web", "pods"]
)
def test_p7_metrics_and_logs_stay_open(bed: Service, instance: Json, path: str) -> None:
    """KWOK answers some of them with 404; what counts is that it was asked."""
    below = path.format(ns=bed.namespace, pod=instance["metadata"]["name"])
    raw = f"/api/v1/nodes/{instance['spec']['nodeName']}/proxy/{below}"
    done = bed.plane.kubectl("get", "--raw", raw, check=False)
    assert "ValidatingAdmissionPolicy" not in done.stderr


# Instances that do not run yet.


@pytest.fixture(scope="module")
def gated(bed: Service) -> Service:
    """A service whose instance waits behind a scheduling gate (P3)."""
    service = Service(bed.plane, bed.namespace, "gated")
    resources = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
    service.apply(
        replicas=1,
        pod={"schedulingGates": [{"name": "queue.example/wait"}]},
        container={"resources": resources},
    )
    service.until("its instance waits", lambda: len(service.pods()) == 1)
    return service


def test_p4_resize_is_refused(gated: Service) -> None:
    """Nodes of KWOK refuse a resize before any policy is asked, so the instance is not bound."""
    body = {"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "150m"}}}]}}
    ask = patch(body, "resize")(gated.pods()[0])
    said = refused_to_all(gated.plane, gated.namespace, ask, RUNNING)
    assert f"{RESIZE} gated" in said


@each_person
def test_p3_gated_instance_can_be_placed_but_not_changed(gated: Service, person: str) -> None:
    pod = gated.pods()[0]
    change = {"spec": {"containers": [{"name": "web", "image": pin("b")}]}}
    refused(gated.plane, gated.namespace, patch(change)(pod), person, RUNNING)
    place = patch({"spec": {"nodeSelector": {f"for-{person}": "yes"}}})(pod)
    assert run(gated.plane, gated.namespace, place, person)["spec"]["nodeSelector"]


# Pods that claim to be instances (P15, P19): none may come to be.


def claim(name: str = "plain", **meta: Any) -> Json:
    containers = [{"name": "web", "image": pin("evil")}]
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **meta}}
    return {**body, "spec": {"containers": containers}}


def owner(uid: str) -> Json:
    ref = {"apiVersion": API_VERSION, "kind": "ImmutableService", "name": "web"}
    return {**ref, "uid": uid, "controller": True}


def mirror(pod: Json) -> Json:
    """As a kubelet shows a pod that it runs from a file; here with our label in that file."""
    note = {"kubernetes.io/config.mirror": "x"}
    body = claim(labels={LABEL_SERVICE: "web"}, annotations=note)
    return {**body, "spec": body["spec"] | {"nodeName": pod["spec"]["nodeName"]}}


CLAIMS: dict[str, Callable[[Json], Json]] = {
    "label": lambda pod: claim(labels={LABEL_SERVICE: "web"}),
    "another label": lambda pod: claim(labels={"immutable.dev/role": "x"}),
    "annotation": lambda pod: claim(annotations={"immutable.dev/replaces": "x"}),
    "owner": lambda pod: claim(ownerReferences=[owner(pod["metadata"]["uid"])]),
    "owner of another version": lambda pod: claim(
        ownerReferences=[{**owner("u"), "apiVersion": "immutable.dev/v9"}]
    ),
    "name": lambda pod: claim("web-im00000000-abcde"),
    "generated name": lambda pod: {
        **claim(),
        "metadata": {"generateName": "web-im00000000-"},
    },
    "mirror pod (P19)": lambda pod: mirror(pod),
    "whole birth certificate": lambda pod: {
        **claim(),
        "metadata": {
            key: pod["metadata"][key] for key in ("labels", "annotations", "ownerReferences")
        }
        | {"name": pod["metadata"]["name"][:-5] + "zzzzz"},
    },
}


@pytest.mark.parametrize("make", CLAIMS.values(), ids=CLAIMS)
def test_p15_forged_instance_is_refused(bed: Service, make: Callable[[Json], Json]) -> None:
    attempt = Attempt("POST", "pods", make(bed.pods()[0]))
    said = refused_to_all(bed.plane, bed.namespace, attempt, "pod-create")
    assert "only the operator can create a pod" in said
    assert "leave these out, or create an ImmutableService" in said


@each_person
def test_p15_debug_copy_with_labels_is_refused(bed: Service, person: str) -> None:
    pod = bed.pods()[0]["metadata"]["name"]
    copy = ("debug", pod, "--copy-to=copy", "--image", pin("debugger"), "--attach=false")
    done = bed.plane.kubectl(
        *(*copy, "--keep-labels"), actor=person, namespace=bed.namespace, check=False
    )
    assert "pod-create.immutable.dev" in done.stderr


@each_person
def test_p9_foreign_pod_cannot_become_instance(bed: Service, person: str) -> None:
    """The mark is only on the new object, then, after a time without policies, only on the old."""
    name = f"stranger-of-{person}"
    run(bed.plane, bed.namespace, Attempt("POST", "pods", claim(name)), person)
    put_on = Attempt("PATCH", f"pods/{name}", {"metadata": {"labels": {LABEL_SERVICE: "web"}}})
    assert RESERVED in refused(bed.plane, bed.namespace, put_on, person, RUNNING)
    own = Attempt(*("PATCH", f"pods/{name}"), {"metadata": {"ownerReferences": [owner("0" * 8)]}})
    assert "owner" in refused(bed.plane, bed.namespace, own, person, RUNNING)


# What is not refused: freedom of everybody, and the glass that may be broken.


def test_own_labels_and_conditions_are_allowed(bed: Service) -> None:
    pod = bed.pods()[0]["metadata"]["name"]
    for change in (("label", "team=a"), ("annotate", "note=b"), ("label", "team-")):
        bed.kubectl(change[0], "pod", pod, change[1], f"--as={PERSONS[0]}")
    condition = {"conditions": [{"type": "lb.example/registered", "status": "True"}]}
    ask = status(**condition)(bed.pods()[0])
    assert run(bed.plane, bed.namespace, ask, "alice")["status"]["podIPs"]
    logs = bed.plane.kubectl("logs", pod, namespace=bed.namespace, actor="alice", check=False)
    # A simulated node keeps no logs: what counts is that nobody refused to ask it.
    assert "ValidatingAdmissionPolicy" not in logs.stderr
    assert "Forbidden" not in logs.stderr


@pytest.mark.parametrize("how", REACH)
def test_p6_break_glass_member_is_admitted(bed: Service, how: str) -> None:
    """KWOK has no container to show; what counts is that the node was asked."""
    pod = bed.pods()[0]["metadata"]["name"]
    arguments = [argument.replace("{pod}", pod) for argument in REACH[how]]
    if how == "portforward":
        arguments = ["get", "--raw", f"/api/v1/namespaces/{bed.namespace}/pods/{pod}/proxy/"]
    done = bed.plane.kubectl(*BREAK_GLASS, *arguments, namespace=bed.namespace, check=False)
    assert "ValidatingAdmissionPolicy" not in done.stdout + done.stderr


known = pytest.mark.parametrize("as_whom", [BREAK_GLASS, OPERATOR], ids=["break-glass", "operator"])


@known
@pytest.mark.parametrize("path", [p for p in PATHS if p.row in ("P1", "P2")], ids=lambda p: p.what)
def test_spec_change_is_refused_to_break_glass_and_operator(
    bed: Service, instance: Json, path: Path, as_whom: tuple[str, ...]
) -> None:
    attempt = path.ask(instance)
    kind = "json" if attempt.content_type == JSON_PATCH else "strategic"
    change = ("patch", "pod", instance["metadata"]["name"], f"--type={kind}")
    done = bed.plane.kubectl(
        *change, "-p", json.dumps(attempt.body), *as_whom, namespace=bed.namespace, check=False
    )
    assert ON_THE_SPEC in done.stderr


@known
def test_p4_resize_is_refused_to_break_glass_and_operator(
    gated: Service, as_whom: tuple[str, ...]
) -> None:
    change = {"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "150m"}}}]}}
    patched = ("patch", "pod", gated.pods()[0]["metadata"]["name"], "--subresource=resize")
    said = gated.kubectl(*patched, "-p", json.dumps(change), *as_whom, check=False)
    assert f"{RESIZE} gated" in said


def test_p5_debug_container_is_refused_to_operator(bed: Service, instance: Json) -> None:
    change = {"spec": {"ephemeralContainers": [DEBUGGER]}}
    patched = ("patch", "pod", instance["metadata"]["name"], "--subresource=ephemeralcontainers")
    said = bed.kubectl(*patched, "-p", json.dumps(change), *OPERATOR, check=False)
    assert "a debug container cannot be added to the immutable instance" in said


def test_refused_attempts_succeed_without_policies(bed: Service, gated: Service) -> None:
    """So it is the policies that refuse, and not a request that is wrong anyway."""
    resize = {"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "150m"}}}]}}
    pod = bed.pods()[0]
    attempts = {f"{path.row} {path.what}": path.ask(pod) for path in PATHS}
    attempts["P4"] = patch(resize, "resize")(gated.pods()[0])
    attempts |= {what: Attempt("POST", "pods", make(pod)) for what, make in CLAIMS.items()}
    failed = {}
    with without_guards(bed.plane):
        for what, attempt in attempts.items():
            dry = replace(attempt, path=f"{attempt.path}?dryRun=All")
            try:
                run(bed.plane, bed.namespace, dry, "alice")
            except ApiError as error:
                failed[what] = str(error).partition(": ")[2]
    # A pod that is bound is not bound again: bindings are tried on it all the same, because
    # the scheduler leaves none unbound for long.
    assert all(
        "already assigned to node" in failed.pop(what) for what in [*failed] if "P14" in what
    )
    assert failed == {}
