"""A local registry, the tools, and the files of a release, built twice.

These tests need a package index and minutes: `make release` runs them, `make test` does not.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from release.plugin import archive_name
from tests.controlplane.build import binaries
from tests.controlplane.processes import free_ports, spawn
from tests.release.registry import LocalRegistry
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine()]
HERE = (platform.system().lower(), ARCHITECTURE)


@pytest.fixture(scope="session")
def tools() -> dict[str, Path]:
    """helm, krew and validate-krew-manifest."""
    return binaries(["helm", "krew", "validate-krew-manifest"])


@pytest.fixture(scope="session")
def signer() -> Path:
    """The program cosign."""
    return binaries(["cosign"])["cosign"]


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRegistry]:
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is missing; run tests/controlplane/real/packages.sh")
    folder = tmp_path_factory.mktemp("registry")
    [port] = free_ports(1)
    found = LocalRegistry(port)
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": found.host},
    }
    (folder / "config.json").write_text(json.dumps(settings))
    command = [program, "serve", str(folder / "config.json")]
    process, _ = spawn("registry", command, folder=folder, ports=[port], tied=True)
    try:
        log = folder / "registry.log"
        wait_for("the registry answers", found.answers, 20, log.read_text)
        yield found
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files of the release for this machine, built twice by the target of the workflow."""
    folders = tuple(tmp_path_factory.mktemp("files") / name for name in ("first", "second"))
    for folder in folders:
        subprocess.run(
            ["make", "release-files", f"INTO={folder}", f"PLATFORM={'/'.join(HERE)}"],
            cwd=ROOT,
            check=True,
        )
    first, second = folders
    return first, second


@pytest.fixture(scope="session")
def files(builds: tuple[Path, Path]) -> Path:
    """The folder with the files of the release."""
    return builds[0]


@pytest.fixture(scope="session")
def archive(files: Path) -> Path:
    """The plug-in for this machine."""
    return files / archive_name(*HERE)
