"""What the chart would create, as `helm template` prints it."""

from __future__ import annotations

from functools import cache

import yaml

from tests.cluster.operator_process import ACCOUNT, CHART, NAMESPACE
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

__all__ = ["CHART", "LEAST", "NAME", "NAMESPACE", "kinds", "read_documents", "rendered", "the"]

LEAST = CHART / "ci" / "default-values.yaml"
NAME = ACCOUNT


@cache
def rendered(plane: ControlPlane, *options: str) -> list[Json]:
    """Give what the chart would create, without what `helm test` creates; nobody changes it."""
    command = ("template", NAME, str(CHART), "--skip-tests", *options)
    return read_documents(plane.helm(*command, namespace=NAMESPACE).stdout)


def read_documents(text: str) -> list[Json]:
    """Give the documents of a YAML text that are not empty.

    The definitions are 13 000 lines: libyaml reads them in 0.2 s of a processor, PyYAML in 1.7 s.
    """
    found = yaml.load_all(text, Loader=yaml.CSafeLoader)
    return [document for document in found if document]


def kinds(documents: list[Json]) -> set[str]:
    """Name the kinds of objects."""
    return {document["kind"] for document in documents}


def the(kind: str, documents: list[Json]) -> Json:
    """Give the only object of a kind."""
    [found] = [document for document in documents if document["kind"] == kind]
    return found
