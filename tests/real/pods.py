"""Making and watching plain pods of one namespace, and talking to them over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.controlplane import ControlPlane
from tests.waiting import WAIT_SECONDS, wait_for

__all__ = ["Pods", "fetch", "ready_at"]

PORT = 8080
Json = dict[str, Any]
# What the policy "restricted" asks for, and a root file system that nobody writes.
SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def ready_at(path: str) -> Json:
    """A readiness probe: asked each second; a busy machine may take longer than one to answer."""
    return {"httpGet": {"path": path, "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 5}


class Pods:
    """The pods of a namespace."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/pods"

    def create(self, name: str, image: str, node: str | None = None, **spec: Any) -> None:
        """A pod with one container that is Ready when the image says so."""
        container = {
            "name": "web",
            "image": image,
            "ports": [{"name": "http", "containerPort": PORT}],
            "readinessProbe": ready_at("/readyz"),
            "securityContext": SECURITY,
        }
        pod: Json = {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}
        if node is not None:
            pod["spec"]["nodeName"] = node
        self.plane.api().request("POST", self._path, pod)

    def get(self, name: str) -> Json:
        return self.plane.api().get(f"{self._path}/{name}")

    def container(self, name: str) -> Json:
        statuses: list[Json] = self.get(name)["status"]["containerStatuses"]
        return statuses[0]

    def address(self, name: str) -> str:
        return str(self.get(name)["status"]["podIP"])

    def is_ready(self, name: str) -> bool:
        conditions = self.get(name)["status"].get("conditions", ())
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def waiting(self, name: str) -> tuple[str, str]:
        """Reason and message of a container that does not run; empty where it does."""
        state = self.container(name)["state"].get("waiting", {})
        return str(state.get("reason", "")), str(state.get("message", ""))

    def is_gone(self, name: str) -> bool:
        items = self.plane.api().get(self._path)["items"]
        return name not in {item["metadata"]["name"] for item in items}

    def delete(self, name: str) -> None:
        self.plane.api().request("DELETE", f"{self._path}/{name}")

    def exec(self, name: str, *command: str, check: bool = True) -> str:
        """Run a command in the pod with kubectl; what it printed, errors too."""
        result = self.plane.kubectl(
            "exec", name, "--", *command, namespace=self.namespace, check=check
        )
        return result.stdout + result.stderr

    def logs(self, name: str) -> str:
        return self.plane.kubectl("logs", name, namespace=self.namespace).stdout

    def until(self, what: str, check: Callable[[], object], timeout: float = WAIT_SECONDS) -> None:
        """Wait for a condition; a time-out shows the pods and events."""
        wait_for(what, check, timeout, self.describe)

    def until_ready(self, name: str) -> None:
        self.until(f"{name} is Ready", lambda: self.is_ready(name))

    def describe(self) -> str:
        """The pods' status in full and the events."""
        items = self.plane.api().get(self._path)["items"]
        statuses = {item["metadata"]["name"]: item["status"] for item in items}
        return f"{json.dumps(statuses, indent=1)}\n{self.plane.describe(self.namespace)}"


def fetch(address: str, path: str = "/", timeout: float = 10) -> tuple[int, str]:
    """Status and text of a GET from this machine to a pod."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}:{PORT}{path}", timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
