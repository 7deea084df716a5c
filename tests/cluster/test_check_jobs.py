"""Checks that are Jobs, with kubectl: where they are granted, and what their end decides."""

from __future__ import annotations

import json

from tests.cluster.checked import JOB, until_message
from tests.cluster.operator_process import Operators
from tests.cluster.rollbacks import record, until_back, verdict
from tests.cluster.secret_grants import check_flags, checks_granted
from tests.cluster.services import Service
from tests.controlplane.api import Json


def job_of(web: Service) -> Json:
    """The one Job of a check of a service."""
    found = json.loads(web.kubectl("get", "jobs", "-l", "immutable.dev/service=web", "-o", "json"))
    job: Json
    [job] = found["items"]
    return job


def end_pod(web: Service, phase: str) -> None:
    """Let the pod of the Job end, as a kubelet would tell: it is only simulated."""
    selector = f"job-name={job_of(web)['metadata']['name']}"
    web.until("a pod", lambda: web.kubectl("get", "pods", "-l", selector, "-o", "name").strip())
    [pod] = web.kubectl("get", "pods", "-l", selector, "-o", "name").split()
    body = json.dumps({"status": {"phase": phase}})
    web.kubectl("patch", pod, "--subresource=status", "--type=merge", "-p", body)


def test_job_needs_a_grant(web: Service) -> None:
    check = {**JOB, "inconclusive": "Wait", "inconclusiveLimit": 1}
    web.apply(image="a", replicas=1, rollout={"checks": [check]})
    until_message(web, "add it to checks.jobs.namespaces of the chart")


def test_job_that_completes_passes_and_one_that_fails_rolls_back(
    running_operators: Operators, web: Service
) -> None:
    with checks_granted(running_operators, web.namespace):
        web.apply(image="a", replicas=1, rollout={"checks": [{**JOB, "inconclusive": "Wait"}]})
        web.until("a Job", lambda: "smoke" in web.kubectl("get", "jobs", "-o", "yaml"))
        job = job_of(web)
        [container] = job["spec"]["template"]["spec"]["containers"]
        assert {v["name"]: v["value"] for v in container["env"]} == {
            "IMMUTABLE_SERVICE": "web",
            "IMMUTABLE_REVISION": web.revision(),
        }
        assert job["metadata"]["ownerReferences"][0]["name"] == record(web, 1)["metadata"]["name"]
        running_operators.restart(*check_flags(web.namespace)).until_leading()
        end_pod(web, "Succeeded")
        web.until_ready()
        assert job_of(web)["metadata"]["uid"] == job["metadata"]["uid"], "a restart makes no second"
        web.kubectl("delete", "jobs", "--all")
        web.apply(image="b")
        web.until("a Job", lambda: "smoke" in web.kubectl("get", "jobs", "-o", "yaml"))
        end_pod(web, "Failed")
        until_back(web)
    assert "failed: BackoffLimitExceeded" in verdict(web, 2)["message"]
