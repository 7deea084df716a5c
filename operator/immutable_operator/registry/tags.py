"""Asks a registry which digest a tag has, with the credentials of a person."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from immutable_operator.registry.client import (
    CHALLENGE,
    DIGEST,
    DOCKER_HUB,
    INDEXES,
    MANIFESTS,
    RegistryError,
    read_body,
)

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Credentials", "Tagged", "Tags"]

DEFAULT_HOST, DEFAULT_TAG = "docker.io", "latest"
OFFICIAL = "library/"
SECONDS = 30.0
AT_ONCE = 8
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
ACCEPT = {"Accept": ", ".join((*INDEXES, *MANIFESTS))}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password for a registry; or a token that replaces both."""

    user: str = ""
    password: str = ""
    identity_token: str = ""

    @property
    def basic(self) -> str:
        """The value of the header Authorization."""
        text = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return f"Basic {text}"


@dataclass(frozen=True, slots=True)
class Tagged:
    """``registry/repository:tag``, complete as Docker and containerd complete it.

    ``prefix`` is what is missing in front of the written reference.
    """

    host: str
    repository: str
    tag: str
    prefix: str = ""

    @classmethod
    def of(cls, reference: str) -> Tagged | None:
        """Return the parts of a reference without a digest; None if it is not valid."""
        first, slash, rest = reference.partition("/")
        named = bool(slash) and ("." in first or ":" in first or first == "localhost")
        host, path = (first, rest) if named else (DEFAULT_HOST, reference)
        name, _, tag = path.partition(":")
        prefix = "" if named else f"{DEFAULT_HOST}/"
        if host in DOCKER_HUB and "/" not in name:
            # A runtime reads docker.io/nginx as docker.io/library/nginx, so it may stay as it is.
            prefix, name = ("" if named else prefix + OFFICIAL), OFFICIAL + name
        if not REPOSITORY.fullmatch(name) or (":" in path and not TAG.fullmatch(tag)):
            return None
        return cls(host, name, tag or DEFAULT_TAG, prefix)


class Tags:
    """Registries over HTTPS; those in ``plain`` (``host:port``) over HTTP.

    ``credentials`` gives those for a host, and None if there are none.
    """

    def __init__(
        self,
        credentials: Callable[[str], Credentials | None],
        plain: frozenset[str] = frozenset(),
    ) -> None:
        self._credentials = credentials
        self._plain = plain
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def digest(self, image: Tagged) -> str:
        """Return the digest that the tag has now. Raises `RegistryError`, and nothing else."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with (
                self._turn,
                aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            ):
                return await _Asked(session, image, self._credentials, self._plain).digest()
        except RegistryError:
            raise
        except TimeoutError as error:
            raise RegistryError(f"{image.host} does not answer within {SECONDS:.0f} s") from error
        except aiohttp.ClientSSLError as error:
            raise RegistryError(_no_tls(image.host, error)) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RegistryError(
                f"{image.host} cannot be reached: {error}; check its name and your network"
            ) from error


def _no_tls(host: str, error: aiohttp.ClientSSLError) -> str:
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"{host} has a certificate that is not trusted; add its authority to this machine"
    return (
        f"{host} does not speak HTTPS; if it is a registry that you trust, add --plain-http {host}"
    )


@dataclass
class _Asked:
    """One question to a registry."""

    session: aiohttp.ClientSession
    image: Tagged
    credentials: Callable[[str], Credentials | None]
    plain: frozenset[str]

    async def digest(self) -> str:
        status, headers, _ = await self._manifest("HEAD", {})
        more: dict[str, str] = {}
        if status == 401:
            more = await self._authorized(headers.get("WWW-Authenticate", ""))
            status, headers, _ = await self._manifest("HEAD", more)
        if status == 200 and DIGEST.fullmatch(found := headers.get("Docker-Content-Digest", "")):
            return found
        status, _, body = await self._manifest("GET", more)
        if status != 200:
            raise RegistryError(self._refused(status))
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    def _url(self) -> str:
        host = DOCKER_HUB.get(self.image.host, self.image.host)
        scheme = "http" if self.image.host in self.plain else "https"
        return f"{scheme}://{host}/v2/{self.image.repository}/manifests/{self.image.tag}"

    async def _manifest(
        self, method: str, more: dict[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        # aiohttp leaves out the credentials if a redirect goes to another host.
        async with self.session.request(method, self._url(), headers=ACCEPT | more) as answer:
            if answer.url.scheme != "https" and self.image.host not in self.plain:
                raise RegistryError(f"{self.image.host} redirects to {answer.url}, without HTTPS")
            return answer.status, answer.headers, await read_body(answer)

    async def _authorized(self, challenge: str) -> dict[str, str]:
        own = self.credentials(self.image.host)
        if challenge.lower().startswith("bearer "):
            token = await self._token(dict(CHALLENGE.findall(challenge)), own)
            return {"Authorization": f"Bearer {token}"}
        if own is None:
            raise RegistryError(self._refused(401))
        return {"Authorization": own.basic}

    async def _token(self, challenge: dict[str, str], own: Credentials | None) -> str:
        realm = challenge.get("realm", "")
        if urlsplit(realm).scheme != "https" and self.image.host not in self.plain:
            raise RegistryError(f"tokens are requested over https only, not from {realm!r}")
        query: dict[str, str] = {
            key: challenge[key] for key in ("service", "scope") if key in challenge
        }
        query.setdefault("scope", f"repository:{self.image.repository}:pull")
        if own and own.identity_token:
            form = query | {"grant_type": "refresh_token", "refresh_token": own.identity_token}
            asked = self.session.post(realm, data=form | {"client_id": "kubectl-immutable"})
        else:
            headers = {"Authorization": own.basic} if own else {}
            asked = self.session.get(realm, params=query, headers=headers)
        async with asked as answer:
            if answer.status != 200:
                raise RegistryError(self._refused(answer.status))
            decoded = msgspec.json.decode(await read_body(answer))
        return str(decoded.get("token") or decoded.get("access_token"))

    def _refused(self, status: int) -> str:
        image = self.image
        what = f"{image.host}/{image.repository}:{image.tag}"
        login = f"run: docker login {image.host}"
        if status in (401, 403):
            own = self.credentials(image.host)
            if own is None:
                return f"{image.host} asks for credentials to read {what}; {login}"
            return f"{image.host} does not let {own.user or 'your token'} read {what}; {login}"
        if status == 404:
            return f"{image.host} has no image {what}; check its name and tag"
        if status == 429:
            return f"{image.host} allows no more requests now; wait, or {login}"
        return f"{image.host} answered {status} for {what}; try again later"
