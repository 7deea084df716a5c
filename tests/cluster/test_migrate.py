"""`kubectl immutable migrate`: a Deployment and a service exchange their pods, one by one."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from immutable_operator.cli.migration import NO_DIGEST
from tests.cluster.autoscaling import DEPLOYMENT, autoscale, scaled_kind
from tests.cluster.deployments import Deployment
from tests.cluster.history import History
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.plugin import Told, run, start, told
from tests.cluster.services import Service, pin
from tests.controlplane.api import ApiError

REPLICAS = 3
ANNOTATION = "immutable.dev/migration"


@pytest.fixture
def live(web: Service, operator: OperatorProcess) -> Deployment:
    """A Deployment of three pods, which are available."""
    deployment = Deployment(web)
    deployment.apply(replicas=REPLICAS)
    deployment.until_available()
    return deployment


def migrate(live: Deployment, *args: str) -> Told:
    return run(live.web, "migrate", f"deployment/{live.web.name}", *args)


def is_gone(web: Service) -> bool:
    try:
        web.get()
    except ApiError as error:
        return error.status == 404
    return False


def interrupted_halfway(live: Deployment, *args: str) -> Told:
    web = live.web
    process = start(
        web.plane, f"--namespace={web.namespace}", "migrate", f"deployment/{web.name}", *args
    )
    live.web.until("some pods are moved", lambda: 0 < live.wanted() < REPLICAS)
    process.send_signal(signal.SIGINT)
    return told(process)


def test_migration_there_and_back_keeps_all_pods_available(live: Deployment) -> None:
    web = live.web
    with History(web) as history:
        done = migrate(live)
        assert done.code == 0, done.err
        assert (live.wanted(), web.get()["spec"]["replicas"]) == (0, REPLICAS)
        web.until_ready()
        assert web.images() == [pin("a")] * REPLICAS
        again = migrate(live)
        assert (again.code, again.out.count("\n")) == (0, 1)
        done = migrate(live, "--back")
        assert done.code == 0, done.err
        assert live.wanted() == REPLICAS
        web.until("the service is gone", lambda: is_gone(web))
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
    assert ANNOTATION not in live.get()["metadata"]["annotations"]


def test_interrupted_migration_goes_on_where_it_was(live: Deployment) -> None:
    with History(live.web) as history:
        stopped = interrupted_halfway(live)
        assert stopped.code == 130
        assert "run the same command again" in stopped.err
        assert "Traceback" not in stopped.err
        done = migrate(live)
        assert done.code == 0, done.err
        assert live.wanted() == 0
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)


def test_interrupted_migration_can_be_aborted(live: Deployment) -> None:
    with History(live.web) as history:
        assert interrupted_halfway(live).code == 130
        done = migrate(live, "--abort")
        assert done.code == 0, done.err
        assert live.wanted() == REPLICAS
        live.web.until("the service is gone", lambda: is_gone(live.web))
        history.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
    assert ANNOTATION not in live.get()["metadata"]["annotations"]
    late = migrate(live, "--abort")
    assert late.code == 2
    assert "nothing has to be moved back" in late.err


def test_autoscaler_is_brought_along(live: Deployment) -> None:
    web = live.web
    autoscale(web, REPLICAS, 2 * REPLICAS, DEPLOYMENT)
    with History(web) as history:
        done = migrate(live)
        assert done.code == 0, done.err
        assert "HorizontalPodAutoscaler web scales ImmutableService web" in done.out
        assert (live.wanted(), scaled_kind(web)) == (0, "ImmutableService")
        done = migrate(live, "--back")
        assert done.code == 0, done.err
        assert scaled_kind(web) == "Deployment"
        assert live.wanted() >= REPLICAS
        history.assert_budget(most=4 * REPLICAS, fewest=REPLICAS)


def test_new_deployment_gets_what_the_service_runs(live: Deployment) -> None:
    web = live.web
    live.apply(replicas=1)
    live.until_available()
    assert migrate(live).code == 0
    web.kubectl("delete", "deployment", "web")
    patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": pin("b")}]
    web.kubectl("patch", "imsvc", "web", "--type=json", f"--patch={json.dumps(patch)}")
    web.until_ready()
    done = migrate(live, "--back")
    assert done.code == 0, done.err
    live.until_available()
    body = live.get()
    assert body["spec"]["replicas"] == 1
    assert body["spec"]["template"]["spec"]["containers"][0]["image"] == pin("b")


def test_kept_deployment_gets_what_the_service_runs(live: Deployment) -> None:
    web = live.web
    live.apply(replicas=1)
    live.until_available()
    assert migrate(live).code == 0
    patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": pin("b")}]
    web.kubectl("patch", "imsvc", "web", "--type=json", f"--patch={json.dumps(patch)}")
    web.until_ready()
    done = migrate(live, "--back")
    assert done.code == 0, done.err
    assert live.get()["spec"]["template"]["spec"]["containers"][0]["image"] == pin("b")


def test_dry_run_changes_nothing(live: Deployment) -> None:
    before = live.get()["metadata"]["resourceVersion"]
    done = migrate(live, "--dry-run")
    assert done.code == 0, done.err
    assert f"web: {pin('a')}" in done.out
    assert "3 pods would be moved, 1 at a time" in done.out
    assert live.get()["metadata"]["resourceVersion"] == before
    assert is_gone(live.web)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}, "Helm (label"),
    ({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "x"}}}, "Argo CD (annotation"),
    ({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}}, "Flux (label"),
    ({"strategy": {"type": "Recreate"}}, "its strategy is Recreate"),
    ({"container": {"image": "registry.example/web:v1"}}, NO_DIGEST),
]


@pytest.mark.parametrize(("changes", "says"), REFUSED)
def test_refusal_changes_nothing(
    changes: dict[str, Any], says: str, web: Service, operator: OperatorProcess
) -> None:
    live = Deployment(web)
    live.apply(**({"replicas": 1} | changes))
    live.until_available()
    done = migrate(live)
    assert done.code == 2
    assert says in done.err
    assert "Traceback" not in done.err
    assert ("two commits" in done.err) is ("metadata" in changes)
    assert is_gone(web)
    assert live.wanted() == 1


def test_bad_input_is_one_sentence(live: Deployment) -> None:
    web = live.web
    for args, says in (
        (("migrate", "web"), "write deployment/NAME"),
        (("migrate", "deployment/nothing"), "there is no Deployment nothing"),
        (("migrate", "deployment/web", "--back"), "nothing has to be moved back"),
    ):
        done = run(web, *args)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert says in done.err
    web.apply(image="a", replicas=0)
    done = migrate(live)
    assert done.code == 2
    assert "was not made by this command" in done.err


def test_pods_that_do_not_become_available_move_nothing(
    web: Service, operator: OperatorProcess
) -> None:
    live = Deployment(web)
    live.apply(replicas=2, pod={"nodeSelector": {"no": "node"}})
    done = migrate(live)
    assert done.code == 2
    assert "its own rollout has not ended" in done.err
