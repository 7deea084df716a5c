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
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

__all__ = ["Reply", "ask", "bundle", "mark_of", "member", "review"]

CONFIGURATION = (
    f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{BREAK_GLASS}"
)
GROUP = "immutable:break-glass"


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
    """Send it over a connection of its own, trusting these CAs and nobody else."""
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
    """The options of kubectl with which somebody acts as a member of the break-glass group."""
    return f"--as={user}", f"--as-group={GROUP}"


def mark_of(plane: ControlPlane, namespace: str, pod: str) -> Json | None:
    """The mark of a taint on a pod."""
    body = plane.api().get(f"/api/v1/namespaces/{namespace}/pods/{pod}")
    text = body["metadata"].get("annotations", {}).get("immutable.dev/tainted")
    return None if text is None else dict(json.loads(text))
