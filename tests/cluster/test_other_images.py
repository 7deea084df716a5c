"""What a node says it runs, against what was pinned: healed only where a registry proves it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cluster.history import History
from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.services import Service, annotation, condition, names
from tests.controlplane.api import Json

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Registry:
    """Serves manifests by digest over HTTP, and nothing else: what the operator asks of one."""

    def __init__(self) -> None:
        self.stored: dict[str, tuple[str, bytes]] = {}
        self.asked: list[str] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                kind, body = registry.stored.get(self.path.rpartition("/")[2], ("", b""))
                self.send_response(200 if kind else 404)
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, kind: str, document: Json) -> str:
        body = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.stored[digest] = (kind, body)
        return digest

    def image(self, content: str) -> str:
        """The digest of a manifest whose configuration is ``content``."""
        config = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": config}}
        return self.put(MANIFEST, document)

    def index(self, manifest: str) -> str:
        entry = {"digest": manifest, "platform": {"os": "linux", "architecture": "amd64"}}
        return self.put(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})

    def named(self, digest: str, repository: str = "web") -> str:
        return f"{self.host}/{repository}@{digest}"


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    registry = Registry()
    yield registry
    registry.close()


@pytest.fixture(scope="module", autouse=True)
def asks_the_registry(running_operators: Operators, registry: Registry) -> Iterator[None]:
    with running_operators.usually(f"--plain-http-registry={registry.host}"):
        yield


def pinned(web: Service, registry: Registry, replicas: int) -> Service:
    """Instances that are pinned by an index as the registry has it."""
    image = registry.named(registry.index(registry.image("right")))
    web.apply(replicas=replicas, container={"image": image})
    web.until_ready()
    return web


def report(service: Service, name: str, image_id: str) -> None:
    """Let the pod's node say what it runs."""
    path = f"/api/v1/namespaces/{service.namespace}/pods/{name}/status"
    api = service.plane.api("kwok")
    statuses = api.get(path)["status"]["containerStatuses"]
    statuses[0]["imageID"] = image_id
    api.merge_patch(path, {"status": {"containerStatuses": statuses}})


def test_instance_with_proven_other_image_is_replaced(web: Service, registry: Registry) -> None:
    running = pinned(web, registry, 3)
    victim = min(names(running))
    other = registry.named(registry.image("wrong"))
    with History(running) as history:
        report(running, victim, f"docker-pullable://{other}")
        running.until("the victim is gone", lambda: victim not in names(running))
        running.until_ready()
        [birth] = history.births()
        assert annotation(birth.pod, "replaces") == victim
        because = annotation(birth.pod, "because") or ""
        assert because.startswith("Drifted: container web runs docker-pullable://"), because
        history.assert_budget(most=4, fewest=3)


UNPROVEN: dict[str, Callable[[Registry], str]] = {
    "the manifest of the pinned index": lambda r: r.named(r.image("right")),
    "the same content elsewhere": lambda r: r.named(r.image("right"), "mirror/of/web"),
    "its configuration": lambda r: f"sha256:{hashlib.sha256(b'right').hexdigest()}",
    "a digest that no registry knows": lambda r: r.named(f"sha256:{'0' * 64}"),
    "a bare id": lambda r: f"sha256:{'1' * 64}",
    "another registry": lambda r: f"registry.example/web@{r.image('wrong')}",
    "nonsense": lambda r: "\n<script>" + "x" * 300,
}


def verdicts(operator: OperatorProcess) -> float:
    """How many reports the operator has compared with what is pinned, so far."""
    lines = operator.get("/metrics")[1].splitlines()
    told = [line for line in lines if line.startswith("immutable_image_verdicts_total{")]
    return sum(float(line.split()[-1]) for line in told)


def test_image_id_that_is_right_or_not_proven_wrong_heals_nothing(
    web: Service, operator: OperatorProcess, registry: Registry
) -> None:
    """All at once, each by an instance of its own."""
    running = pinned(web, registry, len(UNPROVEN))
    before, judged = names(running), verdicts(operator)
    registry.asked.clear()
    for name, image_id in zip(sorted(before), UNPROVEN.values(), strict=True):
        report(running, name, image_id(registry))
    running.until("all are compared", lambda: verdicts(operator) - judged >= len(UNPROVEN))
    assert registry.asked
    running.always("it is Ready", lambda: condition(running.get(), "Ready")["status"] == "True", 2)
    assert names(running) == before
    assert "deviations" not in running.status()
    assert not [path for path in registry.asked if not path.startswith("/v2/")]
