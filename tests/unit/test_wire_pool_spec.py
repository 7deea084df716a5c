"""The spec of a node pool on the wire: as much of it as can be read."""

from __future__ import annotations

from typing import Any

import pytest

from immutable_operator.domain.model import OnDrift, OnTaint
from immutable_operator.wire.pool_spec import read_pool_spec
from tests.unit.pool_specs import POOLS, karpenter, pool
from tests.unit.service_specs import PIN

Json = dict[str, Any]


def test_fields_of_a_pool_reach_the_planner_in_seconds() -> None:
    given = pool(
        {"maxSurge": 2, "maxUnavailable": "10%", "progressDeadlineSeconds": 900,
         "verify": {"settle": "2m"}},
        replicas=3,
        historyLimit=5,
        suspend=True,
        drift={"bootID": "Ignore"},
        drain={"timeout": "2h", "onBlocked": "DeleteAfter"},
        deletionPolicy="Drain",
        regeneration={"maxAge": "14d"},
    )  # fmt: skip
    found, invalid = read_pool_spec("web", given, 7.0)
    assert invalid is None
    assert (found.replicas, found.history_limit, found.suspend) == (3, 5, True)
    assert (found.max_surge, found.max_unavailable) == (2, "10%")
    assert (found.progress_deadline_seconds, found.min_ready_seconds) == (900, 0)
    assert (found.regeneration.max_age, found.regeneration.schedule_since) == (14 * 86400, 7.0)
    wanted = found.pool
    assert wanted is not None
    assert (wanted.settle_seconds, wanted.drain_timeout, wanted.smoke) == (120, 7200, None)
    assert (wanted.delete_after, wanted.drains) == (True, True)
    assert wanted.drift == {
        "machineID": OnDrift.REPLACE,
        "bootID": OnDrift.IGNORE,
        "osImage": OnDrift.REPLACE,
        "kernelVersion": OnDrift.REPLACE,
        "kubeletVersion": OnDrift.REPLACE,
        "containerRuntimeVersion": OnDrift.REPLACE,
        "declaredLabels": OnDrift.REPORT,
        "declaredTaints": OnDrift.REPORT,
        "reachedInto": OnDrift.REPORT,
    }


def test_draining_nodes_count_against_the_maximum() -> None:
    found, _ = read_pool_spec("web", pool(), 0.0)
    assert found.counts_terminating
    assert found.on_taint is OnTaint.REPLACE, "spec.drift says what is only reported"


@pytest.mark.parametrize("given", POOLS)
def test_accepted_pool_is_read_without_a_problem(given: Json) -> None:
    found, invalid = read_pool_spec("web", given, 0.0)
    assert invalid is None
    assert found.problems == ()
    assert found.template is not None
    assert list(found.template) == ["image", "template", "provider"]


def test_template_is_kept_as_written_in_camel_case() -> None:
    requirements: list[Json] = [
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["b", "a"],
         "minValues": 2},
        {"key": "example.com/x", "operator": "Exists"},
    ]  # fmt: skip
    template = {
        "labels": {"team": "a", "example.com/pool": ""},
        "taints": [{"key": "b", "value": "x", "effect": "NoSchedule"}],
    }
    kubelet = {
        "kubelet": {"maxPods": 50, "systemReserved": {"cpu": 0.5}, "cpuCFSQuota": False,
                    "imageGCHighThresholdPercent": 85, "clusterDNS": ["10.0.0.10"]},
    }  # fmt: skip
    given = karpenter(
        *requirements, resources={"requests": {"cpu": 4}}, terminationGracePeriod="1h"
    )
    found, _ = read_pool_spec("web", given | {"template": template}, 0.0)
    assert found.template == {
        "image": given["image"],
        "template": template,
        "provider": given["provider"],
    }
    found, _ = read_pool_spec("web", pool(template=template | kubelet), 0.0)
    assert found.template is not None
    assert found.template["template"] == template | kubelet


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"template": None},
        {"template": {}},
        {"template": {"labels": {}, "annotations": None, "taints": [], "kubelet": {}}},
        {"template": {"kubelet": {"systemReserved": {}, "maxPods": None}}},
        {"image": {"id": "ami-0abc1234def567890", "digest": None}},
    ],
)
def test_what_is_unset_or_empty_is_not_part_of_a_revision(written: Json) -> None:
    assert read_pool_spec("web", pool() | written, 0.0)[0].template == {
        "image": {"id": "ami-0abc1234def567890"},
        "template": {},
        "provider": {"simulated": {"capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"}}},
    }


