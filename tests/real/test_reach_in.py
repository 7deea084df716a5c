"""Reaching into what runs on real nodes: refused by name, or let in, marked and replaced.

The operator is installed by helm as the README says; the API server asks its webhook at the
endpoints of its Service. alice follows what she is told.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from immutable_operator.api.names import ANNOTATION_QUARANTINED, ANNOTATION_TAINTED
from immutable_operator.kube.times import moment
from tests.cluster.operator_process import NAMESPACE
from tests.cluster.services import is_ready, names, told_to_end
from tests.cluster.webhook import mark_of
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import PORT, fetch, ready_at
from tests.real.reach import (
    GLASS,
    PERSON,
    assert_replaced,
    forwarded,
    may_break_glass,
    pod_of,
    reach,
    signal,
)
from tests.real.release import Release
from tests.real.traffic import endpoints_of, receivers
from tests.real.web import WebService

REPLICAS = 2
OWN_PAGE = f"http://127.0.0.1:{PORT}/"
ASK_OWN = ("--", "/web", "get", OWN_PAGE)
LIMITS = {"resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "200m"}}}
MORE_CPU = '{"spec":{"containers":[{"name":"web","resources":{"limits":{"cpu":"300m"}}}]}}'
RESIZE = ("--subresource=resize", f"--patch={MORE_CPU}")
ON_TAINT_REPORT = {"immutability": {"onTaint": "Report"}}
ON_TAINT_REPLACE = {"immutability": {"onTaint": "Replace"}}
QUARANTINE_SECONDS = 15


@pytest.fixture
def glass(web: WebService, real: RealNodes) -> WebService:
    """Two instances of the test image in a namespace of alice's."""
    may_break_glass(web.plane, web.namespace)
    web.apply_image(real.images.digest("web"), LIMITS, replicas=REPLICAS)
    web.expose()
    web.until_ready()
    return web


def debugging(real: RealNodes) -> tuple[str, ...]:
    """A debug container of another image that asks the instance for its page."""
    image = real.images.digest("web", "v2")
    return (f"--image={image}", "--target=web", "--container=debugger", *ASK_OWN)


def test_access_without_break_glass_is_refused(glass: WebService, real: RealNodes) -> None:
    pod = min(names(glass))
    ways = {
        "exec": ("exec", pod, *ASK_OWN),
        "attach": ("attach", pod),
        "port-forward": ("port-forward", pod, f":{PORT}"),
        "cp": ("cp", f"{pod}:/version", "/dev/null"),
        "debug": ("debug", pod, *debugging(real)),
    }
    before = names(glass)
    with glass.history() as history:
        for way, command in ways.items():
            done = reach(glass, *command, check=False)
            assert done.returncode != 0, way
            assert "v1" not in done.stdout, way
            asked = (
                f"kubectl {way.replace('cp', 'exec')} {' '.join(GLASS)} -n {glass.namespace} {pod}"
            )
            if way == "debug":
                asked = f"in an emergency, repeat the command with {' '.join(GLASS)}"
            assert asked in done.stderr, done.stderr
            assert "is then marked as tainted and replaced" in done.stderr
        done = reach(glass, "patch", "pod", pod, *RESIZE, check=False)
        assert done.returncode != 0
        assert f"the immutable instance {pod} cannot be resized in place" in done.stderr
        assert "change spec.template of the ImmutableService web" in done.stderr
        glass.always("nothing is replaced", lambda: names(glass) == before, 2)
        assert history.births() + history.retirements() == []
    assert mark_of(glass.plane, glass.namespace, pod) is None


