"""What a container sees of a pinned Secret: the value of its revision, until it is replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster.actions import freeze_of
from tests.cluster.services import is_ready, names
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.real.nodes import RealNodes
from tests.namespaces import fresh_namespace
from tests.real.pods import fetch
from tests.real.reach import pod_of, restarts, signal
from tests.real.release import Release
from tests.real.web import WebService

# The server answers with its version: here with the value that the kubelet puts in its place.
ANSWERS: Json = {
    "command": ["/web", "serve", "-version=$(PASSWORD)"],
    "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
}


@pytest.fixture
def shop(control_plane: ControlPlane, release: Release, builds: tuple[str, str]) -> Iterator[str]:
    """A namespace that `helm upgrade` grants, as the chart says it; taken back afterwards."""
    with fresh_namespace(control_plane) as name:
        values = {
            "pinning.secrets.namespaces": f"{{{name}}}",
            "extraArgs": "{--secret-poll-seconds=1}",
        }
        release.upgrade(builds[0], **values)
        release.until_well()
        yield name
        release.upgrade(builds[0])


@pytest.fixture
def web(control_plane: ControlPlane, shop: str) -> WebService:
    """A service in the granted namespace that is not applied yet."""
    return WebService(control_plane, shop)


def put(web: WebService, value: str) -> None:
    body = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "db"}}
    document = json.dumps(body | {"stringData": {"password": value}})
    web.plane.kubectl("apply", "-f", "-", stdin=document, namespace=web.namespace)


def answers(web: WebService) -> list[tuple[int, str]]:
    return [fetch(pod["status"]["podIP"]) for pod in web.active()]


def test_container_sees_the_pinned_value_until_its_successor_sees_the_new_one(
    web: WebService, real: RealNodes
) -> None:
    put(web, "old")
    web.apply_image(real.images.digest("web"), ANSWERS, replicas=1)
    web.until_ready()
    assert answers(web) == [(200, "old\n")]
    [name] = names(web)
    freeze = freeze_of(web, "closing")
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(freeze))
    put(web, "new")
    web.until("the rotation waits", lambda: web.blocker("Frozen"))

    # A container that starts again reads its environment anew.
    signal(real, pod_of(web, name), "SIGKILL")
    web.until("it was restarted", lambda: restarts(pod_of(web, name)) == 1)
    web.until("it is Ready again", lambda: is_ready(pod_of(web, name)))
    assert names(web) == {name}
    assert answers(web) == [(200, "old\n")]

    web.plane.kubectl("delete", "imfrz", freeze["metadata"]["name"])
    web.until("it has a successor", lambda: name not in names(web))
    web.until_ready()
    assert answers(web) == [(200, "new\n")]
