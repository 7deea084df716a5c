"""The builder and base images of the operator's image: Debian with Python.

Created once by debootstrap from the configured mirror of apt, as OCI layouts in the cache:
``python`` has python3 without installers; ``python-builder`` has venv and pip.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.build import cache_root
from tests.controlplane.real.confined import Task, run
from tests.controlplane.real.oci import Layout

__all__ = ["BaseImages", "find_base_images", "make_base_images"]

USUAL_SECONDS = 60
ENVIRONMENT = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
# What python3-venv brings: taken away again, it leaves the base.
INSTALLERS = (
    *("python3*-venv", "python3*-pip-whl", "python3*-setuptools-whl"),
    *("python3-distutils", "python3-lib2to3", "ca-certificates", "openssl"),
)
PURGE = """
packages=$(dpkg-query -W -f '${Package} ' "$@" 2>/dev/null || true)
exec dpkg --purge $packages
"""
# What this machine gave to it, and what no container reads.
LEFT_OUT = (
    *("./dev/*", "./proc/*", "./sys/*", "./run/*", "./tmp/*"),
    *("./etc/hostname", "./etc/resolv.conf", "./etc/machine-id"),
    *("./var/cache/*", "./var/lib/apt/lists/*", "./var/log/*"),
    *("./usr/share/doc/*", "./usr/share/locale/*", "./usr/share/man/*", "./usr/share/info/*"),
)
# Files keep their times, up to this one: Python's bytecode names the time of its source.
LATEST = "@1700000000"


@dataclass(frozen=True)
class BaseImages:
    """``base`` runs the operator; ``builder`` is the same with venv and pip."""

    base: Layout
    builder: Layout


def find_base_images() -> BaseImages | None:
    """Both images from the cache; None if they do not exist yet."""
    _, folder = _place()
    if not folder.exists():
        return None
    return BaseImages(Layout(folder / "python"), Layout(folder / "python-builder"))


def make_base_images(say: Callable[[str], None]) -> BaseImages:
    """Both images, which are created if they do not exist.

    The caller must make sure that only one process does this at a time.
    """
    found = find_base_images()
    if found is None:
        _make(*_place(), say)
        found = find_base_images()
    assert found is not None
    return found


def _place() -> tuple[str, Path]:
    """The Debian release of this machine, and the folder of its images."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    recipe = (release, platform.machine(), ENVIRONMENT, INSTALLERS, PURGE, LEFT_OUT, LATEST)
    name = f"{release}-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}"
    return release, cache_root() / "image" / "base" / name


def _make(release: str, folder: Path, say: Callable[[str], None]) -> None:
    """Build them in a temporary folder and then rename it, so that they are always complete."""
    mirror = _mirror(release)
    staging = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    # World-readable: it becomes the root folder of the images.
    root = staging / "root"
    root.mkdir(mode=0o755)
    task = Task("base image", USUAL_SECONDS, say)
    say(f"base image: Debian {release} with Python from {mirror} (about 1:00, once)")
    include = "--include=python3,python3-venv"
    command = ["debootstrap", "--variant=minbase", include, release, str(root), mirror]
    run(task, command, environment=_proxy())
    _pack(root, staging / "python-builder")
    purge = ["chroot", str(root), "sh", "-c", PURGE, "sh", *INSTALLERS]
    run(task, purge)
    _pack(root, staging / "python")
    shutil.rmtree(root)
    staging.rename(folder)


def _pack(root: Path, folder: Path) -> None:
    def write(archive: Path) -> None:
        command = [
            *("tar", "--create", "--file", str(archive), "--directory", str(root)),
            *("--sort=name", "--numeric-owner", "--clamp-mtime", f"--mtime={LATEST}"),
            *("--format=posix", "--pax-option=delete=atime,delete=ctime"),
            *(f"--exclude={pattern}" for pattern in LEFT_OUT),
        ]
        subprocess.run([*command, "."], check=True)

    Layout.of_one_layer(folder, write, "debootstrap", ENVIRONMENT)


def _mirror(release: str) -> str:
    """The mirror of Debian's main archive of this release, as configured for apt."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        uri, *rest = line.split()
        if rest == [release, "main"]:
            return uri
    raise RuntimeError(
        f"apt has no mirror of {release} main, which debootstrap needs;"
        " add one to /etc/apt/sources.list.d"
    )


def _proxy() -> dict[str, str]:
    """The proxy of apt for debootstrap, which reads only the environment."""
    command = ["apt-config", "shell", "proxy", "Acquire::http::Proxy"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    value = text.strip().removeprefix("proxy=").strip("'")
    return {"http_proxy": value} if value and value != "DIRECT" else {}
