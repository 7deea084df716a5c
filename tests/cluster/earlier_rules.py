"""The definition of services as releases had it that accepted templates which keep state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from immutable_operator.api.names import API_VERSION
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.unit.service_specs import volume
from tests.waiting import wait_for

__all__ = ["applied", "before_the_rules"]

CRD = "immutableservices.immutable.dev"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RULES = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations"


def applied(plane: ControlPlane, namespace: str, given: Json) -> str:
    """What `kubectl apply` prints about a service with this spec that is only checked."""
    body = {"apiVersion": API_VERSION, "kind": "ImmutableService", "metadata": {"name": "web"}}
    options = ("apply", "--dry-run=server", "-f", "-")
    document = json.dumps({**body, "spec": given})
    done = plane.kubectl(*options, namespace=namespace, stdin=document, check=False)
    return done.stdout + done.stderr


@contextmanager
def before_the_rules(plane: ControlPlane) -> Iterator[None]:
    """Accept each such template inside of the block; afterwards the rules are there again."""
    rules = plane.api().get(f"{CRDS}/{CRD}")["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    stored = rules["properties"]["spec"]["x-kubernetes-validations"]

    def accepts() -> bool:
        return "created" in applied(plane, "default", volume("hostPath"))

    def patch(**operation: object) -> None:
        change = json.dumps([{"path": RULES, **operation}])
        plane.kubectl("patch", "crd", CRD, "--type=json", "-p", change)

    patch(op="remove")
    wait_for("such templates are accepted", accepts)
    try:
        yield
    finally:
        patch(op="add", value=stored)
        wait_for("such templates are refused", lambda: not accepts())
