"""The connection to the API server: sends a request, and says in a sentence why none is answered.

It is imported with the first request: aiohttp and the Kubernetes client take longer to import than
most commands of the plug-in take to run.
"""

from __future__ import annotations

import asyncio.sslproto
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from immutable_operator.kube.clock import ServerClock
from immutable_operator.kube.errors import Unreachable

__all__ = ["LOST", "Transport", "no_answer"]

# All that a connection can end with.
LOST = (aiohttp.ClientError, TimeoutError, OSError)
# Of a stream, which has no time in all.
CONNECT_SECONDS = 10.0
YAML = "application/apply-patch+yaml"
# How JSON in ASCII writes one character beyond the first 65 536; YAML has no such escapes.
_PAIR = re.compile(r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}")
# asyncio gives each TLS connection a buffer of 256 kB, and a replica has dozens of connections. A
# record of TLS has 16 kB at most.
asyncio.sslproto.SSLProtocol.max_size = 32 * 1024


class Transport:
    """Connections to one API server; every failure is an `Unreachable`."""

    def __init__(self, configuration: Configuration, clock: ServerClock) -> None:
        self._api, self._clock = ApiClient(configuration), clock

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self._api.configuration.host)

    async def close(self) -> None:
        await self._api.close()

    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
        *,
        seconds: float | None,
        silence: float | None,
    ) -> aiohttp.ClientResponse:
        """Return the response once its headers are received, whatever its status is.

        It may last ``seconds`` in all, and ``silence`` seconds without a byte; None: any time.
        """
        sent: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | None = body
        if headers.get("Content-Type") == YAML:
            # With a charset the Kubernetes client sends text as it is.
            headers, sent = {**headers, "Content-Type": f"{YAML}; charset=utf-8"}, yaml_of(body)
        connect = None if silence is None else CONNECT_SECONDS
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=connect, sock_read=silence)
        try:
            method, url, headers, _, _ = await self._api.param_serialize(
                method, path, header_params=headers, auth_settings=["BearerToken"]
            )
            # After a login, which may take some time.
            begun = self._clock.local()
            answer = await self._api.call_api(method, url, headers, sent, _request_timeout=timeout)
        except LOST as error:
            text = f"{no_answer(error)} ({method} {path.partition('?')[0]})"
            raise Unreachable(0, "Unreachable", text) from error
        response: aiohttp.ClientResponse = answer.response
        self._clock.note(begun, response.headers.get("Date"))
        return response

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the body of a response."""
        try:
            return await response.read()
        except LOST as error:
            text = f"the response was incomplete: {no_answer(error)}"
            raise Unreachable(0, "Unreachable", text) from error


def yaml_of(body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> str:
    """Return a body as JSON that is YAML, too: an emoji in a message is no pair of escapes."""
    return _PAIR.sub(lambda pair: str(json.loads(f'"{pair[0]}"')), json.dumps(body))


def no_answer(error: Exception) -> str:
    """Return why there is no answer, in a few words."""
    match error:
        case TimeoutError():
            return "no response in time"
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(error.certificate_error, "verify_message", error.certificate_error)
            return f"the certificate of {_place(error)} is not accepted: {why}"
        case aiohttp.ClientConnectorDNSError():
            return f"the host {error.host} is not found: {error.os_error.strerror}"
        case aiohttp.ClientSSLError():
            return f"no TLS connection to {_place(error)}: {_system(error.os_error)}"
        case aiohttp.ClientConnectorError():
            what = "proxy " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
            return f"no connection to {what}{_place(error)}: {_system(error.os_error)}"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed without a response"
        case aiohttp.ClientPayloadError():
            return "the connection was closed before its end"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered: {error.status} {error.message}"
        case aiohttp.ClientResponseError():
            return f"the response is not HTTP: {' '.join(error.message.split())}"
        case aiohttp.InvalidURL():
            return f"{error.url} is not a valid URL"
        case OSError():
            return _system(error)
        case _:
            return " ".join(str(error).split()) or type(error).__name__


def _place(error: aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError) -> str:
    return f"{error.host}:{error.port}"


def _system(error: OSError) -> str:
    """Return the words of the system for its error; OpenSSL has numbers and words of its own."""
    if error.errno and (not error.strerror or error.strerror.startswith("Connect call failed")):
        return os.strerror(error.errno)
    return str(error.strerror or error)
