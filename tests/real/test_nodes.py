"""Real nodes of the test bed: they run what they are told, and show what befalls them."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import Pods, fetch
from tests.real.web import forget
from tests.waiting import wait_for


def test_two_nodes_are_ready(control_plane: ControlPlane, real: RealNodes) -> None:
    items = control_plane.api().get("/api/v1/nodes")["items"]
    assert {item["metadata"]["name"] for item in items} == {"real-0", "real-1"}
    assert all(real.node(name).is_ready() for name in real.names)
    infos = [item["status"]["nodeInfo"] for item in items]
    assert {info["kubeletVersion"] for info in infos} == {"v1.36.3"}
    assert {info["containerRuntimeVersion"] for info in infos} == {"containerd://2.4.2"}
    for unique in ("bootID", "machineID"):
        assert len({info[unique] for info in infos}) == 2, unique


def test_a_pod_runs_the_image_that_its_digest_names(pods: Pods, real: RealNodes) -> None:
    for version in ("v1", "v2"):
        pin = real.images.digest("web", version)
        pods.create(f"web-{version}", pin)
        pods.until_ready(f"web-{version}")
        assert pods.container(f"web-{version}")["imageID"] == pin
        assert fetch(pods.address(f"web-{version}")) == (200, f"{version}\n")


def test_an_index_runs_too_and_reads_back_as_itself(pods: Pods, real: RealNodes) -> None:
    # A node that holds the manifest by its own name goes on reporting that one.
    forget(real, real.images.digest("web"))
    pods.create("web", real.images.index("v1"))
    pods.until_ready("web")
    assert pods.container("web")["imageID"] == real.images.index("v1")


def test_kubectl_reaches_into_containers(pods: Pods, real: RealNodes) -> None:
    pods.create("web", real.images.digest("web"))
    pods.until_ready("web")
    assert "serving v1" in pods.logs("web")
    assert pods.exec("web", "/web", "get", "http://127.0.0.1:8080/") == "v1\n"


def test_the_root_file_system_is_read_only(pods: Pods, real: RealNodes) -> None:
    pods.create("web", real.images.digest("web"))
    pods.until_ready("web")
    said = pods.exec("web", "/web", "write", "/written", check=False)
    assert "read-only file system" in said


def test_a_pod_asks_the_api_server_as_its_service_account(
    pods: Pods, real: RealNodes, control_plane: ControlPlane
) -> None:
    control_plane.kubectl(
        *("create", "rolebinding", "see", "--clusterrole=view"),
        f"--serviceaccount={pods.namespace}:default",
        namespace=pods.namespace,
    )
    pods.create("web", real.images.digest("web"))
    pods.until_ready("web")
    path = f"/api/v1/namespaces/{pods.namespace}/pods/web"
    wait_for(
        "the right to read pods is known",
        lambda: '"name":"web"' in pods.exec("web", "/web", "get", path),
    )
    refused = pods.exec("web", "/web", "get", "/api/v1/secrets", check=False)
    assert "403 Forbidden" in refused


def test_pods_of_two_nodes_reach_each_other_and_nobody_else(
    pods: Pods, real: RealNodes, control_plane: ControlPlane
) -> None:
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


def test_the_web_image_answers_while_it_drains(pods: Pods, real: RealNodes) -> None:
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


def test_broken_images_show_themselves(pods: Pods, real: RealNodes) -> None:
    pods.create("broken", real.images.digest("broken"))
    pods.create("never", real.images.digest("never-ready"))
    pods.until("broken crashes", lambda: pods.waiting("broken")[0] == "CrashLoopBackOff")
    assert pods.container("broken")["lastState"]["terminated"]["exitCode"] == 1
    pods.until("never runs", lambda: "running" in pods.container("never")["state"])
    assert fetch(pods.address("never"), "/readyz")[0] == 503
    assert not pods.is_ready("never")


def test_slow_stop_takes_its_time(pods: Pods, real: RealNodes) -> None:
    pods.create("slow", real.images.digest("slow-stop"), terminationGracePeriodSeconds=60)
    pods.until_ready("slow")
    address = pods.address("slow")
    pods.delete("slow")
    pods.until("slow drains", lambda: fetch(address, "/readyz")[0] == 503)
    with pytest.raises(AssertionError, match="slow is gone"):
        wait_for("slow is gone", lambda: pods.is_gone("slow"), timeout=5)
    assert fetch(address) == (200, "v1\n")
    pods.until("slow is gone at last", lambda: pods.is_gone("slow"))


BAD_PULLS = {
    "missing": "not found",
    "foreign index": "no match for platform",
}


@pytest.mark.parametrize("kind", BAD_PULLS)
def test_an_image_that_cannot_be_had_is_named(pods: Pods, real: RealNodes, kind: str) -> None:
    image = {"missing": real.images.missing, "foreign index": real.images.foreign_index}[kind]()
    pods.create("web", image)
    pods.until(f"the message of {kind}", lambda: BAD_PULLS[kind] in pods.waiting("web")[1])
    # Not always the name: the digest is all that both messages have in common.
    assert image.partition("@")[2] in pods.waiting("web")[1]


def test_a_manifest_of_another_architecture_is_pulled_and_crashes(
    pods: Pods, real: RealNodes
) -> None:
    pods.create("web", real.images.foreign())
    pods.until("web crashes", lambda: pods.waiting("web")[0] == "CrashLoopBackOff")
    assert "exec format error" in pods.logs("web")


def test_a_registry_with_a_password_wants_it(pods: Pods, real: RealNodes) -> None:
    pin = real.images.digest("web", private=True)
    forget(real, real.images.digest("web"), real.images.index("v1"))
    pods.create("without", pin)
    pods.until(
        "the pull without a secret is refused",
        lambda: "no basic auth" in pods.waiting("without")[1],
    )
    secret = real.private_registry.pull_secret("pull")
    path = f"/api/v1/namespaces/{pods.namespace}/secrets"
    pods.plane.api().request("POST", path, secret)
    pods.create("with", pin, imagePullSecrets=[{"name": "pull"}])
    pods.until_ready("with")
    assert pods.container("with")["imageID"] == pin


def test_a_registry_that_comes_back_is_asked_again(pods: Pods, real: RealNodes) -> None:
    real.node("real-0").ctr("images", "remove", "--sync", real.images.index("v2"))
    real.registry.stop()
    try:
        pods.create("web", real.images.index("v2"), "real-0")
        pods.until(
            "the pull fails by name",
            lambda: "connection refused" in pods.waiting("web")[1],
        )
    finally:
        real.registry.start()
    pods.until_ready("web")


def test_a_pulled_cable_silences_the_node_until_it_is_back(pods: Pods, real: RealNodes) -> None:
    pods.create("web", real.images.digest("web"), "real-1")
    pods.until_ready("web")
    address, node = pods.address("web"), real.node("real-1")
    node.link_down()
    try:
        with pytest.raises(OSError, match=r"timed out|No route|unreachable"):
            fetch(address, timeout=5)
        # The controller manager waits 50 s for a sign of life.
        pods.until("the node is given up", lambda: not node.is_ready(), timeout=90)
        pods.until("the pod is not Ready any more", lambda: not pods.is_ready("web"))
    finally:
        node.link_up()
    pods.until("the node is Ready again", node.is_ready, timeout=90)
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


def test_a_reboot_restarts_containers_under_a_new_boot(pods: Pods, real: RealNodes) -> None:
    pods.create("web", real.images.digest("web"), "real-1")
    pods.until_ready("web")
    node = real.node("real-1")
    before = node.object()["status"]["nodeInfo"]
    boot_id = node.reboot()
    after = node.object()["status"]["nodeInfo"]
    assert after["bootID"] == boot_id != before["bootID"]
    assert after["machineID"] == before["machineID"]
    pods.until("the container runs anew", lambda: pods.container("web")["restartCount"] == 1)
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
