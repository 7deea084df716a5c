"""The one client: bytes in, bytes out, over the kubernetes package's connection and login.

Every request has a timeout, is counted, and fails with an exception of ``kube.errors``. Writes must
pass the ``fence`` (for how many seconds is this process certainly the leader?) and one rate limit.
Typed models are not used: they cost a hundred times more than the few fields that the operator
reads.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiolimiter import AsyncLimiter

from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.kube.clock import ServerClock
from immutable_operator.kube.errors import Unreachable, error_from

if TYPE_CHECKING:
    import aiohttp
    from kubernetes.aio.client import Configuration

__all__ = [
    "JSON",
    "METADATA",
    "METADATA_LIST",
    "KubeClient",
    "load_configuration",
]

Fence = Callable[[], float]
Count = Callable[[str, str, str], None]
Body = Mapping[str, Any] | Sequence[Mapping[str, Any]]
JSON = "application/json"
# Only the metadata of each object: names, labels and owners, at a tenth of the cost.
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
DRY = {"dryRun": "All"}
STRATEGIC = "application/strategic-merge-patch+json"


async def load_configuration(kubeconfig: Path | None, context: str | None = None) -> Configuration:
    """Load connection and login: from a kubeconfig file, else from the pod's service account."""
    from kubernetes.aio import config
    from kubernetes.aio.client import Configuration

    configuration = Configuration()
    if kubeconfig is not None:
        await config.load_kube_config(
            config_file=str(kubeconfig), context=context, client_configuration=configuration
        )
    else:
        config.load_incluster_config(client_configuration=configuration)
    # Reading proxy settings from the environment doubles the CPU per request (measured).
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration


