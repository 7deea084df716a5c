"""What admission makes of new pods: reported, recorded, compared, refused or accepted."""

from __future__ import annotations

import json

from tests.cluster.admitted import (
    CHANGED,
    PATH,
    pods_born,
    policy,
    recorded,
    said_by,
    until_reported,
)
from tests.cluster.injector import injecting
from tests.cluster.mutators import (
    ENV,
    LIMIT,
    OTHER_ENV,
    REQUEST,
    SIDECAR,
    TOLERATION,
    mutating,
)
from tests.cluster.operator_process import Operators
from tests.cluster.services import Service, condition, names, pin


def test_added_variable_is_reported_and_recorded_once_a_revision(
    web: Service, operators: Operators
) -> None:
    with mutating(web.plane, web.namespace, ENV):
        web.apply(image="a", replicas=2)
        web.until_ready()
        said = until_reported(web, f"{PATH} added")
        assert condition(web.get(), CHANGED)["reason"] == "Report"
        assert "immutability.acceptedChanges" in said
        web.until("it is recorded", lambda: recorded(web))
        found = recorded(web)
        assert [(c["path"], c["change"]) for c in found["changes"]] == [(PATH, "Added")]
        assert found["digest"].startswith("sha256:")
        # For people: in tables, in describe, as one event.
        assert PATH in web.kubectl("get", "imsvc", "web", "-o", "wide")
        assert f"{PATH} added" in web.kubectl("get", "imrev", "-o", "wide")
        assert PATH in web.kubectl("describe", "imsvc", "web")
        [event] = web.events(CHANGED)
        assert (event["type"], PATH in event["message"]) == ("Warning", True)
        # More pods of the revision are the same; a new operator finds the same.
        before, version = names(web), web.revisions()[0]["metadata"]["resourceVersion"]
        operators.restart().until_leading()
        web.apply(replicas=3)
        web.until_ready()
        assert names(web) > before
        assert until_reported(web, PATH) == said
        assert len(web.events(CHANGED)) == 1
        assert web.revisions()[0]["metadata"]["resourceVersion"] == version
        # The next revision says it again, once; its difference has the same digest.
        web.apply(image="b")
        web.until_ready()
        until_reported(web, "revision 2")
        web.until("it is recorded", lambda: recorded(web, 2))
        assert recorded(web, 2)["digest"] == found["digest"]
        assert len(web.events(CHANGED)) == 2
    assert web.status().get("deviations") is None


def test_added_sidecar_is_accepted_by_its_name_and_by_a_path(web: Service) -> None:
    with mutating(web.plane, web.namespace, SIDECAR):
        web.apply(image="a", replicas=1)
        web.until_ready()
        said = until_reported(web, "spec.containers[mesh] added")
        assert "metadata.annotations[mesh.example/status] added" in said
        accepted = {"containers": ["mesh"], "paths": ["metadata.annotations[mesh.example/"]}
        web.apply(spec=policy("Report", acceptedChanges={"containers": ["mesh"]}))
        web.until("the sidecar is accepted", lambda: "[mesh] " not in said_by(web))
        assert "metadata.annotations[mesh.example/status] added" in said_by(web)
        web.apply(spec=policy("Report", acceptedChanges=accepted))
        web.until("all is accepted", lambda: not condition(web.get(), CHANGED))
        web.apply(image="b", spec=policy("Refuse", acceptedChanges=accepted))
        web.until_ready()
        assert [len(p["spec"]["containers"]) for p in web.active()] == [2]
    # What was accepted may be missing, too.
    web.apply(replicas=2)
    web.until_ready()
    assert sorted(len(p["spec"]["containers"]) for p in web.active()) == [1, 2]


def test_sidecar_of_a_webhook_is_reported_recorded_and_accepted_by_its_name(web: Service) -> None:
    """Also where it is another one in each pod: the container is accepted, whatever it has."""
    names_of_both = ["mesh", "mesh-setup"]
    added = ["spec.containers[mesh]", "spec.initContainers[mesh-setup]"]
    with injecting(web.plane, web.namespace) as injector:
        web.apply(image="a", replicas=2)
        web.until_ready()
        for path in added:
            until_reported(web, f"{path} added")
        web.until("it is recorded", lambda: recorded(web))
        changes = recorded(web)["changes"]
        assert [(c["path"], c["change"]) for c in changes] == [(path, "Added") for path in added]
        accepted = policy("Report", acceptedChanges={"containers": names_of_both})
        web.apply(spec=accepted)
        web.until("both are accepted", lambda: not condition(web.get(), CHANGED))
        injector.unique = True
        refusing = policy("Refuse", acceptedChanges={"containers": names_of_both})
        web.apply(image="b", replicas=3, spec=refusing)
        web.until_ready()
        sidecars = [pod["spec"]["containers"][1] for pod in web.active()]
        assert len({sidecar["env"][0]["value"] for sidecar in sidecars}) == 3
        assert web.images() == [pin("b")] * 3
        assert web.status().get("deviations") is None
        assert condition(web.get(), CHANGED) == {}
        # Of the user's own container nothing is accepted.
        web.apply(spec=policy("Report", acceptedChanges={"containers": ["mesh"]}))
        until_reported(web, "spec.initContainers[mesh-setup] added")


