"""The operator's image: what is in it, what is not, that it can be made again, that it runs."""

from __future__ import annotations

import gzip
import json
import os
import re
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from immutable_operator.api.names import API_VERSION
from tests.cluster.operator_process import NAMESPACE, Installation
from tests.controlplane import ControlPlane
from tests.controlplane.build import cache_root
from tests.controlplane.processes import spawn
from tests.controlplane.real import operator_image
from tests.controlplane.real.nodes import RealNodes
from tests.controlplane.real.operator_image import ImageError, OperatorImage, try_build
from tests.real.image_root import ImageRoot
from tests.real.pods import SECURITY, Pods
from tests.waiting import wait_for

# The first build makes a Debian, too.
pytestmark = pytest.mark.timeout(1200)
MOST_BYTES = 150_000_000
FOREIGN = re.compile(
    r"(cc|c\+\+|gcc|g\+\+|cpp|clang|ld|as|make|tcc|rustc|go)(-[\d.]+)?"
    r"|(pip|setuptools|wheel|ensurepip|easy_install|_distutils_hack|pkg_resources)(-.*|[\d.]*)?"
    r"|pip\.conf|.*\.whl|.*\.crt|ca-certificates.*"
)
# What each start compiles anew, because it has no bytecode.
UNCOMPILED = """
import importlib.util, json, os, sys
import immutable_operator.runtime.main
files = [getattr(m, "__file__", None) or "" for m in sys.modules.values()]
ours = [f for f in files if f.startswith("/opt/") and f.endswith(".py")]
assert len(ours) > 100, ours
print(json.dumps([f for f in ours if not os.path.exists(importlib.util.cache_from_source(f))]))
"""


@pytest.fixture(scope="module")
def image() -> OperatorImage:
    reason = operator_image.missing()
    if reason is not None and os.environ.get("REQUIRE_REAL_NODES") != "1":
        pytest.skip(reason)
    return operator_image.build(lambda text: print(text, flush=True))


