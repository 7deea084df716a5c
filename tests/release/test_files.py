"""The files of a release: two builds are equal; the wheel and krew's archive work alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from release.artefacts import SUMS, compare
from tests.controlplane.access import find_kubectl

# Several minutes if another process needs the machine.
pytestmark = pytest.mark.timeout(1800)
ROOT = Path(__file__).parents[2]


def run(
    *command: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
    )
    print(done.stdout, done.stderr)
    return done


def on_path(*folders: Path) -> dict[str, str]:
    return {"PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]])}


@pytest.fixture(scope="module")
def fresh(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment in which only the plug-in was installed."""
    folder = tmp_path_factory.mktemp("fresh")
    [wheel] = files.glob("*.whl")
    run(sys.executable, "-m", "venv", folder)
    pip = (folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q")
    done = run(*pip, f"{wheel}[cli]")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.fixture(scope="module")
def krew(
    files: Path,
    archive: Path,
    tools: Mapping[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """The environment in which krew has installed the plug-in."""
    root = tmp_path_factory.mktemp("krew")
    environment = {"KREW_ROOT": str(root)} | on_path(root / "bin")
    local = (f"--manifest={files / 'immutable.yaml'}", f"--archive={archive}")
    done = run(tools["krew"], "install", *local, environment=environment)
    assert done.returncode == 0, done.stderr
    return environment


def test_two_builds_of_the_files_are_equal(builds: tuple[Path, Path]) -> None:
    assert compare(*builds) == []


def test_digests_are_those_of_the_files(files: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", SUMS], cwd=files, capture_output=True)
    assert done.returncode == 0, done.stdout


def test_sbom_names_the_locked_packages(files: Path) -> None:
    document = json.loads((files / "sbom.cdx.json").read_text())
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "immutable-operator"
    lock = (ROOT / "requirements.txt").read_text()
    locked = {line.split(" ")[0] for line in lock.splitlines() if "==" in line}
    found = {f"{part['name']}=={part['version']}" for part in document["components"]}
    assert found == locked


@pytest.mark.parametrize(
    "args", [("version", "--client"), ("check", "--help"), ("verify", "--help")], ids=" ".join
)
def test_plugin_works_where_only_its_wheel_is_installed(fresh: Path, args: tuple[str, ...]) -> None:
    done = run(find_kubectl(), "immutable", *args, environment=on_path(fresh))
    assert (done.returncode, done.stderr) == (0, "")


def test_wheel_of_the_plugin_brings_no_kopf(fresh: Path) -> None:
    for name in ("kopf", "cryptography", "prometheus_client"):
        assert f"No module named '{name}'" in run(fresh / "python", "-c", f"import {name}").stderr
    done = run(fresh / "immutable-operator", "run")
    assert "install both with: pip install 'immutable-operator[operator]'" in done.stderr


def test_kubectl_completes_with_the_program_of_the_wheel(fresh: Path) -> None:
    done = run(find_kubectl(), "__complete", "immutable", "unf", environment=on_path(fresh))
    assert done.stdout.splitlines()[0] == "unfreeze\tend a freeze"


def test_manifest_follows_the_rules_of_krew(files: Path, tools: Mapping[str, Path]) -> None:
    check = tools["validate-krew-manifest"]
    done = run(check, "-skip-install", "-manifest", files / "immutable.yaml")
    assert done.returncode == 0, done.stderr
    assert "structural validation OK" in done.stderr


@pytest.mark.parametrize(
    "args", [("version", "--client"), ("check", "--help"), ("verify", "--help")], ids=" ".join
)
def test_plugin_works_where_krew_installed_it(
    krew: Mapping[str, str], args: tuple[str, ...]
) -> None:
    done = run(find_kubectl(), "immutable", *args, environment=krew)
    assert (done.returncode, done.stderr) == (0, "")


def test_krew_plugin_completes_as_its_caveats_say(krew: Mapping[str, str]) -> None:
    kubectl = find_kubectl()
    bin_ = Path(krew["KREW_ROOT"]) / "bin"
    script = run(kubectl, "immutable", "completion", "kubectl", environment=krew).stdout
    program = bin_ / "kubectl_complete-immutable"
    program.write_text(script)
    program.chmod(0o755)
    environment = {**krew, **on_path(bin_, kubectl.parent)}
    done = run(kubectl, "__complete", "immutable", "unf", environment=environment)
    assert done.stdout.splitlines()[0] == "unfreeze\tend a freeze"
