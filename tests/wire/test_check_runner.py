"""The measurements that plans ask for, against an API server and a server that is asked."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration
from structlog.testing import capture_logs

from immutable_operator.checks.addresses import Judge
from immutable_operator.checks.job import job_name
from immutable_operator.domain.model import (
    Check,
    CheckRecord,
    Finding,
    HttpQuestion,
    JobQuestion,
    Measured,
    Question,
    Revision,
    RunCheck,
    SecretKey,
    Unanswerable,
    Verdict,
)
from immutable_operator.kube.client import KubeClient
from immutable_operator.runtime.checks import CheckOptions, CheckRunner
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.wire.owner import OwnerRecord
from tests.unit.service_specs import spec
from tests.wire.api import until

HIDDEN = "Bearer s3cr3t"
META = {"name": "web", "namespace": "shop", "uid": "s1", "resourceVersion": "1"}
WEB = OwnerRecord.of({"metadata": META, "spec": spec()})
POD = "web-im0a1b2c3d-abcde"
TEMPLATE = b'{"spec":{"containers":[{"name":"smoke","image":"i"}]}}'


class Cluster:
    """Objects by their path, the requests, and a server that answers ``status``."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.made: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.denied = ""
        self.down = 0
        self.metrics = Metrics()

    def counted(self, check: str) -> dict[str, float]:
        """The measurements of a kind of check by what they found, and their number ("")."""
        value = self.metrics.registry.get_sample_value
        total = "immutable_check_measurements_total"
        found = {f.value: value(total, {"check": check, "found": f}) or 0.0 for f in Finding}
        return found | {"": value("immutable_check_seconds_count", {"check": check}) or 0.0}

    async def handle(self, request: web.Request) -> web.Response:
        path = request.path
        if path == "/healthz":
            self.asked.append(request.headers.get("Authorization", ""))
            return web.Response(status=200)
        if self.down:
            self.down -= 1
            return web.Response(status=503)
        if self.denied and self.denied in path:
            told = {"kind": "Status", "reason": "Forbidden", "message": "secrets is forbidden"}
            return web.json_response(told, status=403)
        if request.method == "POST":
            body = await request.json()
            body["metadata"]["uid"] = "j1"
            self.made.append(body)
            self.objects[f"{path}/{body['metadata']['name']}"] = body
            return web.json_response(body, status=201)
        found = self.objects.get(path)
        told = {"kind": "Status", "reason": "NotFound", "message": "not found"}
        return web.json_response(found or told, status=200 if found else 404)


def run(question: Question, number: int = 0) -> RunCheck:
    return RunCheck(Check("up", question), "0a1b2c3d", "u-r", 1_800_000_000.0, number, POD)


Work = Callable[[Cluster, CheckRunner, str], Awaitable[None]]


def playing(work: Work, monkeypatch: pytest.MonkeyPatch, **granted: frozenset[str]) -> None:
    """Do some work with a runner; the judge lets the server of the test through."""
    monkeypatch.setattr(Judge, "why_not", lambda self, text: None)
    monkeypatch.setattr("immutable_operator.runtime.checks.LOOK_SECONDS", 0.01)

    async def main() -> None:
        cluster = Cluster()
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", cluster.handle)
        async with TestServer(app, host="127.0.0.1") as server:
            url = f"http://127.0.0.1:{server.port}"
            client = KubeClient(Configuration(host=url))
            options = CheckOptions(**granted)
            runner = CheckRunner(client, options, lambda uid: None, cluster.metrics)
            task = asyncio.create_task(runner.run())
            try:
                await work(cluster, runner, url)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await client.close()

    asyncio.run(main())


RECORD = Revision("0a1b2c3d", 1, "v4:0", "web-im0a1b2c3d", "u-r")


async def answer(runner: CheckRunner, asked: RunCheck) -> Measured:
    """Wait for the answer of a measurement."""
    runner.want(WEB, (asked,))
    await until(lambda: runner.of(WEB.uid, (RECORD,)))
    [found] = runner.of(WEB.uid, (RECORD,))
    return found


def test_path_is_requested_from_the_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(cluster: Cluster, runner: CheckRunner, url: str) -> None:
        asked = run(HttpQuestion(path="/healthz", port=int(url.rpartition(":")[2]), status=200))
        cluster.objects[f"/api/v1/namespaces/shop/pods/{POD}"] = {"status": {"podIP": "127.0.0.1"}}
        found = await answer(runner, asked)
        assert (found.key, found.found, found.message) == (
            asked.key,
            Finding.PASSED,
            f"{url}/healthz: status 200",
        )

    playing(work, monkeypatch)


