"""Git repositories over HTTP on loopback, for the controllers that read manifests from Git.

The server is git's own ``http-backend`` behind the standard library's HTTP server. It serves reads;
commits are made in the work tree of a `Repository` and pushed by path.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["GitServer", "Repository"]

BRANCH = "main"
# Settings of the user must not decide a test.
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "jane",
    "GIT_AUTHOR_EMAIL": "jane@example.com",
    "GIT_COMMITTER_NAME": "jane",
    "GIT_COMMITTER_EMAIL": "jane@example.com",
}


class GitServer:
    """Serves the bare repositories of a folder until `stop`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

        class Handler(_Handler):
            root = folder

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def repository(self, name: str) -> Repository:
        """A new repository with an empty first commit."""
        return Repository(self._folder, name, self._server.server_port)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Repository:
    """One repository: its URL for readers, and commits on its branch main."""

    def __init__(self, served: Path, name: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/{name}.git"
        bare = served / f"{name}.git"
        self._tree = served / f"{name}.tree"
        _git(served, "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(bare))
        _git(served, "init", "--quiet", f"--initial-branch={BRANCH}", str(self._tree))
        _git(self._tree, "remote", "add", "origin", str(bare))
        self.commit({}, "begin")

    def commit(self, files: Mapping[str, str], message: str = "change") -> str:
        """Write files by their paths, commit and push; returns the id of the commit."""
        for path, text in files.items():
            file = self._tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        _git(self._tree, "add", "--all")
        _git(self._tree, "commit", "--quiet", "--allow-empty", f"--message={message}")
        return self._push()

    def revert(self) -> str:
        """Undo the last commit by another one; returns its id."""
        _git(self._tree, "revert", "--no-edit", "HEAD")
        return self._push()

    def _push(self) -> str:
        _git(self._tree, "push", "--quiet", "origin", BRANCH)
        return _git(self._tree, "rev-parse", "HEAD").strip()


def _git(folder: Path, *args: str) -> str:
    command = ["git", *args]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} in {folder} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


class _Handler(BaseHTTPRequestHandler):
    """Each request is one run of ``git http-backend``, by the rules of CGI."""

    root: Path
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *args: object) -> None:
        """Say nothing: what was read is seen at the reader."""

    def _answer(self) -> None:
        body = b"".join(_body(self.headers.get("Transfer-Encoding"), self._length(), self.rfile))
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=self._environment(len(body)),
            capture_output=True,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().splitlines()]
        status = next((value for name, value in headers if name == "Status"), "200")
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _environment(self, length: int) -> dict[str, str]:
        url = urlsplit(self.path)
        return ENVIRONMENT | {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "REMOTE_ADDR": "127.0.0.1",
            # Runs may belong to another user than the one that serves them (root in a container).
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }


def _body(encoding: str | None, length: int, source: BufferedIOBase) -> Iterable[bytes]:
    """The body of a request, whole or in chunks."""
    if encoding != "chunked":
        yield source.read(length)
        return
    while size := int(source.readline().split(b";")[0], 16):
        yield source.read(size)
        source.readline()
    source.readline()
