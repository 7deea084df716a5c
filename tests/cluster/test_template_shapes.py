"""Two hundred pod templates as charts render them, through each way to write them with kubectl.

A Deployment takes each of them. What is stored of a service must then mean the same to a
Deployment as the template that was written, so that no field is lost.
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from immutable_operator.api.names import FIELD_MANAGER
from immutable_operator.api.template import born_with
from immutable_operator.domain.config.admission import differences
from immutable_operator.instances.pods.codec import decode_pod
from immutable_operator.instances.pods.form import opened
from tests.cluster.manifests import service
from tests.cluster.operator_process import Installation, OperatorProcess
from tests.cluster.services import KIND_PATH, condition
from tests.cluster.stored_templates import Deployments
from tests.cluster.template_shapes import CONFIG_MAPS, COUNT, Shape, document, shapes
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.waiting import wait_for

SHAPES = shapes()
NAMES = [f"shape-{number}" for number in range(COUNT)]
SAMPLE = 20
AT_ONCE = 4
NAME = "shape-9f2c41d0-abcde"
CREATE = ("create", "--validate=strict")
REPLACE = ("replace", "--validate=strict")
CLIENT_SIDE = ("apply", "--server-side=false", "--validate=strict")
SERVER_SIDE = ("apply", "--server-side", "--validate=strict")
EMPTY: Json = {"replicas": 0, "suspend": True}


@pytest.fixture(scope="module")
def deployments(control_plane: ControlPlane) -> Deployments:
    return Deployments(control_plane)


def manifest(shift: int = 0) -> tuple[dict[str, Json], list[str]]:
    """Give the templates by name, and the documents of services that have them.

    With another ``shift`` each name has another template.
    """
    shapes_of = dict(zip(NAMES, [*SHAPES[shift:], *SHAPES[:shift]], strict=True))
    documents = [document(_service(name, shape, EMPTY)) for name, shape in shapes_of.items()]
    return {name: shape.template for name, shape in shapes_of.items()}, documents


def _service(name: str, shape: Shape, spec: Json) -> Json:
    metadata = shape.beside.get("metadata", {}) | {"name": name}
    body = service(shape.template)
    return {**body, **shape.beside, "metadata": metadata, "spec": body["spec"] | spec}


class Services:
    """The services of one namespace, written by kubectl and compared with Deployments."""

    def __init__(self, plane: ControlPlane, namespace: str, deployments: Deployments) -> None:
        self._plane, self._namespace, self._deployments = plane, namespace, deployments

    def write(self, way: tuple[str, ...], documents: list[str]) -> None:
        """By several kubectl at once: one after the other, 200 writes mostly wait."""
        shares = ["".join(documents[number::AT_ONCE]) for number in range(AT_ONCE)]
        with ThreadPoolExecutor() as pool:
            for done in pool.map(partial(self._write, way), shares):
                assert done.returncode == 0, done.stderr

    def _write(self, way: tuple[str, ...], text: str) -> subprocess.CompletedProcess[str]:
        return self._plane.kubectl(
            *way, "-f", "-", namespace=self._namespace, stdin=text, check=False
        )

    def until_written(self, way: tuple[str, ...], shift: int = 0) -> None:
        """Write all of them, and see that nothing was lost."""
        templates, documents = manifest(shift)
        self.write(way, documents)
        read = {name: item["spec"]["template"] for name, item in self.all().items()}
        stored = self._deployments.stored(read)
        wanted = self._deployments.stored(templates)
        assert {name: t for name, t in stored.items() if t != wanted[name]} == {}
        assert len(stored) == COUNT

    def all(self) -> dict[str, Json]:
        path = f"{KIND_PATH}/{self._namespace}/immutableservices"
        items = self._plane.api().get(path)["items"]
        return {item["metadata"]["name"]: item for item in items}

    def generations(self) -> dict[str, int]:
        return {name: item["metadata"]["generation"] for name, item in self.all().items()}


@pytest.fixture
def services(installation: Installation, deployments: Deployments, namespace: str) -> Services:
    return Services(installation.plane, namespace, deployments)


def test_there_are_200_different_templates() -> None:
    assert len({json.dumps(shape.template, sort_keys=True) for shape in SHAPES}) == 200


def test_create_and_replace_store_templates_whole(services: Services) -> None:
    services.until_written(CREATE)
    services.until_written(REPLACE, shift=1)


@pytest.mark.parametrize("way", [CLIENT_SIDE, SERVER_SIDE], ids=["client-side", "server-side"])
def test_apply_stores_templates_whole_and_once(way: tuple[str, ...], services: Services) -> None:
    services.until_written(way)
    services.until_written(way, shift=1)
    if way == SERVER_SIDE:
        # A null in place of what another manifest had is stored the second time only; no pod is
        # replaced for it, because the template means the same.
        services.until_written(way, shift=1)
    before = services.generations()
    services.write(way, manifest(shift=1)[1])
    assert services.generations() == before


def test_defaults_of_the_api_server_are_no_change_by_admission(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Of each template that can run here, and whatever the API server fills in."""
    api = control_plane.api()
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldManager={FIELD_MANAGER}"
    changed: dict[str, Json] = {}
    for shape in (shape for shape in SHAPES if shape.runs):
        asked = born_with(shape.template)
        kept = {key: asked.get("metadata", {}).get(key) for key in ("labels", "annotations")}
        pod = api.request("POST", path, {"metadata": {**kept, "name": NAME}, "spec": asked["spec"]})
        record = decode_pod(json.dumps(pod).encode())
        if found := differences(asked, opened(record.form)):
            changed[", ".join(map(str, found))] = asked
    # A field of a feature that is off in this API server: the pod runs without it.
    assert set(changed) == {"spec.containers[manager].lifecycle.stopSignal removed"}


def test_pods_become_ready_and_are_not_replaced_when_applied_again(
    operator: OperatorProcess, deployments: Deployments, namespace: str
) -> None:
    plane = operator.plane
    services = Services(plane, namespace, deployments)
    runs = [shape for shape in SHAPES if shape.runs]
    sample = dict(zip(NAMES, runs[:: len(runs) // SAMPLE][:SAMPLE], strict=False))
    one: Json = {"replicas": 1, "suspend": False}
    documents = [document(_service(name, shape, one)) for name, shape in sample.items()]
    for name in CONFIG_MAPS:
        plane.kubectl("create", "configmap", name, "--from-literal=level=info", namespace=namespace)
    services.write(CLIENT_SIDE, documents)

    def waiting() -> dict[str, str]:
        ready = {name: condition(item, "Ready") for name, item in services.all().items()}
        return {n: c.get("message", "") for n, c in ready.items() if c.get("status") != "True"}

    wait_for("all of them are Ready", lambda: not waiting(), 60, waiting)
    before = services.generations()
    assert len(before) == SAMPLE
    services.write(CLIENT_SIDE, documents)
    assert services.generations() == before
    revisions = plane.api().get(f"{KIND_PATH}/{namespace}/immutablerevisions")["items"]
    assert len(revisions) == SAMPLE
