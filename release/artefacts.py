"""The files of a release, from the work tree alone: the same tree makes the same bytes.

| file | what it is |
|---|---|
| immutable_operator-*.whl | the Python package: the plug-in, and the operator with its extra |
| kubectl-immutable_<os>_<arch>.tar.gz, immutable.yaml | the plug-in for krew, and its manifest |
| immutable-operator-*.tgz | the chart |
| sbom.cdx.json | the Python packages in the image (CycloneDX) |
| notes.md | the section of CHANGELOG.md |
| SHA256SUMS | the digests of all of them |
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from release.changelog import notes
from release.packing import digest, repack
from release.plugin import Platform, build_archives, manifest
from release.tree import EPOCH, ROOT, ReleaseError, check_version, copy_package

__all__ = ["SUMS", "build", "chart_file", "compare"]

SUMS = "SHA256SUMS"
CHART = ROOT / "charts" / "immutable-operator"
ENVIRONMENT = {"SOURCE_DATE_EPOCH": str(EPOCH), "PYTHONHASHSEED": "0"}


def build(
    into: Path, platforms: Sequence[Platform], *, helm: str, address: str, tag: str = ""
) -> None:
    """Build all files into a new folder, the plug-in for some of `PLATFORMS`.

    ``helm`` is the program, ``address`` the URL below which the files will be downloaded, ``tag``
    the tag to check. Raises `ReleaseError`.
    """
    version = check_version(tag)
    into.mkdir(parents=True, exist_ok=True)
    if any(into.iterdir()):
        raise ReleaseError(f"{into} is not empty; remove it, or name another folder with --into")
    (into / "notes.md").write_text(notes(version), encoding="utf-8")
    _chart(helm, into)
    _bill_of_materials(into / "sbom.cdx.json")
    wheel = _wheel(into)
    build_archives(wheel, into, platforms)
    text = manifest(version, into, address, platforms)
    (into / "immutable.yaml").write_text(text, encoding="utf-8")
    names = sorted(path.name for path in into.iterdir())
    sums = "".join(f"{digest(into / name)}  {name}\n" for name in names)
    (into / SUMS).write_text(sums, encoding="utf-8")


def _run(command: Sequence[str], environment: Mapping[str, str] = ENVIRONMENT) -> None:
    try:
        done = subprocess.run(
            command,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise ReleaseError(f"{command[0] or 'the program'} cannot be run: {error}") from error
    if done.returncode:
        raise ReleaseError(
            f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout.strip()}"
        )


def _wheel(into: Path) -> Path:
    # A copy, because setuptools packs what an earlier build left in the work tree.
    with tempfile.TemporaryDirectory() as folder:
        copy_package(Path(folder))
        _run(
            [
                *(sys.executable, "-m", "uv", "build", "--quiet", "--wheel"),
                *("--no-build-isolation", "--python", sys.executable),
                *("--out-dir", str(into), folder),
            ]
        )
    (into / ".gitignore").unlink(missing_ok=True)
    [wheel] = into.glob("*.whl")
    return wheel


def _chart(helm: str, into: Path) -> None:
    _run([helm, "package", str(CHART), "--destination", str(into)])
    # helm writes the time at which it packs.
    repack(chart_file(into))


def chart_file(folder: Path) -> Path:
    """The chart among the files of a release."""
    [chart] = folder.glob("immutable-operator-*.tgz")
    return chart


def _bill_of_materials(path: Path) -> None:
    _run(
        [
            *(sys.executable, "-m", "cyclonedx_py", "requirements", str(ROOT / "requirements.txt")),
            *(
                "--pyproject",
                str(ROOT / "pyproject.toml"),
                "--short-PURLs",
                "--output-reproducible",
            ),
            *("--output-file", str(path)),
        ]
    )


def compare(first: Path, second: Path) -> list[str]:
    """The names of the files that differ between two builds, or are in one of them only."""
    names = {path.name for folder in (first, second) for path in folder.iterdir()}
    return sorted(name for name in names if not _equal(first / name, second / name))


def _equal(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and digest(one) == digest(other)
