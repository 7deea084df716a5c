"""The health that Argo CD gives to real objects, as they are after each thing that can happen."""

from __future__ import annotations

import json
import time

from tests.argocd_tables import FOLDER
from tests.cluster.actions import act, freeze_of
from tests.cluster.services import KIND_PATH, Service, born, condition
from tests.controlplane.api import Json
from tests.lua import execute, health

MISSING = {"fault": "image-not-found"}


def _health(body: Json) -> tuple[str, str]:
    script = FOLDER / body["kind"] / "health.lua"
    found = health(script.read_text(encoding="utf-8"), body)
    return found["status"], found["message"]


def _until(web: Service, status: str) -> str:
    """Until the service has this health; returns the message."""
    body = web.once(f"it is {status}", lambda body: _health(body)[0] == status)
    return _health(body)[1]


def _action(web: Service, name: str) -> Json:
    return web.plane.api().get(f"{KIND_PATH}/{web.namespace}/immutableactions/{name}")


def _run(web: Service, action: str) -> str:
    """Carry out an action of Argo CD that creates an object; returns its name."""
    script = FOLDER / "ImmutableService" / "actions" / action / "action.lua"
    [change] = execute(script.read_text(encoding="utf-8"), web.get())
    document = json.dumps(change["resource"])
    created = web.plane.kubectl("create", "-o", "name", "-f", "-", stdin=document).stdout
    return created.strip().partition("/")[2]


def test_health_follows_a_rollout_a_failure_and_its_repair(web: Service) -> None:
    web.apply(image="a", replicas=2)
    _until(web, "Healthy")
    web.apply(image="b", sim={"ready-delay": "5s"})
    assert _health(web.get())[0] == "Progressing"
    _until(web, "Healthy")

    web.apply(image="c", sim=MISSING)
    web.until_stalled("RolledBack")
    message = _until(web, "Degraded")
    assert message == condition(web.get(), "Ready")["message"]
    assert "ImageNotFound" in message
    assert [_health(revision)[0] for revision in web.revisions()] == [
        *("Healthy", "Healthy", "Degraded")
    ]

    web.apply(image="b", sim={"ready-delay": "5s"})
    _until(web, "Healthy")


def test_health_is_suspended_while_a_user_suspends_the_service(web: Service) -> None:
    web.apply(image="a", replicas=2)
    _until(web, "Healthy")
    web.apply(image="b", spec={"suspend": True})
    assert "suspended" in _until(web, "Suspended")
    web.apply(spec={"suspend": False})
    _until(web, "Healthy")

    freeze = freeze_of(web, "release week")
    web.plane.kubectl("create", "-f", "-", stdin=json.dumps(freeze))
    try:
        web.apply(image="c")
        assert "release week" in _until(web, "Suspended")
        assert _health(freeze) == ("Healthy", f"release week (until {freeze['spec']['until']})")
    finally:
        web.plane.kubectl("delete", "immutablefreeze", freeze["metadata"]["name"])
    _until(web, "Healthy")


def test_actions_of_argo_cd_are_created_and_carried_out(web: Service) -> None:
    web.apply(image="a", replicas=2)
    _until(web, "Healthy")
    before = {pod["metadata"]["uid"] for pod in web.active()}
    newest = max(map(born, web.active()))
    web.until("all pods are older than the action", lambda: time.time() > newest + 1.2)
    name = _run(web, "regenerate")
    web.until("it is carried out", lambda: _health(_action(web, name))[0] == "Healthy")
    assert not before & {pod["metadata"]["uid"] for pod in web.active()}
    [owner] = _action(web, name)["metadata"]["ownerReferences"]
    assert owner["uid"] == web.get()["metadata"]["uid"]


def test_health_is_suspended_at_a_pause_that_the_action_promote_ends(web: Service) -> None:
    steps = [{"setReplicas": 1}, {"pause": {"until": "Promoted"}}]
    web.apply(image="a", replicas=2, rollout={"strategy": "Canary", "canary": {"steps": steps}})
    _until(web, "Healthy")
    web.apply(image="b")
    assert "waiting for its promotion" in _until(web, "Suspended")
    name = _run(web, "promote")
    web.until("it is carried out", lambda: _health(_action(web, name))[0] == "Healthy")
    _until(web, "Healthy")


def test_action_that_does_not_apply_is_degraded(web: Service) -> None:
    web.apply(image="a", replicas=1)
    _until(web, "Healthy")
    act(web, "again", type="Retry")
    web.until("it fails", lambda: _health(_action(web, "again"))[0] == "Degraded")
    assert "nothing to retry" in _health(_action(web, "again"))[1]
