"""The operator in its own pods, from `helm install` to `helm uninstall`, as a user has it."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.cluster.audit import CREDENTIAL
from tests.cluster.history import History, Recording
from tests.cluster.operator_process import NAMESPACE, USER
from tests.cluster.services import is_ready
from tests.controlplane import ControlPlane
from tests.controlplane.access import find_kubectl
from tests.controlplane.api import Json
from tests.controlplane.real.nodes import RealNodes
from tests.real.release import NAME, REPLICAS, Release
from tests.real.web import WebService, image_ids
from tests.waiting import wait_for

NODES = {"real-0", "real-1"}
LEASES = (
    f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
    f"?fieldSelector=metadata.name%3D{NAME}"
)


@pytest.fixture
def running(web: WebService, real: RealNodes) -> WebService:
    """A service of four instances, for what must not touch them."""
    web.apply_image(real.images.digest("web"), replicas=4)
    web.until_ready()
    return web


@pytest.fixture
def roads(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The cluster, for tests that cordon and drain; every node takes pods again afterwards."""
    yield control_plane
    control_plane.kubectl("uncordon", *sorted(NODES))


def test_two_replicas_run_on_two_nodes_from_the_pinned_image(
    release: Release, builds: tuple[str, str]
) -> None:
    pods = release.pods()
    assert [image_ids(pod) for pod in pods] == [[builds[0]]] * REPLICAS
    assert {pod["spec"]["nodeName"] for pod in pods} == NODES
    for pod in pods:
        status = pod["status"]["containerStatuses"][0]
        assert status["user"]["linux"]["uid"] == 65532


def test_operator_namespace_is_restricted_and_root_is_read_only(release: Release) -> None:
    pod = release.pods()[0]["metadata"]["name"]
    script = "import os; print(os.getuid(), os.environ.get('HOME')); open('/written', 'w')"
    tried = release.plane.kubectl(
        *("exec", pod, "--", "python3", "-c", script), namespace=NAMESPACE, check=False
    )
    assert tried.stdout.startswith("65532 ")
    assert "Read-only file system" in tried.stderr
    refused = release.plane.kubectl(
        *("run", "root", "--image=registry.example/root", "--dry-run=server"),
        namespace=NAMESPACE,
        check=False,
    )
    assert 'violates PodSecurity "restricted:latest"' in refused.stderr


def test_one_replica_leads_and_one_stands_by(release: Release) -> None:
    lease = release.lease()
    assert release.holder().startswith(f"{release.leader()['metadata']['name']}-")
    assert lease["leaseDurationSeconds"] == 15
    leading = [release.leads(pod) for pod in release.pods()]
    assert sorted(leading) == [False, True]
    assert [release.says(pod, "/readyz") for pod in release.pods()] == [(200, "ok\n")] * 2


def test_operator_uses_tokens_of_its_pods(release: Release, running: WebService) -> None:
    """Tokens that kubelets fetch, each good for one pod only; nothing else uses the account."""
    pods = {pod["metadata"]["uid"]: pod for pod in release.pods()}
    seen: dict[str, set[str]] = {}
    for user in _users(release.plane):
        extra = user["extra"]
        pod = pods.get(extra["authentication.kubernetes.io/pod-uid"][0])
        assert extra[CREDENTIAL]
        if pod is not None:
            assert extra["authentication.kubernetes.io/node-name"] == [pod["spec"]["nodeName"]]
            seen.setdefault(pod["metadata"]["name"], set()).update(extra[CREDENTIAL])
    assert set(seen) == {pod["metadata"]["name"] for pod in pods.values()}


def test_kubelets_probe_operator(release: Release) -> None:
    for pod in release.pods():
        for kind in ("Readiness", "Liveness"):
            wait_for(
                f"{kind} probes of {pod['metadata']['name']} succeed",
                partial(_probes, release.plane, pod, kind, "successful"),
            )


