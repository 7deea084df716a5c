"""A minimal HTTPS client of the API server for the test bed: readiness, nodes, tokens.

Tests of the operator use kubectl instead, as users do.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Api", "ApiError", "Json"]

Json = dict[str, Any]
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


class ApiError(RuntimeError):
    """The API server refused a request; ``status`` is the HTTP code."""

    def __init__(self, status: int, request: str, message: str) -> None:
        super().__init__(f"{request}: {status} {message}")
        self.status = status


@dataclass(frozen=True)
class Api:
    """One actor's access to one API server, by client certificate.

    ``impersonated`` is a user, ``group`` a group that this user is a member of.

    Each thread keeps its connection: tests poll, and a handshake costs both sides more than
    all the rest of a request.
    """

    server: str
    ca: Path
    certificate: Path
    key: Path
    impersonated: str = ""
    group: str = ""

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout: float = 30,
    ) -> Json:
        """Send one request and return the decoded answer; raises `ApiError` from 400 on."""
        text = self.text(method, path, body, content_type, timeout)
        answer: Json = json.loads(text) if text else {}
        return answer

    def text(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        timeout: float = 30,
    ) -> str:
        """As `request`, but return the answer without decoding it."""
        connection = self._connection(timeout)
        try:
            headers = {"Content-Type": content_type, "Accept": "application/json"}
            if self.impersonated:
                headers["Impersonate-User"] = self.impersonated
            if self.group:
                headers["Impersonate-Group"] = self.group
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            text = response.read().decode()
        except BaseException:
            connection.close()
            raise
        if response.status < 200:  # upgraded: what follows is not HTTP
            connection.close()
        if response.status >= 400:
            raise ApiError(response.status, f"{method} {path}", _message(text))
        return text

    def get(self, path: str) -> Json:
        return self.request("GET", path)

    def open(self, path: str) -> tuple[socket.socket, http.client.HTTPResponse]:
        """Begin a watch on a connection of its own; it ends when the socket is shut down."""
        connection = self._connect()
        connection.request("GET", path, headers={"Accept": "application/json"})
        # An answer without a known length takes the socket over.
        ours = connection.sock
        response = connection.getresponse()
        if response.status >= 400:
            connection.close()
            raise ApiError(response.status, f"GET {path}", _message(response.read().decode()))
        return ours, response

    def merge_patch(self, path: str, body: Mapping[str, Any]) -> Json:
        return self.request("PATCH", path, body, MERGE_PATCH)

    def _connection(self, timeout: float) -> http.client.HTTPSConnection:
        """This thread's connection, a new one where the server has closed it meanwhile."""
        kept: http.client.HTTPSConnection | None = getattr(self._kept, "connection", None)
        if kept is None:
            kept = self._kept.connection = self._connect()
        # Nothing is due between two requests: what can be read then is the end.
        elif kept.sock is not None and select.select([kept.sock], [], [], 0)[0]:
            kept.close()
        kept.timeout = timeout
        if kept.sock is not None:
            kept.sock.settimeout(timeout)
        return kept

    def _connect(self) -> http.client.HTTPSConnection:
        address = urlsplit(self.server)
        return http.client.HTTPSConnection(
            address.hostname or "", address.port, context=self._context
        )

    @cached_property
    def _kept(self) -> threading.local:
        return threading.local()

    @cached_property
    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.certificate, self.key)
        return context


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text
