"""The archives of the kubectl plug-in, one a platform, and krew's manifest of them.

An archive has a launcher and the packages of requirements-cli.txt, by their hashes, for each of
`PYTHONS`: it runs with the Python that the machine has, and installs nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from release.packing import digest, merge, pack
from release.tree import ROOT, ReleaseError

__all__ = ["PLATFORMS", "Platform", "archive_name", "build_archives", "manifest"]

# The operating system and the architecture, as krew names them.
Platform = tuple[str, str]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# With their names for uv. Windows has no shell for the launcher.
PLATFORMS: Mapping[Platform, str] = {
    ("linux", "amd64"): "x86_64-manylinux_2_28",
    ("linux", "arm64"): "aarch64-manylinux_2_28",
    ("darwin", "amd64"): "x86_64-apple-darwin",
    ("darwin", "arm64"): "aarch64-apple-darwin",
}
LAUNCHER = Path(__file__).parent / "launcher"
PROGRAM = "kubectl-immutable"
SHORT = "Operate services whose pods are replaced, never patched"
DESCRIPTION = """\
Shows, explains and controls the rollouts of ImmutableServices: get, why, lineage,
history, diff, undo, retry, regenerate, freeze; verify tries whether the cluster
prevents changes of running pods.

The cluster needs immutable-operator for most commands.
"""
CAVEATS = """\
This plug-in needs Python 3.11, 3.12, 3.13 or 3.14 on the PATH (on Linux: with glibc).
To complete its commands in your shell, beside kubectl's own completion:
  kubectl immutable completion kubectl > "${KREW_ROOT:-$HOME/.krew}/bin/kubectl_complete-immutable"
  chmod +x "${KREW_ROOT:-$HOME/.krew}/bin/kubectl_complete-immutable"
"""


def archive_name(os: str, arch: str) -> str:
    return f"{PROGRAM}_{os}_{arch}.tar.gz"


def build_archives(wheel: Path, into: Path, platforms: Iterable[Platform]) -> None:
    """Write the archive of each platform. Raises `ReleaseError`."""
    for platform in platforms:
        _build(wheel, PLATFORMS[platform], into / archive_name(*platform))


def _build(wheel: Path, platform: str, archive: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        installed = [_install(wheel, platform, p, Path(folder) / p) for p in PYTHONS]
        merge(installed, tree / "lib")
        for path in (*LAUNCHER.iterdir(), ROOT / "LICENSE"):
            if path.is_file():
                (tree / path.name).write_bytes(path.read_bytes())
        pack(tree, archive, [PROGRAM])


def _install(wheel: Path, platform: str, python: str, target: Path) -> Path:
    """Unpack the plug-in and what it needs for one Python; nothing of it is run."""
    install = [
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"),
        *("--python-version", python, "--python-platform", platform, "--target", str(target)),
    ]
    locked = (
        "--only-binary",
        ":all:",
        "--require-hashes",
        "-r",
        str(ROOT / "requirements-cli.txt"),
    )
    for what in (locked, (str(wheel),)):
        done = subprocess.run([*install, *what], capture_output=True, text=True)
        if done.returncode:
            raise ReleaseError(f"{platform}, Python {python}: uv failed: {done.stderr.strip()}")
    return target


def manifest(version: str, folder: Path, address: str, platforms: Iterable[Platform]) -> str:
    """Return krew's manifest of the archives in a folder.

    ``address`` is the URL below which they will be downloaded.
    """
    entries: list[dict[str, Any]] = [
        {
            "selector": {"matchLabels": {"os": os, "arch": arch}},
            "uri": f"{address.rstrip('/')}/{archive_name(os, arch)}",
            "sha256": digest(folder / archive_name(os, arch)),
            "bin": PROGRAM,
        }
        for os, arch in platforms
    ]
    document = {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "immutable"},
        "spec": {
            "version": f"v{version}",
            "homepage": address.partition("/releases/")[0],
            "shortDescription": SHORT,
            "description": DESCRIPTION,
            "caveats": CAVEATS,
            "platforms": entries,
        },
    }
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=200))


class _Dumper(yaml.SafeDumper):
    """Writes several lines as people do."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Dumper.add_representer(str, _Dumper.represent_str)
