"""Checks of a release, with kubectl: a revision is good once they have passed.

The server that they ask is on an address of this host that is not loopback.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from immutable_operator.api.check import (
    NO_EXPECTATION,
    NO_THRESHOLD,
    OF_THE_CHECK,
    ONE_KIND,
    PATH_AND_PORT,
    URL_OR_PATH,
)
from tests.cluster.checked import JOB, Checked, until_message
from tests.cluster.measures import metrics, sample
from tests.cluster.operator_process import OperatorProcess, Operators
from tests.cluster.plugin import run
from tests.cluster.rollbacks import record, until_back, verdict
from tests.cluster.secret_grants import checks_granted
from tests.cluster.services import Service, Wish, condition
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json


@pytest.fixture
def up(checked: Checked) -> Iterator[Checked]:
    """The server, which answers 200 to every request."""
    checked.status, checked.body, checked.hangs_up = 200, "ok", False
    checked.asked.clear()
    yield checked
    checked.hangs_up = False


def checking(url: str, **more: object) -> Json:
    http = {"url": f"{url}/healthz", "expect": {"status": 200}, "within": "1s", "interval": "1s"}
    return {"name": "up", "http": http, **more}


def results(web: Service, number: int) -> list[str]:
    [check] = verdict(web, number)["checks"]
    return [result["found"] for result in check["results"]]


def test_revision_is_good_once_its_check_has_passed(web: Service, up: Checked) -> None:
    web.apply(image="a", replicas=2, rollout={"checks": [checking(up.url)]})
    web.until_ready()
    [check] = verdict(web, 1)["checks"]
    assert (check["phase"], check["results"][0]["found"]) == ("Passed", "Passed")
    assert check["results"][0]["message"] == f"{up.url}/healthz: status 200"
    assert [event["message"] for event in web.events("CheckPassed")]
    asked = len(up.asked)
    web.kubectl("delete", "pod", web.pods()[0]["metadata"]["name"], "--wait=false")
    web.until_ready()
    assert len(up.asked) == asked, "a repair runs no checks"


def test_check_that_fails_rolls_back_with_its_evidence(
    web: Service, up: Checked, operator: OperatorProcess
) -> None:
    web.apply(image="a", replicas=2, rollout={"checks": [checking(up.url)]})
    web.until_ready()
    before = metrics(operator)
    up.status, up.body = 500, "password=hunter2"
    web.apply(image="b")
    told = until_back(web)
    failed = record(web, 2)["status"]
    assert (failed["phase"], failed["reason"]) == ("Failed", "CheckFailed")
    evidence = f"{up.url}/healthz: status 500, expected 200"
    assert evidence in failed["message"]
    assert evidence in told["message"]
    assert evidence in web.events("RevisionFailed")[0]["message"]
    assert "hunter2" not in web.kubectl("get", "imrev,imsvc,events", "-o", "json")
    assert "up: failed" in web.kubectl("get", "imrev", "-o", "yaml")
    after = metrics(operator)
    measured = 'immutable_check_measurements_total{check="http",found="Failed"}'
    assert sample(after, measured) > sample(before, measured)
    about = 'kind="ImmutableService",outcome="RolledBack",strategy="Rolling"'
    back = f"immutable_revision_outcomes_total{{{about}}}"
    assert sample(after, back) - sample(before, back) == 1


def test_check_without_a_result_waits_and_passes_later(
    web: Service, up: Checked, operator: OperatorProcess
) -> None:
    up.hangs_up = True
    patient = {"inconclusive": "Wait", "inconclusiveLimit": 1}
    web.apply(image="a", replicas=1, rollout={"checks": [checking(up.url, **patient)]})
    told = until_message(web, "waiting for check up: the connection was closed")
    assert condition(web.get(), "Ready")["reason"] == "Checking"
    assert told is not None
    web.until("a blocker", lambda: web.blocker("CheckInconclusive"))
    about = f'kind="ImmutableService",name="web",namespace="{web.namespace}"'
    blocked = f'immutable_owner_blocked_seconds{{{about},reason="CheckInconclusive"}}'
    web.until("it is measured for the alert", lambda: sample(metrics(operator), blocked) > 1)
    assert verdict(web, 1)["phase"] == "Progressing"
    up.hangs_up = False
    web.until_ready()
    assert results(web, 1)[-1] == "Passed"
    assert "Inconclusive" in results(web, 1)


def test_check_without_a_result_fails_at_its_limit(web: Service, up: Checked) -> None:
    web.apply(image="a", replicas=1, rollout={"checks": [checking(up.url)]})
    web.until_ready()
    up.hangs_up = True
    web.apply(image="b", rollout={"checks": [checking(up.url, inconclusiveLimit=1)]})
    until_back(web)
    assert "no result after 1 inconclusive" in verdict(web, 2)["message"]


def test_check_of_a_loopback_address_or_the_api_server_is_never_made(
    web: Service, control_plane: ControlPlane
) -> None:
    url = control_plane.server
    check = checking(url, inconclusive="Wait", inconclusiveLimit=1)
    web.apply(image="a", replicas=1, rollout={"checks": [check]})
    until_message(web, "use another server")


def test_immutable_check_is_used_by_name_and_may_come_later(web: Service, up: Checked) -> None:
    web.apply(image="a", replicas=1, rollout={"checks": [{"name": "up", "ref": {"name": "alive"}}]})
    until_message(web, "ImmutableCheck alive does not exist")
    spec = {"http": {"url": up.url, "expect": {"body": "ok"}, "within": "1s"}}
    body = {
        "apiVersion": "immutable.dev/v1alpha1",
        "kind": "ImmutableCheck",
        "metadata": {"name": "alive", "namespace": web.namespace},
        "spec": spec,
    }
    web.plane.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    web.until_ready()
    assert results(web, 1)[-1] == "Passed"
    assert up.url in web.kubectl("get", "imchk")


def test_secret_authorizes_the_request_where_it_is_granted(
    running_operators: Operators, web: Service, up: Checked
) -> None:
    web.kubectl("create", "secret", "generic", "token", "--from-literal=value=Bearer s3cr3t")
    check = checking(up.url)
    check["http"]["authorization"] = {"name": "token", "key": "value"}
    check |= {"inconclusive": "Wait", "inconclusiveLimit": 1}
    web.apply(image="a", replicas=1, rollout={"checks": [check]})
    until_message(web, "add it to checks.secrets.namespaces of the chart")
    assert up.asked == []
    with checks_granted(running_operators, web.namespace):
        web.until_ready()
    assert up.asked[-1] == ("/healthz", "Bearer s3cr3t")
    assert "s3cr3t" not in web.kubectl("get", "imrev,imsvc,events", "-o", "json")


def selected(web: Service) -> str:
    found = web.plane.api().get(f"/api/v1/namespaces/{web.namespace}/services/web")
    return str(found["spec"]["selector"].get("immutable.dev/revision", ""))


def test_preview_whose_check_fails_never_gets_the_traffic(web: Service, up: Checked) -> None:
    """Nor does one that is promoted by a person before its check has passed."""
    way = {"strategy": "BlueGreen", "blueGreen": {"keepFor": "1s"}}
    traffic = {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    check = checking(up.url, inconclusive="Wait")
    web.apply(image="a", replicas=2, rollout={**way, "checks": [check]}, spec={"traffic": traffic})
    web.until_ready()
    first = selected(web)
    assert first == web.revisions()[0]["spec"]["revision"]
    up.hangs_up = True
    web.apply(image="b")
    until_message(web, "is not promoted before its checks have passed: waiting for check up")
    assert run(web, "promote", "web").code == 0
    until_message(web, "waiting for check up")
    assert selected(web) == first
    up.hangs_up, up.status = False, 500
    told = until_back(web)
    assert f"{up.url}/healthz: status 500, expected 200" in told["message"]
    assert selected(web) == first
    up.status = 200
    web.apply(image="c")
    web.until("it waits", lambda: condition(web.get(), "Ready")["reason"] == "WaitingForPromotion")
    assert run(web, "promote", "web", "--wait", "--timeout=100").code == 0
    assert selected(web) == web.revisions()[-1]["spec"]["revision"]


def test_query_of_prometheus_decides(web: Service, up: Checked) -> None:
    """The server answers as Prometheus does."""
    query = {"address": up.url, "query": 'errors{pod=~"web-im$(revision)-.*"}', "success": "< 0.05"}
    check = {"name": "errors", "prometheus": {**query, "interval": "1s", "count": 2}}
    result = {"status": "success", "data": {"resultType": "scalar", "result": [1, "0.01"]}}
    up.body = json.dumps(result)
    web.apply(image="a", replicas=1, rollout={"checks": [check]})
    web.until_ready()
    assert results(web, 1) == ["Passed", "Passed"]
    assert f"web-im{web.revision()}-" in unquote(up.asked[-1][0])
    up.body = up.body.replace("0.01", "0.2")
    web.apply(image="b")
    until_back(web)
    assert "check errors: failed: the result 0.2 is not < 0.05" in verdict(web, 2)["message"]


UNPINNED = {"name": "x", "image": "registry.example/x:latest"}
REFUSED = [
    (
        {"name": "x", "job": {"template": {"spec": {"containers": [UNPINNED]}}}},
        "container x: image registry.example/x:latest has no digest",
    ),
    ({"name": "x", "job": {"template": {"spec": {"containers": []}}}}, "should have at least 1"),
    ({**JOB, "http": {"url": "http://web/", "expect": {"status": 200}}}, ONE_KIND),
    ({"name": "x", "prometheus": {"address": "http://p", "query": "up"}}, NO_THRESHOLD),
    (
        {"name": "x", "prometheus": {"address": "http://p", "query": "up", "success": "ok"}},
        "should match",
    ),
    ({"name": "x"}, ONE_KIND),
    ({"name": "x", "http": {"url": "http://web/", "expect": {}}}, NO_EXPECTATION),
    (
        {
            "name": "x",
            "ref": {"name": "y"},
            "http": {"url": "http://w/", "expect": {"status": 200}},
        },
        ONE_KIND,
    ),
    ({"name": "x", "http": {"path": "/", "expect": {"status": 200}}}, PATH_AND_PORT),
    (
        {
            "name": "x",
            "http": {"url": "http://a/", "path": "/", "port": 1, "expect": {"body": "x"}},
        },
        URL_OR_PATH,
    ),
    ({"name": "x", "http": {"url": "ftp://web/", "expect": {"status": 200}}}, "should match"),
    ({"name": "x", "http": {"url": "http://me@web/", "expect": {"status": 200}}}, "should match"),
    ({"name": "x", "ref": {"name": "y"}, "inconclusive": "Wait"}, OF_THE_CHECK),
]


def refusal_of(plane: ControlPlane, namespace: str, *checks: Json) -> str:
    """What kubectl says to a service with these checks."""
    wish = Wish(rollout={"checks": list(checks)}).manifest("refused", namespace)
    done = plane.kubectl(
        "create", "--dry-run=server", "-f", "-", stdin=json.dumps(wish), check=False
    )
    assert done.returncode != 0
    return done.stderr


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize(("check", "said"), REFUSED, ids=[r[1] for r in REFUSED])
def test_check_that_can_mean_nothing_is_refused(
    control_plane: ControlPlane, module_namespace: str, check: Json, said: str
) -> None:
    assert said in refusal_of(control_plane, module_namespace, check)


@pytest.mark.usefixtures("installation")
def test_two_checks_of_one_name_are_refused(
    control_plane: ControlPlane, module_namespace: str
) -> None:
    same = checking("http://web")
    assert "Duplicate" in refusal_of(control_plane, module_namespace, same, same)
