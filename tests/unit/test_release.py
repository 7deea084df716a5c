"""The steps of a release that need neither a registry nor a network."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from release import artefacts, image
from release.changelog import notes
from release.packing import merge, pack, repack
from release.plugin import LAUNCHER, PLATFORMS, archive_name, manifest
from release.publish import Signer
from release.tree import ROOT, ReleaseError, check_version, version

WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"
DIGEST = f"sha256:{'1' * 64}"
SHELL = shutil.which("sh") or "/bin/sh"


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!{SHELL}\n{text}\n")
    path.chmod(0o755)
    return path


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_all_files_agree_on_the_version() -> None:
    assert check_version(f"v{version()}") == version()


def test_tag_of_another_version_is_refused() -> None:
    with pytest.raises(ReleaseError, match=r"the tag is 9\.9\.9; make them equal"):
        check_version("v9.9.9")


def test_notes_are_the_section_of_the_version() -> None:
    text = "# Changelog\n\n## 1.1.0 - soon\n\n- b\n\n## 1.0.0\n\n### Added\n- a\n"
    assert notes("1.0.0", text) == "### Added\n- a\n"
    assert notes(version()).startswith("### ")


@pytest.mark.parametrize("text", ["# Changelog\n", "## 1.0.0\n\n## 0.9.0\n- a\n"])
def test_release_without_notes_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError, match=r"1\.0\.0"):
        notes("1.0.0", text)


def test_archive_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    folder = write(tmp_path / "tree", run="x", lib__a="1")
    pack(folder, tmp_path / "first.tar.gz", ["run"])
    os.utime(folder / "run", (1, 1))
    (folder / "lib").chmod(0o700)
    pack(folder, tmp_path / "second.tar.gz", ["run"])
    first, second = ((tmp_path / f"{n}.tar.gz").read_bytes() for n in ("first", "second"))
    assert first == second
    with tarfile.open(tmp_path / "first.tar.gz") as made:
        modes = {member.name: member.mode for member in made.getmembers()}
    assert modes == {"lib/a": 0o644, "run": 0o755}


def test_repacked_archive_does_not_depend_on_its_time(tmp_path: Path) -> None:
    write(tmp_path / "chart", a="1", b="2")
    made = []
    for second in (1, 2):
        archive = tmp_path / f"{second}.tgz"
        os.utime(tmp_path / "chart" / "a", (second, second))
        with tarfile.open(archive, "w:gz") as file:
            file.add(tmp_path / "chart", "chart")
        repack(archive)
        made.append(archive.read_bytes())
    assert made[0] == made[1]


def test_compiled_modules_of_several_pythons_share_a_folder(tmp_path: Path) -> None:
    one = write(tmp_path / "1", **{"p__m.cpython-311.so": "a", "p__x.py": "x", "bin__tool": "1"})
    two = write(tmp_path / "2", **{"p__m.cpython-312.so": "b", "p__x.py": "x", "bin__tool": "2"})
    merge([one, two], tmp_path / "lib")
    found = {str(p.relative_to(tmp_path / "lib")) for p in (tmp_path / "lib").rglob("*.*")}
    assert found == {"p/m.cpython-311.so", "p/m.cpython-312.so", "p/x.py"}


def test_module_that_differs_between_pythons_is_refused(tmp_path: Path) -> None:
    folders = [write(tmp_path / name, **{"p__x.py": name}) for name in ("1", "2")]
    with pytest.raises(ReleaseError, match=r"p/x\.py differs"):
        merge(folders, tmp_path / "lib")


def test_krew_manifest_names_each_archive_by_its_digest(tmp_path: Path) -> None:
    for names in PLATFORMS:
        (tmp_path / archive_name(*names)).write_text(str(names))
    address = "https://example.com/o/r/releases/download/v1.2.3"
    document = yaml.safe_load(manifest("1.2.3", tmp_path, address, PLATFORMS))
    assert document["metadata"]["name"] == "immutable"
    spec = document["spec"]
    assert (spec["version"], spec["homepage"]) == ("v1.2.3", "https://example.com/o/r")
    # The limit of krew's index.
    assert len(spec["shortDescription"]) <= 60
    for entry, names in zip(spec["platforms"], PLATFORMS, strict=True):
        assert entry["selector"]["matchLabels"] == dict(zip(("os", "arch"), names, strict=True))
        assert entry["uri"] == f"{address}/{archive_name(*names)}"
        assert entry["sha256"] == hashlib.sha256(str(names).encode()).hexdigest()


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The launcher as krew installs it: behind a link, with the packages of this environment."""
    store = tmp_path / "store" / "v1"
    shutil.copytree(LAUNCHER, store, ignore=shutil.ignore_patterns("__pycache__"))
    [site] = (Path(sys.prefix) / "lib").glob("python*/site-packages")
    (store / "lib").mkdir()
    for path in site.iterdir():
        (store / "lib" / path.name).symlink_to(path)
    (store / "lib" / "immutable_operator").symlink_to(ROOT / "operator" / "immutable_operator")
    (tmp_path / "krew").mkdir()
    link = tmp_path / "krew" / "kubectl-immutable"
    link.symlink_to(Path("..") / "store" / "v1" / "kubectl-immutable")
    return link