@pytest.fixture(scope="module")
def root(image: OperatorImage, tmp_path_factory: pytest.TempPathFactory) -> ImageRoot:
    return ImageRoot.unpack(image.layout, tmp_path_factory.mktemp("root"))


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A copy of all that the image is built from."""
    folder = tmp_path / "context"
    folder.mkdir()
    operator_image.copy_sources(folder)
    return folder


def test_image_stays_small(image: OperatorImage) -> None:
    added = image.layout.layers[len(image.base.layers) :]
    packed = sum(path.stat().st_size for path in added)
    plain = sum(len(gzip.decompress(path.read_bytes())) for path in added)
    print(f"over its base: {plain / 1e6:.1f} MB, {packed / 1e6:.1f} MB compressed")
    assert plain < MOST_BYTES


def test_image_base_is_the_given_one(image: OperatorImage) -> None:
    below = image.base.configuration["rootfs"]["diff_ids"]
    assert image.layout.configuration["rootfs"]["diff_ids"][: len(below)] == below


def test_image_user_is_nobody_and_environment_is_minimal(image: OperatorImage) -> None:
    config = image.layout.configuration["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["immutable-operator"]
    assert config["Cmd"] == ["run"]
    assert {entry.partition("=")[0] for entry in config["Env"]} == {
        *("HOME", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    }


def test_image_has_no_compiler_installer_or_certificates(image: OperatorImage) -> None:
    """No compiler, no installer, no certificate or pip setting of the machine that built it."""
    paths = [entry.name for layer in image.layout.layers for entry in entries(layer)]
    foreign = [
        path
        for path in paths
        if FOREIGN.fullmatch(PurePosixPath(path).name)
        and not path.startswith(("./var/lib/dpkg/info/", "./usr/share/"))
    ]
    assert foreign == []
    assert not [path for path in paths if path.lstrip("./").startswith(("etc/ssl", "opt/wheels"))]


def test_image_layers_hold_only_operator_and_are_not_writable(image: OperatorImage) -> None:
    for layer in image.layout.layers[len(image.base.layers) :]:
        for entry in entries(layer):
            assert PurePosixPath(entry.name).parts[:2] in (("opt",), ("opt", "operator"))
            assert (entry.uid, entry.gid) == (0, 0)
            assert entry.issym() or not entry.mode & 0o6022, entry.name
            assert entry.issym() or entry.mode & 0o004, entry.name


def test_an_unchanged_tree_is_not_built_again(image: OperatorImage) -> None:
    said: list[str] = []
    assert operator_image.build(said.append).digest == image.digest
    assert said == []


def test_another_revision_is_another_image_of_the_same_layers(image: OperatorImage) -> None:
    other = operator_image.build(revision="second")
    labels = other.layout.configuration["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == "second"
    assert other.digest != image.digest
    assert other.layout.manifest["layers"] == image.layout.manifest["layers"]


def test_image_build_is_reproducible(context: Path, tmp_path: Path) -> None:
    """Also from files with other times and rights, and nothing taken from a cache."""
    first = try_build(context, tmp_path / "first")
    for path in context.rglob("*"):
        path.chmod(0o775 if path.is_dir() else 0o664)
        os.utime(path, (1, 1_000_000_000))
    before = os.umask(0o077)
    try:
        second = try_build(context, tmp_path / "second", cached=False)
    finally:
        os.umask(before)
    assert second.digest == first.digest


def test_package_with_wrong_hash_is_refused(context: Path, tmp_path: Path) -> None:
    path = context / "requirements.txt"
    first, *rest = re.split(r"^(?=\w)", path.read_text().lstrip(), flags=re.MULTILINE)[1:]
    path.write_text(re.sub("sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", first) + "".join(rest))
    with pytest.raises(ImageError, match="DO NOT MATCH THE HASHES"):
        try_build(context, tmp_path / "image")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"BASE": "localhost/python:latest"}, "localhost/python:latest is not pinned: give BASE"),
        ({"BUILDER": "localhost/python-builder:latest"}, "python-builder:latest is not pinned"),
    ],
    ids=["a base by tag", "a builder by tag"],
)
def test_unpinned_base_is_refused(
    context: Path, tmp_path: Path, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        try_build(context, tmp_path / "image", arguments=arguments)


def test_base_is_a_public_python_by_default(context: Path, tmp_path: Path) -> None:
    """It cannot be pulled here, where no registry is reachable; the error names it."""
    with pytest.raises(ImageError, match=r"python:3\.14-slim@sha256:b877e50bd90d"):
        try_build(context, tmp_path / "image", arguments={"BASE": "", "BUILDER": ""})


def test_image_runs_as_nobody_on_read_only_root(root: ImageRoot) -> None:
    usage = root.run("immutable-operator", "run", "--help")
    assert (usage.returncode, usage.stderr) == (0, "")
    assert "--kubeconfig" in usage.stdout
    assert root.run("id", "-u").stdout == "65532\n"
    assert "Read-only file system" in root.run("touch", "/opt/operator/file").stderr


def test_image_has_compiled_bytecode(root: ImageRoot) -> None:
    result = root.run("python", "-c", UNCOMPILED)
    assert result.stderr == ""
    paths = json.loads(result.stdout)
    # The models of an object's metadata, which kopf looks for.
    assert len(paths) <= 5, paths
    assert [path for path in paths if "/kubernetes/client/models/" not in path] == []


@pytest.mark.parametrize("module", ["pip", "setuptools", "ensurepip"])
def test_image_has_no_package_installer(root: ImageRoot, module: str) -> None:
    for python in ("/opt/operator/bin/python", "/usr/bin/python3"):
        result = root.run(python, "-c", f"import {module}")
        assert f"No module named '{module}'" in result.stderr


def test_operator_in_image_creates_pods(root: ImageRoot, plane: ControlPlane) -> None:
    """It does its work from its own files: a service becomes pods."""
    kubeconfig, _ = Installation.install(plane).log_in("image")
    log = plane.folder / "image.log"
    command = root.command(
        *("immutable-operator", "run", "--kubeconfig=/tmp/kubeconfig", "--identity=image"),
        *(f"--namespace={NAMESPACE}", "--listen=127.0.0.1:0", "--log-format=json"),
        kubeconfig=kubeconfig,
    )
    process, _ = spawn("image", command, folder=plane.folder, ports=(), tied=True)
    try:
        port = wait_for("it listens", lambda: event(log, "listening"), 60, log.read_text)["port"]
        wait_for("it is ready", lambda: get(port, "/readyz") == 200, 60, log.read_text)
        services = f"/apis/{API_VERSION}/namespaces/default/immutableservices"
        plane.api().request("POST", services, service("web", replicas=2))
        pods = "/api/v1/namespaces/default/pods"
        wait_for("2 pods", lambda: len(plane.api().get(pods)["items"]) == 2, 60, log.read_text)
    finally:
        process.kill()
        process.wait()


def test_node_runs_operator_image_by_digest(
    image: OperatorImage, real: RealNodes, pods: Pods
) -> None:
    pin = f"{image.push(real.registry)}@{image.digest}"
    container = {"name": "operator", "image": pin, "args": ["--help"], "securityContext": SECURITY}
    pods.create("operator", pin, containers=[container], restartPolicy="Never")
    pods.until("it ended well", lambda: pods.get("operator")["status"]["phase"] == "Succeeded")
    assert pods.container("operator")["imageID"] == pin
    assert pods.logs("operator").startswith("usage: immutable-operator")


def test_no_mount_is_left() -> None:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    assert [line for line in mounts if str(cache_root() / "image") in line] == []


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane of its own: the chart goes into it without its pods."""
    with ControlPlane.start() as plane:
        yield plane


def entries(layer: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(layer) as archive:
        return archive.getmembers()


def service(name: str, replicas: int) -> dict[str, Any]:
    container = {"name": "web", "image": f"registry.example/web@sha256:{'1' * 64}"}
    return {
        "apiVersion": API_VERSION,
        "kind": "ImmutableService",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}},
    }


def event(log: Path, name: str) -> dict[str, Any]:
    """The first record of this event in a log; nothing while there is none."""
    records = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return next((record for record in records if record.get("event") == name), {})


def get(port: int, path: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return int(answer.status)
