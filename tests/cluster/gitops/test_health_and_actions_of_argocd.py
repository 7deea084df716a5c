"""What people see and do in Argo CD itself: health in its words, and the actions on a service.

The actions go through the server of Argo CD, with the permissions of gitops/argocd/rbac.yaml.
"""

from __future__ import annotations

import pytest

from tests.cluster.gitops.delivery import ArgoDelivery
from tests.cluster.gitops.tree import NIGHTLY, App
from tests.cluster.services import KIND_PATH, Service, pin
from tests.controlplane.api import Json
from tests.controlplane.argocd import NAMESPACE, SERVER, ArgoCD
from tests.waiting import wait_for

pytestmark = pytest.mark.parametrize(
    "tool", [pytest.param(ArgoCD, id="argocd")], indirect=True, scope="session"
)

MISSING = {"fault": "image-not-found"}


def _until_ended(web: Service, kind: str) -> Json:
    """Until the only action of the service has ended; returns it."""
    path = f"{KIND_PATH}/{web.namespace}/immutableactions"

    def ended() -> Json | None:
        [action] = web.plane.api().get(path)["items"]
        done = action.get("status", {}).get("phase") in ("Succeeded", "Failed")
        return action if done else None

    action = wait_for(f"{kind} has ended", ended, 120, web.describe)
    assert action
    assert action["spec"]["type"] == kind
    return action


def test_suspend_and_resume_hold_the_service(delivery: ArgoDelivery, tool: ArgoCD) -> None:
    web = delivery.web
    delivery.commit(App(image="a"))
    delivery.until_green()

    tool.run_action(web.namespace, "suspend")
    web.until("it is Suspended", lambda: delivery.health()[0] == "Suspended")
    delivery.commit(App(image="b"))
    web.until("the commit is applied", lambda: pin("b") in str(web.get()["spec"]))
    # Progressing until the operator has processed the commit.
    web.until("it is Suspended again", lambda: delivery.health()[0] == "Suspended")
    assert web.images() == [pin("a")] * 3
    assert tool.actions(web.namespace)["resume"]

    tool.run_action(web.namespace, "resume")
    delivery.until_green()
    assert web.images() == [pin("b")] * 3


def test_regenerate_replaces_all_pods(delivery: ArgoDelivery, tool: ArgoCD) -> None:
    web = delivery.web
    delivery.commit(App())
    delivery.until_green()
    before = {pod["metadata"]["uid"] for pod in web.active()}

    tool.run_action(web.namespace, "regenerate")
    action = _until_ended(web, "Regenerate")

    assert action["status"]["phase"] == "Succeeded", action["status"]
    assert not before & {pod["metadata"]["uid"] for pod in web.active()}
    assert f"system:serviceaccount:{NAMESPACE}:{SERVER}" in str(action)
    delivery.until_green()


def test_retry_is_offered_after_a_failure(delivery: ArgoDelivery, tool: ArgoCD) -> None:
    web = delivery.web
    delivery.commit(App(image="a"))
    delivery.until_green()
    assert not tool.actions(web.namespace)["retry"]

    delivery.commit(App(image="b", sim=MISSING))
    web.until("it is Degraded", lambda: "ImageNotFound" in delivery.why_red(), 120)
    assert tool.actions(web.namespace)["retry"]

    tool.run_action(web.namespace, "retry")
    assert _until_ended(web, "Retry")["status"]["phase"] == "Failed"
    web.until_stalled("RolledBack")


def test_promote_ends_a_pause_and_abort_rejects(delivery: ArgoDelivery, tool: ArgoCD) -> None:
    web = delivery.web
    steps = [{"setReplicas": 1}, {"pause": {"until": "Promoted"}}]
    rollout = {"strategy": "Canary", "canary": {"steps": steps}}
    delivery.commit(App(image="a", spec={"rollout": rollout}))
    delivery.until_green()
    assert not tool.actions(web.namespace)["promote"]

    delivery.commit(App(image="b", spec={"rollout": rollout}))
    web.until("it waits", lambda: "waiting for its promotion" in delivery.health()[1], 120)
    assert delivery.health()[0] == "Suspended"
    assert tool.actions(web.namespace)["promote"]
    tool.run_action(web.namespace, "promote")
    assert _until_ended(web, "Promote")["status"]["phase"] == "Succeeded"
    delivery.until_green()
    assert web.images() == [pin("b")] * 3


def test_server_side_apply_shows_no_difference(delivery: ArgoDelivery) -> None:
    delivery.options = ("ServerSideApply=true",)
    delivery.commit(App(spec={"regeneration": NIGHTLY}))
    delivery.until_green()
    assert delivery.writes_while_it_is_compared() == []
    delivery.until_green()
