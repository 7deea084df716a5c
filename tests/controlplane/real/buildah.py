"""buildah with a separate storage in the cache: the images of the machine are not changed.

pip in a build gets the settings of the machine (index, proxy, certificates) as mounts, which exist
only during a RUN and are not part of the image.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.real.confined import Task, run
from tests.controlplane.real.oci import Layout

__all__ = ["Buildah", "pip_mounts"]

# Zip files know no time before 1980.
TIMESTAMP = "315532800"
# The Dockerfile's last step writes it.
LABEL = "org.opencontainers.image.title"
# Every source change adds some; looking for a cached step reads all.
MOST_IMAGES = 200
# It keeps a note of what it has pushed where; and nothing else reads it.
SCRIPT = 'mkdir -p /var/lib/containers; mount --bind "$1" /var/lib/containers; shift; exec "$@"'
PIP_SETTINGS = (
    *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy"),
    *("cert", "client-cert", "timeout", "default-timeout", "retries"),
)


@dataclass(frozen=True)
class Buildah:
    """Builds images; ``folder`` is its storage, which only one process may use at a time."""

    folder: Path
    say: Callable[[str], None] = lambda text: None

    def prepare(self) -> None:
        """Remove the remains of killed builds and the built images; remove all data if it is large.

        buildah compares steps before it inserts arguments: otherwise the next image would get the
        labels of an earlier one.
        """
        if not self.folder.exists():
            return
        self._run("buildah", 1, "rm", "--all")
        built = self._run("buildah", 1, "images", "--all", "--quiet", "--filter", f"label={LABEL}")
        if built:
            self._run("buildah", 1, "rmi", *built)
        if len(self._run("buildah", 1, "images", "--all", "--quiet")) > MOST_IMAGES:
            shutil.rmtree(self.folder)

    def load(self, layout: Layout) -> str:
        """Import an image and return its id, ``sha256:…``."""
        known = self._run("buildah", 1, "images", "--all", "--quiet", "--no-trunc")
        if layout.id not in known:
            # By a relative path: the path becomes its name, which is written into what is
            # built from it and must not differ from machine to machine.
            name = layout.folder.name
            self._run("base image", 3, "pull", "--quiet", f"oci:{name}", cwd=layout.folder.parent)
        return layout.id

    def build(
        self, context: Path, arguments: Mapping[str, str], *, title: str, cached: bool = True
    ) -> str:
        """Build ``Dockerfile`` of a folder and return the image's id."""
        with pip_mounts() as mounts:
            lines = self._run(
                title,
                60,
                *("bud", "--layers", "--pull-never", "--network", "host"),
                *("--timestamp", TIMESTAMP, "--file", str(context / "Dockerfile")),
                *(() if cached else ("--no-cache",)),
                *(f"--build-arg={key}={value}" for key, value in arguments.items()),
                *(f"--volume={source}:{target}:ro" for target, source in mounts.items()),
                str(context),
            )
        return lines[-1]

    def save(self, image: str, folder: Path) -> Layout:
        """Write an image to a folder as an OCI layout."""
        self._run("operator image: packing", 10, "push", "--quiet", image, f"oci:{folder}")
        return Layout(folder)

    def _run(self, title: str, seconds: int, *arguments: str, cwd: Path | None = None) -> list[str]:
        return self.run_program(Task(title, seconds, self.say), ["buildah", *arguments], cwd)

    def run_program(self, task: Task, command: Sequence[str], cwd: Path | None = None) -> list[str]:
        """Run buildah, or a program that runs it, with this storage; return the lines of its
        output."""
        notes, temporary = self.folder / "notes", self.folder / "tmp"
        for folder in (notes, temporary):
            folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "containers.conf"
        configuration.write_text(f'[network]\nnetwork_config_dir = "{self.folder / "cni"}"\n')
        storage = self.folder / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.folder / "storage"}"\n'
            f'runroot = "{self.folder / "run"}"\n'
        )
        lines = run(
            task,
            ["sh", "-ec", SCRIPT, "sh", str(notes), *command],
            folder=cwd,
            environment={
                "BUILDAH_ISOLATION": "chroot",
                "CONTAINERS_CONF": str(configuration),
                "CONTAINERS_STORAGE_CONF": str(storage),
                "TMPDIR": str(temporary),
            },
        )
        return [line for line in lines if line]


@contextmanager
def pip_mounts() -> Iterator[dict[str, Path]]:
    """The mounts with which pip finds packages as it does on this machine."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    settings: dict[str, str] = {}
    # The environment comes before files, as with pip itself.
    for line in sorted(listing.splitlines(), key=lambda text: text.startswith(":env:")):
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in ("global", "install", ":env:") and name in PIP_SETTINGS:
            settings[name] = ast.literal_eval(value)
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle:
        settings.setdefault("cert", bundle)
    words = (Path(word) for value in settings.values() for word in value.split())
    mounts = {str(path): path for path in words if path.is_absolute() and path.exists()}
    # Not world-readable: an index may be named with a password.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pip.conf"
        lines = [f"{name} = {' '.join(value.split())}\n" for name, value in settings.items()]
        path.write_text("[global]\n" + "".join(lines))
        yield {**mounts, "/etc/pip.conf": path}
