"""A receiver of notifications, as an administrator would run one beside the cluster."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from examples.receiver import verified
from tests.controlplane.api import Json
from tests.waiting import wait_for

__all__ = ["EventReceiver", "receiving"]


class EventReceiver:
    """Keeps the events whose signature is right, in their order; with ``status`` it fails."""

    def __init__(self, folder: Path) -> None:
        self.key = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.file = folder / "receiver-key"
        self.file.write_text(self.key)
        self.status = 204
        self.refused = 0
        self.requests: list[Json] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def flags(self) -> tuple[str, ...]:
        """What an operator needs to send to it."""
        port = self._server.server_address[1]
        url = f"--notify-url=http://127.0.0.1:{port}/events"
        return url, "--notify-allow-http", f"--notify-key-file={self.file}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.take(dict(self.headers), body))
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Nothing: what arrived is in the test."""

        return Handler

    def take(self, headers: dict[str, str], body: bytes) -> int:
        if not verified(headers, body, self.key, time.time()):
            self.refused += 1
            return 401
        if self.status < 300:
            self.requests.append(json.loads(body))
        return self.status

    def events(self, namespace: str) -> dict[str, Json]:
        """The events about a namespace by their id: one that came twice is one."""
        found = [e for e in self.requests if e["data"]["namespace"] == namespace]
        return {event["id"]: event for event in found}

    def kinds(self, namespace: str) -> list[str]:
        types = (event["type"] for event in self.events(namespace).values())
        return [kind.removeprefix("dev.immutable.revision.") for kind in types]

    def until(self, namespace: str, *kinds: str) -> list[Json]:
        """Until there are these, in this order; gives them. More may follow."""
        wait_for(
            f"the events {', '.join(kinds)}",
            lambda: self.kinds(namespace)[: len(kinds)] == [*kinds],
            60,
            lambda: f"received: {self.requests}",
        )
        return [*self.events(namespace).values()][: len(kinds)]

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiving(folder: Path) -> Iterator[EventReceiver]:
    receiver = EventReceiver(folder)
    thread = threading.Thread(target=receiver.serve, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.stop()
        thread.join()
