"""Asking a registry what an image is made of: by content, anonymously, and nothing else.

Everything is asked for by digest and checked against it, so that no registry can lie. What
it takes credentials to read stays unknown: the operator has no right to read anybody's Secrets.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

__all__ = ["Registries", "RegistryError", "Stored"]

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
MOST_BYTES = 4 * 2**20
MOST_PLATFORMS = 64
SECONDS = 10.0
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
DOCKER_HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


class RegistryError(Exception):
    """A registry did not say what was asked; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Stored:
    """``registry/repository@digest``, taken apart."""

    host: str
    repository: str
    digest: str

    @classmethod
    def of(cls, reference: str) -> Stored | None:
        """None where it names no registry or no sha256 digest."""
        name, _, digest = (
            reference.partition("://")[2].partition("@")
            if ("://" in reference)
            else reference.partition("@")
        )
        host, _, path = name.partition("/")
        last = path.rpartition("/")[2]
        repository = path[: len(path) - len(last)] + last.partition(":")[0]
        named = "." in host or ":" in host or host == "localhost"
        if not named or not repository or not re.fullmatch("sha256:[0-9a-f]{64}", digest):
            return None
        return cls(host, repository, digest)


class Registries:
    """Registries over HTTPS; those in ``plain`` (``host:port``) over HTTP."""

    def __init__(self, plain: frozenset[str] = frozenset()) -> None:
        self._plain = plain

    async def contents(self, image: Stored) -> tuple[frozenset[str], frozenset[str]]:
        """All digests that are this image: of indexes and manifests, and of configurations.

        Raises `RegistryError`.
        """
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
                top = await self._manifest(session, image, image.digest)
                if top.get("mediaType") not in INDEXES and "manifests" not in top:
                    return frozenset({image.digest}), frozenset({_config(top)})
                digests, configs = {image.digest}, set()
                for entry in top["manifests"][:MOST_PLATFORMS]:
                    if (entry.get("platform") or {}).get("os") == "unknown":
                        continue  # an attestation
                    digests.add(str(entry["digest"]))
                    found = await self._manifest(session, image, str(entry["digest"]))
                    configs.add(_config(found))
                return frozenset(digests), frozenset(configs)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RegistryError(f"{image.host}: {error!r}") from error
        except (KeyError, TypeError, ValueError, msgspec.DecodeError) as error:
            raise RegistryError(f"{image.host}: no manifest: {error!r}") from error

    async def _manifest(
        self, session: aiohttp.ClientSession, image: Stored, digest: str
    ) -> dict[str, Any]:
        scheme = "http" if image.host in self._plain else "https"
        host = DOCKER_HUB.get(image.host, image.host)
        url = f"{scheme}://{host}/v2/{image.repository}/manifests/{digest}"
        headers = {"Accept": ", ".join((*INDEXES, *MANIFESTS))}
        status, body, challenge = await _fetch(session, url, headers)
        if status == 401 and challenge.startswith("Bearer "):
            token = await _token(session, dict(CHALLENGE.findall(challenge)))
            status, body, _ = await _fetch(
                session, url, headers | {"Authorization": f"Bearer {token}"}
            )
        if status != 200:
            raise RegistryError(f"{image.host} answered {status} to {image.repository}@{digest}")
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
            raise RegistryError(f"{image.host} gave other content for {digest}")
        decoded: dict[str, Any] = msgspec.json.decode(body)
        return decoded


async def _fetch(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]
) -> tuple[int, bytes, str]:
    async with session.get(url, headers=headers, allow_redirects=False) as answer:
        body = await answer.content.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise RegistryError(f"{url}: more than {MOST_BYTES} bytes")
        return answer.status, body, answer.headers.get("WWW-Authenticate", "")


async def _token(session: aiohttp.ClientSession, challenge: Mapping[str, str]) -> str:
    """An anonymous token, as the registry's challenge says where to get it."""
    realm = challenge.get("realm", "")
    if urlsplit(realm).scheme != "https":
        raise RegistryError(f"tokens are asked for over https only, not at {realm!r}")
    query = {key: challenge[key] for key in ("service", "scope") if key in challenge}
    async with session.get(realm, params=query, allow_redirects=False) as answer:
        if answer.status != 200:
            raise RegistryError(f"no anonymous token at {realm}: {answer.status}")
        decoded = msgspec.json.decode(await answer.content.read(MOST_BYTES))
        return str(decoded.get("token") or decoded.get("access_token"))


def _config(manifest: Mapping[str, Any]) -> str:
    return str(manifest["config"]["digest"])
