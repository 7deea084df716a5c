"""Real refusals of admission: quotas, limits, policies, webhooks; and those of evictions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from immutable_operator.domain.model import Cause, Move
from immutable_operator.instances.refused import pause_after, refused
from immutable_operator.kube.errors import (
    ApiError,
    Conflict,
    NotFound,
    TooManyRequests,
    Unauthorized,
)
from tests.cluster.denying import denied_by_policies, denied_by_webhook
from tests.cluster.refusing import (
    Write,
    assert_read,
    config_map,
    deletion,
    endings,
    evict,
    in_namespace,
    items,
    metadata,
    pod,
    refusal,
    until_denied,
)
from tests.controlplane import ControlPlane
from tests.controlplane.api import Json
from tests.namespaces import fresh_namespace
from tests.waiting import wait_for

POLICY = "apis/policy/v1"
FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
BUDGETS = "poddisruptionbudgets"
QUOTAS, LIMITS = "resourcequotas", "limitranges"


def born(plane: ControlPlane, namespace: str, words: str, **resources: Json) -> ApiError:
    """Why a pod is refused, as soon as it is for that reason."""
    container = {"name": "web", "image": "web", "resources": resources}
    body = pod("new", containers=[container])
    until_denied(plane, items(namespace), body, words)
    return refusal(plane.kubeconfig(), Write("create", items(namespace), body))


def make(plane: ControlPlane, path: str, name: str, **spec: object) -> str:
    plane.api().request("POST", path, {"metadata": {"name": name}, "spec": spec})
    return f"{path}/{name}"


def test_quota_is_told(control_plane: ControlPlane, namespace: str) -> None:
    api, path = control_plane.api(), in_namespace(namespace, QUOTAS)
    quota = make(control_plane, path, "q", hard={"pods": "0", "count/configmaps": "0"})
    error = born(control_plane, namespace, "exceeded quota: q, requested: pods=1")
    assert_read(error, Move.CREATE, Cause.QUOTA)
    copied = Write("create", in_namespace(namespace, "configmaps"), config_map("c"))
    assert_read(refusal(control_plane.kubeconfig(), copied), Move.SNAPSHOT, Cause.QUOTA)
    # Its controller has not counted yet.
    api.merge_patch(f"{quota}/status", {"status": {"used": None}})
    error = born(control_plane, namespace, "status unknown for quota: q, resources: pods")
    assert_read(error, Move.CREATE, Cause.DEPENDENCY)
    api.request("DELETE", quota)
    make(control_plane, path, "limits", hard={"limits.cpu": "1"})
    error = born(control_plane, namespace, "failed quota: limits: must specify limits.cpu")
    assert_read(error, Move.CREATE, Cause.TEMPLATE)


def test_limit_range_is_a_matter_of_the_template(
    control_plane: ControlPlane, namespace: str
) -> None:
    limit = {"type": "Container", "max": {"cpu": "1m"}}
    make(control_plane, in_namespace(namespace, LIMITS), "l", limits=[limit])
    words = "maximum cpu usage per Container is 1m"
    error = born(control_plane, namespace, words, limits={"cpu": "1"})
    assert_read(error, Move.CREATE, Cause.TEMPLATE)


def test_pod_security_is_a_matter_of_the_template(
    control_plane: ControlPlane, namespace: str
) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    path = f"/api/v1/namespaces/{namespace}"
    control_plane.api().merge_patch(path, {"metadata": {"labels": label}})
    error = born(control_plane, namespace, 'violates PodSecurity "restricted:latest"')
    assert_read(error, Move.CREATE, Cause.TEMPLATE)


def test_namespace_that_ends_is_told(control_plane: ControlPlane) -> None:
    api, login = control_plane.api(), control_plane.kubeconfig()
    with fresh_namespace(control_plane) as name:
        held = in_namespace(name, "configmaps")
        held_body = config_map("held")
        held_body["metadata"]["finalizers"] = ["example.com/held"]
        api.request("POST", held, held_body)
        api.request("POST", items(name), pod())
        api.request("DELETE", f"/api/v1/namespaces/{name}")
        for move, write in (
            (Move.CREATE, Write("create", items(name), pod("new"))),
            (Move.SNAPSHOT, Write("create", held, config_map("d"))),
            (Move.RETIRE, evict(name, "w")),
        ):
            assert_read(refusal(login, write), move, Cause.NAMESPACE_TERMINATING)
        api.merge_patch(f"{held}/held", {"metadata": {"finalizers": None}})


def moves(namespace: str, name: str) -> tuple[tuple[Move, Write, Cause], ...]:
    """Everything that is written to a pod, and what a denial means for it."""
    path = items(namespace, name)
    return (
        (Move.CREATE, Write("create", items(namespace), pod(name)), Cause.TEMPLATE),
        (Move.QUARANTINE, Write("patch", path, metadata()), Cause.ADMISSION),
        (Move.RETIRE, evict(namespace, name), Cause.ADMISSION),
        (Move.RETIRE, deletion(path), Cause.ADMISSION),
    )


def assert_denied(plane: ControlPlane, namespace: str, name: str, who: str) -> None:
    for move, write, cause in moves(namespace, name):
        error = refusal(plane.kubeconfig(), write)
        assert_read(error, move, cause)
        assert who in error.message
        assert not isinstance(error, NotFound | Conflict | Unauthorized), (
            "it says nothing of the pod"
        )


# By the name of the pod: the reason of a policy. "" is what a policy without a reason answers.
REASONS = {"none": "", "no": "Forbidden", "bad": "Invalid", "large": "RequestEntityTooLarge"}


def test_policy_that_denies_is_no_fault_of_the_object(
    control_plane: ControlPlane, namespace: str
) -> None:
    for name in REASONS:
        control_plane.api().request("POST", items(namespace), pod(name))
    with denied_by_policies(control_plane, namespace, REASONS):
        for name in REASONS:
            said = f"ValidatingAdmissionPolicy '{namespace}-{name}'"
            until_denied(control_plane, items(namespace), pod(name), said)
            assert_denied(control_plane, namespace, name, said)


def answer(code: int, reason: str = "", **more: object) -> Json:
    return {"code": code, "message": "not now", **({"reason": reason} if reason else {}), **more}


ANSWERS: dict[str, Json] = {
    "silent": {},
    "success": answer(200, "Success"),
    **{f"code-{code}": answer(code) for code in (400, 401, 403, 404, 409, 410, 413, 422, 429)},
    **{f"code-{code}": answer(code) for code in (500, 503, 504)},
    "gone": answer(404, "NotFound", details={"kind": "pods", "name": "w"}),
    "space": answer(404, "NotFound", details={"kind": "namespaces", "name": "n"}),
    "exists": answer(409, "AlreadyExists", details={"kind": "pods", "name": "w"}),
    "stale": answer(409, "Conflict"),
    "uid": answer(422, "Invalid", details={"causes": [{"field": "metadata.uid"}]}),
    "ending": answer(403, "Forbidden", details={"causes": [{"reason": "NamespaceTerminating"}]}),
    "budget": answer(
        429,
        "TooManyRequests",
        details={"causes": [{"reason": "DisruptionBudget", "message": "mine"}]},
    ),
    "words": answer(403, "Forbidden") | {"message": "exceeded quota: mine"},
}


def test_webhook_that_denies_is_no_fault_of_the_object(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Whatever code, reason and details it chooses."""
    for name in ANSWERS:
        control_plane.api().request("POST", items(namespace), pod(name))
    said = 'admission webhook "drain.example.com" denied the request'
    with denied_by_webhook(control_plane, namespace, ANSWERS) as server:
        until_denied(control_plane, items(namespace), pod("silent"), said)
        for name in ANSWERS:
            assert_denied(control_plane, namespace, name, said)
        server.shutdown()
        server.socket.close()
        for move, write, _ in moves(namespace, "silent"):
            error = refusal(control_plane.kubeconfig(), write)
            assert "failed calling webhook" in error.message
            assert_read(error, move, Cause.API_SERVER)


