"""A right is taken away while the operator runs: it says which, goes on, and recovers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.faults.report import Report
from tests.cluster.faults.stage import ALL
from tests.cluster.operator_process import ACCOUNT
from tests.cluster.services import Service, is_ready
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json

ROLE = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{ACCOUNT}"
# Group, resource and verb of each write without which a rollout cannot go on.
NEEDED = (
    ("", "pods", "create"),
    ("", "pods/eviction", "create"),
    ("immutable.dev", "immutablerevisions", "create"),
    ("immutable.dev", "immutablerevisions/status", "patch"),
)
# Longer than the longest pause after a refusal.
RECOVERY_SECONDS = 120.0


@contextmanager
def without(plane: ControlPlane, group: str, resource: str, verb: str) -> Iterator[None]:
    """The operator lacks one right inside of the block."""
    rules = plane.api().get(ROLE)["rules"]
    fewer = [part for rule in rules for part in _split(rule, group, resource, verb)]
    assert fewer != rules, "the operator never had this right"
    plane.api().merge_patch(ROLE, {"rules": fewer})
    try:
        yield
    finally:
        plane.api().merge_patch(ROLE, {"rules": rules})


def _split(rule: Json, group: str, resource: str, verb: str) -> Iterator[Json]:
    """A rule as two: the resource without the verb, and the others as they are."""
    resources, verbs = rule.get("resources", []), rule["verbs"]
    if group not in rule.get("apiGroups", []) or resource not in resources or verb not in verbs:
        yield rule
        return
    for some, may in (
        ([r for r in resources if r != resource], verbs),
        ([resource], [v for v in verbs if v != verb]),
    ):
        if some and may:
            yield {**rule, "resources": some, "verbs": may}


@pytest.mark.parametrize(("group", "resource", "verb"), NEEDED if ALL else NEEDED[:1])
def test_missing_right_is_named_and_costs_no_capacity(
    web: Service, report: Report, group: str, resource: str, verb: str
) -> None:
    web.apply(image="a", replicas=2, rollout={"maxSurge": 1})
    web.until_ready()
    before = web.pods()
    seconds = None
    try:
        with without(web.plane, group, resource, verb):
            web.apply(image="b")
            stalled = web.until_stalled("Forbidden")
            assert f'cannot {verb} resource "{resource}"' in stalled["message"]
            assert sum(map(is_ready, web.pods())) >= len(before)
        began = time.monotonic()
        web.until_ready(RECOVERY_SECONDS)
        seconds = time.monotonic() - began
    finally:
        report.add("rollout", f"the right to {verb} {resource} is taken away", seconds)
