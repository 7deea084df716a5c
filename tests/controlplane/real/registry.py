"""A registry of container images as a process: plain HTTP, with or without a password.

The data is in the folder of the bed. The client only supports pushing.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.controlplane.real.bed import Bed

__all__ = ["Content", "Registry", "RegistryError"]

START_SECONDS = 60.0
POLL_SECONDS = 0.05
USER = "tester"
PASSWORD = "let-me-pull"  # noqa: S105 - of a registry that lives as long as a test run
PASSWORD_FILE = f"{USER}:$2b$05$mh1NO/TsXSaYO7LUGtz7..xG1Mb4HHwsHVktCfoXAuONt0HnZ7nc6\n"


class RegistryError(RuntimeError):
    """The registry did not start or refused a request; the message contains its answer."""


@dataclass(frozen=True)
class Content:
    """Bytes in a registry, named by their digest: a layer, a configuration, a manifest."""

    media_type: str
    digest: str
    data: bytes

    def reference(self, **more: Any) -> dict[str, Any]:
        """The reference to it in a manifest."""
        size = len(self.data)
        return {"mediaType": self.media_type, "digest": self.digest, "size": size, **more}


@dataclass(frozen=True)
class Registry:
    """One registry; `start` and `stop` keep its content."""

    bed: Bed
    name: str
    port: int
    needs_password: bool = False

    @property
    def host(self) -> str:
        """``address:port`` as in image names, for nodes and this machine."""
        return f"{self.bed.block.host}:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        folder = self.bed.folder / self.name
        folder.mkdir(exist_ok=True)
        path = folder / "config.json"
        path.write_text(json.dumps(self._configuration(folder), indent=2))
        self.bed.spawn(self.name, ["docker-registry", "serve", str(path)], [self.port])
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.bed.is_running(self.name) or time.monotonic() > deadline:
                log = self.bed.folder / f"{self.name}.log"
                raise RegistryError(f"{self.name} did not start; see {log}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop it: every pull fails from now on."""
        self.bed.end(self.name)

    def pull_secret(self, name: str) -> dict[str, Any]:
        """The Secret with which a pod may pull from here (``imagePullSecrets``)."""
        entry = {"username": USER, "password": PASSWORD, "auth": _basic()}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": json.dumps({"auths": {self.host: entry}})},
        }

    def push(self, repository: str, tag: str, manifest: Content, *parts: Content) -> None:
        """Store a manifest under its digest and a tag, after the blobs that it refers to."""
        for part in parts:
            if self._request("HEAD", f"/v2/{repository}/blobs/{part.digest}")[0] == 200:
                continue
            status, headers, text = self._request("POST", f"/v2/{repository}/blobs/uploads/")
            if status != 202:
                raise RegistryError(f"{self.host} refuses an upload: {status} {text}")
            place = headers["Location"].removeprefix(f"http://{self.host}")
            place += ("&" if "?" in place else "?") + f"digest={part.digest}"
            self._put(place, part, "application/octet-stream")
        self._put(f"/v2/{repository}/manifests/{manifest.digest}", manifest, manifest.media_type)
        self._put(f"/v2/{repository}/manifests/{tag}", manifest, manifest.media_type)

    def _put(self, path: str, content: Content, media_type: str) -> None:
        status, _, text = self._request("PUT", path, content.data, media_type)
        if status != 201:
            raise RegistryError(f"{self.host} refuses {path}: {status} {text}")

    def _answers(self) -> bool:
        try:
            return self._request("GET", "/v2/")[0] == 200
        except OSError:
            return False

    def _request(
        self, method: str, path: str, body: bytes = b"", media_type: str = ""
    ) -> tuple[int, http.client.HTTPMessage, str]:
        connection = http.client.HTTPConnection(self.bed.block.host, self.port, timeout=30)
        headers = {"Content-Type": media_type} if media_type else {}
        if self.needs_password:
            headers["Authorization"] = f"Basic {_basic()}"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode(errors="replace")
        finally:
            connection.close()

    def _configuration(self, folder: Path) -> dict[str, Any]:
        configuration: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": self.host, "secret": self.name},
        }
        if self.needs_password:
            path = folder / "passwords"
            path.write_text(PASSWORD_FILE)
            configuration["auth"] = {"htpasswd": {"realm": "test bed", "path": str(path)}}
        return configuration


def _basic() -> str:
    return base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
