"""What `kubectl immutable convert` prints is accepted by the API server, and loses nothing.

It is fed with 200 Deployments as charts render them, in one file, in JSON and in block style.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from immutable_operator.cli.kubernetes_yaml import dumped
from tests.cluster.manifests import deployment
from tests.cluster.operator_process import Installation
from tests.cluster.plugin import ask
from tests.cluster.stored_templates import Deployments, printed
from tests.cluster.template_shapes import COUNT, document, shapes
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

STRATEGIES: tuple[Json, ...] = (
    {},
    {"strategy": {"type": "Recreate"}, "revisionHistoryLimit": 0},
    {"strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}, "paused": True},
    {"strategy": {"rollingUpdate": {"maxSurge": 0}}, "progressDeadlineSeconds": 60},
    {"minReadySeconds": 10, "revisionHistoryLimit": 1000, "replicas": 3},
)
TEMPLATES = {f"shape-{number}": shape for number, shape in enumerate(shapes())}
CREATE = ("create", "--dry-run=server", "--validate=strict", "-o", "json", "-f")


def written(name: str) -> Json:
    shape = TEMPLATES[name]
    body = deployment(shape.template)
    more = STRATEGIES[int(name.rpartition("-")[2]) % len(STRATEGIES)]
    metadata = shape.beside.get("metadata", {}) | {"name": name}
    return {**body, **shape.beside, "metadata": metadata, "spec": body["spec"] | more}


def in_blocks(body: Mapping[str, object]) -> str:
    """Write it in block style; the text ~1e3 is the number 1e3, as in `document`."""
    return "---\n" + re.sub(r"""['"]?~([0-9.][0-9.eE+-]*)['"]?""", r"\1", dumped(dict(body)))


@pytest.mark.parametrize("style", [document, in_blocks])
def test_converted_deployments_are_accepted_and_have_the_same_template(
    style: Callable[[Mapping[str, object]], str],
    control_plane: ControlPlane,
    installation: Installation,
    namespace: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("".join(style(written(name)) for name in TEMPLATES))
    told = ask(control_plane, "convert", "-f", str(path))
    assert told.code == 0, told.err
    path.write_text(told.out)
    done = control_plane.kubectl(*CREATE, str(path), namespace=namespace)
    stored = {body["metadata"]["name"]: body for body in printed(done.stdout)}
    assert {body["kind"] for body in stored.values()} == {"ImmutableService"}
    assert len(stored) == COUNT
    deployments = Deployments(control_plane)
    wanted = deployments.stored({n: written(n)["spec"]["template"] for n in TEMPLATES})
    found = deployments.stored({name: body["spec"]["template"] for name, body in stored.items()})
    assert {name: t for name, t in found.items() if t != wanted[name]} == {}
