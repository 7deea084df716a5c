"""The operator's own image, built from the project's Dockerfile and this work tree.

``build(say)`` returns it from the cache if its sources have not changed;
``build(say).push(registry)`` returns its name by digest for the chart.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from tests.controlplane.build import cache_root
from tests.controlplane.real.base_image import BaseImages, find_base_images, make_base_images
from tests.controlplane.real.buildah import Buildah
from tests.controlplane.real.confined import ConfinedError
from tests.controlplane.real.oci import Layout
from tests.controlplane.real.registry import Registry

__all__ = [
    "REPOSITORY",
    "ImageError",
    "OperatorImage",
    "build",
    "copy_sources",
    "missing",
    "try_build",
]

PROJECT = Path(__file__).parents[3]
PACKAGES = Path(__file__).with_name("packages.sh")
TOOLS = ("buildah", "debootstrap", "unshare", "setpriv", "tar")
REPOSITORY = "immutable-operator"
# All that the Dockerfile copies, and itself.
SOURCES = ("Dockerfile", ".dockerignore", "requirements.txt", "pyproject.toml", "README.md")
PACKAGE = Path("operator") / "immutable_operator"
KEPT = 8


class ImageError(RuntimeError):
    """The image could not be built; the message contains the end of the build output."""


@dataclass(frozen=True)
class OperatorImage:
    """The image, and the base image of its first layer."""

    layout: Layout
    base: Layout

    @property
    def digest(self) -> str:
        """``sha256:…``, the chart's ``image.digest``."""
        return self.layout.digest

    def push(self, registry: Registry) -> str:
        """Push it; returns ``host/immutable-operator``, the chart's ``image.repository``."""
        return self.layout.push(registry, REPOSITORY, "latest").partition("@")[0]


def missing() -> str | None:
    """None if the image can be built; otherwise what is missing and what to do about it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "building the operator's image needs Linux and root"
    tools = [name for name in TOOLS if shutil.which(name) is None]
    return f"the operator's image needs {', '.join(tools)}; run {PACKAGES}" if tools else None


def build(say: Callable[[str], None] = print, *, revision: str = "unknown") -> OperatorImage:
    """The image of this work tree; ``revision`` is a label that changes its digest.

    Takes about 2 minutes the first time, 15 seconds if only the operator has changed, and no time
    if nothing has. Raises `ImageError` if it cannot be built.
    """
    with tempfile.TemporaryDirectory() as copy:
        # What is hashed is what is built, whoever edits the work tree meanwhile.
        context = Path(copy)
        copy_sources(context)
        image = _find(context, revision)
        if image is None:
            with _alone(say) as bases:
                # Another process may have built it while this one waited.
                image = _find(context, revision)
                image = image or _build_once(context, bases, revision, say)
        os.utime(image.layout.folder)
        return image


def try_build(
    context: Path,
    folder: Path,
    *,
    arguments: Mapping[str, str] | None = None,
    cached: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> OperatorImage:
    """Build any folder with a Dockerfile, into ``folder``.

    ``arguments`` replace the build arguments of `build`; empty ones are left out.
    """
    with _alone(say) as bases:
        layout = _build(context, folder, bases, arguments or {}, say, cached)
        return OperatorImage(layout, bases.base)


def copy_sources(folder: Path) -> None:
    """Copy the sources of the image."""
    for name in SOURCES:
        shutil.copy(PROJECT / name, folder)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / PACKAGE, folder / PACKAGE, ignore=ignore)


def _find(context: Path, revision: str) -> OperatorImage | None:
    bases = find_base_images()
    if bases is None:
        return None
    layout = Layout(_folder(context, bases, revision))
    return OperatorImage(layout, bases.base) if layout.folder.exists() else None


def _build_once(
    context: Path, bases: BaseImages, revision: str, say: Callable[[str], None]
) -> OperatorImage:
    """Build it in a temporary folder and then rename it, so that it is always complete."""
    say("operator image: building (about 1:00; less if only the operator changed)")
    folder = _folder(context, bases, revision)
    _forget_old(folder.parent)
    staging = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    _build(context, staging, bases, {"REVISION": revision}, say)
    staging.rename(folder)
    return OperatorImage(Layout(folder), bases.base)


def _build(
    context: Path,
    folder: Path,
    bases: BaseImages,
    arguments: Mapping[str, str],
    say: Callable[[str], None],
    cached: bool = True,
) -> Layout:
    buildah = Buildah(cache_root() / "image" / "buildah", say)
    buildah.prepare()
    own = {"BASE": buildah.load(bases.base), "BUILDER": buildah.load(bases.builder)}
    given = {key: value for key, value in {**own, **arguments}.items() if value}
    image = buildah.build(context, given, title="operator image", cached=cached)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return buildah.save(image, folder)


@contextmanager
def _alone(say: Callable[[str], None]) -> Iterator[BaseImages]:
    """Only one process builds images at a time; others wait for it."""
    missed = missing()
    if missed is not None:
        raise ImageError(missed)
    folder = cache_root() / "image"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        try:
            flock(handle, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            say("operator image: waiting for another process that builds images")
            flock(handle, LOCK_EX)
        try:
            yield make_base_images(say)
        except ConfinedError as error:
            raise ImageError(str(error)) from error


def _folder(context: Path, bases: BaseImages, revision: str) -> Path:
    """The folder of the image of these sources."""
    digest = hashlib.sha256(f"{bases.base.digest}{bases.builder.digest}{revision}".encode())
    for path in sorted(path for path in context.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(context)}\0".encode() + path.read_bytes())
    return cache_root() / "image" / "operator" / digest.hexdigest()[:12]


def _forget_old(folder: Path) -> None:
    """Delete all but the newest built images."""
    builds = sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in builds[KEPT - 1 :]:
        shutil.rmtree(path)
