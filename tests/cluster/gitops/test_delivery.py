"""An ImmutableService in Git: commits that work, that do not, and those that change nothing.

What a person sees is what the tool reports: green, or red with a reason. What must hold is that the
service works all the time.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.cluster.gitops.delivery import Delivery
from tests.cluster.gitops.tree import NIGHTLY, App
from tests.cluster.plugin import run
from tests.cluster.services import Service, condition, is_ready, names_of, pin
from tests.controlplane.api import Json

MISSING = {"fault": "image-not-found"}


def _settings(web: Service) -> dict[str, Json]:
    """The ConfigMaps of the generator by name."""
    path = f"/api/v1/namespaces/{web.namespace}/configmaps"
    items: Iterable[Json] = web.plane.api().get(path)["items"]
    found = {item["metadata"]["name"]: item["data"] for item in items if "data" in item}
    return {name: data for name, data in found.items() if name.startswith("settings-")}


def _read_by(web: Service, pod: Json) -> Json:
    """The content of the ConfigMap that a pod reads its environment from."""
    [container] = pod["spec"]["containers"]
    name = container["envFrom"][0]["configMapRef"]["name"]
    data: Json = web.plane.api().get(f"/api/v1/namespaces/{web.namespace}/configmaps/{name}")[
        "data"
    ]
    return data


def test_commit_is_green_when_its_rollout_is_complete(delivery: Delivery) -> None:
    web = delivery.web
    delivery.commit(App(image="a"))
    delivery.until_green()
    assert web.images() == [pin("a")] * 3
    assert len(delivery.ready()) == 3

    delivery.commit(App(image="b"))
    delivery.until_green()
    assert web.images() == [pin("b")] * 3
    assert len(delivery.ready()) == 3


def test_broken_commit_is_red_and_its_revert_is_green(delivery: Delivery) -> None:
    web = delivery.web
    delivery.commit(App(image="a"))
    delivery.until_green()
    before = {pod["metadata"]["uid"] for pod in web.active()}

    delivery.commit(App(image="b", sim=MISSING))
    why = delivery.until_red()
    assert "ImmutableService" in why
    web.until_stalled("RolledBack")
    assert condition(web.get(), "Available")["status"] == "True"
    web.until("the pods are those of before", lambda: _working(web) == before)

    delivery.revert()
    delivery.until_green()
    assert _working(web) == before, "going back moves nothing"


def _working(web: Service) -> set[str]:
    return {pod["metadata"]["uid"] for pod in web.active() if is_ready(pod)}


def test_pruned_config_map_is_still_read_by_its_revision(delivery: Delivery) -> None:
    web = delivery.web
    delivery.commit(App(settings="old"))
    delivery.until_green()
    [old] = _settings(web)

    delivery.commit(App(settings="new", sim=MISSING))
    delivery.until_red()
    web.until_stalled("RolledBack")
    web.until("the old ConfigMap is pruned", lambda: old not in _settings(web))
    lost = web.active()[0]["metadata"]["name"]
    web.kubectl("delete", "pod", lost, "--wait=false")
    web.until("it is replaced", lambda: lost not in delivery.ready() and len(delivery.ready()) == 3)

    assert {str(_read_by(web, pod)) for pod in web.active()} == {"{'GREETING': 'old'}"}


def test_changed_config_map_is_rolled_out(delivery: Delivery) -> None:
    web = delivery.web
    delivery.commit(App(settings="old"))
    delivery.until_green()
    old = names_of(web.active())

    delivery.commit(App(settings="new"))
    delivery.until_green()

    assert not old & names_of(web.active())
    assert {str(_read_by(web, pod)) for pod in web.active()} == {"{'GREETING': 'new'}"}


def test_applied_service_is_compared_and_not_written(delivery: Delivery) -> None:
    web = delivery.web
    delivery.commit(App(spec={"regeneration": NIGHTLY}))
    delivery.until_green()
    version = web.get()["metadata"]["resourceVersion"]
    assert delivery.writes_while_it_is_compared() == []
    assert web.get()["metadata"]["resourceVersion"] == version
    delivery.until_green()


def test_autoscaler_owns_the_replicas(delivery: Delivery) -> None:
    web = delivery.web
    delivery.commit(App(image="a", least=3))
    web.until("it is scaled to the minimum", lambda: web.get()["spec"].get("replicas") == 3)
    delivery.until_green()

    delivery.commit(App(image="b", least=3))
    delivery.until_green()
    assert web.get()["spec"]["replicas"] == 3
    assert web.images() == [pin("b")] * 3

    delivery.commit(App(image="b", least=4))
    web.until("it is scaled to the minimum", lambda: web.get()["spec"]["replicas"] == 4)
    web.until_ready()
    delivery.until_green()
    assert len(web.active()) == 4


def test_suspension_by_the_plugin_lasts_until_it_is_resumed(delivery: Delivery) -> None:
    """Flux removes fields that it finds under names that begin with kubectl."""
    web = delivery.web
    delivery.commit(App(image="a"))
    delivery.until_green()
    before = names_of(web.active())
    done = run(web, "suspend", "web")
    assert done.code == 0, done.err

    delivery.commit(App(image="b"))
    web.until("the commit is applied", lambda: pin("b") in str(web.get()["spec"]))
    assert web.get()["spec"]["suspend"] is True
    assert names_of(web.active()) == before
    assert not delivery.is_green()

    done = run(web, "resume", "web")
    assert done.code == 0, done.err
    delivery.until_green()
    assert web.images() == [pin("b")] * 3


def test_suspend_that_is_in_git_is_restored(delivery: Delivery) -> None:
    web = delivery.web
    delivery.commit(App(spec={"suspend": False}))
    delivery.until_green()
    version = web.get()["metadata"]["generation"]
    assert run(web, "suspend", "web").code == 0

    web.until("it was written", lambda: web.get()["metadata"]["generation"] > version)
    web.until("it is that of Git", lambda: web.get()["spec"]["suspend"] is False)
    delivery.until_green()


def test_what_is_not_followed_any_more_is_deleted_with_its_pods(delivery: Delivery) -> None:
    delivery.commit(App())
    delivery.until_green()
    delivery.stop_following()
    delivery.web.until_gone()