def test_stopped_leader_fails_probes_and_is_succeeded(
    release: Release, real: RealNodes, show: Callable[[object], None]
) -> None:
    leader = release.leader()
    name = leader["metadata"]["name"]
    before = _restarts(release.pod(name))
    began = time.monotonic()
    release.signal(real, leader, "SIGSTOP")
    try:
        release.until("another leads", lambda: release.leader()["metadata"]["name"] != name)
        show(f"a frozen leader is succeeded after {time.monotonic() - began:.1f} s")
        release.until("it is not Ready", lambda: not is_ready(release.pod(name)))
        wait_for(
            "its liveness probe fails",
            partial(_probes, release.plane, leader, "Liveness", "failed"),
        )
    finally:
        release.signal(real, leader, "SIGCONT")
    # It finds its lease taken, ends, and is started afresh, as a standby.
    release.until("it was started afresh", lambda: _restarts(release.pod(name)) > before)
    release.until_well()
    assert release.leader()["metadata"]["name"] != name
    ended = release.pod(name)["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert ended["exitCode"] == 1
    # Whichever looks first, the election or the guard in front of each write.
    said = release.records(name, "--previous")
    assert any("lease" in f"{r['event']} {r.get('error')}" for r in said[-3:]), said[-3:]


def test_deleted_leader_releases_its_lease(
    release: Release, show: Callable[[object], None]
) -> None:
    leader, standby = release.leader(), release.standby()
    with release.history() as history, Recording(release.plane, LEASES) as leases:
        # Its replacement starts while it drains, and would be as quick to ask for the lease.
        release.plane.kubectl("cordon", *sorted(NODES))
        try:
            began = time.monotonic()
            release.plane.kubectl("delete", "pod", leader["metadata"]["name"], namespace=NAMESPACE)
            gone = time.monotonic() - began
            release.until("the standby leads", lambda: release.leads(standby))
            led = time.monotonic() - began
        finally:
            release.plane.kubectl("uncordon", *sorted(NODES))
        release.until_well()
        assert _exit_code(history, leader) == 0
        holders = [change.pod["spec"]["holderIdentity"] for change in leases.changes()]
    # It was given back, and taken when it was free: it did not have to expire.
    *_, given_back, taken = [holder for holder, _ in itertools.groupby(holders)]
    assert given_back == ""
    assert taken.startswith(standby["metadata"]["name"])
    show(f"the pod was gone after {gone:.1f} s; the standby led within {led:.1f} s")
    assert release.leader()["metadata"]["name"] == standby["metadata"]["name"]


def test_drain_evicts_one_replica_and_budget_keeps_the_last(
    release: Release, roads: ControlPlane, show: Callable[[object], None]
) -> None:
    leader = release.leader()
    first = leader["spec"]["nodeName"]
    [second] = NODES - {first}
    with release.history() as history:
        began = time.monotonic()
        _drain(roads, first)
        show(f"a node with the leader was drained in {time.monotonic() - began:.1f} s")
        release.until("the other node has both", lambda: _nodes(release) == [second] * REPLICAS)
        release.until_well()
        assert _exit_code(history, leader) == 0
        # Nowhere to go: the last one must stay.
        _until_drain_is_refused(release, second)
        assert any(is_ready(pod) for pod in release.pods())
        roads.kubectl("uncordon", first)
        _drain(roads, second)
        release.until_well()
    history.assert_budget(most=REPLICAS, fewest=1)


def test_upgrade_replaces_operator_pods_and_no_instance(
    release: Release,
    builds: tuple[str, str],
    running: WebService,
    real: RealNodes,
    show: Callable[[object], None],
) -> None:
    before = {pod["metadata"]["uid"] for pod in release.pods()}
    with running.history() as instances, release.history() as replicas:
        began = time.monotonic()
        release.upgrade(builds[1])
        release.until_well()
        show(f"helm upgrade rolled the operator in {time.monotonic() - began:.1f} s")
        assert instances.births() + instances.retirements() == []
    assert [image_ids(pod) for pod in release.pods()] == [[builds[1]]] * REPLICAS
    assert not before & {pod["metadata"]["uid"] for pod in release.pods()}
    replicas.assert_budget(most=REPLICAS + 1, fewest=REPLICAS)
    # The new build goes on where the old one was: as many instances, one record, no event.
    running.until_ready()
    assert len(running.revisions()) == 1
    running.apply_image(real.images.digest("web", "v2"))
    running.until_ready()
    running.assert_runs(real.images.digest("web", "v2"))


def test_uninstall_leaves_services_and_definitions(
    release: Release,
    builds: tuple[str, str],
    running: WebService,
    show: Callable[[object], None],
) -> None:
    running.expose()
    with running.history() as instances, running.traffic() as traffic:
        release.uninstall()
        release.until("its pods are gone", lambda: not release.pods())
        kinds = running.kubectl("get", "crd", "-o", "name")
        assert "immutableservices.immutable.dev" in kinds
        assert "immutablerevisions.immutable.dev" in kinds
        assert "web" in running.kubectl("get", "imsvc")
        # With nobody there it is only recorded; the next installation goes on from it.
        running.apply(replicas=3)
        running.always("no instance is touched", lambda: len(running.active()) == 4, 3)
        assert instances.births() + instances.retirements() == []
        instances.assert_budget(most=4, fewest=4)
        release.install(builds[0])
        release.until_well()
        running.until_ready()
        assert instances.births() == []
        assert len(instances.retirements()) == 1
    report = traffic.report()
    show(report)
    assert len(report.addresses) == 4
    assert not report.failures, report.explain()


# Of what is ours; pods of tests before this one may still be ending on the node.
DRAIN = ("--ignore-daemonsets", "--pod-selector", "app.kubernetes.io/name=immutable-operator")


def _drain(plane: ControlPlane, node: str) -> None:
    plane.kubectl("drain", node, *DRAIN, "--timeout=120s")


def _until_drain_is_refused(release: Release, node: str) -> None:
    """Drain a node until one replica is evicted and the other refused.

    kubectl would try again and again, so it is ended; but never while an eviction is under way. The
    API server reduces the budget before it deletes the pod, and does not delete it for a client
    that is gone: no pod of the budget could be evicted for two minutes.
    """
    config = f"--kubeconfig={release.plane.kubeconfig()}"
    command = [str(find_kubectl()), config, "drain", node, *DRAIN]
    before = _remaining(release)
    with subprocess.Popen(
        [*command, "--timeout=120s"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if "would violate the pod's disruption budget" in line:
                    release.until("one is evicted", lambda: before - _remaining(release))
                    return
        finally:
            process.kill()
    pytest.fail(f"no eviction was refused: {''.join(said)}")


def _remaining(release: Release) -> set[str]:
    """The uids of its pods that nobody has deleted."""
    pods = (pod["metadata"] for pod in release.pods())
    return {pod["uid"] for pod in pods if "deletionTimestamp" not in pod}


def _nodes(release: Release) -> list[str]:
    return [pod["spec"].get("nodeName", "") for pod in release.pods()]


def _restarts(pod: Json) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def _exit_code(history: History, pod: Json) -> int:
    """With what the operator in a pod that is gone has ended."""
    for change in reversed(history.changes()):
        if change.pod["metadata"]["uid"] == pod["metadata"]["uid"]:
            state = change.pod["status"]["containerStatuses"][0]["state"]
            if "terminated" in state:
                return int(state["terminated"]["exitCode"])
    raise AssertionError(f"no event shows how {pod['metadata']['name']} ended:\n{history.story()}")


def _probes(plane: ControlPlane, pod: Json, kind: str, result: str) -> float:
    """How many probes of a pod had this result, by the count of its kubelet."""
    node, uid = pod["spec"]["nodeName"], pod["metadata"]["uid"]
    text = plane.api().text("GET", f"/api/v1/nodes/{node}/proxy/metrics/probes")
    wanted = (f'pod_uid="{uid}"', f'probe_type="{kind}"', f'result="{result}"')
    lines = (line for line in text.splitlines() if line.startswith("prober_probe_total{"))
    return sum(float(re.split(r"\s", line)[-1]) for line in lines if all(w in line for w in wanted))


def _users(plane: ControlPlane) -> Iterator[Json]:
    """As whom the account's requests were made, one for each request."""
    with plane.audit().path.open() as lines:
        for line in lines:
            if USER in line and line.endswith("\n"):
                user: Json = json.loads(line)["user"]
                if user["username"] == USER:
                    yield user