def test_changed_resource_is_reported(web: Service) -> None:
    with mutating(web.plane, web.namespace, REQUEST):
        web.apply(replicas=1, container={"resources": {"requests": {"cpu": "5m"}}})
        web.until_ready()
        until_reported(web, "spec.containers[web].resources.requests[cpu] changed")


def test_what_plugins_of_the_api_server_add_is_no_difference(web: Service) -> None:
    """Of a LimitRange, a service account, a priority class; and any toleration."""
    api, space = web.plane.api(), f"/api/v1/namespaces/{web.namespace}"
    api.request("POST", f"{space}/limitranges", LIMIT)
    account = f"{space}/serviceaccounts/default"
    api.merge_patch(account, {"imagePullSecrets": [{"name": "registry"}]})
    usual = {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True}
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    api.request("POST", classes, usual)
    try:
        with mutating(web.plane, web.namespace, TOLERATION):
            container = {"resources": {"requests": {"cpu": "1"}}}
            web.apply(replicas=1, container=container, spec=policy("Refuse"))
            web.until_ready()
            [pod] = web.active()
    finally:
        api.request("DELETE", f"{classes}/usual")
    spec = pod["spec"]
    assert spec["containers"][0]["resources"]["limits"] == {"memory": "64Mi"}
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert (spec["priority"], spec["priorityClassName"]) == (7, "usual")
    assert "spot" in {t.get("key") for t in spec["tolerations"]}
    assert "serviceAccountToken" in json.dumps(spec["volumes"])
    assert condition(web.get(), CHANGED) == {}
    assert recorded(web)["summary"] == "nothing"


def test_what_others_do_to_a_pod_later_is_not_reported_as_admission(web: Service) -> None:
    web.apply(replicas=1)
    web.until_ready()
    [name] = names(web)
    web.kubectl("label", "pod", name, "team=shop", "app-")
    web.kubectl("annotate", "pod", name, "note=later")
    web.apply(replicas=2)
    web.until_ready()
    assert name in names(web)
    assert condition(web.get(), CHANGED) == {}


def test_pod_that_admission_made_different_from_its_revision_has_drifted(web: Service) -> None:
    with mutating(web.plane, web.namespace, ENV):
        web.apply(image="a", replicas=2, spec={"immutability": {"onTaint": "Report"}})
        web.until_ready()
        until_reported(web, PATH)
    with mutating(web.plane, web.namespace, OTHER_ENV):
        lost = min(names(web))
        web.kubectl("delete", "pod", lost, "--wait=false")
        web.until("it has a successor", lambda: len(web.active()) == 2 and lost not in names(web))
        web.until("it is reported", lambda: web.status().get("deviations"))
    [found] = web.status()["deviations"]
    assert found["reason"] == "Drifted"
    assert "spec.containers[web].env[OTHER_PROXY] added" in found["message"]
    assert f"without {PATH} added" in found["message"]
    assert found["instance"] in names(web)
    [event] = web.events("Drifted")
    assert "OTHER_PROXY" in event["message"]


def test_drifted_pods_are_replaced_with_growing_pauses(web: Service) -> None:
    with mutating(web.plane, web.namespace, ENV):
        web.apply(image="a", replicas=2)
        web.until_ready()
        until_reported(web, PATH)
    # Admission no longer changes pods: those of this revision stay, and a new one has drifted.
    born = pods_born(web)
    web.kubectl("delete", "pod", min(names(web)), "--wait=false")
    web.until_stalled("TaintReturns")
    web.always("no more are born", lambda: 1 <= born() <= 3, seconds=5)
    # A new revision is another pod.
    web.apply(image="b")
    web.until_ready()
    assert condition(web.get(), CHANGED) == {}


def test_admission_is_not_compared_where_all_of_it_is_allowed(web: Service) -> None:
    with mutating(web.plane, web.namespace, ENV):
        web.apply(image="a", replicas=1, spec=policy("Allow"))
        web.until_ready()
        assert condition(web.get(), CHANGED) == {}
        assert recorded(web) == {}
        # What is complete by then is reported, and no pod of it counts as different.
        web.apply(spec=policy("Report"))
        until_reported(web, PATH)
        web.until("it is recorded", lambda: recorded(web))
        assert "since" in recorded(web)
    assert web.status().get("deviations") is None