def test_provider_without_settings_stays_named() -> None:
    found, _ = read_pool_spec("web", pool(provider={"simulated": {"capacity": {}}}), 0.0)
    assert found.template is not None
    assert found.template["provider"] == {"simulated": {}}


def test_taint_with_an_empty_value_equals_one_without() -> None:
    taint = {"key": "example.com/gpu", "effect": "NoSchedule"}
    templates = [
        read_pool_spec("web", pool(template={"taints": [given]}), 0.0)[0].template
        for given in (taint, taint | {"value": ""}, taint | {"value": None})
    ]
    assert templates[0] == templates[1] == templates[2]


def test_smoke_pod_runs_once_within_its_time() -> None:
    wanted = {"image": PIN, "command": ["check"], "args": [], "timeout": "3m"}
    found, _ = read_pool_spec("web", pool({"verify": {"smokePod": wanted}}), 0.0)
    assert found.pool is not None
    assert found.pool.smoke == {
        "containers": [{"name": "smoke", "image": PIN, "command": ["check"]}],
        "restartPolicy": "Never",
        "activeDeadlineSeconds": 180,
        "automountServiceAccountToken": False,
    }


REFUSED_PARTS: dict[str, tuple[Json, str]] = {
    "an image by alias": ({"image": {"id": "al2023@latest"}}, "spec.image.id"),
    "no image": ({"image": None}, "spec.image"),
    "a provider of a later version": ({"provider": {"clusterAPI": {}}}, "spec.provider"),
    "a template of another shape": ({"template": "x"}, "spec.template"),
    "nodes of the control plane": (
        {"template": {"labels": {"node-role.kubernetes.io/control-plane": ""}}},
        "part of the control plane",
    ),
    "a surge that is none": ({"rollout": {"maxSurge": "some"}}, "spec.rollout.maxSurge"),
    "a number that is none": ({"replicas": "many"}, "spec.replicas"),
}


@pytest.mark.parametrize("why", REFUSED_PARTS)
def test_refused_pool_keeps_its_other_fields_in_force(why: str) -> None:
    """Existing nodes are kept by its fields; only the wanted revision is unknown."""
    changes, words = REFUSED_PARTS[why]
    given = pool({"maxSurge": 2}, replicas=4, suspend=True, regeneration={"maxAge": "1d"},
                 drain={"onBlocked": "DeleteAfter"}) | changes  # fmt: skip
    found, invalid = read_pool_spec("web", given, 0.0)
    assert words in str(invalid)
    assert found.template is None
    assert found.replicas == (None if "replicas" in changes else 4)
    assert found.max_surge == (1 if "rollout" in changes else 2)
    assert (found.suspend, found.regeneration.max_age) == (True, 86400)
    assert found.pool is not None
    assert found.pool.delete_after is True


@pytest.mark.parametrize("body", [None, [], "x", {}])
def test_shapeless_pool_spec_is_read_as_empty(body: object) -> None:
    found, invalid = read_pool_spec("web", body, 0.0)
    assert (found.template, found.replicas) == (None, None)
    assert invalid


def test_unreadable_schedule_of_a_pool_disables_only_itself() -> None:
    given = pool(regeneration={"schedule": "0 3 * *", "maxAge": "14d"})
    found, invalid = read_pool_spec("web", given, 0.0)
    assert invalid is None
    assert found.template is not None
    assert (found.regeneration.schedule, found.regeneration.max_age) == (None, 14 * 86400)
    [problem] = found.problems
    assert problem.startswith("spec.regeneration.schedule: ")
