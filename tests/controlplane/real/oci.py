"""Images on disk, as OCI layouts: creates one from a tar file; reads and pushes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.controlplane.real.images import this_architecture
from tests.controlplane.real.registry import Content, Registry

__all__ = ["Layout"]

OCI = "application/vnd.oci.image"
EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Layout:
    """A folder with one image: manifest, configuration, layers, each named by its digest."""

    folder: Path

    @classmethod
    def of_one_layer(
        cls, folder: Path, write: Callable[[Path], None], made_by: str, config: dict[str, Any]
    ) -> Layout:
        """An image whose only layer is the tar file that ``write`` puts at a given path."""
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        archive = folder / "layer.tar"
        write(archive)
        with archive.open("rb") as file:
            layer = hashlib.file_digest(file, "sha256").hexdigest()
        size = archive.stat().st_size
        archive.rename(blobs / layer)

        def put(document: dict[str, Any]) -> dict[str, Any]:
            data = json.dumps(document, sort_keys=True).encode()
            name = hashlib.sha256(data).hexdigest()
            (blobs / name).write_bytes(data)
            return {"digest": f"sha256:{name}", "size": len(data)}

        configuration = put(
            {
                "architecture": this_architecture(),
                "os": "linux",
                "config": config,
                # Builders refuse an image with more layers than its history tells of.
                "history": [{"created": EPOCH, "created_by": made_by}],
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
            }
        )
        manifest = put(
            {
                "schemaVersion": 2,
                "mediaType": f"{OCI}.manifest.v1+json",
                "config": {"mediaType": f"{OCI}.config.v1+json", **configuration},
                "layers": [
                    {
                        "mediaType": f"{OCI}.layer.v1.tar",
                        "digest": f"sha256:{layer}",
                        "size": size,
                    }
                ],
            }
        )
        index = {"mediaType": f"{OCI}.manifest.v1+json", **manifest}
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return cls(folder)

    @cached_property
    def digest(self) -> str:
        """``sha256:…`` of the manifest, by which the image is pinned."""
        [entry] = json.loads((self.folder / "index.json").read_text())["manifests"]
        return str(entry["digest"])

    @cached_property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads(self.blob(self.digest).read_bytes())
        return manifest

    @cached_property
    def configuration(self) -> dict[str, Any]:
        path = self.blob(self.manifest["config"]["digest"])
        configuration: dict[str, Any] = json.loads(path.read_bytes())
        return configuration

    @property
    def id(self) -> str:
        """``sha256:…`` of the configuration, under which a local builder knows the image."""
        return str(self.manifest["config"]["digest"])

    @property
    def layers(self) -> list[Path]:
        """The layers' files, the lowest first; tar, compressed or not."""
        return [self.blob(layer["digest"]) for layer in self.manifest["layers"]]

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def push(self, registry: Registry, repository: str, tag: str) -> str:
        """Push it and return its name by digest: ``host/repository@sha256:…``."""
        entries = [self.manifest["config"], *self.manifest["layers"]]
        parts = [
            Content(entry["mediaType"], entry["digest"], self.blob(entry["digest"]).read_bytes())
            for entry in entries
        ]
        data = self.blob(self.digest).read_bytes()
        manifest = Content(f"{OCI}.manifest.v1+json", self.digest, data)
        registry.push(repository, tag, manifest, *parts)
        return f"{registry.host}/{repository}@{self.digest}"
