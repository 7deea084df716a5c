"""Every file in examples/ is accepted by the API server, and its services become Ready."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.actions import phase
from tests.cluster.http_routes import install_definitions
from tests.cluster.operator_process import Operators
from tests.cluster.services import Service, budgets, condition
from tests.controlplane import ControlPlane
from tests.namespaces import fresh_namespace

EXAMPLES = Path(__file__).parents[2] / "examples"
# Nodes of pools are not created here.
ONLY_CHECKED = ("ImmutableNodePool", "ImmutableCheck")


def documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / file).read_text(encoding="utf-8")))


# Actions come after the services that they are about.
FILES = sorted(
    (path.name for path in EXAMPLES.glob("*.yaml")),
    key=lambda file: (documents(file)[0]["kind"] == "ImmutableAction", file),
)


@pytest.fixture(scope="module")
def applied(control_plane: ControlPlane, running_operators: Operators) -> Iterator[str]:
    """A namespace to which all examples were applied."""
    running_operators.main.until_leading()
    install_definitions(control_plane)
    checked = [f for f in FILES if documents(f)[0]["kind"] in ONLY_CHECKED]
    with fresh_namespace(control_plane) as namespace:
        for file in FILES:
            dry = ("--dry-run=server",) if file in checked else ()
            path = str(EXAMPLES / file)
            control_plane.kubectl(
                "apply", "--validate=strict", "-f", path, *dry, namespace=namespace
            )
        yield namespace
        control_plane.kubectl("delete", "imfrz", "--all")


@pytest.mark.parametrize("file", FILES)
def test_example_is_accepted_and_becomes_ready(
    control_plane: ControlPlane, applied: str, file: str
) -> None:
    for document in documents(file):
        name = document["metadata"]["name"]
        web = Service(control_plane, applied, name)
        if document["kind"] == "ImmutableService":
            web.until("it is Ready", partial(is_true, web, "Ready"))
            assert web.active()
        elif document["kind"] == "ImmutableAction":
            web = Service(control_plane, applied, document["spec"]["service"])
            web.until("the action succeeds", partial(has_phase, web, name, "Succeeded"))


def test_scaled_example_has_its_number_from_the_autoscaler_and_a_budget(
    control_plane: ControlPlane, applied: str
) -> None:
    web = Service(control_plane, applied, "scaled")
    [least] = [d["spec"]["minReplicas"] for d in documents("autoscaling.yaml") if is_scaler(d)]
    web.until("the autoscaler scales it", lambda: web.get()["spec"].get("replicas") == least)
    web.until_ready()
    assert len(web.active()) == least
    assert budgets(web).get("scaled-drain-protection") == least


def is_scaler(document: dict[str, Any]) -> bool:
    return bool(document["kind"] == "HorizontalPodAutoscaler")


def is_true(web: Service, kind: str) -> bool:
    return bool(condition(web.get(), kind).get("status") == "True")


def has_phase(web: Service, action: str, wanted: str) -> bool:
    return phase(web, action) == wanted
