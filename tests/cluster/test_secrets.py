"""`detection.secrets: true`: a Secret that is recreated replaces those that read it.

On a control plane of its own: that value gives the operator a right which it has nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from immutable_operator.runtime.evidence import RECREATED
from tests.cluster.audit import OperatorRequests
from tests.cluster.guards import until_in_force, until_kinds_are_known
from tests.cluster.history import History
from tests.cluster.operator_process import CHART, NAMESPACE, USER, Installation, OperatorProcess
from tests.cluster.services import Service, annotation
from tests.controlplane import ControlPlane

REPLICAS = 2
FLAG = "--watch-secrets"


@pytest.fixture
def watched() -> Iterator[Service]:
    """A service that is not applied yet, and an operator as the chart starts it with the value."""
    with ControlPlane.start() as plane:
        plane.add_nodes(2)
        installed = Installation.install(plane, "--set", "detection.secrets=true")
        until_in_force(plane)
        until_kinds_are_known(plane, USER)
        image = f"image.repository=registry.example/operator,image.digest=sha256:{'0' * 64}"
        values = f"--set=detection.secrets=true,{image}"
        shipped = plane.helm("template", str(CHART), values).stdout
        assert f"- {FLAG}\n" in shipped
        operator = OperatorProcess(installed, "operator", (FLAG,)).until_leading()
        try:
            yield Service(plane, "default")
        finally:
            operator.stop()


def test_recreated_secret_replaces_its_readers(watched: Service) -> None:
    def make(text: str) -> None:
        watched.kubectl("create", "secret", "generic", "settings", f"--from-literal=mode={text}")

    def names() -> set[str]:
        return {pod["metadata"]["name"] for pod in watched.active()}

    make("old")
    watched.apply(
        replicas=REPLICAS,
        rollout={"maxSurge": 1},
        container={"envFrom": [{"secretRef": {"name": "settings"}}]},
    )
    watched.until_ready()
    before, born = names(), time.time()
    # Kubernetes tells times in whole seconds: the new one must be seen to be younger.
    watched.until("some seconds passed", lambda: time.time() - born > 3)
    with History(watched) as history:
        watched.kubectl("delete", "secret", "settings")
        watched.always("nothing happens without it", lambda: names() == before, 1)
        make("new")
        watched.until("all are replaced", lambda: names().isdisjoint(before))
        watched.until_ready()
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
        reasons = {annotation(birth.pod, "because") for birth in history.births()}
    assert reasons == {f"Drifted: Secret settings {RECREATED}"}
    asked = [r for r in OperatorRequests(watched.plane) if r.resource == "secrets"]
    assert all(r.allowed for r in asked)
    # It lists and watches, and opens none but its own.
    assert {r.verb for r in asked if r.namespace != NAMESPACE} == {"list", "watch"}