def test_mark_is_visible_to_the_executed_command(glass: WebService) -> None:
    """The command is what the refusal says, and prints what its own pod has on it by then."""
    glass.kubectl(
        *("create", "rolebinding", "see", "--clusterrole=view"),
        f"--serviceaccount={glass.namespace}:default",
    )
    account = f"--as=system:serviceaccount:{glass.namespace}:default"
    glass.until(
        "instances may look at themselves",
        lambda: glass.kubectl("auth", "can-i", "get", "pods", account, check=False) == "yes\n",
    )
    victim = min(names(glass))
    refused = reach(glass, "exec", victim, *ASK_OWN, check=False).stderr
    told = re.search(r"in an emergency: kubectl (exec .*) \.\.\.", refused)
    assert told, refused
    own = f"/api/v1/namespaces/{glass.namespace}/pods/{victim}"
    with glass.history() as history:
        done = reach(glass, *told[1].split(), "--", "/web", "get", own)
        seen = json.loads(done.stdout)
        mark = json.loads(seen["metadata"]["annotations"][ANNOTATION_TAINTED])
        assert (mark["what"], mark["by"]) == ("exec", PERSON)
        assert_replaced(glass, history, victim, f"Tainted: exec by {PERSON} at {mark['at']}")


def test_attached_instance_is_replaced(glass: WebService) -> None:
    victim = min(names(glass))
    with glass.history() as history:
        done = reach(glass, "attach", victim, *GLASS)
        assert "draining for 5s\nall requests are answered: ending" in done.stdout
        assert_replaced(glass, history, victim, f"Tainted: attach by {PERSON} at ")


def test_instance_with_forwarded_port_is_replaced(glass: WebService) -> None:
    victim = max(names(glass))
    with glass.history() as history, forwarded(glass, victim, *GLASS) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (answer.read(), answer.headers["X-Instance"]) == (b"v1\n", victim)
        connection.close()
        assert_replaced(glass, history, victim, f"Tainted: portforward by {PERSON} at ")


def test_instance_with_debug_container_is_replaced(glass: WebService, real: RealNodes) -> None:
    """No webhook hears of it: the operator sees it in the pod's spec."""
    # With Replace it goes as soon as its successor is ready, whether or not the debugger began.
    glass.apply(spec=ON_TAINT_REPORT)
    victim = min(names(glass))
    with glass.history() as history:
        reach(glass, "debug", victim, *GLASS, *debugging(real))
        # It has the instance's network: what answers it is the instance.
        log = ("logs", victim, "--container=debugger")
        glass.until("it had its answer", lambda: glass.kubectl(*log, check=False) == "v1\n")
        glass.until("it is told", lambda: glass.status().get("deviations"))
        glass.apply(spec=ON_TAINT_REPLACE)
        assert_replaced(glass, history, victim, "Tainted: debug container debugger was added to it")
        last = [change.pod for change in history.changes() if change.name == victim][-1]
    assert ANNOTATION_TAINTED not in last["metadata"]["annotations"]


def test_instance_that_was_copied_from_is_replaced(
    web: WebService, builds: tuple[str, str], tmp_path: Path
) -> None:
    """`kubectl cp` needs a tar in the image: the operator's has one, and Python's web server."""
    may_break_glass(web.plane, web.namespace)
    server = {
        "command": ["python3", "-m", "http.server", str(PORT), "--directory=/tmp"],
        "readinessProbe": ready_at("/"),
    }
    # As the first process of a container, that server does not hear that it is to end.
    web.apply_image(builds[0], server, replicas=REPLICAS, pod={"terminationGracePeriodSeconds": 1})
    web.until_ready()
    victim = min(names(web))
    copy = tmp_path / "hostname"
    with web.history() as history:
        reach(web, "cp", *GLASS, f"{victim}:/etc/hostname", str(copy))
        assert copy.read_text() == f"{victim}\n"
        assert_replaced(web, history, victim, f"Tainted: exec by {PERSON} at ")


def test_access_is_marked_while_operator_replica_ends(
    web: WebService, release: Release, real: RealNodes
) -> None:
    may_break_glass(web.plane, web.namespace)
    web.apply_image(real.images.digest("web"), replicas=4, spec=ON_TAINT_REPORT)
    web.until_ready()
    before = names(web)

    def assert_marked(pod: str) -> None:
        assert reach(web, "exec", pod, *GLASS, *ASK_OWN).stdout == "v1\n"
        mark = mark_of(web.plane, web.namespace, pod)
        assert mark is not None, f"{pod} was reached into and is not marked"
        assert mark["by"] == PERSON

    leader = release.leader()["metadata"]["name"]
    release.plane.kubectl("delete", "pod", leader, "--wait=false", namespace=NAMESPACE)
    for pod in sorted(before)[:2]:
        assert_marked(pod)
    release.until(
        "the replica is gone", lambda: leader not in {p["metadata"]["name"] for p in release.pods()}
    )
    for pod in sorted(before)[2:]:
        assert_marked(pod)
    release.until_well()
    web.until("all is told", lambda: len(web.status().get("deviations", ())) == len(before))
    assert names(web) == before


