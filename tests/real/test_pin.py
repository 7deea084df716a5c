"""`kubectl immutable pin` with real registries: what it writes, the operator accepts and runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from tests.cluster.plugin import Told, ask
from tests.controlplane import ControlPlane
from tests.controlplane.real.nodes import RealNodes
from tests.real.web import WebService

CONTAINER = "containers: [{name: web, image: IMAGE}]  # of the shop\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


def pin(plane: ControlPlane, image: str, *args: str) -> Told:
    path = Path(os.environ["DOCKER_CONFIG"]) / "web.yaml"
    path.write_text(CONTAINER.replace("IMAGE", image))
    return ask(plane, "pin", "-f", str(path), *args)


def test_tag_gets_a_digest_that_nodes_can_run(
    web: WebService, real: RealNodes, config: Path
) -> None:
    tag = real.images.tag("web")
    told = pin(web.plane, tag, f"--plain-http={real.registry.host}")
    assert told.code == 0, told.err
    pinned = yaml.safe_load(told.out)["containers"][0]["image"]
    assert told.out == CONTAINER.replace("IMAGE", pinned)
    assert pinned.startswith(f"{tag}@sha256:")
    web.apply_image(pinned, replicas=1)
    web.until_ready()
    # Its status may name another digest of the same content, which the node pulled before.
    assert [
        container["image"] for pod in web.active() for container in pod["spec"]["containers"]
    ] == [pinned]


def test_registry_with_a_password_asks_for_docker_login(
    control_plane: ControlPlane, real: RealNodes, config: Path
) -> None:
    private = real.private_registry
    plain = f"--plain-http={private.host}"
    told = pin(control_plane, f"{private.host}/web:v1", plain)
    assert (told.code, told.out) == (2, "")
    assert f"run: docker login {private.host}" in told.err
    secret = private.pull_secret("web")["stringData"][".dockerconfigjson"]
    config.write_text(json.dumps(json.loads(secret)))
    told = pin(control_plane, f"{private.host}/web:v1", plain)
    assert told.code == 0, told.err
    assert f"{private.host}/web:v1@sha256:" in told.out


def test_registry_without_https_has_to_be_named(
    control_plane: ControlPlane, real: RealNodes, config: Path
) -> None:
    host = real.registry.host
    told = pin(control_plane, f"{host}/web:v1")
    assert told.code == 2
    assert f"add --plain-http {host}" in told.err


def test_unknown_tag_is_named(control_plane: ControlPlane, real: RealNodes, config: Path) -> None:
    host = real.registry.host
    told = pin(control_plane, f"{host}/web:nothing", f"--plain-http={host}")
    assert told.code == 2
    assert f"{host} has no image {host}/web:nothing; check its name and tag" in told.err
