"""Real nodes of the test bed: they run what they are told, and show what befalls them."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from immutable_operator.kube.times import moment
from tests.cluster.history import Recording
from tests.cluster.services import told_to_end
from tests.controlplane import ControlPlane
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import Pods, fetch
from tests.real.web import forget
from tests.waiting import wait_for

DRAINS = 20  # seconds, the image slow-stop


def test_two_nodes_are_ready(control_plane: ControlPlane, real: RealNodes) -> None:
    items = control_plane.api().get("/api/v1/nodes")["items"]
    assert {item["metadata"]["name"] for item in items} == {"real-0", "real-1"}
    assert all(real.node(name).is_ready() for name in real.names)
    infos = [item["status"]["nodeInfo"] for item in items]
    assert {info["kubeletVersion"] for info in infos} == {"v1.36.3"}
    assert {info["containerRuntimeVersion"] for info in infos} == {"containerd://2.4.2"}
    for unique in ("bootID", "machineID"):
        assert len({info[unique] for info in infos}) == 2, unique


def test_pod_runs_image_of_its_digest(pods: Pods, real: RealNodes) -> None:
    for version in ("v1", "v2"):
        pin = real.images.digest("web", version)
        pods.create(f"web-{version}", pin)
        pods.until_ready(f"web-{version}")
        assert pods.container(f"web-{version}")["imageID"] == pin
        assert fetch(pods.address(f"web-{version}")) == (200, f"{version}\n")


def test_image_index_is_reported_as_itself(pods: Pods, real: RealNodes) -> None:
    # A node that holds the manifest by its own name goes on reporting that one.
    forget(real, real.images.digest("web"))
    pods.create("web", real.images.index("v1"))
    pods.until_ready("web")
    assert pods.container("web")["imageID"] == real.images.index("v1")


@pytest.fixture(scope="module")
def served(control_plane: ControlPlane, real: RealNodes, module_namespace: str) -> Pods:
    """A pod named web of the test image, for tests that leave it as it is."""
    pods = Pods(control_plane, module_namespace)
    pods.create("web", real.images.digest("web"))
    pods.until_ready("web")
    return pods


def test_kubectl_reaches_into_containers(served: Pods) -> None:
    assert "serving v1" in served.logs("web")
    assert served.exec("web", "/web", "get", "http://127.0.0.1:8080/") == "v1\n"


def test_root_file_system_is_read_only(served: Pods) -> None:
    said = served.exec("web", "/web", "write", "/written", check=False)
    assert "read-only file system" in said


def test_pod_reaches_api_server_as_its_service_account(
    served: Pods, control_plane: ControlPlane
) -> None:
    control_plane.kubectl(
        *("create", "rolebinding", "see", "--clusterrole=view"),
        f"--serviceaccount={served.namespace}:default",
        namespace=served.namespace,
    )
    path = f"/api/v1/namespaces/{served.namespace}/pods/web"
    wait_for(
        "the right to read pods is known",
        lambda: '"name":"web"' in served.exec("web", "/web", "get", path),
    )
    refused = served.exec("web", "/web", "get", "/api/v1/secrets", check=False)
    assert "403 Forbidden" in refused


def test_pod_network_is_isolated(pods: Pods, real: RealNodes, control_plane: ControlPlane) -> None:
    for node in real.names:
        pods.create(node, real.images.digest("web"), node)
    for node in real.names:
        pods.until_ready(node)
        assert pods.get(node)["spec"]["nodeName"] == node
    there = f"http://{pods.address('real-1')}:8080/"
    assert pods.exec("real-0", "/web", "get", there) == "v1\n"
    # The API server is let in by its port; the loopback ports beside it are not.
    host = real.registry.host.partition(":")[0]
    etcd = f"http://{host}:{control_plane.ports['etcd']}/"
    assert "refused" in pods.exec("real-0", "/web", "get", etcd, check=False)
    outside = f"http://{_own_address()}/"
    assert "unreachable" in pods.exec("real-0", "/web", "get", outside, check=False)


def test_web_image_answers_while_draining(pods: Pods, real: RealNodes) -> None:
    pods.create("web", real.images.digest("web"))
    pods.until_ready("web")
    address = pods.address("web")
    with ThreadPoolExecutor() as background:
        under_way = background.submit(fetch, address, "/wait/8s", 20)
        wait_for("the request has arrived", lambda: fetch(address)[0] == 200)
        pods.delete("web")
        pods.until("web drains", lambda: fetch(address, "/readyz")[0] == 503)
        assert fetch(address) == (200, "v1\n")
        assert under_way.result() == (200, "v1\n")
    pods.until("web is gone", lambda: pods.is_gone("web"))


def test_broken_image_is_visible_in_pod_status(pods: Pods, real: RealNodes) -> None:
    pods.create("broken", real.images.digest("broken"))
    pods.create("never", real.images.digest("never-ready"))
    pods.until("broken crashes", lambda: pods.waiting("broken")[0] == "CrashLoopBackOff")
    assert pods.container("broken")["lastState"]["terminated"]["exitCode"] == 1
    pods.until("never runs", lambda: "running" in pods.container("never")["state"])
    assert fetch(pods.address("never"), "/readyz")[0] == 503
    assert not pods.is_ready("never")


def test_slow_stop_delays_deletion(pods: Pods, real: RealNodes) -> None:
    pods.create("slow", real.images.digest("slow-stop"), terminationGracePeriodSeconds=60)
    pods.until_ready("slow")
    address = pods.address("slow")
    with Recording(pods.plane, f"/api/v1/namespaces/{pods.namespace}/pods") as history:
        pods.delete("slow")
        pods.until("slow drains", lambda: fetch(address, "/readyz")[0] == 503)
        assert fetch(address) == (200, "v1\n")
        pods.until("slow is gone", lambda: pods.is_gone("slow"))
        # It is told to end, the kubelet tells when its container has ended, and lets it go then.
        told, *_, last = [c.pod for c in history.changes() if c.kind == "MODIFIED"]
    ended = last["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"]
    assert moment(ended) - told_to_end(told) >= DRAINS


def test_disconnected_node_is_not_ready_until_reconnected(pods: Pods, real: RealNodes) -> None:
    pods.create("web", real.images.digest("web"), "real-1")
    pods.until_ready("web")
    address, node = pods.address("web"), real.node("real-1")
    node.link_down()
    try:
        with pytest.raises(OSError, match=r"timed out|No route|unreachable"):
            fetch(address, timeout=5)
        # The controller manager waits 50 s for a sign of life.
        pods.until("the node is given up", lambda: not node.is_ready())
        pods.until("the pod is not Ready any more", lambda: not pods.is_ready("web"))
    finally:
        node.link_up()
    pods.until("the node is Ready again", node.is_ready)
    pods.until_ready("web")
    assert pods.container("web")["restartCount"] == 0
    assert fetch(address) == (200, "v1\n")


def test_containers_outlive_kubelet_and_containerd(pods: Pods, real: RealNodes) -> None:
    pods.create("web", real.images.digest("web"), "real-1")
    pods.until_ready("web")
    node = real.node("real-1")
    node.stop_kubelet()
    node.stop_containerd(force=True)
    assert not node.is_running("kubelet")
    assert not node.is_running("containerd")
    assert fetch(pods.address("web")) == (200, "v1\n")
    node.start_containerd()
    node.start_kubelet()
    node.wait_ready()
    # A kubelet that has just started does not know its pods yet.
    ask = ("web", "/web", "get", "http://127.0.0.1:8080/")
    pods.until("the kubelet knows the pod", lambda: pods.exec(*ask) == "v1\n")
    assert pods.container("web")["restartCount"] == 0


def test_reboot_restarts_containers_with_new_boot_id(pods: Pods, real: RealNodes) -> None:
    pods.create("web", real.images.digest("web"), "real-1")
    pods.until_ready("web")
    node = real.node("real-1")
    before = node.object()["status"]["nodeInfo"]
    boot_id = node.reboot()
    after = node.object()["status"]["nodeInfo"]
    assert after["bootID"] == boot_id != before["bootID"]
    assert after["machineID"] == before["machineID"]
    pods.until("the container was restarted", lambda: pods.container("web")["restartCount"] == 1)
    pods.until_ready("web")
    assert fetch(pods.address("web")) == (200, "v1\n")


def _own_address() -> str:
    """An address of this machine outside the bed; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "192.0.2.1"
        return str(probe.getsockname()[0])
