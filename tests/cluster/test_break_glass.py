"""Breaking the glass: members of the group are let in, and leave a mark before they are in.

Simulated kubelets let nobody into a container: an exec fails always, after admission.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from tests.cluster.audit import OperatorRequests
from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.services import Service, pin
from tests.cluster.webhook import (
    GROUP,
    LET_IN,
    TOLD,
    ask,
    behind_glass,
    bundle,
    connects,
    failed_open,
    mark_of,
    member,
    review,
    unmarked,
)
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.waiting import wait_for

MARKED = r'reviews_total\{outcome="(already-)?tainted"\} [1-9]'


@pytest.fixture
def own_glass(web: Service) -> Service:
    """A service with two instances of the test's own, in which members may do as editors."""
    return behind_glass(web, 2)


@pytest.fixture(scope="module")
def shared_glass(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Service:
    running_operators.main.until_leading()
    return behind_glass(Service(control_plane, module_namespace), INSTANCES)


@pytest.fixture
def glass(shared_glass: Service, operators: Operators) -> Service:
    """The same for tests that do no more than mark instances; each begins with unmarked ones."""
    return shared_glass


WAYS = {
    "exec": ("exec", "{pod}", "--", "true"),
    "attach": ("attach", "{pod}"),
    "portforward": ("port-forward", "{pod}", ":80"),
    "proxy": ("get", "--raw=/api/v1/namespaces/{ns}/pods/{pod}/proxy/"),
    "proxy to a port": ("get", "--raw=/api/v1/namespaces/{ns}/pods/https:{pod}:80/proxy/"),
    "proxy to no scheme": ("get", "--raw=/api/v1/namespaces/{ns}/pods/:{pod}:80/proxy/"),
    "cp": ("cp", "{pod}:/etc/hostname", "/dev/null"),
}
SUBRESOURCES = {"cp": "exec"}
PATIENCE_SECONDS = 4.0
INSTANCES = 20  # more than these tests mark


@pytest.mark.parametrize("way", WAYS)
def test_access_leaves_mark_with_user_way_and_time(glass: Service, way: str) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    pod, other, *_ = unmarked(glass)
    command = [part.format(pod=pod, ns=glass.namespace) for part in WAYS[way]]

    def marked() -> Json | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            # A port-forward goes on until it is ended; a proxy waits for a pod that does not
            # answer. On a busy machine it may be ended before it began.
            glass.plane.kubectl(
                *(*member(), *command),
                namespace=glass.namespace,
                check=False,
                timeout=PATIENCE_SECONDS,
            )
        return mark_of(glass.plane, glass.namespace, pod)

    mark = wait_for("it is marked", marked)
    assert mark
    assert (mark["by"], mark["what"]) == ("jane", SUBRESOURCES.get(way, way.partition(" ")[0]))
    at = datetime.fromisoformat(mark["at"])
    assert before <= at <= datetime.now(UTC)
    assert mark_of(glass.plane, glass.namespace, other) is None


def test_mark_is_written_before_access(glass: Service) -> None:
    """The audit log has what the webhook answered; the kubelet was asked after that."""
    pod, *_ = unmarked(glass)
    asked = OperatorRequests.from_now(glass.plane, glass.namespace)
    said = glass.kubectl("exec", pod, *member(), "--", "true", check=False)
    assert LET_IN in said
    # Those of tests before this one may end late.
    [event] = wait_for(
        "the exec is audited",
        lambda: [e for e in connects(glass, asked.mark) if e["objectRef"]["name"] == pod],
    )
    assert event["impersonatedUser"]["username"] == "jane"
    assert event["annotations"][TOLD] == "tainted"
    [marked] = [r for r in asked if (r.verb, r.target, r.code) == ("patch", "pods", 200)]
    assert marked.name == pod


def test_first_mark_is_kept(glass: Service) -> None:
    pod, *_ = unmarked(glass)
    asked = OperatorRequests.from_now(glass.plane, glass.namespace)
    for user in ("jane", "joe", "jane"):
        said = glass.kubectl("exec", pod, *member(user), "--", "true", check=False)
        assert LET_IN in said
    mark = mark_of(glass.plane, glass.namespace, pod)
    assert mark
    assert mark["by"] == "jane"
    assert asked.count("patch pods") == 1


def test_simultaneous_access_leaves_one_mark(glass: Service, operators: Operators) -> None:
    """Two replicas are asked at once, ten times each: the API server lets one of them write."""
    standby = operators.start("second").until_synced()
    pod, *_ = unmarked(glass)
    asked = OperatorRequests.from_now(glass.plane, glass.namespace)
    trusted = bundle(glass.plane)

    def one(number: int) -> str:
        port = (operators.main, standby)[number % 2].webhook_port
        user = {"username": f"user-{number}", "groups": [GROUP]}
        reply = ask(port, trusted, review(glass.namespace, pod, userInfo=user))
        assert reply.response["allowed"] is True, reply
        return str(reply.response["auditAnnotations"]["taint"])

    with ThreadPoolExecutor(20) as pool:
        outcomes = sorted(pool.map(one, range(20)))
    assert outcomes == ["already-tainted"] * 19 + ["tainted"]
    assert [code for code in asked.codes("patch pods").elements() if code == 200] == [200]


def test_other_users_leave_no_mark(glass: Service) -> None:
    """A user of another group is no business of the webhook's, whatever policies say to that."""
    pod, *_ = unmarked(glass)
    asked = OperatorRequests.from_now(glass.plane, glass.namespace)
    glass.kubectl("exec", pod, "--", "true", check=False)
    glass.kubectl("exec", pod, "--as=jane", "--as-group=immutable:other", "--", "true", check=False)
    assert mark_of(glass.plane, glass.namespace, pod) is None
    assert asked.count("patch pods") == 0


def test_foreign_pods_and_dry_runs_are_not_marked(glass: Service, operators: Operators) -> None:
    pod, *_ = unmarked(glass)
    asked = OperatorRequests.from_now(glass.plane)
    alike = "alike-im5f2ed9b0-37nt2"
    body = {"containers": [{"name": "x", "image": pin("x")}]}
    pods = "/api/v1/namespaces/kube-system/pods"
    glass.plane.api().request("POST", pods, {"metadata": {"name": alike}, "spec": body})
    port, trusted = operators.main.webhook_port, bundle(glass.plane)
    try:
        for outcome, question in {
            "no-instance": review("kube-system", alike),
            "dry-run": review(glass.namespace, pod, dryRun=True),
            "not-found": review(glass.namespace, alike),
        }.items():
            response = ask(port, trusted, question).response
            assert response["allowed"] is True
            assert response["auditAnnotations"] == {"taint": outcome}
    finally:
        glass.plane.api().request("DELETE", f"{pods}/{alike}?gracePeriodSeconds=0")
    assert mark_of(glass.plane, glass.namespace, pod) is None
    assert asked.count("patch pods") == 0


def test_access_is_refused_when_mark_cannot_be_written(own_glass: Service) -> None:
    pod, *_ = unmarked(own_glass)
    freeze_metadata(own_glass)
    said = own_glass.kubectl("exec", pod, *member(), "--", "true", check=False)
    assert f"instance {pod} could not be marked as tainted" in said
    assert "which is required for access; try again" in said
    assert LET_IN not in said
    assert mark_of(own_glass.plane, own_glass.namespace, pod) is None


def freeze_metadata(web: Service) -> None:
    """A policy of another owner: no pod of this namespace may be updated."""
    api = "/apis/admissionregistration.k8s.io/v1"
    kind = "validatingadmissionpolicies"
    name = f"frozen-{web.namespace}"
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["UPDATE"],
        "resources": ["pods"],
    }
    where = {"matchLabels": {"kubernetes.io/metadata.name": web.namespace}}
    policy = {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"namespaceSelector": where, "resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "nothing is written here"}],
        },
    }
    spec = {"policyName": name, "validationActions": ["Deny"]}
    web.plane.api().request("POST", f"{api}/{kind}", policy)
    web.plane.api().request(
        "POST",
        f"{api}/validatingadmissionpolicybindings",
        {"metadata": {"name": name}, "spec": spec},
    )
    [pod, *_] = unmarked(web)
    tried = ("annotate", "pod", pod, "x=y", "--dry-run=server")
    web.until(
        "the policy holds", lambda: "nothing is written here" in web.kubectl(*tried, check=False)
    )


