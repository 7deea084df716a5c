"""A server that checks ask, on an address of this host that is not loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.cluster.services import Service, condition, pin
from tests.controlplane.api import Json

__all__ = ["JOB", "Checked", "address_of_host", "checked_server", "until_message"]

# Documentation address: nothing is sent to it, the kernel only says from where it would be.
ELSEWHERE = ("203.0.113.1", 9)
# A check that is a Job.
JOB = {
    "name": "smoke",
    "job": {"template": {"spec": {"containers": [{"name": "smoke", "image": pin("smoke")}]}}},
}


def address_of_host() -> str:
    """Return an address of this host that is not loopback. Raises OSError if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(ELSEWHERE)
        return str(probe.getsockname()[0])


class Checked:
    """What the server answers: ``status`` and ``body``, or nothing if it ``hangs_up``."""

    def __init__(self) -> None:
        self.status, self.body = 200, "ok"
        self.hangs_up = False
        self.asked: list[tuple[str, str]] = []
        self.url = ""


@contextmanager
def checked_server() -> Iterator[Checked]:
    """Serve until the end of the block."""
    said = Checked()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.asked.append((self.path, self.headers.get("Authorization", "")))
            if said.hangs_up:
                return
            body = said.body.encode()
            self.send_response(said.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay silent."""

    server = ThreadingHTTPServer((address_of_host(), 0), Handler)
    said.url = f"http://{server.server_address[0]!s}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield said
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def until_message(web: Service, words: str) -> Json:
    return web.once(words, lambda body: words in condition(body, "Ready")["message"])
