"""The records and copies that a rollback rests on: protected, kept, deleted, lost.

Each test counts the pods that were born and told to end, by an independent watcher.
"""

from __future__ import annotations

from dataclasses import replace

from tests.cluster.actions import act, phase
from tests.cluster.guards import without_guards
from tests.cluster.history import History
from tests.cluster.rollbacks import (
    CRASH,
    broken,
    counts,
    ready,
    record,
    until_back,
    until_failed,
    verdict,
)
from tests.cluster.services import Service, condition, names, pin

# The policies let nobody but the garbage collector delete a copy.
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
READS = {"envFrom": [{"configMapRef": {"name": "settings"}}]}
# It works until all of it is there, and crashes while it bakes.
BAKES = {"fault": "crash-after-ready", "crash-after": "20s"}


def test_no_user_can_make_the_service_forget_a_failed_revision(web: Service) -> None:
    broken(web)
    name = record(web, 2)["metadata"]["name"]
    told = web.kubectl("delete", "imrev", name, check=False)
    assert "historyLimit" in told
    good = ("imrev", name, "--type=merge", "--subresource=status", "-p")
    assert "immutable" in web.kubectl("patch", *good, '{"status":{"phase":"Good"}}', check=False)
    web.always("nothing moves", lambda: web.images() == [pin("a")] * 2, 2)
    assert verdict(web, 2)["phase"] == "Failed"


def test_history_is_pruned_around_the_failed_and_the_good_one(web: Service) -> None:
    web.apply(image="a", replicas=1, spec={"historyLimit": 1})
    web.until_ready()
    good = names(web)
    with History(web) as history:
        for number, image in enumerate("bcd", 2):
            web.apply(image=image, sim=CRASH)
            until_failed(web, number)
            until_back(web)
        web.until("what failed is gone", lambda: len(web.pods()) == 1)
    assert counts(history) == (3, 3), history.story()
    assert names(web) == good
    phases = {r["spec"]["image"]: r["status"]["phase"] for r in web.revisions()}
    assert list(phases.values()).count("Good") == 1
    assert web.revisions()[-1]["status"]["phase"] == "Failed"
    assert web.images() == [pin("a")]


def test_record_of_what_failed_is_deleted_by_an_administrator(web: Service) -> None:
    """Where no policy prevents it: nothing says any more that it failed, so it fails once more."""
    broken(web)
    good, deleted = names(web), record(web, 2)["metadata"]
    with History(web) as history:
        with without_guards(web.plane):
            web.kubectl("delete", "imrev", deleted["name"])
        web.until(
            "it is on record again", lambda: record(web, 2)["metadata"]["uid"] != deleted["uid"]
        )
        until_failed(web, 2)
        until_back(web)
        web.until("what failed is gone", lambda: names(web) == good)
    assert counts(history) == (1, 1), history.story()
    assert len(web.events("RevisionFailed")) == 2


def test_record_of_the_good_revision_is_deleted_by_an_administrator(web: Service) -> None:
    """Nothing else is on record: its pods are kept, and what failed is told of."""
    broken(web)
    good = names(web)
    with History(web) as history:
        with without_guards(web.plane):
            web.kubectl("delete", "imrev", record(web, 1)["metadata"]["name"])
        web.until(
            "it says so",
            lambda: "no revision to go back to" in condition(web.get(), "Stalled")["message"],
        )
        web.until("all that work stay", lambda: good <= names(web))
    assert not {r.name for r in history.retirements()} & good, history.story()
    assert condition(web.get(), "Available")["status"] == "True"


def test_rollback_restores_the_configuration(web: Service) -> None:
    """The pods read the copy of the revision that is gone back to, whatever the ConfigMap says."""
    web.kubectl("create", "configmap", "settings", "--from-literal=level=info")
    reads = {"envFrom": [{"configMapRef": {"name": "settings"}}]}
    web.apply(image="a", replicas=2, container=reads)
    web.until_ready()
    [pinned] = record(web, 1)["spec"]["config"]
    web.kubectl("patch", "configmap", "settings", "--patch", '{"data": {"level": "debug"}}')
    web.until("it is read", lambda: len(web.revisions()) == 2)
    web.until("it is rolled out", lambda: verdict(web, 2).get("phase") == "Good")
    act(web, "undo", type="RollBack", revision=record(web, 1)["spec"]["revision"])
    web.until("it went back", lambda: phase(web, "undo") == "Succeeded")
    containers = [pod["spec"]["containers"][0] for pod in web.active()]
    assert [c["envFrom"][0]["configMapRef"]["name"] for c in containers] == [pinned["snapshot"]] * 2
    path = f"/api/v1/namespaces/{web.namespace}/configmaps/{pinned['snapshot']}"
    assert web.plane.api().get(path)["data"] == {"level": "info"}


def put(web: Service, level: str) -> None:
    settings = f"/api/v1/namespaces/{web.namespace}/configmaps/settings"
    web.plane.api().merge_patch(settings, {"data": {"level": level}})


def until_good(web: Service, number: int) -> None:
    web.until(f"{number} is good", lambda: verdict(web, number).get("phase") == "Good")


def configured(web: Service, *levels: str) -> None:
    """A good revision of one pod for each value of a ConfigMap."""
    web.kubectl("create", "configmap", "settings", f"--from-literal=level={levels[0]}")
    web.apply(image="a", replicas=1, container=READS)
    until_good(web, 1)
    for number, level in enumerate(levels[1:], 2):
        put(web, level)
        until_good(web, number)


def bake_without_copy(web: Service, number: int) -> None:
    """Another revision bakes, which reads nothing; the copy of a good one cannot be made again."""
    web.apply(image="b", container={}, sim=BAKES, rollout={"bakeSeconds": 600})
    web.until("it bakes", lambda: condition(web.get(), "Reconciling").get("reason") == "Baking")
    put(web, "something else")
    [pinned] = record(web, number)["spec"]["config"]
    path = f"/api/v1/namespaces/{web.namespace}/configmaps/{pinned['snapshot']}"
    replace(web.plane.api(), impersonated=COLLECTOR).request("DELETE", path)


def test_older_good_revision_is_restored_if_the_copy_of_the_last_one_is_lost(web: Service) -> None:
    configured(web, "info", "debug")
    with History(web) as history:
        bake_without_copy(web, 2)
        told = web.until_stalled("RolledBack")
        web.until("the older one runs", lambda: web.images() == [pin("a")] and ready(web) == 1)
        web.until("what failed is gone", lambda: len(web.pods()) == 1)
    assert counts(history) == (2, 2), history.story()
    [pod] = web.active()
    [pinned] = record(web, 1)["spec"]["config"]
    reads = pod["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    assert reads == pinned["snapshot"]
    assert "FailedWhileBaking" in told["message"]
    for said in (told["message"], verdict(web, 3)["message"]):
        assert "the copy of ConfigMap settings for revision 2" in said
    [event] = web.events("RevisionFailed")
    assert "going back to revision 1" in event["message"]


def test_failed_revision_is_kept_if_no_copy_of_a_good_one_is_left(web: Service) -> None:
    configured(web, "info")
    with History(web) as history:
        bake_without_copy(web, 1)
        until_failed(web, 2)
        web.until("it is told", lambda: web.blocker("SnapshotLost"))
        web.always("it is kept", lambda: web.images() == [pin("b")], 2)
    assert counts(history) == (1, 1), history.story()
    assert condition(web.get(), "Stalled")["status"] == "True"