@pytest.mark.parametrize(
    ("pod", "said"),
    [({"status": {}}, "has no IP address yet"), (None, "not found")],
    ids=["no address", "gone"],
)
def test_instance_that_cannot_be_asked_has_no_result(
    pod: dict[str, Any] | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(cluster: Cluster, runner: CheckRunner, url: str) -> None:
        if pod is not None:
            cluster.objects[f"/api/v1/namespaces/shop/pods/{POD}"] = pod
        found = await answer(runner, run(HttpQuestion(path="/healthz", port=80, status=200)))
        assert found.found is Finding.INCONCLUSIVE
        assert said in found.message

    playing(work, monkeypatch)


def secret_of(value: bytes) -> dict[str, Any]:
    data = {"value": base64.b64encode(value).decode()}
    meta = {"name": "token", "uid": "t", "namespace": "shop", "resourceVersion": "1"}
    meta["creationTimestamp"] = "2026-11-27T00:00:00Z"
    return {"metadata": meta, "data": data}


SECRETS: list[tuple[str, dict[str, Any] | None, str, bool, str]] = [
    # case, the Secret, what the API server denies, whether it is granted, why there is no result
    ("granted", secret_of(f"{HIDDEN}\n".encode()), "", True, ""),
    ("not granted", secret_of(HIDDEN.encode()), "", False, "checks.secrets.namespaces"),
    ("denied", None, "/secrets/", True, "forbidden"),
    ("not there", None, "", True, "not found"),
    ("another key", {**secret_of(b""), "data": {}}, "", True, "has no key value"),
    ("two lines", secret_of(f"{HIDDEN}\r\nX: y".encode()), "", True, "cannot be sent in a header"),
    ("empty", secret_of(b""), "", True, "cannot be sent in a header"),
]


@pytest.mark.parametrize(
    ("case", "secret", "denied", "granted", "said"), SECRETS, ids=[s[0] for s in SECRETS]
)
def test_secret_authorizes_a_request_and_is_never_shown(
    case: str,
    secret: dict[str, Any] | None,
    denied: str,
    granted: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(cluster: Cluster, runner: CheckRunner, url: str) -> None:
        cluster.denied = denied
        if secret is not None:
            cluster.objects["/api/v1/namespaces/shop/secrets/token"] = secret
        key = SecretKey("token", "value")
        with capture_logs() as logs:
            question = HttpQuestion(url=f"{url}/healthz", status=200, authorization=key)
            found = await answer(runner, run(question))
        assert found.found is (Finding.INCONCLUSIVE if said else Finding.PASSED), case
        assert said in found.message
        assert cluster.asked == ([] if said else [HIDDEN])
        assert "s3cr3t" not in json.dumps([found.message, str(logs)])

    playing(work, monkeypatch, **({"secrets": frozenset({"shop"})} if granted else {}))


def test_trouble_of_the_api_server_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing about the release: the measurement is made again, and counted once."""

    async def work(cluster: Cluster, runner: CheckRunner, url: str) -> None:
        cluster.objects[f"/api/v1/namespaces/shop/pods/{POD}"] = {"status": {"podIP": "127.0.0.1"}}
        cluster.down = 1
        port = int(url.rpartition(":")[2])
        found = await answer(runner, run(HttpQuestion(path="/healthz", port=port, status=200)))
        assert found.found is Finding.PASSED
        assert cluster.counted("http") == {"Passed": 1, "Failed": 0, "Inconclusive": 0, "": 1}

    playing(work, monkeypatch)


def test_measurement_is_made_once_and_dropped_once_it_is_on_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(cluster: Cluster, runner: CheckRunner, url: str) -> None:
        asked = run(HttpQuestion(url=f"{url}/healthz", status=200))
        for _ in range(3):
            runner.want(WEB, (asked,))
        await answer(runner, asked)
        runner.want(WEB, (asked,))
        await asyncio.sleep(0.05)
        assert len(cluster.asked) == 1
        known = replace(RECORD, verdict=Verdict(checks=(CheckRecord("up", measured=1),)))
        assert runner.of(WEB.uid, (known,)) == ()
        assert runner.of(WEB.uid, (RECORD,)) == (), "it is dropped"

    playing(work, monkeypatch)


def test_check_that_cannot_be_asked_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(cluster: Cluster, runner: CheckRunner, url: str) -> None:
        found = await answer(runner, run(Unanswerable("it does not exist")))
        assert (found.found, found.message) == (Finding.INCONCLUSIVE, "it does not exist")
        assert cluster.counted("unknown") == {"Passed": 0, "Failed": 0, "Inconclusive": 1, "": 1}

    playing(work, monkeypatch)


JOB = JobQuestion(TEMPLATE, 60.0)
ENDS = [
    ({"type": "Complete", "status": "True"}, Finding.PASSED, "completed"),
    (
        {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"},
        Finding.FAILED,
        "failed: BackoffLimitExceeded",
    ),
    (
        {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"},
        Finding.INCONCLUSIVE,
        "did not end within 60 s",
    ),
]


@pytest.mark.parametrize(("condition", "finding", "said"), ENDS, ids=[e[2] for e in ENDS])
def test_job_is_created_once_and_its_end_is_the_result(
    condition: dict[str, str], finding: Finding, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(cluster: Cluster, runner: CheckRunner, url: str) -> None:
        asked = run(JOB)
        runner.want(WEB, (asked,))
        await until(lambda: cluster.made)
        await asyncio.sleep(0.05)
        [job] = cluster.made
        assert runner.of(WEB.uid, (RECORD,)) == ()
        assert job["metadata"]["ownerReferences"][0]["uid"] == "u-r"
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
        assert job["spec"]["backoffLimit"] == 0
        job["status"] = {"conditions": [{"type": "Suspended", "status": "False"}, condition]}
        found = await answer(runner, asked)
        assert found.found is finding
        assert said in found.message
        assert len(cluster.made) == 1
        counted = cluster.counted("job")
        assert (counted[finding], sum(counted.values())) == (1, 2)
        seconds = cluster.metrics.registry.get_sample_value
        lasted = seconds("immutable_check_seconds_sum", {"check": "job"}) or 0.0
        assert lasted >= 0.05, "the looks at a Job that has not ended are one measurement"

    playing(work, monkeypatch, jobs=frozenset({"shop"}))


def test_job_of_another_measurement_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(cluster: Cluster, runner: CheckRunner, url: str) -> None:
        runner.want(WEB, (run(JOB), run(JOB, 1)))
        await until(lambda: len(cluster.made) == 2)
        assert len({job["metadata"]["name"] for job in cluster.made}) == 2

    playing(work, monkeypatch, jobs=frozenset({"shop"}))


def test_job_is_not_followed_once_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The spec changed, or the service waits: the Job may end as it likes."""

    async def work(cluster: Cluster, runner: CheckRunner, url: str) -> None:
        runner.want(WEB, (run(JOB),))
        await until(lambda: cluster.made)
        runner.want(WEB, ())
        await asyncio.sleep(0.05)
        cluster.made[0]["status"] = {"conditions": [ENDS[0][0]]}
        await asyncio.sleep(0.05)
        assert runner.of(WEB.uid, (RECORD,)) == ()
        assert (await answer(runner, run(JOB))).found is Finding.PASSED
        assert len(cluster.made) == 1

    playing(work, monkeypatch, jobs=frozenset({"shop"}))


def test_job_of_a_stranger_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(cluster: Cluster, runner: CheckRunner, url: str) -> None:
        name = job_name("web", run(JOB))
        path = f"/apis/batch/v1/namespaces/shop/jobs/{name}"
        done = {"conditions": [{"type": "Complete", "status": "True"}]}
        cluster.objects[path] = {"metadata": {"name": name, "uid": "x"}, "status": done}
        found = await answer(runner, run(JOB))
        assert found.found is Finding.INCONCLUSIVE
        assert "does not belong to this service" in found.message

    playing(work, monkeypatch, jobs=frozenset({"shop"}))


def test_job_without_a_grant_is_not_created(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(cluster: Cluster, runner: CheckRunner, url: str) -> None:
        found = await answer(runner, run(JOB))
        assert found.found is Finding.INCONCLUSIVE
        assert "checks.jobs.namespaces" in found.message
        assert cluster.made == []

    playing(work, monkeypatch, jobs=frozenset({"other"}))
