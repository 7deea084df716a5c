"""The test bed itself: what it simulates, what it records, and that it leaves nothing."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from immutable_operator.kube.times import moment
from tests.cluster.history import Recording
from tests.controlplane import ControlPlane
from tests.controlplane.processes import port_is_free, start_time
from tests.waiting import wait_for

PIN = "registry.example/web@sha256:" + "9f2c41d0" * 8
ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


class Pods:
    """Makes and reads pods of one namespace."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self.path = f"/api/v1/namespaces/{namespace}/pods"

    def create(self, name: str = "web-0", **annotations: str) -> str:
        """A pod whose annotations are given with _ for -: ``fault="crash-loop"``."""
        words = {f"sim/{key.replace('_', '-')}": value for key, value in annotations.items()}
        pod = {
            "metadata": {"name": name, "annotations": words},
            "spec": {
                "terminationGracePeriodSeconds": 30,
                "initContainers": [{"name": "prepare", "image": PIN}],
                "containers": [{"name": "web", "image": PIN}, {"name": "log", "image": PIN}],
            },
        }
        self.plane.api().request("POST", self.path, pod)
        return name

    def get(self, name: str = "web-0") -> Json:
        return self.plane.api().get(f"{self.path}/{name}")

    def condition(self, name: str = "web-0", kind: str = "Ready") -> str:
        conditions = self.get(name)["status"].get("conditions", ())
        return next((str(c["status"]) for c in conditions if c["type"] == kind), "")

    def container(self, name: str = "web-0") -> Json:
        statuses: list[Json] = self.get(name)["status"]["containerStatuses"]
        return statuses[0]

    def waiting(self, name: str = "web-0") -> str:
        return str(self.container(name)["state"].get("waiting", {}).get("reason", ""))

    def annotate(self, word: str | None, name: str = "web-0") -> None:
        body = {"metadata": {"annotations": {"sim/fault": word}}}
        self.plane.api().merge_patch(f"{self.path}/{name}", body)

    def delete(self, name: str = "web-0") -> None:
        self.plane.api().request("DELETE", f"{self.path}/{name}")

    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.plane.api().get(self.path)["items"]]

    def until(self, what: str, check: Callable[[], object]) -> None:
        wait_for(what, check, describe=lambda: self.plane.describe(self.namespace))

    def until_ready(self, name: str = "web-0") -> None:
        self.until(f"{name} is Ready", lambda: self.condition(name) == "True")

    def until_unready(self, name: str = "web-0") -> None:
        self.until(f"{name} is not Ready", lambda: self.condition(name) == "False")


@pytest.fixture
def pods(control_plane: ControlPlane, namespace: str) -> Pods:
    return Pods(control_plane, namespace)


ROUNDING = 2
"""Milliseconds by which a delay may be shorter: both its ends are cut to whole ones."""


def stages(history: Recording) -> dict[str, int]:
    """When kwok did first what it names in the status of the pod, in milliseconds since 1970."""
    played: dict[str, int] = {}
    for change in history.changes():
        for found in change.pod["status"].get("conditions", ()):
            if found["type"] == "sim/stage":
                played.setdefault(found["reason"], int(found["message"]))
    return played


