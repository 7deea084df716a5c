"""The work tree that is released: its version, and a copy of the files of the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

__all__ = ["EPOCH", "ROOT", "ReleaseError", "check_version", "copy_package", "revision", "version"]

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "immutable-operator" / "Chart.yaml"
# The time of all files of a release, in seconds: zip files know no time before 1980.
EPOCH = 315532800


class ReleaseError(Exception):
    """The release cannot be built or published; the message says why and what to do."""


def version() -> str:
    """The version of the work tree, without a v."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def check_version(tag: str = "") -> str:
    """Return the version if all files, and the tag ``v<version>`` if given, agree on it.

    Raises `ReleaseError`.
    """
    wanted = version()
    chart = CHART.read_text(encoding="utf-8")
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    found = {
        "version in Chart.yaml": re.findall(r"(?m)^version: (\S+)$", chart),
        "appVersion in Chart.yaml": re.findall(r'(?m)^appVersion: "?([^"\s]+)"?$', chart),
        "VERSION in the Dockerfile": re.findall(r"(?m)^ARG VERSION=(\S+)$", docker),
        **({"the tag": [tag.removeprefix("v")]} if tag else {}),
    }
    other = [
        f"{what} is {', '.join(is_) or 'missing'}" for what, is_ in found.items() if is_ != [wanted]
    ]
    if other:
        raise ReleaseError(
            f"pyproject.toml says version {wanted}, but {'; '.join(other)}; make them equal"
        )
    return wanted


def revision() -> str:
    """The commit of the work tree, "unknown" outside of git."""
    asked = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def copy_package(folder: Path) -> None:
    """Copy what the wheel is built from, without the remains of earlier builds."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "operator", folder / "operator", ignore=ignored)