@pytest.fixture
def guarded(control_plane: ControlPlane, namespace: str) -> str:
    """A namespace with a pod that runs, and a budget that its controller has counted."""
    api = control_plane.api()
    api.request("POST", items(namespace), pod())
    budget = make(control_plane, in_namespace(namespace, BUDGETS, POLICY), "keep", **keeping())

    def counted() -> bool:
        return bool(api.get(budget)["status"].get("currentHealthy"))

    wait_for("the budget is counted", counted)
    return namespace


def keeping() -> Json:
    return {"minAvailable": 1, "selector": {"matchLabels": {"app": "w"}}}


def test_budget_is_told(control_plane: ControlPlane, guarded: str) -> None:
    login, budgets = control_plane.kubeconfig(), in_namespace(guarded, BUDGETS, POLICY)
    for move in (Move.RETIRE, Move.EVICT):
        error = refusal(login, evict(guarded, "w"))
        assert_read(error, move, Cause.DISRUPTION_BUDGET)
        assert error.message.startswith("The disruption budget keep needs 1 healthy pods")
    make(control_plane, budgets, "second", **keeping())
    error = refusal(login, evict(guarded, "w"))
    assert_read(error, Move.RETIRE, Cause.DISRUPTION_BUDGET)
    assert "more than one PodDisruptionBudget" in error.message


