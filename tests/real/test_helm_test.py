"""`helm test` in a real cluster: a pod of the operator's image checks the installation."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster.operator_process import NAMESPACE
from tests.controlplane import ControlPlane
from tests.real.release import NAME, Release

POD = f"{NAME}-test"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{POD}"
BINDING = "validatingadmissionpolicybinding/running-pod.immutable.dev"
ROWS = ("definitions", "operator", "leader", "policies", "webhook", "permissions")


def left(plane: ControlPlane) -> list[str]:
    """What there is of `helm test`, by kind and name."""
    kinds = "pod,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding"
    told = plane.kubectl("get", kinds, "--output=name", namespace=NAMESPACE).stdout.split()
    return [name for name in told if name.endswith(f"/{POD}")]


def requests(plane: ControlPlane, mark: int) -> Iterator[tuple[str, str, int]]:
    """What the account of the test asked for: verb, resource, HTTP status."""
    with plane.audit().path.open("rb") as lines:
        lines.seek(mark)
        for line in lines:
            if ACCOUNT.encode() in line and line.endswith(b"\n"):
                event = json.loads(line)
                if event["user"]["username"] == ACCOUNT and event["stage"] == "ResponseComplete":
                    resource = event.get("objectRef", {}).get("resource", "")
                    yield event["verb"], resource, event["responseStatus"]["code"]


@pytest.fixture
def unguarded(release: Release) -> Iterator[Release]:
    """The release without one of its bindings; it and what a failed test leaves are put right."""
    binding = json.loads(release.plane.kubectl("get", BINDING, "-o", "json").stdout)
    release.plane.kubectl("delete", BINDING)
    yield release
    binding["metadata"] = {
        key: binding["metadata"][key] for key in ("name", "labels", "annotations")
    }
    release.plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(binding))
    release.plane.kubectl("delete", "pod", POD, namespace=NAMESPACE)


def test_helm_test_passes_with_the_rights_of_its_own_and_leaves_nothing(release: Release) -> None:
    mark = release.plane.audit().mark()
    done = release.test()
    assert done.returncode == 0, done.stdout + done.stderr
    # helm logs what the pod printed as one message.
    said = (done.stdout + done.stderr).replace("\\n", "\n")
    for row in ROWS:
        assert any(line.split()[:2] == [row, "ok"] for line in said.splitlines()), said
    assert left(release.plane) == []
    asked = list(requests(release.plane, mark))
    assert {verb for verb, _, _ in asked} <= {"get", "list", "create"}
    assert {resource for verb, resource, _ in asked if verb == "create"} == {
        "selfsubjectaccessreviews"
    }
    assert not [request for request in asked if request[2] == 403]
    rules = release.plane.helm("get", "hooks", NAME, namespace=NAMESPACE).stdout
    granted = {"deployments", "leases", "endpointslices", "validatingadmissionpolicies"}
    assert all(resource in rules for resource in granted)
    assert granted <= {resource for _, resource, _ in asked}, "a right that it does not use"


def test_helm_test_that_fails_says_why_and_keeps_the_pod_for_its_log(unguarded: Release) -> None:
    done = unguarded.test()
    assert done.returncode != 0
    assert left(unguarded.plane) == [f"pod/{POD}"]
    log = unguarded.plane.kubectl("logs", POD, namespace=NAMESPACE).stdout
    assert "policy running-pod.immutable.dev has no binding; upgrade the chart to restore it" in log
