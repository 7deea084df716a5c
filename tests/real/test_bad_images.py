"""Images that cannot be had, cannot run, or need more than a digest.

Each ends in a running service, or in a condition that names the image and the cause.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.services import condition
from tests.controlplane.processes import free_ports
from tests.controlplane.real.images import this_architecture
from tests.controlplane.real.nodes import RealNodes
from tests.controlplane.real.registry import Registry
from tests.real.web import WebService, forget

STALL_SECONDS = 60
BAD_PULLS = {"a digest that nobody has": "not found", "no entry for this machine": "no match for"}


@pytest.mark.parametrize("case", BAD_PULLS)
def test_an_image_that_cannot_be_had_stalls_the_rollout_and_costs_nothing(
    web: WebService, real: RealNodes, case: str
) -> None:
    good = real.images.digest("web")
    web.apply_image(good, replicas=2)
    web.until_ready()
    first = "a digest that nobody has"
    bad = real.images.missing() if case == first else real.images.foreign_index()
    with web.history() as history:
        web.apply_image(bad)
        _assert_stalled(web, "ImagePull", bad, BAD_PULLS[case])
        history.assert_budget(most=3, fewest=2)
        # The way back is the same as the way there.
        web.apply_image(good)
        web.until_ready()
        web.until_alone()
        assert len(history.births()) == 1, history.story()
    web.assert_runs(good)


def test_a_manifest_of_another_architecture_is_told_by_image_and_cause(
    web: WebService, real: RealNodes
) -> None:
    image = real.images.foreign()
    # What the kernel said is in the log alone; this puts its end into the pod's status.
    web.apply_image(image, {"terminationMessagePolicy": "FallbackToLogsOnError"}, replicas=1)
    _assert_stalled(web, "CrashLoop", image, "exec format error")


def test_index_and_manifest_of_one_image_both_run_and_are_two_revisions(
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


def test_a_registry_with_a_password_is_told_and_then_given_it(
    web: WebService, real: RealNodes
) -> None:
    image = real.images.digest("web", private=True)
    web.apply_image(image, replicas=1)
    _assert_stalled(web, "ImagePull", image, "no basic auth credentials")
    # Named but not there yet: the same, until it is there.
    web.apply(pod={"imagePullSecrets": [{"name": "pull"}]})
    _assert_stalled(web, "ImagePull", image, "no basic auth credentials")
    secret = real.private_registry.pull_secret("pull")
    path = f"/api/v1/namespaces/{web.namespace}/secrets"
    web.plane.api().request("POST", path, secret)
    web.until_ready(90)
    web.until_alone()
    web.assert_runs(image)


@pytest.fixture
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


def test_a_registry_without_tls_needs_to_be_announced_to_the_nodes(
    web: WebService, real: RealNodes, unannounced: str
) -> None:
    web.apply_image(unannounced, replicas=1)
    _assert_stalled(web, "ImagePull", unannounced, "server gave HTTP response to HTTPS client")
    # The bed's own registry speaks plain HTTP too, and its nodes are told so (hosts.toml).
    announced = real.images.digest("web")
    assert announced.partition("@")[2] == unannounced.partition("@")[2]
    web.apply_image(announced)
    web.until_ready()
    web.until_alone()
    web.assert_runs(announced)


def _assert_stalled(web: WebService, reason: str, image: str, cause: str) -> None:
    """Condition, blocker and event name the image and the cause."""

    def told(text: str) -> bool:
        return image in text and cause in text

    def stalled() -> bool:
        body = web.get()
        seen = body["status"]["observedGeneration"] == body["metadata"]["generation"]
        told_by = condition(body, "Stalled")
        return (
            seen
            and (told_by["status"], told_by["reason"]) == ("True", reason)
            and told(told_by["message"])
            and any(
                b["reason"] == reason and told(b["message"]) for b in body["status"]["blockers"]
            )
        )

    web.until(f"Stalled by {reason}, naming {image} and: {cause}", stalled, STALL_SECONDS)
    web.until("the event says it", lambda: any(told(e["message"]) for e in web.events("Stalled")))
