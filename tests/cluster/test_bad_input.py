"""Bad input that only shows when a pod is created or started: what the user is told, and that it
costs little and mends itself. What is refused at apply already is in test_crds.py.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from immutable_operator.api.names import API_VERSION
from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.model import instance_name, revision_id
from tests.cluster.audit import OperatorRequests
from tests.cluster.guards import without_guards
from tests.cluster.services import Service, Wish, condition, is_ready, pin

REFUSED = [
    pytest.param(
        {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
        'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal'
        " to cpu limit of 1",
        id="requests above limits",
    ),
    pytest.param(
        {"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        'spec.containers[0].volumeMounts[0].name: Not found: "data"',
        id="mount without volume",
    ),
]


@pytest.mark.parametrize(("container", "words"), REFUSED)
def test_template_refused_by_api_server_stalls_with_its_message(
    web: Service, container: dict[str, Any], words: str
) -> None:
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.apply(image="a", replicas=3, container=container)
    stalled = web.until_stalled("TemplateRefused")
    assert words in stalled["message"]
    assert words in condition(web.get(), "Ready")["message"]
    blocker = web.blocker("TemplateRefused")
    assert blocker
    assert words in blocker["message"]
    [event] = web.events("Stalled")
    assert event["type"] == "Warning"
    assert words in event["message"]
    assert words in web.kubectl("get", "imsvc", "web", "-o", "wide")
    web.always("one revision", lambda: len(web.revisions()) == 1, 6)
    assert asked.count("create immutablerevisions") == 1
    assert_ever_rarer(asked, 5.0)
    assert len(web.events("Stalled")) == 1
    web.apply(container={})
    web.until_ready()
    assert web.images() == [pin("a")] * 3
    assert web.status()["blockers"] == []


def assert_ever_rarer(asked: OperatorRequests, first: float) -> None:
    """A pod was tried, and again after this many seconds, then after twice as many, and so on."""
    tries = [r.received for r in asked.writes() if (r.verb, r.target) == ("create", "pods")]
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert tries
    assert all(pause >= first * 2**n for n, pause in enumerate(pauses)), pauses


def test_refused_template_keeps_last_good_pods(web: Service) -> None:
    web.apply(image="a", replicas=3)
    web.until_ready()
    before = {pod["metadata"]["uid"] for pod in web.pods()}
    good = web.revision()
    web.apply(image="b", container=REFUSED[0].values[0])
    web.until_stalled("TemplateRefused")
    assert {pod["metadata"]["uid"] for pod in web.pods()} == before
    assert web.status()["availableReplicas"] == 3
    assert web.status()["lastGoodRevision"] == good
    web.apply(image="a", container={})
    web.until_ready()
    assert {pod["metadata"]["uid"] for pod in web.pods()} == before, "going back costs nothing"


def test_exceeded_quota_is_a_blocker_until_released(web: Service) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few-pods", "namespace": web.namespace},
        "spec": {"hard": {"pods": "2"}},
    }
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(quota))
    path = f"/api/v1/namespaces/{web.namespace}/resourcequotas/few-pods"
    web.until("the quota counts", lambda: web.plane.api().get(path)["status"].get("used"))
    web.apply(image="a", replicas=4)
    stalled = web.until_stalled("QuotaExceeded")
    words = "exceeded quota: few-pods, requested: pods=1, used: pods=2, limited: pods=2"
    assert words in stalled["message"]
    blocker = web.blocker("QuotaExceeded")
    assert blocker
    assert words in blocker["message"]
    assert len(web.active()) == 2
    assert len(web.revisions()) == 1
    asked = OperatorRequests.from_now(web.plane, web.namespace)
    web.always("two run", lambda: len(web.active()) == 2, 4)
    web.until("it was tried twice", lambda: asked.codes("create pods")[403] >= 2)
    assert len(web.active()) == 2
    assert_ever_rarer(asked, 2.0)
    web.kubectl("delete", "quota", "few-pods")
    web.until_ready()
    assert len(web.active()) == 4
    assert web.status()["blockers"] == []
    assert len(web.events("Stalled")) == 1


def test_foreign_pod_with_instance_name_is_left_alone_and_reported(web: Service) -> None:
    web.apply(image="a", replicas=1)
    web.until_ready()
    service = web.get()
    # The name that the next revision's first pod would get.
    template = web.wish.manifest("web", web.namespace)["spec"]["template"]
    template["spec"]["containers"][0]["image"] = pin("b")
    revision = revision_id(revision_hash(template), ())
    taken = instance_name("web", service["metadata"]["uid"], revision, 0, 0)
    foreign = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": taken, "namespace": web.namespace, "labels": {"mine": "yes"}},
        "spec": {"containers": [{"name": "other", "image": pin("other")}]},
    }
    # The policies reserve our names; such a pod may be older than the installation.
    with without_guards(web.plane):
        web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(foreign))
    path = f"/api/v1/namespaces/{web.namespace}/pods/{taken}"
    web.until("it runs", lambda: is_ready(web.plane.api().get(path)))
    before = web.plane.api().get(path)
    web.apply(image="b")
    web.until_ready()
    assert web.revision() == revision
    assert web.plane.api().get(path) == before, "it was not changed"
    [pod] = web.active()
    assert pod["metadata"]["name"] != taken
    assert pod["metadata"]["labels"]["immutable.dev/revision"] == revision
    [event] = web.events("NameTaken")
    assert event["type"] == "Warning"
    assert f"pod {taken} exists but does not belong to this service" in event["message"]


def test_foreign_pod_with_service_label_is_no_instance(web: Service) -> None:
    """A label makes nothing ours: not counted, not retired."""
    web.apply(image="a", replicas=2)
    web.until_ready()
    labels = {"immutable.dev/service": "web", "immutable.dev/revision": web.revision()}
    foreign = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stray", "namespace": web.namespace, "labels": labels},
        "spec": {"containers": [{"name": "other", "image": pin("other")}]},
    }
    # The policies reserve our labels; such a pod may be older than the installation.
    with without_guards(web.plane):
        web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(foreign))
    web.apply(image="b")
    web.until_ready()
    assert len(web.active()) == 2
    assert web.status()["replicas"] == 2
    path = f"/api/v1/namespaces/{web.namespace}/pods/stray"
    assert "deletionTimestamp" not in web.plane.api().get(path)["metadata"]


def test_foreign_revision_with_same_name_is_reported(web: Service) -> None:
    """Such as that of a deleted namesake, until the garbage collector took it."""
    template = web.wish.manifest("web", web.namespace)["spec"]["template"]
    full = revision_hash(template)
    name = f"web-im{revision_id(full, ())}"
    foreign = {
        "apiVersion": API_VERSION,
        "kind": "ImmutableRevision",
        "metadata": {"name": name, "namespace": web.namespace},
        "spec": {
            **{"service": "web", "number": 1, "revision": name[-8:], "hash": full},
            **{"reason": "Created", "by": "a-stranger", "image": "web", "template": template},
        },
    }
    # The policies let nobody record a revision; such a one may be older than the installation.
    with without_guards(web.plane):
        web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(foreign))
    web.apply(replicas=1)
    web.until("it says so", lambda: name in condition(web.get(), "Ready").get("message", ""))
    assert "belongs to another owner" in condition(web.get(), "Ready")["message"]
    assert web.pods() == []
    web.kubectl("delete", "imrev", name)
    web.until_ready()
    assert len(web.active()) == 1


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        ("image-pull", "ImagePull", f"container web: image {pin('b')} cannot be pulled"),
        ("config-error", "ContainerConfig", 'secret "app-secret" not found'),
        ("crash-loop", "CrashLoop", "container web keeps exiting with code 1 (Error)"),
    ],
)
def test_pods_that_cannot_start_stall_rollout_with_cause(
    web: Service, fault: str, reason: str, words: str
) -> None:
    """At once, not at the deadline of ten minutes; the last good revision serves on."""
    web.apply(image="a", replicas=3)
    web.until_ready()
    before = {pod["metadata"]["uid"] for pod in web.pods()}
    good = web.revision()
    web.apply(image="b", sim={"fault": fault}, rollout={"onFailure": "Hold"})
    stalled = web.until_stalled(reason)
    assert words in stalled["message"]
    blocker = web.blocker(reason)
    assert blocker
    assert words in blocker["message"]
    assert blocker["object"].startswith(f"web-im{web.revision()}-")
    assert before <= {pod["metadata"]["uid"] for pod in web.pods() if is_ready(pod)}
    assert web.status()["lastGoodRevision"] == good
    warned = [event["message"] for event in web.events() if event["type"] == "Warning"]
    assert any(words in message for message in warned)
    web.apply(image="c", sim={})
    web.until_ready()
    assert web.images() == [pin("c")] * 3
    assert web.status()["blockers"] == []


def test_unschedulable_pod_is_a_blocker(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    web.apply(image="b", pod={"nodeSelector": {"disk": "nowhere"}})
    web.until("the blocker is told", lambda: web.blocker("Unschedulable"))
    blocker = web.blocker("Unschedulable")
    assert blocker
    assert "0/5 nodes are available" in blocker["message"]
    assert "didn't match Pod's node affinity/selector" in blocker["message"]
    ready = condition(web.get(), "Ready")
    assert "0/5 nodes are available" in ready["message"]
    assert condition(web.get(), "Stalled")["status"] == "False", "a node may come"
    assert web.status()["availableReplicas"] == 2
    web.apply(image="b", pod={})
    web.until_ready()


def test_broken_services_do_not_delay_others(web: Service) -> None:
    mount = [{"name": "none", "mountPath": "/x"}]
    bad = [
        Wish(replicas=5, container={"volumeMounts": mount}).manifest(f"bad-{i}", web.namespace)
        for i in range(30)
    ]
    document = {"apiVersion": "v1", "kind": "List", "items": bad}
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    web.apply(image="a", replicas=5)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