def test_launcher_runs_the_plugin_behind_a_link(unpacked: Path) -> None:
    environment = os.environ | {"IMMUTABLE_PYTHON": sys.executable}
    done = subprocess.run(
        [unpacked, "version", "--client"], env=environment, text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"plug-in:    {version()}\n"


def test_launcher_without_a_python_says_what_is_needed(unpacked: Path, empty_path: Path) -> None:
    for name in ("readlink", "dirname"):
        (empty_path / name).symlink_to(shutil.which(name, path="/usr/bin:/bin") or name)
    done = subprocess.run([SHELL, str(unpacked)], text=True, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: kubectl immutable needs Python 3.11, 3.12, 3.13 or 3.14")


def test_image_is_built_with_the_first_program_that_works(empty_path: Path) -> None:
    program(empty_path / "docker", "echo 'is the docker daemon running?' >&2; exit 1")
    program(empty_path / "buildah", "exit 0")
    assert image.find_tool() == "buildah"
    with pytest.raises(ReleaseError, match="docker info failed: is the docker daemon running"):
        image.find_tool("docker")


@pytest.mark.usefixtures("empty_path")
def test_image_without_a_program_to_build_it_says_what_to_install() -> None:
    with pytest.raises(ReleaseError, match=r"docker is not on the PATH; .*apt install buildah"):
        image.find_tool()


def test_image_without_a_registry_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"make image REGISTRY=registry.example/team"):
        image.main([])


@pytest.mark.parametrize("tool", ["docker", "podman", "buildah"])
def test_image_is_pushed_and_the_helm_command_has_its_digest(
    tool: str, empty_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a program that answers as the real one does; the real buildah: tests/release."""
    answer = f"echo 1.0: digest: {DIGEST} size: 1"
    into_file = (
        f'while [ $# -gt 0 ]; do [ "$1" = --digestfile ] && echo {DIGEST} > "$2"; shift; done'
    )
    program(empty_path / tool, answer if tool == "docker" else into_file)
    image.main(["--registry=registry.example/team/", "--flags=--pull 'x y'"])
    told = capsys.readouterr().out
    assert f"+ {tool} build " in told
    assert "--pull 'x y'" in told
    assert told.endswith(
        "  --set image.repository=registry.example/team/immutable-operator \\\n"
        f"  --set image.digest={DIGEST}\n"
    )


@pytest.mark.usefixtures("empty_path")
def test_what_a_failed_build_said_is_shown(
    empty_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(empty_path / "podman", '[ "$1" = build ] && { echo no space; exit 3; }; exit 0')
    with pytest.raises(SystemExit, match=r"error: podman build failed \(3\); see above"):
        image.main(["--registry=r.example"])
    assert "no space" in capsys.readouterr().out


def test_only_digests_are_signed() -> None:
    with pytest.raises(ReleaseError, match=r"r\.example/x:1\.0 has no digest"):
        Signer("cosign").sign("r.example/x:1.0")


def test_builds_that_differ_are_named(tmp_path: Path) -> None:
    one = write(tmp_path / "1", same="a", other="a", first="a")
    two = write(tmp_path / "2", same="a", other="b")
    assert artefacts.compare(one, two) == ["first", "other"]


def test_release_is_not_built_over_another_one(tmp_path: Path) -> None:
    write(tmp_path, left="x")
    with pytest.raises(ReleaseError, match="is not empty"):
        artefacts.build(tmp_path, [], helm="helm", address="")


def test_workflow_uses_actions_by_commit_only() -> None:
    used = re.findall(r"uses: (\S+)", WORKFLOW.read_text())
    assert used
    assert [name for name in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name)] == []


def test_workflow_runs_steps_that_exist() -> None:
    text = WORKFLOW.read_text()
    makefile = (ROOT / "Makefile").read_text()
    made = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert made
    assert made <= set(re.findall(r"(?m)^([a-z-]+):", makefile))
    given = set(re.findall(r"\b([A-Z_]+)=\S", " ".join(re.findall(r"make .*", text))))
    assert given <= set(re.findall(r"(?m)^([A-Z_]+) \?=", makefile))


def test_workflow_is_a_workflow() -> None:
    document = yaml.safe_load(WORKFLOW.read_text())
    # YAML 1.1 reads "on" as true.
    assert document[True]["push"]["tags"] == ["v*"]
    assert document["permissions"] == {}
    for job in document["jobs"].values():
        assert "permissions" in job
