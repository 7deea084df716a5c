"""The policies as they are installed: equal to what the operator expects, in every mode, and
nothing that could block anybody once the operator or the chart is gone.

On a control plane of its own, because the release is upgraded and removed here, in this order.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from immutable_operator.admission.policies import GUARDS, bindings, object_name, policies
from immutable_operator.api.names import LABEL_GUARD
from tests.cluster.changes import NO_ACCESS, RESERVED
from tests.cluster.guards import BINDINGS, POLICIES, until_in_force
from tests.cluster.operator_process import (
    CHART,
    NAMESPACE,
    USER,
    Installation,
    OperatorProcess,
)
from tests.cluster.services import Service, pin
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane.start() as started:
        started.add_nodes(3)
        yield started


@pytest.fixture(scope="module")
def installed(plane: ControlPlane) -> Installation:
    installation = Installation.install(plane)
    until_in_force(plane)
    return installation


@pytest.fixture(scope="module")
def operator(installed: Installation) -> Iterator[OperatorProcess]:
    process = OperatorProcess(installed, "operator", ())
    yield process.until_leading()
    process.kill()


@pytest.fixture(scope="module")
def web(installed: Installation, operator: OperatorProcess) -> Service:
    """A service with instances on every node, made by the operator that is killed below."""
    installed.plane.kubectl("create", "namespace", "shop")
    service = Service(installed.plane, "shop")
    service.apply(replicas=6)
    service.until_ready()
    return service


def served(plane: ControlPlane, collection: str) -> dict[str, Json]:
    """Our objects on the API server, by guard; AssertionError where a name is not as expected."""
    items = plane.api().get(f"{collection}?labelSelector={LABEL_GUARD.replace('/', '%2F')}")[
        "items"
    ]
    found = {item["metadata"]["labels"][LABEL_GUARD]: item for item in items}
    assert {object_name(guard) for guard in found} == {i["metadata"]["name"] for i in items}
    return found


def upgrade(plane: ControlPlane, *values: str) -> None:
    plane.helm(
        *("upgrade", "immutable-operator", str(CHART), "--set=replicas=0"),
        *(f"--set={value}" for value in values),
        namespace=NAMESPACE,
    )


def test_installed_policies_equal_expected_policies(installed: Installation) -> None:
    """So that a self-check can detect a policy that a user has weakened."""
    found = served(installed.plane, POLICIES)
    assert {guard: item["spec"] for guard, item in found.items()} == policies(USER)
    assert len(found) == len(GUARDS) == 16
    bound = served(installed.plane, BINDINGS)
    assert {g: item["spec"] for g, item in bound.items()} == bindings(NAMESPACE)


def test_api_server_type_checks_every_expression(installed: Installation) -> None:
    """Type checking comes some seconds after the policy; kinds of our own it cannot see."""

    def checked() -> list[Json]:
        found = served(installed.plane, POLICIES).values()
        states = [item.get("status", {}) for item in found]
        seen = [s.get("observedGeneration") == i["metadata"]["generation"]
                for s, i in zip(states, found, strict=True)]  # fmt: skip
        return states if all(seen) else []

    for state in wait_for("all are type checked", checked):
        assert state["typeChecking"] == {}, state


tries = count()


def label(web: Service) -> str:
    """The warning for an administrator who adds a label of ours to an instance."""
    change = ("label", "--overwrite", "pod", web.active()[0]["metadata"]["name"])
    return web.kubectl(*change, f"immutable.dev/note=try-{next(tries)}", check=False)


def is_let_through(web: Service) -> bool:
    """Whether the label is added without a warning."""
    said = label(web)
    return "labeled" in said and "Warning" not in said


def test_mode_deny_refuses(web: Service) -> None:
    said = label(web)
    assert "Error from server (Forbidden)" in said
    assert f"{RESERVED} labels under immutable.dev/" in said


def test_mode_warn_allows_with_warning(web: Service) -> None:
    upgrade(web.plane, "enforcement.mode=Warn")
    assert {g: i["spec"] for g, i in served(web.plane, BINDINGS).items()} == bindings(
        NAMESPACE, "Warn"
    )
    wait_for("it is let through", lambda: "labeled" in label(web))
    said = label(web)
    assert "Warning: Validation failed for ValidatingAdmissionPolicy 'running-pod.imm" in said
    assert f"{RESERVED} labels under immutable.dev/" in said


def test_mode_audit_allows_and_records(web: Service) -> None:
    upgrade(web.plane, "enforcement.mode=Audit")
    mark = web.plane.audit().mark()
    wait_for("it is let through without a word", lambda: is_let_through(web))
    with web.plane.audit().path.open("rb") as lines:
        lines.seek(mark)
        told = [line for line in lines if b"validation.policy.admission.k8s.io" in line]
    assert any(b"running-pod.immutable.dev" in line for line in told)


def test_excluded_namespace_is_not_enforced(web: Service) -> None:
    upgrade(web.plane, "enforcement.excludeNamespaces={shop}")
    assert {g: i["spec"] for g, i in served(web.plane, BINDINGS).items()} == bindings(
        NAMESPACE, exclude=["shop"]
    )
    until_in_force(web.plane)
    assert is_let_through(web)
    # nodes/proxy has no namespace that could be excluded (part of until_in_force, too).
    name = web.pods()[0]["metadata"]["name"]
    raw = f"/api/v1/nodes/node-0/proxy/exec/shop/{name}/web"
    assert "node-proxy.immutable.dev" in web.kubectl("get", "--raw", raw, check=False)


def test_mode_off_removes_policies_and_deny_restores_them(web: Service) -> None:
    upgrade(web.plane, "enforcement.mode=Off")
    assert served(web.plane, POLICIES) == served(web.plane, BINDINGS) == {}
    upgrade(web.plane)
    assert {*served(web.plane, BINDINGS)} == {*GUARDS}
    until_in_force(web.plane)
    wait_for("the instances are guarded", lambda: "Forbidden" in label(web))


def test_g1_administrator_can_delete_policy(web: Service) -> None:
    """Not preventable: the API server asks no policy about policies. The others go on holding."""
    web.plane.kubectl("delete", "validatingadmissionpolicybinding", object_name("running-pod"))
    wait_for("it no longer holds", lambda: is_let_through(web))
    pod = web.pods()[0]["metadata"]["name"]
    assert NO_ACCESS in web.kubectl("exec", pod, "--", "true", check=False)
    assert {*GUARDS} - {*served(web.plane, BINDINGS)} == {"running-pod"}, "so it can be noticed"
    upgrade(web.plane)
    wait_for("it holds again", lambda: "Forbidden" in label(web))


# The operator is gone, then the chart. These come last, in this order.


def test_deletion_works_after_operator_was_killed(web: Service, operator: OperatorProcess) -> None:
    """The policies stay: deletes, evictions, drains, garbage collection and namespaces go on."""
    plane = web.plane
    plane.kubectl("create", "namespace", "doomed")
    doomed, other = Service(plane, "doomed"), Service(plane, "shop", "other")
    for service in (doomed, other):
        service.apply(replicas=2)
        service.until_ready()
    operator.kill()

    assert "Forbidden" in label(web), "they hold without the operator"
    first, second, *_ = web.pods()
    web.kubectl("delete", "pod", first["metadata"]["name"], "--timeout=100s")
    node = second["spec"]["nodeName"]
    plane.kubectl("drain", node, "--ignore-daemonsets", "--force", "--timeout=120s")
    plane.kubectl("uncordon", node)
    assert second["metadata"]["name"] not in {p["metadata"]["name"] for p in web.pods()}
    other.kubectl("delete", "imsvc", "other", "--cascade=foreground", "--timeout=120s")
    other.until_gone()
    plane.kubectl("delete", "namespace", "doomed", "--timeout=120s")


def test_restarted_api_server_enforces_policies_at_once(web: Service) -> None:
    """Policies with parameters would refuse everything for a while; these neither do nor gape."""
    web.plane.kill("kube-apiserver")
    web.plane.revive("kube-apiserver")
    said = label(web)
    assert f"{RESERVED} labels under immutable.dev/" in said
    free = ("label", "pod", web.active()[0]["metadata"]["name"], "team=a", "--overwrite")
    assert "labeled" in web.kubectl(*free)


def test_uninstall_leaves_no_policies(web: Service) -> None:
    """No hook is needed: without their bindings, in whatever order, policies refuse nothing."""
    plane = web.plane
    plane.helm("uninstall", "immutable-operator", "--wait", namespace=NAMESPACE)
    left = plane.kubectl(
        "get",
        "validatingadmissionpolicy,validatingadmissionpolicybinding,mutatingadmissionpolicy,"
        "mutatingadmissionpolicybinding,validatingwebhookconfiguration,mutatingwebhookconfiguration",
        "--output=name",
    )
    assert left.stdout == ""
    wait_for("instances are free to change", lambda: is_let_through(web))
    [pod, *_] = web.pods()
    name, image = pod["metadata"]["name"], f"web={pin('b')}"
    web.kubectl("set", "image", f"pod/{name}", image)
    said = web.kubectl("exec", name, "--", "true", check=False)
    assert "ValidatingAdmissionPolicy" not in said
    web.kubectl("delete", "imsvc", "web", "--cascade=orphan")
    web.kubectl("delete", "pod", name, "--timeout=100s")
    plane.kubectl("delete", "crd", "--all", "--timeout=120s")
    plane.kubectl("delete", "namespace", "shop", "--timeout=120s")
