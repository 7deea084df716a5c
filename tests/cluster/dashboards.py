"""`kubectl immutable dashboard` in tests: started as people start it, and what its stream says."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from tests.cluster.plugin import Told, start, told
from tests.controlplane import ControlPlane

__all__ = ["Dashboard", "Relay", "Stream", "dashboard"]

SECONDS = 60.0


class Dashboard:
    """A running dashboard; ``url`` is the address that it printed, without a fragment."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process = process
        line = process.stdout.readline()
        assert line.startswith("dashboard: http://127.0.0.1:"), (line, process.poll())
        self.address = line.removeprefix("dashboard: ").strip()
        self.url = self.address.partition("#")[0]

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def request(
        self, path: str = "", method: str = "GET", host: str = ""
    ) -> tuple[int, str, dict[str, str]]:
        """Return status, text and headers of the answer to a request below its address."""
        request = urllib.request.Request(self.url + path, method=method)  # noqa: S310
        if host:
            request.add_header("Host", host)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
                return answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), dict(error.headers)

    def interrupt(self) -> Told:
        """Press Ctrl-C, and return what was printed after the address."""
        self._process.send_signal(signal.SIGINT)
        return told(self._process)

    @contextmanager
    def stream(self, of: str = "") -> Iterator[Stream]:
        """Open the stream of a page that shows ``of``, such as service/shop/web."""
        path = f"{self.url}stream?of={quote(of)}"
        with urllib.request.urlopen(path, timeout=SECONDS) as answer:  # noqa: S310
            yield Stream(answer)


class Stream:
    """Server-sent events: the last content of each kind."""

    def __init__(self, answer: Any) -> None:
        self.last: dict[str, Any] = {}
        self._events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._answer = answer
        threading.Thread(target=self._read, daemon=True).start()

    def until(self, kind: str, check: Callable[[Any], object]) -> Any:
        """Return the content of the last event of a kind, or of the first one later, for which
        ``check`` holds.

        What is waited for may have come with the last one: then no other one comes.
        """
        if kind in self.last and check(self.last[kind]):
            return self.last[kind]
        deadline = time.monotonic() + SECONDS
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                name, content = self._events.get(timeout=left)
                self.last[name] = content
                if name == kind and check(content):
                    return content
        raise AssertionError(f"no such event {kind} within {SECONDS:g} s; the last: {self.last}")

    def _read(self) -> None:
        name = ""
        try:
            for line in self._answer:
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    self._events.put((name, json.loads(value)))
        except (OSError, ValueError, AttributeError):
            pass  # closed by the test, or the dashboard has ended


@contextmanager
def dashboard(plane: ControlPlane, *args: str, actor: str = "admin") -> Iterator[Dashboard]:
    """Start the dashboard without a browser, and end it."""
    process = start(plane, "dashboard", "--no-browser", *args, actor=actor)
    try:
        yield Dashboard(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Relay:
    """The way to the API server for one dashboard, which a test can close and open again."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._target = plane.server.rpartition(":")[2]
        self._pairs: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._port = self._server.getsockname()[1]
        self._accept()

    def kubeconfig(self, folder: Path) -> Path:
        """Return a kubeconfig file, written into a folder, that leads through the relay."""
        text = self._plane.kubeconfig().read_text(encoding="utf-8")
        file = folder / "kubeconfig"
        file.write_text(text.replace(f":{self._target}", f":{self._port}"), encoding="utf-8")
        return file

    def close(self) -> None:
        """End all connections, and accept no new one."""
        for end in (self._server, *self._pairs):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._pairs.clear()

    def open(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self._port))
        self._accept()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=(self._server,), daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.create_connection(("127.0.0.1", int(self._target)))
                self._pairs += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
