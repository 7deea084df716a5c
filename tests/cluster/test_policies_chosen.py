"""Policies as an administrator chose them: modes by the label of a namespace, port-forward,
sidecars that are injected by tag. On the real API server, and as the operator judges them.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from itertools import count

import pytest

from tests.cluster.changes import RESERVED
from tests.cluster.guards import guarded, refused_by
from tests.cluster.injector import injecting
from tests.cluster.operator_process import ACCOUNT, CHART, NAMESPACE, Operators
from tests.cluster.services import Service, condition
from tests.cluster.webhook import GROUP, mark_of, member
from tests.controlplane.api import ApiError

LABEL = "immutable.dev/enforcement"
PREFIX = "mesh.example/"
VALUES = (
    f"--set=enforcement.modeLabel={LABEL}",
    f"--set=enforcement.allowedVerbs={{portforward}},enforcement.allowUnpinned={{{PREFIX}}}",
)
# Those that the chart gives the operator for these values.
FLAGS = ("--namespaces-by-label", "--allowed-verb=portforward", f"--allow-unpinned={PREFIX}")
PATIENCE_SECONDS = 4.0


def upgrade(operators: Operators, *values: str) -> None:
    operators.aim_webhook_as_installed()
    operators.plane.helm(
        *("upgrade", ACCOUNT, str(CHART), "--set=replicas=0"), *values, namespace=NAMESPACE
    )
    operators.aim_webhook()


@pytest.fixture(scope="module", autouse=True)
def chosen(running_operators: Operators) -> Iterator[None]:
    """The chart with these values, and the operator with their flags, during the module."""
    upgrade(running_operators, *VALUES)
    try:
        with running_operators.usually(*FLAGS):
            yield
    finally:
        upgrade(running_operators)


def ready(web: Service) -> str:
    """Let a service run one instance whose policies are in force; give its name."""
    web.apply(image="a", replicas=1, spec={"immutability": {"onTaint": "Report"}})
    web.until_ready()
    web.until("it is guarded", lambda: guarded(web) == ("True", "Enforced"))
    return str(web.active()[0]["metadata"]["name"])


def refusing(web: Service, pod: str, way: str) -> str:
    """The policy that refuses an access; "" if none does."""
    path = f"/api/v1/namespaces/{web.namespace}/pods/{pod}/{way}"
    try:
        web.plane.api().request("POST", path)
    except ApiError as error:
        return refused_by(error)
    return ""


def mode(web: Service, value: str) -> None:
    """Label the namespace; ``-`` at the end removes the label."""
    web.plane.kubectl("label", "--overwrite", "namespace", web.namespace, f"{LABEL}{value}")


def test_port_forward_is_allowed_for_all_users_and_exec_is_not(web: Service) -> None:
    pod = ready(web)
    assert refusing(web, pod, "portforward?ports=1") == ""
    assert refusing(web, pod, "exec?command=true&stdout=true") == "connect.immutable.dev"
    assert refusing(web, pod, "attach?stdout=true") == "connect.immutable.dev"
    assert refusing(web, pod, "proxy/") == "connect.immutable.dev"


def test_allowed_port_forward_leaves_no_mark_and_exec_of_the_same_user_does(web: Service) -> None:
    pod = ready(web)
    web.kubectl("create", "rolebinding", "glass", "--clusterrole=edit", f"--group={GROUP}")
    with contextlib.suppress(subprocess.TimeoutExpired):
        web.plane.kubectl(
            *(*member(), "port-forward", pod, ":80"),
            namespace=web.namespace,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    assert mark_of(web.plane, web.namespace, pod) is None
    web.kubectl("exec", pod, *member(), "--", "true", check=False)
    mark = mark_of(web.plane, web.namespace, pod)
    assert mark
    assert mark["what"] == "exec"


@pytest.mark.parametrize("value", ["Warn", "Audit", "Off"])
def test_label_of_a_namespace_sets_the_mode_and_the_service_reports_it(
    web: Service, value: str
) -> None:
    pod = ready(web)
    tries = count()

    def said() -> str:
        """What a user is told who writes a label that is reserved."""
        label = ("label", "--overwrite", "pod", pod, f"immutable.dev/note=try-{next(tries)}")
        return web.kubectl(*label, check=False)

    assert "Forbidden" in said()
    mode(web, f"={value}")
    web.until("it is let through", lambda: "labeled" in said())
    assert (RESERVED in said()) == (value == "Warn"), "a warning, and nothing for the others"
    web.until("it reports that", lambda: guarded(web) == ("False", "NamespaceExcluded"))
    assert "because of its name or its labels" in condition(web.get(), "Guarded")["message"]
    mode(web, "=anything")
    web.until("it is refused again", lambda: "Forbidden" in said())
    web.until("it reports that, too", lambda: guarded(web) == ("True", "Enforced"))


def test_access_through_a_node_is_refused_whatever_the_label_of_the_namespace(web: Service) -> None:
    pod = ready(web)
    mode(web, "=Off")
    web.until("it is not enforced", lambda: guarded(web) == ("False", "NamespaceExcluded"))
    node = web.active()[0]["spec"]["nodeName"]
    raw = f"/api/v1/nodes/{node}/proxy/exec/{web.namespace}/{pod}/web"
    assert "node-proxy.immutable.dev" in web.kubectl("get", "--raw", raw, check=False)


def test_sidecar_that_is_injected_by_tag_is_let_through_by_its_prefix_only(web: Service) -> None:
    with injecting(web.plane, web.namespace) as injector:
        injector.image = f"{PREFIX}proxy:1.30"
        web.apply(image="a", replicas=2)
        web.until_ready()
        for pod in web.active():
            images = {c["name"]: c["image"] for c in pod["spec"]["containers"]}
            assert images["mesh"] == f"{PREFIX}proxy:1.30"
        assert condition(web.get(), "AdmissionChanged"), "it is reported as any other change"
        injector.image = "other.example/proxy:1.30"
        web.apply(image="b")
        message = "image other.example/proxy:1.30 is not pinned by digest"
        web.until("it is refused", lambda: message in str(web.get()["status"]))
