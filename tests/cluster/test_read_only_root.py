"""A read-only root file system by default: in new revisions, never in those of earlier releases."""

from __future__ import annotations

import json
from typing import Any

from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.model import revision_id
from tests.cluster.guards import without_guards
from tests.cluster.operator_process import Operators
from tests.cluster.services import Service, condition, names, pin
from tests.controlplane.api import Json

OPTED_OUT = {"immutability": {"writableRootFilesystem": True}}
WHEN = "2026-11-01T00:00:00Z"
SIDECAR = {"restartPolicy": "Always"}
SIDE = {"name": "side", "image": pin("side"), "securityContext": {"readOnlyRootFilesystem": False}}


def is_read_only(pod: Json) -> dict[str, Any]:
    """What each container of a pod or template says of its root file system; None: nothing."""
    spec = pod["spec"]
    containers = (*spec.get("initContainers", ()), *spec["containers"])
    found = {c["name"]: c.get("securityContext") or {} for c in containers}
    return {name: context.get("readOnlyRootFilesystem") for name, context in found.items()}


def test_containers_that_say_nothing_get_a_read_only_root_file_system(web: Service) -> None:
    setup = {"name": "setup", "image": pin("setup"), "securityContext": {"runAsUser": 7}}
    web.apply(image="a", replicas=1, pod={"initContainers": [setup, SIDE | SIDECAR]})
    web.until_ready()
    [pod], [revision] = web.active(), web.revisions()
    wanted = {"setup": True, "side": False, "web": True}
    assert is_read_only(pod) == wanted
    assert is_read_only(revision["spec"]["template"]) == wanted, "the record has what runs"
    assert is_read_only(web.get()["spec"]["template"])["web"] is None, "what was applied stays"
    assert pod["spec"]["initContainers"][0]["securityContext"]["runAsUser"] == 7
    assert condition(web.get(), "AdmissionChanged") == {}
    # What is written out is the same pod: no new revision.
    read_only = {"securityContext": {"readOnlyRootFilesystem": True}}
    before = names(web)
    web.apply(container=read_only)
    web.until_ready()
    assert names(web) == before
    assert len(web.revisions()) == 1


def test_service_opts_out_and_in_with_a_rollout_each(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    protected = names(web)
    web.apply(spec=OPTED_OUT)
    web.until_ready()
    assert [is_read_only(pod) for pod in web.active()] == [{"web": None}] * 2
    assert not names(web) & protected
    web.apply(spec={})
    web.until_ready()
    assert [is_read_only(pod) for pod in web.active()] == [{"web": True}] * 2
    assert len(web.revisions()) == 2, "back to the first one"


def test_upgrade_replaces_nothing_and_the_next_revision_gets_the_default(
    web: Service, operators: Operators
) -> None:
    """A record of an earlier release, as that release wrote it: with another hash."""
    operators.main.stop()
    manifest = web.wish.manifest("web", web.namespace)
    web.apply(image="a", replicas=2)
    record = earlier(web.get(), manifest["spec"]["template"])
    with without_guards(web.plane):
        web.plane.kubectl("create", "-f", "-", stdin=json.dumps(record))
        done = {"phase": "Good", "startedAt": WHEN, "completed": WHEN, "numberFloor": 1}
        web.kubectl(
            *("patch", "imrev", record["metadata"]["name"], "--subresource=status"),
            *("--type=merge", "-p", json.dumps({"status": done})),
        )
    operators.restart().until_leading()
    web.until_ready()
    assert [r["metadata"]["name"] for r in web.revisions()] == [record["metadata"]["name"]]
    assert [is_read_only(pod) for pod in web.active()] == [{"web": None}] * 2
    before = names(web)
    # Neither the opt-out nor a lost pod changes what that revision is.
    web.apply(spec=OPTED_OUT)
    web.until_ready()
    assert names(web) == before
    lost = min(before)
    web.kubectl("delete", "pod", lost, "--wait=false")
    web.until("it is replaced", lambda: len(web.active()) == 2 and lost not in names(web))
    web.until_ready()
    assert [is_read_only(pod) for pod in web.active()] == [{"web": None}] * 2
    assert web.status().get("deviations") is None
    assert condition(web.get(), "AdmissionChanged") == {}
    # The next revision has the default; the way back leads to the old one, as it was.
    web.apply(image="b", spec={})
    web.until_ready()
    assert [is_read_only(pod) for pod in web.active()] == [{"web": True}] * 2
    web.apply(image="a")
    web.until_ready()
    assert [is_read_only(pod) for pod in web.active()] == [{"web": None}] * 2
    assert len(web.revisions()) == 2


def earlier(service: Json, template: Json) -> Json:
    full = revision_hash(template, "v3")
    short = revision_id(full, ())
    owner = {
        "apiVersion": service["apiVersion"],
        "kind": service["kind"],
        "name": "web",
        "uid": service["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": service["apiVersion"],
        "kind": "ImmutableRevision",
        "metadata": {
            "name": f"web-im{short}",
            "namespace": service["metadata"]["namespace"],
            "labels": {"immutable.dev/service": "web"},
            "ownerReferences": [owner],
        },
        "spec": {
            **{"service": "web", "number": 1, "revision": short, "hash": full},
            **{"reason": "Created", "by": "kubectl", "image": "web", "template": template},
        },
    }
