"""The operator as users run it: a release of its chart, two pods from its own image.

Everything a test does to it goes through helm and kubectl; what it says about itself is read
from its pods, its Lease and its HTTP port.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster.history import History
from tests.cluster.operator_process import CHART, NAMESPACE
from tests.cluster.services import Service, is_ready
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import fetch
from tests.waiting import wait_for

__all__ = ["NAME", "REPLICAS", "Release"]

NAME = "immutable-operator"
REPLICAS = 2
READY_SECONDS = 120.0
TAIL_LINES = 40
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{NAME}"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
UNREADABLE = ("unable to retrieve container logs", "failed to try resolving symlinks")
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


@dataclass(frozen=True)
class Release:
    """The release ``immutable-operator`` in immutable-system, installed or not."""

    plane: ControlPlane

    def prepare(self) -> None:
        """The namespace, in which nothing runs that Pod Security calls unrestricted."""
        self.plane.kubectl("create", "namespace", NAMESPACE)
        self.plane.kubectl("label", "namespace", NAMESPACE, RESTRICTED)

    def install(self, image: str) -> None:
        """``helm install`` as the README says, by digest; returns when its pods are Ready."""
        self._helm("install", image)

    def upgrade(self, image: str, **values: str) -> None:
        """``helm upgrade`` to a build of the image, with values; returns when all is rolled."""
        self._helm("upgrade", image, *(f"--set={key}={value}" for key, value in values.items()))

    def test(self) -> subprocess.CompletedProcess[str]:
        """``helm test`` as the notes of the chart say, whatever comes of it."""
        command = ("test", NAME, f"--timeout={READY_SECONDS:.0f}s")
        return self.plane.helm(*command, namespace=NAMESPACE, check=False)

    def uninstall(self) -> None:
        self.plane.helm("uninstall", NAME, "--wait", namespace=NAMESPACE)

    def pods(self) -> list[Json]:
        """Its pods, those on their way out too, by name."""
        path = f"{PODS}?labelSelector=app.kubernetes.io%2Finstance%3D{NAME}"
        items: list[Json] = self.plane.api().get(path)["items"]
        return sorted(items, key=lambda pod: pod["metadata"]["name"])

    def pod(self, name: str) -> Json:
        return self.plane.api().get(f"{PODS}/{name}")

    def lease(self) -> Json:
        spec: Json = self.plane.api().get(LEASE)["spec"]
        return spec

    def holder(self) -> str:
        """The process that holds the lease: its pod's name and a suffix of its own."""
        return str(self.lease().get("holderIdentity", ""))

    def leader(self) -> Json:
        """The pod that leads."""
        return self.pod(self.holder().rpartition("-")[0])

    def standby(self) -> Json:
        """The pod that could lead next."""
        leader = self.leader()["metadata"]["name"]
        return next(p for p in self.pods() if is_ready(p) and p["metadata"]["name"] != leader)

    def says(self, pod: Json, path: str) -> tuple[int, str]:
        """What a pod answers on its HTTP port."""
        return fetch(pod["status"]["podIP"], path)

    def leads(self, pod: Json) -> bool:
        """Whether a pod says of itself that it leads."""
        return "immutable_leading 1.0" in self.says(pod, "/metrics")[1]

    def records(self, pod: str, *options: str) -> list[Json]:
        """The log of a pod's operator, as records."""

        def said() -> list[str]:
            log = self.plane.kubectl("logs", pod, *options, namespace=NAMESPACE).stdout
            # A kubelet that is about to rotate it answers with a sentence of its own.
            return [] if log.startswith(UNREADABLE) else log.splitlines()

        lines = wait_for(f"the log of {pod} can be read", said)
        other = [line for line in lines if not line.startswith("{")]
        assert other == [], f"not all is JSON: {other}"
        return [json.loads(line) for line in lines]

    def signal(self, real: RealNodes, pod: Json, name: str) -> None:
        """Send a signal to the operator in a pod, from its node."""
        container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
        real.node(pod["spec"]["nodeName"]).ctr("tasks", "kill", "--signal", name, container)

    def history(self) -> History:
        """A watch of its pods."""
        return History(Service(self.plane, NAMESPACE, NAME))

    def is_well(self) -> bool:
        """Two pods Ready, no third, and one of them holds the lease and says so."""
        pods = self.pods()
        if len(pods) != REPLICAS or not all(map(is_ready, pods)):
            return False
        leading = [pod["metadata"]["name"] for pod in pods if self.leads(pod)]
        return leading == [self.holder().rpartition("-")[0]]

    def until(self, what: str, check: Callable[[], object], timeout: float = READY_SECONDS) -> None:
        wait_for(f"the operator: {what}", check, timeout, self.describe)

    def until_well(self) -> None:
        self.until("two pods are Ready and one leads", self.is_well)

    def describe(self) -> str:
        """Objects, events and the ends of the logs, for the message of a test that fails."""
        parts = [self.plane.describe(NAMESPACE, "deployments", "leases", "pdb")]
        for pod in self.pods():
            name = pod["metadata"]["name"]
            for more in ([], ["--previous"]):
                found = self.plane.kubectl(
                    *("logs", name, f"--tail={TAIL_LINES}", *more), namespace=NAMESPACE, check=False
                )
                if found.returncode == 0:
                    parts.append(f"{name} {' '.join(more)}\n{found.stdout}")
        return "\n\n".join(parts)

    def _helm(self, verb: str, image: str, *options: str) -> None:
        repository, _, digest = image.partition("@")
        done = self.plane.helm(
            *(verb, NAME, str(CHART), "--wait", f"--timeout={READY_SECONDS:.0f}s"),
            *("--set", f"image.repository={repository}", "--set", f"image.digest={digest}"),
            *options,
            namespace=NAMESPACE,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.describe()}"
