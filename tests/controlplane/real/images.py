"""The small images of the tests: generated here, pushed, and named by digest.

All contain the same static program (``go/web``), with different arguments. The digests are the same
on every machine: times are zero and layers are uncompressed tar.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.controlplane.real.registry import Content, Registry

__all__ = ["ARCHITECTURES", "Images", "this_architecture"]

ARCHITECTURES = ("amd64", "arm64")
# By repository and tag: how the program is started. Port 8080; / answers the version.
COMMANDS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("web", "v1"): ("/web", "serve", "-version=v1", "-drain=5s"),
    ("web", "v2"): ("/web", "serve", "-version=v2", "-drain=5s"),
    # Answers 5 % of the requests with an error.
    ("failing", "v3"): ("/web", "serve", "-version=v3", "-drain=5s", "-fail=20"),
    ("broken", "v1"): ("/web", "exit", "1"),
    ("never-ready", "v1"): ("/web", "serve", "-version=v1", "-ready=never"),
    ("slow-stop", "v1"): ("/web", "serve", "-version=v1", "-drain=20s"),
    ("pause", "v1"): ("/web", "pause"),
}
USER = "65532:65532"
OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class Image:
    """One image in every architecture: an index, and per architecture a manifest and blobs.

    ``foreign_index`` has all architectures except that of this machine.
    """

    index: Content
    foreign_index: Content
    manifests: Mapping[str, Content]
    blobs: Mapping[str, tuple[Content, ...]]


@dataclass(frozen=True)
class Images:
    """The images of the tests; digests are the same in every registry."""

    images: Mapping[tuple[str, str], Image]
    registry: Registry
    private: Registry

    @classmethod
    def build(cls, programs: Mapping[str, Path], registry: Registry, private: Registry) -> Images:
        """Generate all images, without pushing them."""
        # The program is a layer of its own, which all images share.
        layers = {
            name: _layer("web", programs[f"web-{name}"].read_bytes(), 0o755)
            for name in ARCHITECTURES
        }
        made = {key: _image(command, key[1], layers) for key, command in COMMANDS.items()}
        return cls(made, registry, private)

    def push(self) -> None:
        """Push all to the open registry, and ``web`` to the one with a password.

        ``web`` is pushed for every architecture with an index, the others only for this machine.
        """
        for (name, tag), image in self.images.items():
            if name != "web":
                here = this_architecture()
                self.registry.push(name, tag, image.manifests[here], *image.blobs[here])
                continue
            for registry in (self.registry, self.private):
                for architecture, manifest in image.manifests.items():
                    blobs = image.blobs[architecture]
                    registry.push(name, f"{tag}-{architecture}", manifest, *blobs)
                registry.push(name, f"{tag}-foreign", image.foreign_index)
                registry.push(name, tag, image.index)

    def digest(self, name: str, tag: str = "v1", *, private: bool = False) -> str:
        """An image for this machine, by the digest of its manifest: ``host/web@sha256:…``."""
        manifest = self.images[name, tag].manifests[this_architecture()]
        return self._named(name, manifest, private)

    def index(self, tag: str = "v1", *, private: bool = False) -> str:
        """The image ``web`` by the digest of its index of architectures."""
        return self._named("web", self.images["web", tag].index, private)

    def foreign(self, tag: str = "v1") -> str:
        """The image ``web`` by a manifest of another architecture: pulled, it cannot run."""
        other = next(name for name in ARCHITECTURES if name != this_architecture())
        return self._named("web", self.images["web", tag].manifests[other], private=False)

    def foreign_index(self, tag: str = "v1") -> str:
        """The image ``web`` by an index without this architecture: it cannot be pulled."""
        return self._named("web", self.images["web", tag].foreign_index, private=False)

    def tag(self, name: str, tag: str = "v1") -> str:
        """The image by its tag, which services must not use."""
        return f"{self.registry.host}/{name}:{tag}"

    def missing(self, name: str = "web") -> str:
        """A digest that no registry has."""
        return f"{self.registry.host}/{name}@{_digest(b'no such image')}"

    def _named(self, name: str, content: Content, private: bool) -> str:
        registry = self.private if private else self.registry
        return f"{registry.host}/{name}@{content.digest}"


def this_architecture() -> str:
    """The architecture of this machine, as Go names it."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _image(command: tuple[str, ...], version: str, programs: Mapping[str, Content]) -> Image:
    manifests: dict[str, Content] = {}
    blobs: dict[str, tuple[Content, ...]] = {}
    for architecture, program in programs.items():
        layers = (program, _layer("version", version.encode(), 0o644))
        configuration = _json(
            f"{OCI}.config.v1+json",
            {
                "architecture": architecture,
                "os": "linux",
                "config": {
                    "Entrypoint": list(command),
                    "User": USER,
                    "ExposedPorts": {"8080/tcp": {}},
                },
                "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            },
        )
        manifests[architecture] = _json(
            f"{OCI}.manifest.v1+json",
            {
                "schemaVersion": 2,
                "mediaType": f"{OCI}.manifest.v1+json",
                "config": configuration.reference(),
                "layers": [layer.reference() for layer in layers],
            },
        )
        blobs[architecture] = (configuration, *layers)
    foreign = {name: entry for name, entry in manifests.items() if name != this_architecture()}
    return Image(_index(manifests), _index(foreign), manifests, blobs)


def _index(manifests: Mapping[str, Content]) -> Content:
    media_type = f"{OCI}.index.v1+json"
    entries = [
        manifest.reference(platform={"os": "linux", "architecture": architecture})
        for architecture, manifest in manifests.items()
    ]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return _json(media_type, document)


def _layer(name: str, data: bytes, mode: int) -> Content:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), mode
        archive.addfile(entry, io.BytesIO(data))
    return _content(f"{OCI}.layer.v1.tar", buffer.getvalue())


def _json(media_type: str, document: dict[str, Any]) -> Content:
    return _content(media_type, json.dumps(document, sort_keys=True).encode())


def _content(media_type: str, data: bytes) -> Content:
    return Content(media_type, _digest(data), data)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
