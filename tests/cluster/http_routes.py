"""HTTPRoutes in tests: the definitions, the grant of the chart, and a stand-in for a gateway.

Where a test is about requests, a real gateway has its place: tests/real/test_gateway.py.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.operator_process import Operators
from tests.cluster.secret_grants import upgrade
from tests.controlplane import ControlPlane
from tests.controlplane.accounts import install_crds
from tests.controlplane.api import ApiError, Json
from tests.controlplane.build import binaries

__all__ = [
    "GATEWAY_API",
    "HttpRoute",
    "backend",
    "gateway_granted",
    "grant",
    "install_definitions",
    "remove_definitions",
    "stand_in_gateway",
]

GATEWAY_API = "gateway.networking.k8s.io"
ROUTES = f"/apis/{GATEWAY_API}/v1/httproutes"
KINDS = ("httproutes", "referencegrants")
PAUSE = 0.05


def install_definitions(plane: ControlPlane) -> None:
    """Install the definitions of HTTPRoutes and ReferenceGrants, those of their own release."""
    install_crds(plane, _definitions())


def remove_definitions(plane: ControlPlane) -> None:
    """Delete them, with all HTTPRoutes, if another test installed them."""
    files = [f"--filename={path}" for path in _definitions()]
    plane.kubectl("delete", "--ignore-not-found", *files)


def _definitions() -> list[Path]:
    folder = binaries(["modelschema"])["modelschema"].parent
    return [folder / f"{GATEWAY_API}_{kind}.yaml" for kind in KINDS]


@contextmanager
def gateway_granted(operators: Operators) -> Iterator[None]:
    """Inside of the block the operator writes weights, with the rights of the chart for it."""
    upgrade(operators, "--set=gateway.enabled=true")
    try:
        with operators.usually("--gateway"):
            yield
    finally:
        upgrade(operators)


def backend(name: str, **fields: Any) -> Json:
    return {"name": name, "port": 80, **fields}


def grant(plane: ControlPlane, namespace: str, source: Json, kind: Json) -> None:
    """Create a ReferenceGrant in a namespace."""
    body = {
        "apiVersion": f"{GATEWAY_API}/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": f"to-{kind['kind'].lower()}", "namespace": namespace},
        "spec": {"from": [source], "to": [kind]},
    }
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(body))


@dataclass(frozen=True)
class HttpRoute:
    """An HTTPRoute, by default with one rule for the Service ``web``."""

    plane: ControlPlane
    namespace: str
    name: str = "web"

    def apply(self, *rules: Json, gateway: str = "gateway", gateway_namespace: str = "") -> None:
        """Apply it, attached to a Gateway; "" is the namespace of the route."""
        parent = {"name": gateway, "namespace": gateway_namespace or self.namespace}
        body = {
            "apiVersion": f"{GATEWAY_API}/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "parentRefs": [parent],
                "rules": list(rules) or [{"backendRefs": [backend("web")]}],
            },
        }
        self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def get(self) -> Json:
        path = f"/apis/{GATEWAY_API}/v1/namespaces/{self.namespace}/httproutes/{self.name}"
        return self.plane.api().get(path)

    def weights(self, rule: int = 0) -> dict[str, int]:
        refs = self.get()["spec"]["rules"][rule]["backendRefs"]
        return {ref["name"]: ref["weight"] for ref in refs}

    def edit(self, weight: int) -> None:
        """Somebody else gives the first backend another weight."""
        path = "/spec/rules/0/backendRefs/0/weight"
        change = [{"op": "replace", "path": path, "value": weight}]
        kubectl = ("patch", "httproute", self.name, "--type=json", "-p", json.dumps(change))
        self.plane.kubectl(*kubectl, namespace=self.namespace)


@contextmanager
def stand_in_gateway(plane: ControlPlane) -> Iterator[threading.Event]:
    """Accept each version of each HTTPRoute, as a gateway does; while the event is set, none."""
    ended, away = threading.Event(), threading.Event()

    def serve() -> None:
        api = plane.api()
        while not ended.wait(PAUSE):
            with contextlib.suppress(ApiError):
                for route in [] if away.is_set() else api.get(ROUTES)["items"]:
                    _accept(plane, route)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield away
    finally:
        ended.set()
        thread.join()


def _accept(plane: ControlPlane, route: Json) -> None:
    meta = route["metadata"]
    seen = [
        condition["observedGeneration"]
        for parent in (route.get("status") or {}).get("parents") or ()
        for condition in parent["conditions"]
    ]
    if seen == [meta["generation"]]:
        return
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "observedGeneration": meta["generation"],
        "lastTransitionTime": meta["creationTimestamp"],
    }
    parent = {
        "parentRef": route["spec"]["parentRefs"][0],
        "controllerName": "example.com/stand-in",
        "conditions": [condition],
    }
    path = f"/apis/{GATEWAY_API}/v1/namespaces/{meta['namespace']}/httproutes/{meta['name']}/status"
    plane.api().merge_patch(path, {"status": {"parents": [parent]}})
