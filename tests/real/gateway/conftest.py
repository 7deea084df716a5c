"""A real gateway, Contour with Envoy, in front of pods on real nodes, and requests through it."""

from __future__ import annotations

import asyncio
import http.client
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cluster.http_routes import HttpRoute
from tests.controlplane import ControlPlane
from tests.controlplane.build import binaries
from tests.controlplane.contour import GATEWAY, NAMESPACE, Contour, envoy_program
from tests.controlplane.real.nodes import RealNodes
from tests.real.release import Release
from tests.real.traffic import Endpoint, Traffic
from tests.real.web import WebService


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: a test's time limit is not for building Contour."""
    if not session.config.option.collectonly and session.items:
        binaries(["contour"])
        envoy_program()


class GatewayTraffic(Traffic):
    """Requests to a gateway instead of a Service."""

    def __init__(self, plane: ControlPlane, namespace: str, port: int) -> None:
        super().__init__(plane, namespace, "web")
        self._gateway = Endpoint("127.0.0.1", port, ready=True, serving=True, terminating=False)

    async def _watch(self) -> None:
        self._receivers = [self._gateway]
        await asyncio.Event().wait()


@dataclass(frozen=True)
class Gateway:
    """Requests through the gateway, and the HTTPRoute ``web`` of a service."""

    contour: Contour
    route: HttpRoute

    def traffic(self) -> Traffic:
        route = self.route
        return GatewayTraffic(route.plane, route.namespace, self.contour.port)

    def apply(self, *rules: dict[str, object]) -> None:
        self.route.apply(*rules, gateway=GATEWAY, gateway_namespace=NAMESPACE)

    def versions(self, requests: int, **headers: str) -> Counter[str]:
        """The versions that answer so many requests, one after the other; a failure raises."""
        connection = http.client.HTTPConnection("127.0.0.1", self.contour.port, timeout=20)
        found: Counter[str] = Counter()
        for _ in range(requests):
            connection.request("GET", "/", headers=headers)
            answer = connection.getresponse()
            body = answer.read().decode().strip()
            found[body if answer.status == 200 else f"{answer.status}: {body}"] += 1
        connection.close()
        return found


@pytest.fixture(scope="session")
def contour(control_plane: ControlPlane, real: RealNodes) -> Iterator[Contour]:
    with Contour.start(control_plane) as running:
        yield running


@pytest.fixture(scope="module")
def granted(contour: Contour, installed: Release, builds: tuple[str, str]) -> Iterator[None]:
    installed.upgrade(builds[0], **{"gateway.enabled": "true"})
    yield
    installed.upgrade(builds[0])


@pytest.fixture
def gateway(contour: Contour, granted: None, web: WebService) -> Iterator[Gateway]:
    """The gateway, with no route afterwards: the oldest one for a path has precedence."""
    yield Gateway(contour, HttpRoute(web.plane, web.namespace))
    web.kubectl("delete", "httproutes", "--all")
