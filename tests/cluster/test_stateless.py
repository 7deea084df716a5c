"""Templates that keep state on a node or in a shared volume: refused, permitted, and kept."""

from __future__ import annotations

import json

import pytest

from tests.cluster.earlier_rules import applied, before_the_rules
from tests.cluster.operator_process import Installation
from tests.cluster.refusals import told_by_a_rule
from tests.cluster.services import Service, annotation, condition, names
from tests.controlplane.api import ApiError, Json
from tests.unit.service_specs import KEPT_STATE, Refused, spec, volume

CLAIM = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
LOG = {"volumes": [{"name": "log", "hostPath": {"path": "/var/log"}}]}
PERMITTED = {"immutability": {"nodeLocal": "Allow", "sharedVolumes": "Allow"}}


@pytest.mark.parametrize("case", KEPT_STATE, ids=lambda case: case.why)
def test_template_that_keeps_state_is_refused_at_apply(
    case: Refused, installation: Installation, module_namespace: str
) -> None:
    said = applied(installation.plane, module_namespace, case.spec)
    assert said.strip() == f'The ImmutableService "web" is invalid: {told_by_a_rule(case)}'
    permitted = applied(installation.plane, module_namespace, case.spec | PERMITTED)
    assert permitted.strip().endswith("created (server dry run)")


def test_all_that_keeps_state_is_named_at_once(
    installation: Installation, module_namespace: str
) -> None:
    given = volume("hostPath")
    given["template"]["spec"] |= {"hostPID": True, "hostIPC": True}
    said = applied(installation.plane, module_namespace, given)
    assert [line.split(":")[0].removeprefix("* ") for line in said.strip().split("\n")[1:]] == [
        "spec.template.spec.volumes",
        "spec.template.spec.hostPID",
        "spec.template.spec.hostIPC",
    ]


def test_template_with_nulls_and_the_network_of_the_host_is_accepted(
    installation: Installation, module_namespace: str
) -> None:
    given = spec()
    nothing = dict.fromkeys(("volumes", "initContainers", "hostPID", "hostIPC"))
    given["template"]["spec"] |= nothing | {"hostNetwork": True}
    given["template"]["spec"]["containers"][0]["securityContext"] = {"privileged": None}
    assert "created" in applied(installation.plane, module_namespace, given)


def test_service_with_a_claim_cannot_be_scaled_beyond_one_without_permission(web: Service) -> None:
    web.apply(replicas=1, pod=CLAIM, spec={"suspend": True})
    for scale in (
        ("scale", "imsvc/web", "--replicas=2"),
        ("patch", "imsvc", "web", "--subresource=scale", "-p", '{"spec":{"replicas":2}}'),
    ):
        said = web.kubectl(*scale, *(("--type=merge",) if "patch" in scale else ()), check=False)
        assert "immutability.sharedVolumes: Allow" in said
    web.kubectl("scale", "imsvc/web", "--replicas=0")
    web.apply(spec={"suspend": True, "immutability": {"sharedVolumes": "Allow"}})
    web.kubectl("scale", "imsvc/web", "--replicas=2")
    # The permission cannot be withdrawn while it is used.
    with pytest.raises(RuntimeError, match=r"immutability\.sharedVolumes: Allow"):
        web.apply(replicas=2, spec={"suspend": True})


def test_service_without_a_number_cannot_share_a_claim_among_those_that_run(web: Service) -> None:
    """A policy fills in the number that runs, so the definition knows it."""
    web.apply(image="a", replicas=2)
    web.until_ready()
    before = names(web)
    with pytest.raises(RuntimeError, match="volume data uses a persistentVolumeClaim"):
        web.apply(replicas=None, pod=CLAIM)
    assert names(web) == before


def until_noticed(service: Service) -> Json:
    service.until("it is reported", lambda: condition(service.get(), "NotStateless"))
    return condition(service.get(), "NotStateless")


def test_running_services_are_kept_and_reported_until_their_next_template(
    web: Service, installation: Installation
) -> None:
    plane = installation.plane
    claiming = Service(plane, web.namespace, "claiming")
    web.apply(image="a", replicas=2, pod=LOG, spec=PERMITTED)
    claiming.apply(image="a", replicas=2, pod=CLAIM, spec=PERMITTED)
    web.until_ready()
    # There is no such claim, so these pods are never scheduled: what counts is that they stay.
    claiming.until("it has two pods", lambda: len(claiming.active()) == 2)
    with before_the_rules(plane):  # an earlier release recorded them without permission
        web.apply(spec={})
        claiming.apply(spec={})
    kept = names(web), names(claiming)
    for service, reason, words in (
        (web, "NodeLocal", "volume log uses hostPath"),
        (claiming, "SharedVolumes", "volume data uses a persistentVolumeClaim"),
    ):
        said = until_noticed(service)
        assert (said["status"], said["reason"]) == ("True", reason)
        assert words in said["message"]
        [event] = service.events("NotStateless")
        assert event["type"] == "Warning"
        assert words in event["message"]
    # What does not touch the template passes: other fields, labels, another size.
    web.apply(rollout={"maxSurge": 2})
    web.kubectl("label", "imsvc", "web", "team=shop")
    web.kubectl("scale", "imsvc/web", "--replicas=3")
    claiming.kubectl("scale", "imsvc/claiming", "--replicas=3")
    web.until_ready()
    claiming.until("it grows", lambda: len(claiming.active()) == 3)
    assert names(web) > kept[0]
    assert names(claiming) > kept[1]
    # A lost pod is born again.
    lost = min(kept[0])
    web.kubectl("delete", "pod", lost, "--wait=false")
    web.until("it is replaced", lambda: len(web.active()) == 3 and lost not in names(web))
    assert {annotation(pod, "because") for pod in web.active()} >= {"Missing: it was deleted"}
    # The next template must not keep state, or say that it may.
    for service in (web, claiming):
        with pytest.raises(RuntimeError, match=": Allow"):
            service.apply(image="b", replicas=3)
    web.apply(image="b", spec={"immutability": {"nodeLocal": "Allow"}})
    web.until_ready()
    assert condition(web.get(), "NotStateless") == {}
    assert len(web.events("NotStateless")) == 1


def test_permission_cannot_be_withdrawn_while_the_template_needs_it(web: Service) -> None:
    web.apply(replicas=0, pod=LOG, spec={"immutability": {"nodeLocal": "Allow"}})
    refusal = '{"spec": {"immutability": {"nodeLocal": "Refuse"}}}'
    path = f"/apis/immutable.dev/v1alpha1/namespaces/{web.namespace}/immutableservices/web"
    with pytest.raises(ApiError, match="volume log uses hostPath"):
        web.plane.api().merge_patch(path, json.loads(refusal))
