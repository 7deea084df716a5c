"""What the chart would create, as `helm template` prints it."""

from __future__ import annotations

from functools import cache

import yaml

from tests.cluster.operator_process import ACCOUNT, CHART, NAMESPACE
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

__all__ = ["CHART", "LEAST", "NAME", "NAMESPACE", "kinds", "rendered", "the"]

LEAST = CHART / "ci" / "default-values.yaml"
NAME = ACCOUNT


@cache
def rendered(plane: ControlPlane, *options: str) -> list[Json]:
    """Give what the chart would create, without what `helm test` creates; nobody changes it."""
    command = ("template", NAME, str(CHART), "--skip-tests", *options)
    text = plane.helm(*command, namespace=NAMESPACE).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def kinds(documents: list[Json]) -> set[str]:
    """Name the kinds of objects."""
    return {document["kind"] for document in documents}


def the(kind: str, documents: list[Json]) -> Json:
    """Give the only object of a kind."""
    [found] = [document for document in documents if document["kind"] == kind]
    return found
