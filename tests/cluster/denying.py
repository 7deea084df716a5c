"""Admission that denies: a webhook and policies of a test, in its namespace only."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.certificates import Certificates

__all__ = ["denied_by_policies", "denied_by_webhook"]

PATH = "/apis/admissionregistration.k8s.io/v1"
# What the operator does to pods. Whoever runs them is not in the way.
RULE: Json = {
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "operations": ["CREATE", "UPDATE", "DELETE"],
    "resources": ["pods", "pods/eviction"],
}
CONDITIONS = [
    {"name": "admin", "expression": "request.userInfo.username == 'admin'"},
    # The deletion of all pods, at the end of the test.
    {"name": "one", "expression": "has(request.name)"},
]


@contextmanager
def denied_by_policies(
    plane: ControlPlane, namespace: str, reasons: Mapping[str, str]
) -> Iterator[None]:
    """One policy for each name of an object; its reason is "" for none."""
    api, made = plane.api(), []
    for name, reason in reasons.items():
        rule = {"expression": f"request.name != '{name}'", "message": "not now"}
        spec = {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [RULE], **_selecting(namespace)},
            "matchConditions": CONDITIONS,
            "validations": [{**rule, **({"reason": reason} if reason else {})}],
        }
        meta = {"name": f"{namespace}-{name}"}
        binding = {"policyName": meta["name"], "validationActions": ["Deny"]}
        for kind, body in (
            ("validatingadmissionpolicies", spec),
            ("validatingadmissionpolicybindings", binding),
        ):
            api.request("POST", f"{PATH}/{kind}", {"metadata": meta, "spec": body})
            made.append(f"{PATH}/{kind}/{meta['name']}")
    try:
        yield
    finally:
        for path in reversed(made):
            api.request("DELETE", path)


@contextmanager
def denied_by_webhook(
    plane: ControlPlane, namespace: str, answers: Mapping[str, Json]
) -> Iterator[ThreadingHTTPServer]:
    """A webhook that answers with the Status for the name of an object, and allows all others."""
    server = _server(plane, answers)
    hook = {
        "name": "drain.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 30,
        "failurePolicy": "Fail",
        "clientConfig": {
            "url": f"https://127.0.0.1:{server.server_address[1]}/",
            "caBundle": base64.b64encode(plane.ca_file.read_bytes()).decode(),
        },
        "rules": [RULE],
        "matchConditions": CONDITIONS,
        **_selecting(namespace),
    }
    path = f"{PATH}/validatingwebhookconfigurations"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    plane.api().request("POST", path, {"metadata": {"name": namespace}, "webhooks": [hook]})
    try:
        yield server
    finally:
        plane.api().request("DELETE", f"{path}/{namespace}")
        server.shutdown()
        server.server_close()
        thread.join()


def _selecting(namespace: str) -> Json:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


def _server(plane: ControlPlane, answers: Mapping[str, Json]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request = asked["request"]
            status = answers.get(request["name"])
            response = {"uid": request["uid"], "allowed": status is None, "status": status or {}}
            body = json.dumps({**asked, "request": None, "response": response}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Nothing: what it denied is in the test."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Certificates(plane.folder / "certificates").server())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server
