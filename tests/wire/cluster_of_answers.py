"""An API server in a thread that gives every request the same kind of answer."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Answer", "AnsweringServer", "answering", "status"]

# Method and path to status and body; None: there is no answer as long as the server runs.
Answer = Callable[[str, str], tuple[int, bytes] | None]


def status(code: int, reason: str, message: str, **details: Any) -> tuple[int, bytes]:
    """Return a Status object as API servers send it."""
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return code, json.dumps({**body, "details": details}).encode()


class AnsweringServer:
    """``asked`` are the requests so far, ``headers`` theirs; ``first``: there was one."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[str] = []
        self.headers: list[dict[str, list[str]]] = []
        self.first = threading.Event()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent when a client hangs up: tests read what a command writes to stderr."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def answering(answer: Answer) -> Iterator[AnsweringServer]:
    """Serve until the block ends."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            told.asked.append(f"{self.command} {self.path}")
            names = {name.lower() for name in self.headers}
            told.headers.append({name: self.headers.get_all(name) or [] for name in names})
            told.first.set()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = answer(self.command, self.path)
            if said is None:
                ended.wait()
                return
            code, body = said
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self._any
            raise AttributeError(name)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    told = AnsweringServer(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    try:
        yield told
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
