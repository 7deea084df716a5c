"""What asks no API server, on real nodes: the kubelet's own port (P8), a static pod (P19).

No policy can refuse these; here is what holds nevertheless, as docs/enforcement.md says it.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator

import pytest

from immutable_operator.admission.policies import object_name
from tests.cluster.people import PERSONS, Attempt, full_rights, refused
from tests.cluster.services import condition
from tests.cluster.webhook import mark_of
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.real.kubelet import STATIC_PODS
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import PORT, SECURITY, fetch
from tests.real.traffic import endpoints_of
from tests.real.web import WebService
from tests.waiting import wait_for

REPLICAS = 2
KUBELET_PORT = 10250
# In the namespace he may do everything; tests before this one gave alice nodes/proxy for good.
OWNER = "bob"
LOG_LINES = 2000


@pytest.fixture
def running(web: WebService, real: RealNodes) -> WebService:
    """Two instances of v1 behind a Service."""
    web.apply_image(real.images.digest("web"), replicas=REPLICAS)
    web.expose()
    web.until_ready()
    return web


def ask_kubelet(
    plane: ControlPlane, address: str, method: str, path: str, *, actor: str = "", token: str = ""
) -> tuple[int, str]:
    """Ask a kubelet itself, with an actor's certificate, a token, or anonymously."""
    # Its own certificate is signed by nobody: who asks like this would not mind.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if actor:
        api = plane.api(actor)
        context.load_cert_chain(api.certificate, api.key)
    connection = http.client.HTTPSConnection(address, KUBELET_PORT, context=context, timeout=20)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_p8_kubelet_port_admits_only_users_with_nodes_proxy(
    running: WebService, real: RealNodes
) -> None:
    plane, namespace = running.plane, running.namespace
    running.kubectl("create", "rolebinding", "own", "--clusterrole=admin", f"--user={OWNER}")
    full_rights(plane, namespace, "alice")
    may = ("auth", "can-i", "create", "nodes", "--subresource=proxy", "--as=alice")
    wait_for("alice may", lambda: plane.kubectl(*may, check=False).stdout.startswith("yes"))
    pod = running.active()[0]
    instance, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    address = real.node(node).address
    target = f"{namespace}/{instance}"
    command = f"cmd=/web%20get%20http://127.0.0.1:{PORT}/"
    run = f"/run/{target}/web?{command}"
    ways = [
        ("POST", run),
        *((method, f"/exec/{target}/web?output=1&command=/web") for method in ("GET", "POST")),
        ("POST", f"/attach/{target}/web?output=1"),
        ("POST", f"/portForward/{target}"),
        ("POST", f"/checkpoint/{target}/web"),
    ]
    token = running.kubectl("create", "token", "default").strip()
    with running.history() as history:
        for method, path in ways:
            assert ask_kubelet(plane, address, method, path)[0] == 401, path
            for login in ({"actor": OWNER}, {"token": token}):
                status, said = ask_kubelet(plane, address, method, path, **login)
                assert status == 403, path
                assert "resource=nodes" in said
                assert "proxy" in said or "checkpoint" in said
        for person in PERSONS:
            # Through the API server a policy refuses even them; at the port nobody does or sees.
            proxied = Attempt("POST", f"/api/v1/nodes/{node}/proxy{run}")
            assert "through its node" in refused(plane, namespace, proxied, person, "node-proxy")
            assert ask_kubelet(plane, address, "POST", run, actor=person) == (200, "v1\n")
        running.always(
            "no deviation is reported", lambda: not running.status().get("deviations"), 2
        )
        assert mark_of(plane, namespace, instance) is None
        assert history.births() + history.retirements() == []


Place = Callable[[Json], None]


@pytest.fixture
def static_pod(real: RealNodes) -> Iterator[Place]:
    """Writes a manifest to the disk of real-0, which is taken away again."""
    node = real.node("real-0")
    manifest = node.folder / STATIC_PODS / "static.json"

    def write(pod: Json) -> None:
        manifest.write_text(json.dumps(pod))

    yield write
    manifest.unlink(missing_ok=True)


def test_p19_static_pod_with_instance_labels_is_no_instance(
    running: WebService, real: RealNodes, static_pod: Place
) -> None:
    plane, namespace = running.plane, running.namespace
    meta = running.active()[0]["metadata"]
    before = {pod["metadata"]["name"] for pod in running.pods()}
    container = {"name": "web", "image": real.images.digest("web", "v2")}
    port = {"name": "http", "containerPort": PORT}
    kept = {key: meta[key] for key in ("labels", "annotations", "ownerReferences")}
    with running.history() as history:
        static_pod(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "web", "namespace": namespace, **kept},
                "spec": {
                    "containers": [{**container, "ports": [port], "securityContext": SECURITY}]
                },
            }
        )
        path = "/api/v1/nodes/real-0/proxy/pods"

        def address() -> str:
            pods = plane.api().get(path)["items"]
            found = [p for p in pods if p["metadata"]["name"] == "web-real-0"]
            return str(found[0]["status"].get("podIP", "")) if found else ""

        # A kubelet tells the address of a static pod late.
        running.until("it runs, and answers", lambda: fetch(address()) == (200, "v2\n"), 120)
        guard = object_name("pod-create")
        running.until(
            "its mirror pod was refused",
            lambda: any(
                guard in line and "web-real-0" in line
                for line in real.node("real-0").log_tail("kubelet", LOG_LINES).splitlines()
            ),
        )
        stranger = address()
        listed = plane.api().get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        assert {pod["metadata"]["name"] for pod in listed} == before
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        behind = {e.address for e in endpoints_of(plane.api().get(slices)["items"])}
        assert len(behind) == REPLICAS
        assert stranger not in behind
        assert running.status()["replicas"] == REPLICAS
        assert condition(running.get(), "Ready")["status"] == "True"
        assert history.births() + history.retirements() == []
