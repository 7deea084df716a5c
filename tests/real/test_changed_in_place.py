"""What a kubelet really does to a running pod, where no policy refuses it: it is replaced.

The administrator has switched the policies off, as the chart lets him. Simulated nodes show
what the operator makes of a changed spec; here the kubelet has carried the change out first.
A process that ends by itself is no matter of policies: nobody can refuse that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from immutable_operator.domain.families.pods import SPEC_CHANGED
from tests.cluster.guards import until_in_force, until_lifted
from tests.cluster.services import condition, is_ready, names
from tests.controlplane.api import Json
from tests.controlplane.real.cgroups import cpu_limit
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import fetch
from tests.real.reach import assert_replaced, pod_of, restarts, signal
from tests.real.release import Release
from tests.real.web import WebService, image_ids

REPLICAS = 2
# First Report: with Replace the instance goes before its kubelet is done with it.
REPORT, REPLACE = ({"immutability": {"onTaint": what}} for what in ("Report", "Replace"))
LIMITS = {"resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "200m"}}}


@pytest.fixture(scope="module", autouse=True)
def _unguarded(installed: Release, builds: tuple[str, str]) -> Iterator[None]:
    """`helm upgrade --set enforcement.mode=Off`, and back to what the chart ships."""
    installed.upgrade(builds[0], **{"enforcement.mode": "Off"})
    until_lifted(installed.plane)
    yield
    installed.upgrade(builds[0])
    until_in_force(installed.plane)


@pytest.fixture
def running(web: WebService, real: RealNodes) -> WebService:
    """Two instances of v1 that are not replaced yet."""
    web.apply_image(real.images.digest("web"), LIMITS, replicas=REPLICAS, spec=REPORT)
    web.until_ready()
    return web


def test_pod_with_swapped_container_is_replaced(running: WebService, real: RealNodes) -> None:
    victim = min(names(running))
    born = pod_of(running, victim)
    other = real.images.digest("web", "v2")
    with running.history() as history:
        running.kubectl("set", "image", f"pod/{victim}", f"web={other}")
        address = born["status"]["podIP"]
        running.until("the same pod answers as v2", lambda: fetch(address) == (200, "v2\n"))
        running.until("its kubelet says so", lambda: image_ids(pod_of(running, victim)) == [other])
        now = pod_of(running, victim)
        assert now["metadata"]["uid"] == born["metadata"]["uid"]
        assert restarts(now) == 1
        running.until("it is reported", lambda: deviations(running) == [(victim, "Drifted")])
        # The service also says that nothing would have refused this.
        assert condition(running.get(), "Guarded")["status"] == "False"
        running.apply(spec=REPLACE)
        assert_replaced(running, history, victim, "Drifted: container web has image", down=1)


def test_an_instance_that_was_resized_in_place_is_replaced(
    running: WebService, real: RealNodes
) -> None:
    victim = max(names(running))
    pod = pod_of(running, victim)
    assert quota(real, pod) == 200
    more = {"spec": {"containers": [{"name": "web", "resources": {"limits": {"cpu": "300m"}}}]}}
    with running.history() as history:
        running.kubectl(
            *("patch", "pod", victim, "--subresource=resize", f"--patch={json.dumps(more)}")
        )
        running.until("its process may use more", lambda: quota(real, pod) == 300)
        assert restarts(pod_of(running, victim)) == 0
        running.until("it is reported", lambda: deviations(running) == [(victim, "Tainted")])
        running.apply(spec=REPLACE)
        assert_replaced(
            *(running, history, victim),
            f"Tainted: {SPEC_CHANGED} (by kubectl-patch)",
        )
    assert [quota(real, pod) for pod in running.active()] == [200] * REPLICAS


def test_killed_process_is_restarted_in_place_by_default(web: WebService, real: RealNodes) -> None:
    web.apply_image(real.images.digest("web"), replicas=REPLICAS)
    web.until_ready()
    before = names(web)
    victim = min(before)
    with web.history() as history:
        signal(real, pod_of(web, victim), "SIGKILL")
        web.until("it was restarted", lambda: restarts(pod_of(web, victim)) == 1)
        web.until("it is Ready again", lambda: is_ready(pod_of(web, victim)))
        web.always("nothing is replaced", lambda: names(web) == before, 2)
        assert history.births() + history.retirements() == []


def test_restarted_instance_is_replaced_with_restarts_replace(
    web: WebService, real: RealNodes
) -> None:
    strict = {"immutability": {"restarts": "Replace"}}
    web.apply_image(real.images.digest("web"), replicas=REPLICAS, spec=strict)
    web.until_ready()
    victim = min(names(web))
    with web.history() as history:
        signal(real, pod_of(web, victim), "SIGKILL")
        because = "Tainted: container web was restarted in place"
        assert_replaced(web, history, victim, because, down=1)


def deviations(web: WebService) -> list[tuple[str, str]]:
    return [(d["instance"], d["reason"]) for d in web.status().get("deviations", ())]


def quota(real: RealNodes, pod: Json) -> int | None:
    """The thousandths of a processor that the kernel gives the only container of a pod."""
    container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    return cpu_limit(real.node(pod["spec"]["nodeName"]).cgroup, container)
