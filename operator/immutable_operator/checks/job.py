"""Checks of the kind job: whether a Job that the operator creates completes."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

import msgspec

from immutable_operator.api.names import (
    API_VERSION,
    LABEL_CHECK,
    LABEL_SERVICE,
    REVISION_KIND,
)
from immutable_operator.checks.asking import Found, NoAnswer
from immutable_operator.domain.model import Finding, JobQuestion, RunCheck, revision_name
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Conflict, NotFound
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath

__all__ = ["job_name", "measure_job"]

JOBS = ApiPath("apis/batch/v1", "jobs")
KEPT_SECONDS = 3600  # so that people can read the log of its pod
DEADLINE = "DeadlineExceeded"


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""
    reason: str = ""


class _Status(msgspec.Struct):
    conditions: list[_Condition] = []


class _Job(msgspec.Struct):
    metadata: ObjectMeta
    status: _Status = msgspec.field(default_factory=_Status)


def job_name(service: str, run: RunCheck) -> str:
    """Return the name of the Job of a measurement, the same in every process."""
    seed = "/".join(map(str, run.key)).encode()
    return f"{service}-chk{hashlib.sha256(seed).hexdigest()[:8]}"


def job_body(namespace: str, service: str, run: RunCheck, question: JobQuestion) -> dict[str, Any]:
    """Return the Job of a measurement. It goes with the record of its revision."""
    template = msgspec.json.decode(question.template)
    pod = template["spec"]
    pod["restartPolicy"] = "Never"
    variables = {"IMMUTABLE_SERVICE": service, "IMMUTABLE_REVISION": run.revision}
    known = [{"name": name, "value": value} for name, value in variables.items()]
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        container["env"] = [*known, *(container.get("env") or ())]
    record = {
        "apiVersion": API_VERSION,
        "kind": REVISION_KIND,
        "name": revision_name(service, run.revision),
        "uid": run.uid,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(service, run),
            "namespace": namespace,
            "labels": {LABEL_SERVICE: service, LABEL_CHECK: run.check.name},
            "ownerReferences": [record],
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": int(question.within),
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": template,
        },
    }


async def measure_job(
    client: KubeClient, namespace: str, service: str, run: RunCheck, question: JobQuestion
) -> Found | None:
    """Create the Job of a measurement, or look at it; None while it runs.

    Raises `NoAnswer` and `ApiError`.
    """
    name = job_name(service, run)
    path = JOBS.item(namespace, name)
    try:
        job = msgspec.json.decode(await client.get(path, resource=JOBS.resource), type=_Job)
    except NotFound:
        body = job_body(namespace, service, run, question)
        with contextlib.suppress(Conflict):  # created meanwhile: the next look sees it
            await client.create(JOBS.collection(namespace), body, resource=JOBS.resource)
        return None
    if run.uid not in {owner.uid for owner in job.metadata.owner_references}:
        raise NoAnswer(f"Job {name} exists but does not belong to this service; delete it")
    ended = {c.type: c.reason for c in job.status.conditions if c.status == "True"}
    if "Complete" in ended:
        return Found(Finding.PASSED, f"Job {name} completed")
    if (reason := ended.get("Failed")) is None:
        return None
    if reason == DEADLINE:
        raise NoAnswer(f"Job {name} did not end within {question.within:g} s")
    return Found(Finding.FAILED, f"Job {name} failed: {reason}")
