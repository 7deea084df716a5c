"""Reaching into instances on real nodes, and what must come of it.

alice owns her namespace and may act as a member of immutable:break-glass: all rights that RBAC
can give, so that what refuses her is a policy.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from immutable_operator.api.names import BREAK_GLASS_GROUP
from tests.cluster.history import History
from tests.cluster.people import RBAC, full_rights
from tests.cluster.services import annotation, names
from tests.cluster.webhook import bundle
from tests.controlplane import ControlPlane
from tests.controlplane.access import find_kubectl
from tests.controlplane.api import Json
from tests.controlplane.real.nodes import RealNodes
from tests.real.pods import PORT
from tests.real.web import WebService, image_ids
from tests.waiting import wait_for

__all__ = [
    "GLASS",
    "PERSON",
    "assert_replaced",
    "forwarded",
    "may_break_glass",
    "pod_of",
    "reach",
    "restarts",
    "signal",
]

PERSON = "alice"
GLASS = (f"--as={PERSON}", f"--as-group={BREAK_GLASS_GROUP}")


def may_break_glass(plane: ControlPlane, namespace: str) -> None:
    """Alice may do everything in the namespace, and say that she is a member of the group.

    Returns when the API server knows of it, and knows whom to ask before it lets her in.
    """
    full_rights(plane, namespace, PERSON)
    name = f"{PERSON}-breaks-glass-in-{namespace}"
    may = {"apiGroups": [""], "verbs": ["impersonate"]}
    rules = [
        {**may, "resources": ["users"], "resourceNames": [PERSON]},
        {**may, "resources": ["groups"], "resourceNames": [BREAK_GLASS_GROUP]},
    ]
    plane.api().request(
        "POST", f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": rules}
    )
    plane.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--user={PERSON}")
    ask = ("auth", "can-i", "create", "pods/exec", *GLASS)
    wait_for(
        f"{PERSON} has her rights",
        lambda: plane.kubectl(*ask, actor=PERSON, namespace=namespace).stdout == "yes\n",
    )
    wait_for("the certificate of the webhook is published", lambda: bundle(plane))


def reach(web: WebService, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """kubectl as alice, in the service's namespace."""
    return web.plane.kubectl(*command, actor=PERSON, namespace=web.namespace, check=check)


@contextmanager
def forwarded(web: WebService, pod: str, *options: str) -> Iterator[int]:
    """A port of this machine that ``kubectl port-forward`` connects to the pod's, as alice."""
    command = [
        *(str(find_kubectl()), f"--kubeconfig={web.plane.kubeconfig(PERSON)}"),
        *(f"--namespace={web.namespace}", "port-forward", *options, pod, f":{PORT}"),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith("Forwarding from 127.0.0.1:"), said
            yield int(said.split()[2].rpartition(":")[2])
        finally:
            process.kill()


def pod_of(web: WebService, name: str) -> Json:
    return web.plane.api().get(f"/api/v1/namespaces/{web.namespace}/pods/{name}")


def restarts(pod: Json) -> int:
    """How often the only container of a pod was started again."""
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def signal(real: RealNodes, pod: Json, name: str) -> None:
    """Send a signal to the only container of a pod from its node: no API server hears of it."""
    container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    real.node(pod["spec"]["nodeName"]).ctr("tasks", "kill", "--signal", name, container)


def assert_replaced(
    web: WebService, history: History, victim: str, because: str, *, down: int = 0
) -> None:
    """Wait for it: one successor, first it and then the victim, and it says why it is there.

    ``down`` is how many instances were not Ready for a while by what was done to them.
    """
    wanted = web.get()["spec"]["replicas"]
    web.until(f"{victim} is told to go", lambda: victim not in names(web))
    web.until_ready()
    web.until_alone()
    births = history.births()
    assert len(births) == 1, history.story()
    assert annotation(births[0].pod, "replaces") == victim
    told = annotation(births[0].pod, "because") or ""
    assert told.startswith(because), told
    history.assert_budget(most=wanted + 1, fewest=wanted - down)
    for pod in web.active():
        assert image_ids(pod) == [web.image], pod["metadata"]["name"]
    events = [event["message"] for event in web.events(because.partition(":")[0])]
    assert any(victim in message for message in events), events