def never(what: str, check: Callable[[], object], seconds: float = 1.5) -> None:
    """``check`` must stay false for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert not check(), what
        time.sleep(0.1)


def test_pinned_pod_reports_pin_as_image_id(pods: Pods) -> None:
    pods.create()
    pods.until_ready()
    status = pods.get()["status"]
    assert status["phase"] == "Running"
    assert {c["imageID"] for c in status["containerStatuses"]} == {PIN}
    assert len({c["containerID"] for c in status["containerStatuses"]}) == 2
    assert [c["restartCount"] for c in status["containerStatuses"]] == [0, 0]
    assert all(c["started"] and c["ready"] for c in status["containerStatuses"])
    assert status["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    assert status["podIP"].startswith("10.")
    assert status["observedGeneration"] == pods.get()["metadata"]["generation"]


def test_pods_have_different_addresses(pods: Pods) -> None:
    names = [pods.create(f"web-{i}") for i in range(5)]
    for name in names:
        pods.until_ready(name)
    assert len({pods.get(name)["status"]["podIP"] for name in names}) == 5


def test_readiness_delay_is_not_restarted_by_updates(pods: Pods) -> None:
    notes = itertools.count()

    def ready_while_updated() -> bool:
        body = {"metadata": {"annotations": {"note": str(next(notes))}}}
        pods.plane.api().merge_patch(f"{pods.path}/web-0", body)
        return pods.condition() == "True"

    with Recording(pods.plane, pods.path) as history:
        pods.create(ready_delay="3s")
        # Any update makes kwok plan the stage anew: a delay that began again would never pass.
        pods.until("it is Ready although it is updated all the time", ready_while_updated)
        played = stages(history)
    assert next(notes) > 3
    assert played["Ready"] - played["Started"] >= 3000 - ROUNDING


def test_never_ready_fault_keeps_pod_unready(pods: Pods) -> None:
    pods.create(fault="never-ready")
    pods.until("it runs", lambda: pods.get()["status"]["phase"] == "Running")
    never("it got ready", lambda: pods.condition() == "True")


def test_crash_loop_counts_restarts(pods: Pods) -> None:
    pods.create(fault="crash-loop")
    pods.until("it crashes", lambda: pods.waiting() == "CrashLoopBackOff")
    assert pods.get()["status"]["phase"] == "Running"
    assert pods.container()["lastState"]["terminated"]["exitCode"] == 1
    pods.until("it crashes again", lambda: pods.container()["restartCount"] >= 3)
    assert pods.condition() == "False"
    assert pods.container()["imageID"] == PIN


def test_image_pull_error(pods: Pods) -> None:
    pods.create(fault="image-pull")
    pods.until("ErrImagePull", lambda: pods.waiting() in ("ErrImagePull", "ImagePullBackOff"))
    pods.until("ImagePullBackOff", lambda: pods.waiting() == "ImagePullBackOff")
    pod = pods.get()
    assert pod["status"]["phase"] == "Pending"
    assert PIN in pods.container()["state"]["waiting"]["message"]
    assert pods.container()["imageID"] == ""


def test_fault_with_end_recovers(pods: Pods) -> None:
    ends: dict[str, float] = {}
    for fault in ("image-pull", "config-error", "never-ready", "crash-loop"):
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4))
        pods.create(fault, fault=fault, fault_until=end)
        ends[fault] = moment(end)
    for fault, end_of_fault in ends.items():
        pods.until_ready(fault)
        [ready] = [c for c in pods.get(fault)["status"]["conditions"] if c["type"] == "Ready"]
        assert moment(ready["lastTransitionTime"]) >= end_of_fault, fault


def test_config_error(pods: Pods) -> None:
    pods.create(fault="config-error")
    pods.until("it waits", lambda: pods.waiting() == "CreateContainerConfigError")
    assert pods.get()["status"]["phase"] == "Pending"
    never("it recovered", lambda: pods.waiting() != "CreateContainerConfigError")


def test_crash_after_ready(pods: Pods) -> None:
    with Recording(pods.plane, pods.path) as history:
        pods.create(fault="crash-after-ready", crash_after="1500ms")
        pods.until("it crashes", lambda: pods.waiting() == "CrashLoopBackOff")
        played = stages(history)
    assert played["Crashed"] - played["Ready"] >= 1500 - ROUNDING


def test_flapping(pods: Pods) -> None:
    pods.create(fault="flapping")
    for _ in range(2):
        pods.until_ready()
        pods.until_unready()
    assert pods.container()["restartCount"] == 0


def test_running_pod_can_be_made_unready_and_ready_again(pods: Pods) -> None:
    pods.create("web-0")
    pods.create("web-1")
    pods.until_ready("web-0")
    pods.until_ready("web-1")
    pods.annotate("not-ready", "web-0")
    pods.until_unready("web-0")
    assert pods.condition("web-1") == "True"
    pods.annotate(None, "web-0")
    pods.until_ready("web-0")
    pods.annotate("crash-loop", "web-0")
    pods.until("it crashes", lambda: pods.waiting("web-0") == "CrashLoopBackOff")
    pods.annotate(None, "web-0")
    pods.until_ready("web-0")


def test_deleted_pod_ends_at_once_unless_delayed(pods: Pods) -> None:
    pods.create("fast")
    pods.create("slow", terminate_delay="2s")
    pods.create("stuck", fault="stuck-terminating")
    for name in ("fast", "slow", "stuck"):
        pods.until_ready(name)
    mark = pods.plane.audit().mark()
    for name in ("slow", "fast", "stuck"):
        pods.delete(name)
    pods.until("fast and slow are gone", lambda: pods.names() == ["stuck"])
    # Each is deleted by the test first, and by its kubelet when it has ended.
    told: dict[str, list[float]] = {}
    for record in pods.plane.audit().since(mark):
        if (record.verb, record.target, record.namespace) == ("delete", "pods", pods.namespace):
            told.setdefault(record.name, []).append(record.received)
    assert told["fast"][-1] < told["slow"][-1]
    assert told["slow"][-1] - told["slow"][0] >= 2 - ROUNDING / 1000
    pods.annotate(None, "stuck")
    pods.until("stuck is released", lambda: not pods.names())


def test_lost_node_does_not_act_on_planned_stage(pods: Pods) -> None:
    pods.create("starting", ready_delay="12s")
    pods.create("ending", terminate_delay="12s")
    pods.until_ready("ending")
    pods.until("it runs", lambda: pods.get("starting")["status"]["phase"] == "Running")
    pods.delete("ending")
    nodes = {node_of(pods, name) for name in ("starting", "ending")}
    for node in nodes:
        pods.plane.lose_node(node)
    try:
        acted = lambda: pods.condition("starting") == "True" or "ending" not in pods.names()  # noqa: E731
        never("a lost node acted", acted, 13)
    finally:
        for node in nodes:
            pods.plane.restore_node(node)
    pods.until_ready("starting")
    pods.until("it has ended", lambda: "ending" not in pods.names())


def node_of(pods: Pods, name: str = "web-0") -> str:
    return str(pods.get(name)["spec"]["nodeName"])


def test_node_becomes_not_ready_and_ready_again(control_plane: ControlPlane) -> None:
    plane = control_plane
    plane.kubectl("label", "node", "node-0", "sim/node=not-ready")
    try:
        wait_for("node-0 is NotReady", lambda: plane.node_ready("node-0") == "False")
        wait_for("it is tainted", lambda: "not-ready" in taints(plane, "node-0"))
        never("it flipped back", lambda: plane.node_ready("node-0") != "False", 2)
    finally:
        plane.kubectl("label", "node", "node-0", "sim/node-")
    wait_for("node-0 is Ready", lambda: plane.node_ready("node-0") == "True")
    wait_for("the taint is gone", lambda: not taints(plane, "node-0"))
    never("it flipped back", lambda: plane.node_ready("node-0") != "True", 2)


def taints(plane: ControlPlane, node: str) -> str:
    return json.dumps(plane.api().get(f"/api/v1/nodes/{node}")["spec"].get("taints", []))[2:-2]


def test_lost_node_changes_nothing(pods: Pods) -> None:
    pods.create("web-0")
    pods.until_ready("web-0")
    node = node_of(pods)
    pods.plane.lose_node(node)
    try:
        pods.until("the node is unknown", lambda: pods.plane.node_ready(node) == "Unknown")
        pods.until_unready("web-0")
        pods.until("it is tainted", lambda: "unreachable" in taints(pods.plane, node))
        pods.delete("web-0")
        never("a lost node acted", lambda: pods.condition("web-0") != "False", 2)
        assert pods.names() == ["web-0"]
    finally:
        pods.plane.restore_node(node)
    pods.until("its kubelet ends it", lambda: not pods.names())


def test_pods_of_lost_node_become_ready_again(pods: Pods) -> None:
    pods.create("web-0")
    pods.until_ready("web-0")
    container = pods.container("web-0")["containerID"]
    node = node_of(pods)
    pods.plane.lose_node(node)
    try:
        pods.until_unready("web-0")
    finally:
        pods.plane.restore_node(node)
    pods.until_ready("web-0")
    assert pods.container("web-0")["containerID"] == container


def test_simulated_reboot_changes_boot_id_and_restarts_containers(pods: Pods) -> None:
    pods.create("web-0")
    pods.until_ready("web-0")
    node = node_of(pods)
    before = boot_id(pods.plane, node)
    container = pods.container("web-0")["containerID"]
    assert pods.plane.reboot_node(node) == boot_id(pods.plane, node) != before
    pods.until_ready("web-0")
    assert pods.container("web-0")["containerID"] != container
    assert pods.container("web-0")["restartCount"] == 1
    assert pods.container("web-0")["lastState"]["terminated"]["exitCode"] == 255


def boot_id(plane: ControlPlane, node: str) -> str:
    return str(plane.api().get(f"/api/v1/nodes/{node}")["status"]["nodeInfo"]["bootID"])


def test_audit_log_names_writers(control_plane: ControlPlane, namespace: str) -> None:
    plane = control_plane
    plane.grant("alice", namespace)
    mark = plane.audit().mark()
    plane.kubectl("create", "configmap", "mine", actor="alice", namespace=namespace)
    refused = plane.kubectl("get", "nodes", actor="alice", check=False)
    assert "cannot list resource" in refused.stderr
    assert plane.audit().writes("alice", mark) == {("create", "configmaps"): 1}
    records = [r for r in plane.audit().since(mark) if r.user == "alice"]
    assert [r.code for r in records if r.resource == "nodes"] == [403]
    assert [r.namespace for r in records if r.verb == "create"] == [namespace]


def test_a_service_account_acts_with_its_own_rights(
    control_plane: ControlPlane, namespace: str
) -> None:
    plane = control_plane
    kubeconfig = plane.service_account_kubeconfig(namespace, "default")
    flag = f"--kubeconfig={kubeconfig}"
    who = plane.kubectl(flag, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert who.stdout == f"system:serviceaccount:{namespace}:default"
    refused = plane.kubectl(flag, "get", "pods", check=False)
    assert f'in the namespace "{namespace}"' in refused.stderr


def test_an_owner_reference_that_blocks_needs_the_right_to_set_finalizers(
    control_plane: ControlPlane, namespace: str
) -> None:
    """The admission plugin OwnerReferencesPermissionEnforcement is on, as in OpenShift."""
    plane = control_plane
    role = ["create", "role", "maker", "--verb=create,get,list", "--resource=configmaps,pods"]
    plane.kubectl(*role, namespace=namespace)
    plane.kubectl(
        *("create", "rolebinding", "maker", "--role=maker", "--user=bob"), namespace=namespace
    )
    owner = plane.api().get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
    reference: Json = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "default"}
    reference |= {"uid": owner["metadata"]["uid"], "blockOwnerDeletion": True}
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "owned", "ownerReferences": [reference]},
    }
    refused = plane.kubectl(
        *("create", "-f", "-"),
        actor="bob",
        namespace=namespace,
        stdin=json.dumps(document),
        check=False,
    )
    assert "cannot set blockOwnerDeletion" in refused.stderr


OWN_PLANE = """
import json, sys, time
from tests.controlplane import ControlPlane
from tests.controlplane.karpenter import Karpenter
plane = ControlPlane.start()
if sys.argv[1] == "stop":
    before = plane.pid_of("kube-apiserver")
    plane.kill("kube-apiserver")
    assert not plane.is_running("kube-apiserver")
    assert "refused" in plane.kubectl("get", "namespaces", check=False).stderr
    plane.revive("kube-apiserver")
    assert plane.pid_of("kube-apiserver") != before
    assert "kube-system" in plane.kubectl("get", "namespaces").stdout
