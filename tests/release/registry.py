"""A registry on this machine, without a password."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

__all__ = ["LocalRegistry"]

ACCEPTED = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class LocalRegistry:
    """Its port; programs take an address of this machine for one without TLS."""

    port: int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answers(self) -> bool:
        try:
            return bool(self._get("/v2/"))
        except OSError:
            return False

    def manifest(self, repository: str, reference: str) -> dict[str, Any]:
        """The manifest of an image, by tag or digest. Raises OSError if it is not there."""
        found: dict[str, Any] = json.loads(self._get(f"/v2/{repository}/manifests/{reference}"))
        return found

    def _get(self, path: str) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"http://{self.host}{path}", headers={"Accept": ACCEPTED})
        with opener.open(request, timeout=10) as answer:
            return bytes(answer.read())
