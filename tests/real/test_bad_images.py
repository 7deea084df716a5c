"""Images that cannot be had, cannot run, or need more than a digest.

Each ends in a running service, or in a condition that names the image and the cause. All the
bad ones are applied together, at the first test that needs one: what takes time is the
kubelets' patience with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cluster.services import condition
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.processes import free_ports
from tests.controlplane.real.images import this_architecture
from tests.controlplane.real.nodes import RealNodes
from tests.controlplane.real.registry import Registry
from tests.real.release import Release
from tests.real.web import WebService, forget

NAMESPACE = "bad-images"
STALL_SECONDS = 90
RUNNING = ("missing", "no-entry")
# What the kernel said is in a container's log alone; this puts its end into the pod's status.
TELLING = {"terminationMessagePolicy": "FallbackToLogsOnError"}


@dataclass(frozen=True)
class Bad:
    """One bad image: who wants it, what it is called, what must be said of it."""

    web: WebService
    image: str
    reason: str
    cause: str

    def assert_told(self) -> None:
        """Condition, blocker and event name the image and the cause."""
        self.web.until(f"{self.reason}: {self.image} and {self.cause}", self._told, STALL_SECONDS)
        self.web.until("an event names both", lambda: any(map(self._names_both, self.web.events())))

    def _told(self) -> bool:
        body = self.web.get()
        stalled = condition(body, "Stalled")
        blockers = [b for b in body["status"]["blockers"] if b["reason"] == self.reason]
        return (
            body["status"]["observedGeneration"] == body["metadata"]["generation"]
            and stalled["status"] == "True"
            # After the second try it is known that the image does not exist.
            and stalled["reason"] in (self.reason, "ImageNotFound")
            and all(map(self._names_both, (stalled, *blockers)))
        )

    def _names_both(self, told: Json) -> bool:
        return self.image in told["message"] and self.cause in told["message"]


@pytest.fixture(scope="module")
def unannounced(real: RealNodes) -> Iterator[str]:
    """The image in a registry of which no node is told that it speaks plain HTTP."""
    [port] = free_ports(1)
    registry = Registry(real.registry.bed, "unannounced", port)
    registry.start()
    image = real.images.images["web", "v1"]
    here = this_architecture()
    registry.push("web", "v1", image.manifests[here], *image.blobs[here])
    yield f"{registry.host}/web@{image.manifests[here].digest}"
    registry.stop()


@pytest.fixture(scope="module")
def bad(
    control_plane: ControlPlane, installed: Release, real: RealNodes, unannounced: str
) -> Iterator[dict[str, Bad]]:
    """Services in a namespace of their own; two of them ran well before."""
    control_plane.kubectl("create", "namespace", NAMESPACE)
    cases = {
        "missing": (real.images.missing(), "ImagePull", "not found"),
        "no-entry": (real.images.foreign_index(), "ImagePull", "no match for platform"),
        "foreign": (real.images.foreign(), "CrashLoop", "exec format error"),
        "password": (
            real.images.digest("web", private=True),
            "ImagePull",
            "no basic auth credentials",
        ),
        "plain-http": (unannounced, "ImagePull", "server gave HTTP response to HTTPS client"),
    }
    found = {
        name: Bad(WebService(control_plane, NAMESPACE, name), *case) for name, case in cases.items()
    }
    hold = {"onFailure": "Hold"}
    for name in RUNNING:
        found[name].web.apply_image(real.images.digest("web"), replicas=2, rollout=hold)
    for name in RUNNING:
        found[name].web.until_ready()
    for name, case in found.items():
        case.web.apply_image(case.image, TELLING, replicas=2 if name in RUNNING else 1)
    yield found
    control_plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_index_and_manifest_of_one_image_are_two_revisions(
    web: WebService, real: RealNodes
) -> None:
    manifest, index = real.images.digest("web"), real.images.index("v1")
    assert manifest != index
    forget(real, manifest)
    web.apply_image(index, replicas=2)
    web.until_ready()
    web.assert_runs(index)
    web.apply_image(manifest)
    web.until_ready()
    web.until_alone()
    # Nodes know it by both digests now, and report for both the alphabetically first.
    web.assert_runs(manifest, index)
    assert len(web.revisions()) == 2
    forget(real, index)


@pytest.mark.parametrize("name", RUNNING)
def test_unavailable_image_stalls_rollout_and_keeps_instances(
    bad: dict[str, Bad], release: Release, real: RealNodes, name: str
) -> None:
    """A digest that no registry has, and an index without this machine's architecture."""
    web, good = bad[name].web, real.images.digest("web")
    bad[name].assert_told()
    assert web.status()["readyReplicas"] == 2
    assert web.status()["staleReplicas"] == 2
    healthy = {pod["metadata"]["uid"] for pod in web.active() if good in str(pod["spec"])}
    # The way back is the same as the way there, and shorter.
    web.apply_image(good)
    web.until_ready()
    web.until_alone()
    assert {pod["metadata"]["uid"] for pod in web.active()} == healthy
    web.assert_runs(good)


def test_foreign_architecture_manifest_is_reported_with_image_and_cause(
    bad: dict[str, Bad], release: Release
) -> None:
    bad["foreign"].assert_told()


def test_registry_password_is_reported_missing_until_given(
    bad: dict[str, Bad], release: Release, real: RealNodes
) -> None:
    web = bad["password"].web
    bad["password"].assert_told()
    # Named but not there yet: the same, until it is there.
    web.apply(pod={"imagePullSecrets": [{"name": "pull"}]})
    bad["password"].assert_told()
    secret = real.private_registry.pull_secret("pull")
    web.plane.api().request("POST", f"/api/v1/namespaces/{web.namespace}/secrets", secret)
    web.until_ready(STALL_SECONDS)
    web.until_alone()
    web.assert_runs(bad["password"].image)


def test_registry_without_tls_must_be_configured_on_nodes(
    bad: dict[str, Bad], release: Release, real: RealNodes
) -> None:
    web = bad["plain-http"].web
    bad["plain-http"].assert_told()
    # The bed's own registry speaks plain HTTP too, and its nodes are told so (hosts.toml).
    announced = real.images.digest("web")
    assert announced.partition("@")[2] == bad["plain-http"].image.partition("@")[2]
    web.apply_image(announced)
    web.until_ready()
    web.until_alone()
    web.assert_runs(announced)
