"""What users do around a service: scale it, delete it, re-create it, upgrade the operator."""

from __future__ import annotations

import json

import pytest

from tests.cluster.autoscaling import autoscale
from tests.cluster.guards import without_guards
from tests.cluster.history import History
from tests.cluster.operator_process import CHART, NAMESPACE, Operators
from tests.cluster.services import KIND_PATH, Service, condition, pin
from tests.controlplane.api import ApiError, Json
from tests.waiting import wait_for


def scale_path(web: Service) -> str:
    return f"{KIND_PATH}/{web.namespace}/immutableservices/web/scale"


def uids(service: Service) -> set[str]:
    return {pod["metadata"]["uid"] for pod in service.active()}


def test_kubectl_scale_changes_replicas(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    before = uids(web)
    told = web.kubectl("scale", "imsvc/web", "--replicas=4")
    assert "immutableservice.immutable.dev/web scaled" in told
    web.until_ready()
    assert len(web.active()) == 4
    assert before < uids(web)
    refused = web.kubectl("scale", "imsvc/web", "--current-replicas=2", "--replicas=1", check=False)
    assert "Expected replicas to be 2, was 4" in refused


def test_scale_subresource_serves_autoscaler(web: Service) -> None:
    """An autoscaler needs the selector and the number of pods, and writes the number wanted."""
    web.apply(image="a", replicas=2)
    web.until_ready()
    read: Json = json.loads(web.kubectl("get", "--raw", scale_path(web)))
    assert read["kind"] == "Scale"
    assert read["spec"] == {"replicas": 2}
    assert read["status"] == {"replicas": 2, "selector": "immutable.dev/service=web"}
    picked = web.kubectl("get", "pods", "-l", read["status"]["selector"], "-o", "name")
    assert len(picked.splitlines()) == 2

    def written() -> bool:
        """Write as an autoscaler does, which reads again after a conflict."""
        scale = web.plane.api().get(scale_path(web))
        scale["spec"]["replicas"] = 3
        try:
            answer = web.plane.api().request("PUT", scale_path(web), scale)
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return bool(answer["spec"]["replicas"] == 3)

    web.until("the scale is written", written)
    web.until_ready()
    assert len(web.active()) == 3
    assert web.plane.api().get(scale_path(web))["status"]["replicas"] == 3


def test_horizontal_pod_autoscaler_scales_service(web: Service) -> None:
    """It may scale: bounds alone, without any metrics, move the number."""
    web.apply(image="a", replicas=1)
    web.until_ready()
    autoscale(web, least=3, most=5)
    path = f"/apis/autoscaling/v2/namespaces/{web.namespace}/horizontalpodautoscalers/web"
    wait_for(
        "the autoscaler is able to scale",
        lambda: condition(web.plane.api().get(path), "AbleToScale").get("status") == "True",
        90,
        lambda: json.dumps(web.plane.api().get(path)["status"], indent=1),
    )
    web.until("it scaled", lambda: len(web.active()) == 3)
    web.until_ready()


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_deletion_finishes_without_operator(
    web: Service, operators: Operators, cascade: str
) -> None:
    web.apply(image="a", replicas=3)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
    assert web.get()["metadata"].get("finalizers") is None
    operators.main.stop()
    web.kubectl("delete", "imsvc", "web", f"--cascade={cascade}", "--timeout=100s")
    web.until_gone()


def test_service_being_deleted_gets_no_new_pods(web: Service) -> None:
    """Foreground deletion waits for the pods: each that goes must not be replaced."""
    web.apply(image="a", replicas=3, sim={"terminate-delay": "2s"})
    web.until_ready()
    with History(web) as history:
        web.kubectl("delete", "imsvc", "web", "--cascade=foreground", "--timeout=100s")
        web.until_gone()
        assert history.births() == []


def test_orphaned_pods_are_left_alone(web: Service) -> None:
    """Where the policies do not refuse it, as they do by default."""
    web.apply(image="a", replicas=2)
    web.until_ready()
    before = uids(web)
    with without_guards(web.plane):
        web.kubectl("delete", "imsvc", "web", "--cascade=orphan")
    path = f"/api/v1/namespaces/{web.namespace}/pods"
    items = web.plane.api().get(path)["items"]
    assert {pod["metadata"]["uid"] for pod in items} == before
    assert not any("deletionTimestamp" in pod["metadata"] for pod in items)


def test_recreated_service_gets_pods_of_its_own(web: Service) -> None:
    """The namesake gets pods of its own; those of the old one go."""
    web.apply(image="a", replicas=3, sim={"terminate-delay": "1s"})
    web.until_ready()
    old = uids(web)
    web.kubectl("delete", "imsvc", "web", "--wait=false")
    web.apply()
    web.until_ready()
    web.until("three of its own", lambda: len(web.pods()) == 3)
    owner = web.get()["metadata"]["uid"]
    assert not old & uids(web)
    for body in (*web.pods(), *web.revisions()):
        assert body["metadata"]["ownerReferences"][0]["uid"] == owner


def test_chart_upgrade_replaces_no_pod(web: Service, operators: Operators) -> None:
    web.apply(image="a", replicas=3)
    web.until_ready()
    before = uids(web)
    with History(web) as history:
        operators.aim_webhook_as_installed()
        web.plane.helm(
            *("upgrade", "immutable-operator", str(CHART), "--set", "replicas=0"),
            *("--set", "podLabels.upgraded=yes"),
            namespace=NAMESPACE,
        )
        operators.aim_webhook()
        operators.restart().until_leading()
        web.apply(replicas=4)  # it sees to the service again
        web.until_ready()
        assert history.retirements() == []
    assert before < uids(web)
    assert len(web.revisions()) == 1


def test_namespace_deletion_during_rollout_finishes(web: Service) -> None:
    """It goes, and the operator neither stops nor asks in vain for ever."""
    web.apply(image="a", replicas=4, sim={"ready-delay": "1s"})
    web.until_ready()
    web.apply(image="b")
    web.until("b grows", lambda: pin("b") in web.images())
    web.plane.kubectl("delete", "namespace", web.namespace, "--timeout=100s")
    with pytest.raises(ApiError, match="not found"):
        web.plane.api().get(f"/api/v1/namespaces/{web.namespace}")
