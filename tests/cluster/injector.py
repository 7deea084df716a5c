"""A mutating admission webhook that adds a sidecar to each new pod of a namespace, as meshes do."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.cluster.mutators import PATH, PROBE
from tests.cluster.services import pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.certificates import Certificates
from tests.waiting import wait_for

__all__ = ["Injector", "injecting"]

MESH, SETUP = "mesh", "mesh-setup"


class Injector(ThreadingHTTPServer):
    """Answers reviews of pods. ``unique``: each pod gets a sidecar with another value.

    ``image`` is the image of the sidecar.
    """

    daemon_threads = True

    def __init__(self, plane: ControlPlane) -> None:
        super().__init__(("127.0.0.1", 0), _Review)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*Certificates(plane.folder / "certificates").server())
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.unique = False
        self.image = pin(MESH)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}/inject"

    def patch(self, uid: str, pod: Json) -> list[Json]:
        """The JSON patch for a pod: a container, and one that prepares the network for it."""
        sidecar: Json = {"name": MESH, "image": self.image}
        if self.unique:
            sidecar["env"] = [{"name": "MESH_ID", "value": uid}]
        setup = {"name": SETUP, "image": pin(SETUP)}
        started = [*pod["spec"].get("initContainers", ()), setup]
        return [
            {"op": "add", "path": "/spec/containers/-", "value": sidecar},
            {"op": "add", "path": "/spec/initContainers", "value": started},
        ]


class _Review(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Injector)
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        patch = json.dumps(self.server.patch(request["uid"], request["object"])).encode()
        answer = {
            "uid": request["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(patch).decode(),
        }
        body = json.dumps({**review, "request": None, "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: a test that fails shows the objects."""


@contextmanager
def injecting(plane: ControlPlane, namespace: str) -> Iterator[Injector]:
    """Have a sidecar added to each new pod of a namespace, until the end of the block."""
    api, name = plane.api(), f"inject-{namespace}"
    path = f"{PATH}/mutatingwebhookconfigurations"

    def is_in_force() -> bool:
        pods = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        return SETUP in json.dumps(api.request("POST", pods, PROBE))

    with Injector(plane) as injector:
        threading.Thread(target=injector.serve_forever, daemon=True).start()
        hook = {
            "name": "inject.mesh.example",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "url": injector.url,
                "caBundle": base64.b64encode(plane.ca_file.read_bytes()).decode(),
            },
            "failurePolicy": "Fail",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "reinvocationPolicy": "Never",
            "rules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["pods"],
                }
            ],
            "sideEffects": "None",
        }
        api.request("POST", path, {"metadata": {"name": name}, "webhooks": [hook]})
        try:
            wait_for("sidecars are added", is_in_force)
            yield injector
        finally:
            api.request("DELETE", f"{path}/{name}")
            wait_for("sidecars are no longer added", lambda: not is_in_force())
            injector.shutdown()