def test_quarantine_keeps_process_and_stops_traffic(
    web: WebService, real: RealNodes, show: Callable[[object], None]
) -> None:
    may_break_glass(web.plane, web.namespace)
    kept = {"onTaint": "Quarantine", "quarantineFor": "1h"}
    web.apply_image(real.images.digest("web"), replicas=REPLICAS, spec={"immutability": kept})
    web.expose()
    web.until_ready()
    victim = min(names(web))
    address = pod_of(web, victim)["status"]["podIP"]
    with web.history() as history, web.traffic() as traffic:
        reach(web, "exec", victim, *GLASS, *ASK_OWN)
        web.until("it is in no EndpointSlice", lambda: address not in receiving(web))
        out = traffic.until_without(address)
        web.until("its successor gets traffic", lambda: len(receiving(web)) == REPLICAS)
        receivers_then = receiving(web)
        # It runs as it ran: its log and its answers are there for whoever investigates.
        assert is_ready(pod_of(web, victim))
        assert web.kubectl("logs", victim).splitlines() == [f"serving v1 on [::]:{PORT}"]
        assert fetch(address) == (200, "v1\n")
        assert reach(web, "exec", victim, *GLASS, *ASK_OWN).stdout == "v1\n"
        web.apply(spec={"immutability": kept | {"quarantineFor": f"{QUARANTINE_SECONDS}s"}})
        web.until(
            "its time is over", lambda: "deletionTimestamp" in pod_of(web, victim)["metadata"]
        )
        report = traffic.report()
        web.until_alone()
        assert len(history.births()) == 1, history.story()
        retired = history.retirements()[0]
    assert retired.name == victim
    since = json.loads(retired.pod["metadata"]["annotations"][ANNOTATION_QUARANTINED])["since"]
    # Kubernetes tells times in whole seconds.
    assert told_to_end(retired.pod) >= int(moment(since)) + QUARANTINE_SECONDS
    assert not report.failures, report.explain()
    late = [a for a in report.answers if a.due > out]
    assert {a.address for a in late if not a.kept} == receivers_then
    # A client that keeps a connection keeps it: nobody closes it but the instance.
    kept_on = sum(a.address == address for a in late if a.kept)
    show(f"{report}; to the one in quarantine over connections of before: {kept_on}")


def receiving(web: WebService) -> set[str]:
    """Addresses to which a kube-proxy sends new connections."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{web.namespace}/endpointslices"
    return {e.address for e in receivers(endpoints_of(web.plane.api().get(path)["items"]))}


def test_access_without_operator_is_admitted_and_audited(
    glass: WebService, release: Release, real: RealNodes
) -> None:
    """The webhook is there to mark, and never to lock people out when the operator is away."""
    pod = min(names(glass))
    for replica in release.pods():
        signal(real, replica, "SIGSTOP")
    try:
        assert reach(glass, "exec", pod, *GLASS, *ASK_OWN).stdout == "v1\n"
        # Awake, a replica may find the question and leave the mark after all.
        assert mark_of(glass.plane, glass.namespace, pod) is None
    finally:
        for replica in release.pods():
            signal(real, replica, "SIGCONT")
    [notes] = audited(glass, "exec")
    assert notes["connect.immutable.dev/connect"] == f"{PERSON} exec {glass.namespace}/{pod}"
    failed_open = [value for key, value in notes.items() if key.startswith("failed-open.")]
    assert failed_open == ["break-glass.immutable.dev"]


def audited(web: WebService, subresource: str) -> list[dict[str, str]]:
    """What the API server noted of each connection of this kind to the service's instances."""
    lines = web.plane.audit().path.read_text().splitlines()
    events = [json.loads(line) for line in lines if web.namespace in line]
    return [
        event["annotations"]
        for event in events
        if event["stage"] == "ResponseComplete"
        and event["objectRef"].get("subresource") == subresource
    ]