@pytest.mark.parametrize("how", ["ended", "frozen"])
def test_unavailable_webhook_blocks_nothing(
    own_glass: Service, operators: Operators, how: str
) -> None:
    """Ignore: a member is let in when the API server gave up, and nothing else asks the webhook.

    How long it waits is in the chart (test_chart.py).
    """
    pod, *_ = unmarked(own_glass)
    if how == "ended":
        operators.main.stop()
    else:
        operators.main.freeze()
    try:
        before = failed_open(own_glass.plane)
        said = own_glass.kubectl("exec", pod, *member(), "--", "true", check=False)
        assert LET_IN in said
        assert failed_open(own_glass.plane) == before + 1
        own_glass.apply(image="b")
        own_glass.kubectl("label", "pod", pod, "looked-at=yes")
        own_glass.kubectl("create", "configmap", "settings", "--from-literal=a=b")
        own_glass.kubectl("delete", "pod", pod, "--wait=false")
        assert failed_open(own_glass.plane) == before + 1
    finally:
        if how == "frozen":
            operators.main.thaw()


def test_a_standby_marks_too(glass: Service, operators: Operators) -> None:
    standby = operators.start("standby").until_synced()
    first, second, *_ = unmarked(glass)
    operators.aim_webhook(standby.webhook_port)
    try:
        wait_for("the API server asks the standby", lambda: is_asked(standby, glass, first))
        asked = OperatorRequests.from_now(glass.plane, glass.namespace)
        glass.kubectl("exec", second, *member(), "--", "true", check=False)
    finally:
        operators.aim_webhook()
    assert mark_of(glass.plane, glass.namespace, second)
    assert [r.target for r in asked.writes(standby.credential)] == ["pods"]
    assert not standby.leading


def is_asked(replica: OperatorProcess, web: Service, pod: str) -> bool:
    """Reach in; whether this replica was asked, or had been before."""
    web.kubectl("exec", pod, *member(), "--", "true", check=False)
    return bool(re.search(MARKED, replica.get("/metrics")[1]))