def test_budget_that_is_not_counted_yet_is_told(control_plane: ControlPlane, guarded: str) -> None:
    """The API server then says how long to wait."""
    budget = f"{in_namespace(guarded, BUDGETS, POLICY)}/keep"
    control_plane.kill("kube-controller-manager")
    try:
        control_plane.api().merge_patch(budget, {"spec": {"minAvailable": 2}})
        error = refusal(control_plane.kubeconfig(), evict(guarded, "w"))
    finally:
        control_plane.revive("kube-controller-manager")
    said = refused(Move.RETIRE, error)
    assert said.cause is Cause.DISRUPTION_BUDGET
    assert said.message == "The disruption budget keep is still being processed by the server."
    assert pause_after(said, 1, 0.0) == said.retry_after == 10.0


def test_overload_is_not_a_refusal_of_the_move(control_plane: ControlPlane, namespace: str) -> None:
    """Priority and fairness: more requests of one user at once than it is allowed."""
    user = f"crowd-{namespace}"
    login, write = control_plane.kubeconfig(user), evict(namespace, "w")
    with allowed_one_request(control_plane, user):

        def throttled() -> list[ApiError]:
            ended = endings(login, [write] * 20)
            return [error for error in ended if isinstance(error, TooManyRequests)]

        for error in wait_for("a request is turned away", throttled):
            said = refused(Move.RETIRE, error)
            assert said.cause is Cause.API_SERVER
            assert pause_after(said, 1, 0.0) == said.retry_after == 1.0


@contextmanager
def allowed_one_request(plane: ControlPlane, user: str) -> Iterator[None]:
    none = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
    limited = {**none, "limitResponse": {"type": "Reject"}}
    anything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}
    rules = {
        "subjects": [{"kind": "User", "user": {"name": user}}],
        "resourceRules": [anything],
    }
    levels, flows = f"{FLOW}/prioritylevelconfigurations", f"{FLOW}/flowschemas"
    level = make(plane, levels, user, type="Limited", limited=limited)
    which = {"priorityLevelConfiguration": {"name": user}, "matchingPrecedence": 2}
    flow = make(plane, flows, user, **which, rules=[rules])
    try:
        yield
    finally:
        for path in (flow, level):
            plane.api().request("DELETE", path)
