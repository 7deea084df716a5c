"""Reads from a registry which digests belong to an image: by content and anonymously.

Everything is requested by digest and checked against it, so that a registry cannot lie. Images that
need credentials stay unknown: the operator has no permission to read the Secrets of others.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    import aiohttp

__all__ = [
    *("CHALLENGE", "DIGEST", "DOCKER_HUB", "INDEXES", "MANIFESTS"),
    *("Registries", "RegistryError", "Stored", "read_body"),
]

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
SECONDS_IN_ALL = 60.0
MOST_QUOTED = 300
DIGEST = re.compile("sha256:[0-9a-f]{64}")
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
DOCKER_HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


class RegistryError(Exception):
    """A registry did not give the requested answer; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Stored:
    """``registry/repository@digest``, split into its parts."""

    host: str
    repository: str
    digest: str

    @classmethod
    def of(cls, reference: str) -> Stored | None:
        """Return the parts; None if there is no registry or no sha256 digest in the reference."""
        name, _, digest = (
            reference.partition("://")[2].partition("@")
            if ("://" in reference)
            else reference.partition("@")
        )
        host, _, path = name.partition("/")
        last = path.rpartition("/")[2]
        repository = path[: len(path) - len(last)] + last.partition(":")[0]
        named = "." in host or ":" in host or host == "localhost"
        if not named or not repository or not DIGEST.fullmatch(digest):
            return None
        return cls(host, repository, digest)


class Registries:
    """Registries over HTTPS; those in ``plain`` (``host:port``) over HTTP."""

    def __init__(self, plain: frozenset[str] = frozenset()) -> None:
        self._plain = plain

    async def contents(self, image: Stored) -> tuple[frozenset[str], frozenset[str]]:
        """Return all digests of this image: of indexes and manifests, and of configurations.

        Raises `RegistryError`, and nothing else, whatever a registry returns or does.
        """
        # Imported with the first question: most commands of the plug-in ask no registry.
        import aiohttp

        try:
            async with asyncio.timeout(SECONDS_IN_ALL):
                return await self._contents(image)
        except RegistryError:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RegistryError(f"{image.host}: {error!r}"[:MOST_QUOTED]) from error
        except Exception as error:
            # Users may name any registry: a malformed response must not do harm here.
            raise RegistryError(
                f"{image.host}: the response is not a manifest: {error!r}"[:MOST_QUOTED]
            ) from error

    async def _contents(self, image: Stored) -> tuple[frozenset[str], frozenset[str]]:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            top = await self._manifest(session, image, image.digest)
            if top.get("mediaType") not in INDEXES and "manifests" not in top:
                return frozenset({image.digest}), frozenset({_config(top)})
            digests, configs = {image.digest}, set()
            for digest in _entries(top["manifests"]):
                digests.add(digest)
                configs.add(_config(await self._manifest(session, image, digest)))
            return frozenset(digests), frozenset(configs)

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
            raise RegistryError(f"{image.host} returned {status} for {image.repository}@{digest}")
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
            raise RegistryError(f"{image.host} returned other content for {digest}")
        decoded = msgspec.json.decode(body)
        if not isinstance(decoded, dict):
            raise RegistryError(f"{image.host}: {digest} is not a manifest")
        return decoded


async def _fetch(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]
) -> tuple[int, bytes, str]:
    async with session.get(url, headers=headers, allow_redirects=False) as answer:
        return answer.status, await read_body(answer), answer.headers.get("WWW-Authenticate", "")


async def _token(session: aiohttp.ClientSession, challenge: Mapping[str, str]) -> str:
    """Return an anonymous token from where the registry's challenge says."""
    realm = challenge.get("realm", "")
    if urlsplit(realm).scheme != "https":
        raise RegistryError(f"tokens are requested over https only, not from {realm!r}")
    query = {key: challenge[key] for key in ("service", "scope") if key in challenge}
    async with session.get(realm, params=query, allow_redirects=False) as answer:
        if answer.status != 200:
            raise RegistryError(f"no anonymous token from {realm}: {answer.status}")
        decoded = msgspec.json.decode(await read_body(answer))
        return str(decoded.get("token") or decoded.get("access_token"))


async def read_body(answer: aiohttp.ClientResponse) -> bytes:
    """Return the whole body: one read returns only what has arrived so far."""
    body = b""
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise RegistryError(f"{answer.url.host}: more than {MOST_BYTES} bytes")
    return body


def _entries(manifests: Any) -> list[str]:
    """Return the digests of an index's images. Raises `RegistryError` unless all can be known.

    Otherwise one of its images would be considered a different image.
    """
    if not isinstance(manifests, list) or len(manifests) > MOST_PLATFORMS:
        raise RegistryError(f"the index is not a list of at most {MOST_PLATFORMS} images")
    found = []
    for entry in manifests:
        if entry is None:
            continue  # not an image
        if (entry.get("platform") or {}).get("os") == "unknown":
            continue  # an attestation
        if not DIGEST.fullmatch(entry["digest"]):
            raise RegistryError(f"the index has an invalid digest {entry['digest'][:80]!r}")
        found.append(entry["digest"])
    return found


def _config(manifest: Mapping[str, Any]) -> str:
    return str(manifest["config"]["digest"])