class KubeClient:
    """Requests to one API server.

    Parameters
    ----------
    configuration
        From `load_configuration`.
    writes_per_second
        One limit for all writes of this process.
    timeout
        Seconds for any request but a watch; a write gets at most what the fence allows.
    count
        Called with verb, resource and status code (or ``error``) after each request.

    ``clock`` is the API server's. ``count`` can be set later, too.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        writes_per_second: float = 200.0,
        timeout: float = 15.0,
        count: Count = lambda verb, resource, code: None,
    ) -> None:
        # See there why it is imported so late.
        from immutable_operator.kube.transport import Transport

        self._limit = AsyncLimiter(writes_per_second, 1.0)
        self._seconds = timeout
        self.count = count
        self.fence: Fence = lambda: math.inf
        self.clock = ServerClock()
        self._transport = Transport(configuration, self.clock)

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._transport.server

    async def close(self) -> None:
        await self._transport.close()

    async def get(
        self, path: str, *, resource: str, accept: str = JSON, **query: str | int
    ) -> bytes:
        answer = await self._request(
            "GET", path, verb="get", resource=resource, query=query, accept=accept
        )
        return _object(path, answer)

    async def list(
        self, path: str, *, resource: str, accept: str = JSON, **query: str | int
    ) -> bytes:
        answer = await self._request(
            "GET", path, verb="list", resource=resource, query=query, accept=accept
        )
        return _object(path, answer)

    async def create(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        resource: str,
        manager: str = FIELD_MANAGER,
        dry_run: bool = False,
    ) -> bytes:
        """Create an object; with ``dry_run`` only return what would be stored, or be refused."""
        query = {"fieldManager": manager, **(DRY if dry_run else {})}
        return await self._write("POST", path, body, verb="create", resource=resource, query=query)

    async def delete(self, path: str, body: Mapping[str, Any], *, resource: str) -> bytes:
        return await self._write("DELETE", path, body, verb="delete", resource=resource)

    async def apply(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        resource: str,
        manager: str,
        dry_run: bool = False,
    ) -> bytes:
        """Apply on the server side; the operator takes over its fields from other managers."""
        query = {"fieldManager": manager, "force": "true", **(DRY if dry_run else {})}
        return await self._write(
            "PATCH", path, body, verb="patch", resource=resource, query=query, content=APPLY
        )

    async def patch(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        resource: str,
        manager: str,
        strategic: bool = False,
        dry_run: bool = False,
    ) -> bytes:
        """Send a merge patch; ``strategic`` merges lists by their keys, for built-in kinds only."""
        return await self._write(
            "PATCH",
            path,
            body,
            verb="patch",
            resource=resource,
            query={"fieldManager": manager, **(DRY if dry_run else {})},
            content=STRATEGIC if strategic else MERGE,
        )

    async def amend(
        self, path: str, change: Sequence[Mapping[str, Any]], *, resource: str, manager: str
    ) -> bytes:
        """Send a JSON patch: operations on positions, all of them or none."""
        return await self._write(
            "PATCH",
            path,
            change,
            verb="patch",
            resource=resource,
            query={"fieldManager": manager},
            content=JSON_PATCH,
        )

    async def update(self, path: str, body: Mapping[str, Any], *, resource: str) -> bytes:
        """Replace an object; with a resourceVersion in it, only the version that was read."""
        return await self._write(
            "PUT",
            path,
            body,
            verb="update",
            resource=resource,
            query={"fieldManager": FIELD_MANAGER},
        )

    async def hold(self, method: str, path: str, body: Mapping[str, Any], timeout: float) -> bytes:
        """Write the lease: neither fenced nor rate-limited, with a timeout of its own."""
        verb = {"POST": "create", "PUT": "update"}[method]
        answer = await self._request(
            method, path, verb=verb, resource="leases", body=body, timeout=timeout
        )
        return _object(path, answer)

    @asynccontextmanager
    async def watch(
        self,
        path: str,
        *,
        resource: str,
        silence: float,
        accept: str = JSON,
        **query: str | int,
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """Open the raw stream of a watch; ``silence`` seconds without a byte end it."""
        query = {"watch": "true", "allowWatchBookmarks": "true", **query}
        response = await self._send(
            "GET", path, "watch", resource, query, None, _headers("", accept), None, silence
        )
        try:
            yield response.content
        finally:
            response.close()

    async def _write(
        self,
        method: str,
        path: str,
        body: Body,
        *,
        verb: str,
        resource: str,
        query: Mapping[str, str | int] | None = None,
        content: str = "application/json",
    ) -> bytes:
        await self._limit.acquire()
        within = min(self._seconds, self.fence())
        answer = await self._request(
            method,
            path,
            verb=verb,
            resource=resource,
            query=query,
            body=body,
            content=content,
            timeout=within,
        )
        return _object(path, answer)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        verb: str,
        resource: str,
        query: Mapping[str, str | int] | None = None,
        body: Body | None = None,
        content: str = "application/json",
        timeout: float | None = None,
        accept: str = JSON,
    ) -> bytes:
        seconds = self._seconds if timeout is None else timeout
        headers = _headers(content, accept)
        response = await self._send(method, path, verb, resource, query, body, headers, seconds)
        return await self._transport.read(response)

    async def _send(
        self,
        method: str,
        path: str,
        verb: str,
        resource: str,
        query: Mapping[str, str | int] | None,
        body: Body | None,
        headers: Mapping[str, str],
        seconds: float | None,
        silence: float | None = None,
    ) -> aiohttp.ClientResponse:
        """Send; return once the headers are received. Raises `ApiError` for any status but 2xx."""
        code = "error"
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            response = await self._transport.send(
                method, target, headers, body, seconds=seconds, silence=silence
            )
            code = str(response.status)
            if response.status >= 300:
                text = await self._transport.read(response)
                raise error_from(response.status, text, response.headers.get("Retry-After"))
            return response
        finally:
            self.count(verb, resource, code)


def _headers(content: str, accept: str) -> dict[str, str]:
    return {"Accept": accept, **({"Content-Type": content} if content else {})}


def _object(path: str, answer: bytes) -> bytes:
    """Return a JSON object; after a page from a proxy the outcome of the request is unknown."""
    if answer.lstrip().startswith(b"{"):
        return answer
    quoted = answer[:200].decode(errors="replace")
    raise Unreachable(0, "Unreachable", f"{path}: the response is not an object: {quoted!r}")
