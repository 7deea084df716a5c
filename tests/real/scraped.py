"""Prometheus that scrapes the pods of a namespace on real nodes, with their names as labels.

It finds them over HTTP (``http_sd_configs``), as it would find them with the API server; pods on
real nodes reach it at the address of this machine in their network.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.controlplane.prometheus import Prometheus
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import PORT

__all__ = ["scraping"]


def _targets(plane: ControlPlane, namespace: str) -> list[Json]:
    """The pods that have an address, as Prometheus wants to be told of them."""
    pods = plane.api().get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    return [
        {
            "targets": [f"{pod['status']['podIP']}:{PORT}"],
            "labels": {"namespace": namespace, "pod": pod["metadata"]["name"]},
        }
        for pod in pods
        if pod["status"].get("podIP")
    ]


@contextmanager
def _told(plane: ControlPlane, namespace: str) -> Iterator[str]:
    """A server that tells where the pods are; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(_targets(plane, namespace)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def scraping(plane: ControlPlane, real: RealNodes, namespace: str) -> Iterator[Prometheus]:
    """Prometheus at an address of the bed's network, until the end of the block."""
    host = real.registry.host.partition(":")[0]
    with _told(plane, namespace) as url:
        job = {"job_name": "pods", "http_sd_configs": [{"url": url, "refresh_interval": "1s"}]}
        with Prometheus(plane, job, host=host) as running:
            yield running
