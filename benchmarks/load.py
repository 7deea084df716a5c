"""Services and pods in large numbers, by the plain HTTPS client of the bed, many at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from immutable_operator.api.names import API_VERSION
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

__all__ = ["Load", "at_once", "until"]

NAMESPACE_SERVICES = 100
PODS_A_NODE = 500
THREADS = 16
IMAGE = "registry.example/web@sha256:"


def at_once(work: Iterable[Callable[[], object]], threads: int = THREADS) -> None:
    """Do all of it, some of it at the same time; the first error is raised."""
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(each) for each in work]:
            done.result()


def until(what: str, check: Callable[[], bool], limit: float, pause: float = 0.5) -> float:
    """Wait until ``check`` returns True; return the seconds. Raises TimeoutError at the limit."""
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > limit:
            raise TimeoutError(f"not within {limit:g} s: {what}")
        time.sleep(pause)
    return time.monotonic() - began


@dataclass
class Load:
    """Services in namespaces ``load-0`` …, with ``pods`` among them as evenly as possible."""

    plane: ControlPlane
    services: int
    pods: int
    limit: float
    sizes: dict[str, int] = field(default_factory=dict)

    def create(self) -> float:
        """Create all of them; return the seconds until all report that they are current."""
        nodes = max(2, -(-self.pods * 3 // 2 // PODS_A_NODE))
        self.plane.add_nodes(nodes, pods=PODS_A_NODE * 2)
        spaces = range(-(-self.services // NAMESPACE_SERVICES))
        api = self.plane.api()
        for space in spaces:
            body = {"metadata": {"name": f"load-{space}"}}
            api.request("POST", "/api/v1/namespaces", body)
        began = time.monotonic()
        share, more = divmod(self.pods, self.services)
        for number in range(self.services):
            self.sizes[f"load-{number // NAMESPACE_SERVICES}/s{number}"] = share + (number < more)
        at_once(self._creation(key, size) for key, size in self.sizes.items())
        # To list them all costs the API server what it needs to create them.
        pause = max(2.0, self.services / 500)
        until("all services are current", self.is_current, self.limit, pause=pause)
        return time.monotonic() - began

    def add(self, key: str, size: int) -> None:
        """Create one more service; ``key`` is its namespace and name."""
        namespace = {"metadata": {"name": key.partition("/")[0]}}
        self.plane.api().request("POST", "/api/v1/namespaces", namespace)
        self._creation(key, size)()
        until(f"{key} is current", lambda: self.is_ready(key), self.limit)

    def change(self, key: str, letter: str) -> None:
        """Roll out another image."""
        body = {"spec": {"template": {"spec": {"containers": [_container(letter)]}}}}
        self.plane.api().merge_patch(_path(key), body)

    def is_ready(self, key: str) -> bool:
        return _is_current(self.plane.api().get(_path(key)))

    def is_current(self) -> bool:
        """Whether all services report it, as their conditions say."""
        token, count = "", 0
        while True:
            path = f"/apis/{API_VERSION}/immutableservices?limit=500&continue={token}"
            page = self.plane.api().get(path)
            count += sum(map(_is_current, page["items"]))
            token = page["metadata"].get("continue", "")
            if not token:
                return count >= self.services

    def _creation(self, key: str, size: int) -> Callable[[], object]:
        name = key.partition("/")[2]
        template = {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [_container("a")]},
        }
        body = {
            "apiVersion": API_VERSION,
            "kind": "ImmutableService",
            "metadata": {"name": name},
            "spec": {"replicas": size, "template": template},
        }
        collection = _path(key).rpartition("/")[0]
        return lambda: self.plane.api().request("POST", collection, body)


def _container(letter: str) -> Json:
    return {"name": "web", "image": IMAGE + letter * 64}


def _path(key: str) -> str:
    namespace, _, name = key.partition("/")
    return f"/apis/{API_VERSION}/namespaces/{namespace}/immutableservices/{name}"


def _is_current(service: Json) -> bool:
    status = service.get("status", {})
    if status.get("observedGeneration") != service["metadata"]["generation"]:
        return False
    conditions = status.get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
