"""Asking the break-glass webhook as an API server asks it, and reading what it left behind."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import ssl
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from tests.cluster.operator_process import BREAK_GLASS
from tests.cluster.services import Service
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

__all__ = [
    *("GROUP", "LET_IN", "TOLD", "Reply"),
    *("ask", "behind_glass", "bundle", "connects", "failed_open", "grant", "mark_of", "member"),
    *("review", "unmarked"),
]

CONFIGURATION = (
    f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{BREAK_GLASS}"
)
GROUP = "immutable:break-glass"
LET_IN = "no exec found for container"  # says the simulated kubelet
TOLD = "break-glass.immutable.dev/taint"  # what the webhook gave to the audit log
PODS_CONNECT = ("exec", "attach", "portforward", "proxy")


@dataclass(frozen=True)
class Reply:
    """What the webhook answered, and the serial number of the certificate that it showed."""

    status: int
    text: str
    serial: int

    @property
    def response(self) -> Json:
        found: Json = json.loads(self.text)["response"]
        return found


def bundle(plane: ControlPlane) -> str:
    """The CAs that API servers trust, as published now; empty where none is."""
    [hook] = plane.api().get(CONFIGURATION)["webhooks"]
    return base64.b64decode(hook["clientConfig"].get("caBundle", "")).decode()


def review(namespace: str, pod: str, **changes: Any) -> bytes:
    """A review of an exec by jane, with changes to its request."""
    request = {
        "uid": secrets.token_hex(8),
        "kind": {"group": "", "version": "v1", "kind": "PodExecOptions"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "subResource": "exec",
        "name": pod,
        "namespace": namespace,
        "operation": "CONNECT",
        "userInfo": {"username": "jane", "groups": [GROUP, "system:authenticated"]},
        "object": {"kind": "PodExecOptions", "apiVersion": "v1", "command": ["sh"]},
        "oldObject": None,
        "dryRun": False,
        **changes,
    }
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(body).encode()


def ask(
    port: int,
    trusted: str,
    body: bytes,
    *,
    method: str = "POST",
    path: str = "/break-glass",
    headers: dict[str, str] | None = None,
) -> Reply:
    """Send it over a connection of its own, trusting only these CAs."""
    context = ssl.create_default_context(cadata=trusted)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    try:
        connection.connect()
        shown = connection.sock.getpeercert(binary_form=True)
        serial = x509.load_der_x509_certificate(bytes(shown or b"")).serial_number
        connection.request(
            method, path, body, {"Content-Type": "application/json", **(headers or {})}
        )
        answer = connection.getresponse()
        return Reply(answer.status, answer.read().decode(), serial)
    finally:
        connection.close()


def member(user: str = "jane") -> tuple[str, str]:
    """The options of kubectl with which a user acts as a member of the break-glass group."""
    return f"--as={user}", f"--as-group={GROUP}"


def mark_of(plane: ControlPlane, namespace: str, pod: str) -> Json | None:
    """The mark of a taint on a pod."""
    body = plane.api().get(f"/api/v1/namespaces/{namespace}/pods/{pod}")
    text = body["metadata"].get("annotations", {}).get("immutable.dev/tainted")
    return None if text is None else dict(json.loads(text))


def grant(web: Service) -> None:
    web.kubectl("create", "rolebinding", "glass", "--clusterrole=edit", f"--group={GROUP}")


def behind_glass(service: Service, replicas: int) -> Service:
    """Apply it in a namespace in which members may do what editors may.

    Its instances stay after they were marked, so that a test can look at the mark.
    """
    grant(service)
    service.apply(image="a", replicas=replicas, spec={"immutability": {"onTaint": "Report"}})
    service.until_ready()
    return service


def unmarked(service: Service) -> list[str]:
    """Names of the active instances that were not modified, in their order."""
    notes = {p["metadata"]["name"]: p["metadata"].get("annotations", {}) for p in service.active()}
    return [name for name, found in notes.items() if "immutable.dev/tainted" not in found]


def connects(web: Service, mark: int) -> list[Json]:
    """What the API server wrote down of connections to pods since the mark, once they ended."""
    found = []
    with web.plane.audit().path.open("rb") as lines:
        lines.seek(mark)
        for line in lines:
            if line.endswith(b"\n") and web.namespace.encode() in line:
                event = json.loads(line)
                way = event["objectRef"].get("subresource")
                if event["stage"] == "ResponseComplete" and way in PODS_CONNECT:
                    found.append(event)
    return found


def failed_open(plane: ControlPlane) -> float:
    """How often the API server went on because our webhook did not answer."""
    lines = plane.api().text("GET", "/metrics").splitlines()
    name = "apiserver_admission_webhook_fail_open_count{"
    ours = [line for line in lines if line.startswith(name) and "break-glass.immutable.dev" in line]
    return sum(float(line.split()[-1]) for line in ours)