Karpenter.start(plane)
children = plane._run.children
pids = {c.component: c.pid for c in children}
ports = plane.ports | {f"{c.component} {p}": p for c in children for p in c.ports}
print(json.dumps({"pids": pids, "ports": ports, "folder": str(plane.folder)}), flush=True)
if sys.argv[1] == "stop":
    plane.stop()
else:
    time.sleep(600)
"""


@pytest.mark.usefixtures("karpenter_program")
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_ended_control_plane_leaves_nothing(end: str) -> None:
    """Neither after a stop (with a component killed and revived before) nor after SIGKILL of
    the process that started it."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWN_PLANE, end], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert owner.stdout is not None
    said = json.loads(owner.stdout.readline())
    pids, ports, folder = said["pids"], said["ports"], Path(said["folder"])
    assert set(pids) == {
        *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"),
        "karpenter-kwok",
    }
    if end == "kill":
        assert all(start_time(pid) for pid in pids.values())
        os.kill(owner.pid, signal.SIGKILL)
    owner.wait(timeout=60)
    owner.stdout.close()
    seconds = 60 if end == "kill" else 0

    def left() -> list[str]:
        running = [f"process {name}" for name, pid in pids.items() if start_time(pid)]
        return running + [f"port {name}" for name, p in ports.items() if not port_is_free(p)]

    wait_for(f"no process or port is left of {said}", lambda: not left(), seconds, left)
    if end == "kill":
        # The directory goes with the next start or stop of anyone.
        subprocess.run(
            [sys.executable, "-m", "tests.controlplane", "stop", "--name", "nobody"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
    assert not folder.exists()
