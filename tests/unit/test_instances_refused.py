"""What the API server's refusals mean: its Status objects are data here, as 1.36.3 says them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from immutable_operator.api.names import API_VERSION
from immutable_operator.domain.model import Cause, Move
from immutable_operator.instances.refused import Refused, cause_of, pause_after, refused
from immutable_operator.kube.errors import (
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    ServerTrouble,
    Unreachable,
    error_from,
)

EVERY = tuple(Move)
OTHERS = tuple(move for move in Move if move is not Move.CREATE)
ME = "system:serviceaccount:immutable-system:immutable-operator"


def status(
    code: int, reason: str, message: str, kind: str = "pods", name: str = "", **details: Any
) -> ApiError:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": {"name": name, "kind": kind, **details},
        "code": code,
    }
    return error_from(code, json.dumps(body).encode())


def forbidden(words: str, kind: str = "pods", name: str = "w", **details: Any) -> ApiError:
    said = f'{kind} "{name}" is forbidden: {words}' if name else f"{kind} is forbidden: {words}"
    return status(403, "Forbidden", said, kind, name, **details)


def because(reason: str, message: str = "", **more: str) -> dict[str, Any]:
    return {"causes": [{"reason": reason, "message": message, **more}]}


def denied_by_policy(code: int, reason: str, kind: str = "pods") -> ApiError:
    words = "ValidatingAdmissionPolicy 'moving' with binding 'moving' denied request: not now"
    said = f'{kind} "w" is forbidden: {words}'
    return status(code, reason, said, kind, "w", causes=[{"message": words}])


def denied_by_webhook(code: int, reason: str, words: str = "not now", **details: Any) -> ApiError:
    """A webhook says code, reason, words and details as it likes."""
    said = f'admission webhook "drain.example.com" denied the request: {words}'
    return status(code, reason, said, **{"kind": "", **details})


NO_FINALIZERS = (
    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set"
    " finalizers on: , <nil>"
)
NO_MAPPING = (
    "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion"
    f' {API_VERSION} Kind ImmutableService: no matches for kind "ImmutableService" in'
    f' version "{API_VERSION}"'
)
BUDGET = "The disruption budget web needs 3 healthy pods and has 3 currently"
EVICTION = "Cannot evict pod as it would violate the pod's disruption budget."
TOO_LONG = (
    "rpc error: code = ResourceExhausted desc = trying to send message larger than max"
    " (2500685 vs. 2097152)"
)
ANOTHER_UID = status(
    422,
    "Invalid",
    'Pod "w" is invalid: metadata.uid: Invalid value: "u": field is immutable',
    "Pod",
    "w",
    **because("FieldValueInvalid", field="metadata.uid"),
)
TOO_MANY = "Too many requests, please try again later."

Case = tuple[str, tuple[Move, ...], ApiError, Cause]
CASES: list[Case] = [
    # A lack of something that somebody else brings.
    *(
        (what, (Move.CREATE,), forbidden(words), Cause.DEPENDENCY)
        for what, words in {
            "an account": 'error looking up service account n/web: serviceaccount "web" not found',
            "the default account": (
                'error looking up service account n/default: serviceaccount "default" not found'
            ),
            "a token": (
                "no API token found for service account web, retry after the token is automatically"
                " created and added to the service account"
            ),
            "a priority class": "no PriorityClass with name high was found",
            "a runtime class": 'pod rejected: RuntimeClass "gvisor" not found',
            "a count": "status unknown for quota: q, resources: pods",
            "our definitions": NO_MAPPING,
        }.items()
    ),
    ("our definitions, of a record", (Move.RECORD,), forbidden(NO_MAPPING), Cause.DEPENDENCY),
    (
        "a namespace that was made a moment ago",
        EVERY,
        status(404, "NotFound", 'namespaces "n" not found', "namespaces", "n"),
        Cause.DEPENDENCY,
    ),
    ("our kind", (Move.RECORD,), error_from(404, b"404 page not found\n"), Cause.DEPENDENCY),
    (
        "our kind, in other words",
        (Move.RECORD,),
        status(404, "NotFound", "the server could not find the requested resource", "", ""),
        Cause.DEPENDENCY,
    ),
    # The end of a namespace.
    (
        "a namespace that ends",
        EVERY,
        forbidden(
            "unable to create new content in namespace n because it is being terminated",
            **because("NamespaceTerminating", "namespace n is being terminated"),
        ),
        Cause.NAMESPACE_TERMINATING,
    ),
    (
        "a namespace that ends, without a cause",
        (Move.CREATE,),
        forbidden("unable to create new content in namespace n because it is being terminated"),
        Cause.NAMESPACE_TERMINATING,
    ),
    (
        "a pod that went between two requests",
        EVERY,
        status(404, "NotFound", 'pods "w" not found', "pods", "w"),
        Cause.API_SERVER,
    ),
    # Quotas.
    (
        "a quota",
        (Move.CREATE, Move.RECORD, Move.SNAPSHOT),
        forbidden("exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3"),
        Cause.QUOTA,
    ),
    (
        "a quota that a class must have",
        (Move.CREATE,),
        forbidden("insufficient quota to match these scopes: [{PriorityClass In [high]}]"),
        Cause.QUOTA,
    ),
    (
        "a quota that asks for limits",
        (Move.CREATE,),
        forbidden("failed quota: q: must specify limits.cpu for: web"),
        Cause.TEMPLATE,
    ),
    (
        "a quota written by two at once",
        (Move.CREATE,),
        status(
            409,
            "Conflict",
            'Operation cannot be fulfilled on resourcequotas "q": the object has been modified;'
            " please apply your changes to the latest version and try again",
            "resourcequotas",
            "q",
        ),
        Cause.API_SERVER,
    ),
    # Rights.
    (
        "no right",
        EVERY,
        forbidden(
            f'User "{ME}" cannot create resource "pods" in API group "" in the namespace "n"',
            name="",
        ),
        Cause.FORBIDDEN,
    ),
    (
        "no right to evict",
        (Move.RETIRE,),
        forbidden(
            f'User "{ME}" cannot create resource "pods/eviction" in API group "policy" in the'
            ' namespace "n": RBAC: role.rbac.authorization.k8s.io "evict" not found'
        ),
        Cause.FORBIDDEN,
    ),
    ("no right to block its owner", (Move.CREATE,), forbidden(NO_FINALIZERS), Cause.FORBIDDEN),
    # Admission: named policies and webhooks, whatever code they answer with.
    *(
        (f"a policy, {code}", OTHERS, denied_by_policy(code, reason), Cause.ADMISSION)
        for code, reason in ((403, "Forbidden"), (422, "Invalid"), (401, "Unauthorized"), (413, ""))
    ),
    ("a policy, of a birth", (Move.CREATE,), denied_by_policy(422, "Invalid"), Cause.TEMPLATE),
    *(
        (f"a webhook, {code}", OTHERS, denied_by_webhook(code, ""), Cause.ADMISSION)
        for code in (400, 403, 404, 409, 422, 429, 500, 503)
    ),
    ("a webhook, of a birth", (Move.CREATE,), denied_by_webhook(403, ""), Cause.TEMPLATE),
    *(
        (f"a webhook that says the cause {cause}", OTHERS, error, Cause.ADMISSION)
        for cause in ("DisruptionBudget", "NamespaceTerminating")
        for error in [denied_by_webhook(429, "TooManyRequests", **because(cause, "in other words"))]
    ),
    (
        "a webhook that speaks of a namespace",
        OTHERS,
        denied_by_webhook(404, "NotFound", kind="namespaces", name="n"),
        Cause.ADMISSION,
    ),
    *(
        (f"a webhook that says: {words}", (Move.RETIRE,), denied_by_webhook(403, "", words), cause)
        for cause in (Cause.ADMISSION,)
        for words in (
            "exceeded quota: mine",
            f'User "{ME}" cannot evict in API group "x"',
            EVICTION,
            "the namespace is being terminated",
        )
    ),
    (
        "a refusal without a name",
        (Move.RETIRE, Move.QUARANTINE, Move.RECORD),
        forbidden("not in this house"),
        Cause.ADMISSION,
    ),
    (
        "pod security",
        (Move.CREATE,),
        forbidden('violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'),
        Cause.TEMPLATE,
    ),
    (
        "a limit range",
        (Move.CREATE,),
        forbidden("maximum cpu usage per Container is 1m, but limit is 1", **because("")),
        Cause.TEMPLATE,
    ),
    # What is not valid.
    (
        "a wrong field",
        (Move.CREATE, Move.RECORD),
        status(422, "Invalid", 'Pod "w" is invalid: spec.x: Required value', "Pod", "w"),
        Cause.TEMPLATE,
    ),
    (
        "a body that is none",
        (Move.CREATE,),
        status(400, "BadRequest", "Pod in version v1 cannot be handled as a Pod", "", ""),
        Cause.TEMPLATE,
    ),
    (
        "a record that is too large",
        (Move.RECORD,),
        status(413, "RequestEntityTooLarge", "limit is 3145728", "", ""),
        Cause.TEMPLATE,
    ),
    *(
        (f"more than is stored: {words}", (Move.CREATE, Move.RECORD), status(500, "", words), cause)
        for cause in (Cause.TEMPLATE,)
        for words in ("etcdserver: request is too large", TOO_LONG)
    ),
    ("an object of another uid", EVERY, ANOTHER_UID, Cause.API_SERVER),
    # Budgets, and what looks like them.
    (
        "a budget",
        (Move.RETIRE,),
        status(429, "TooManyRequests", EVICTION, "", "", **because("DisruptionBudget", BUDGET)),
        Cause.DISRUPTION_BUDGET,
    ),
    (
        "a budget, by its words alone",
        (Move.RETIRE,),
        status(429, "TooManyRequests", EVICTION, "", ""),
        Cause.DISRUPTION_BUDGET,
    ),
    (
        "a budget that has gone negative",
        (Move.RETIRE,),
        forbidden("pdb disruptions allowed is negative", "poddisruptionbudgets.policy", "web"),
        Cause.DISRUPTION_BUDGET,
    ),
    (
        "two budgets",
        (Move.RETIRE,),
        error_from(
            500,
            b'{"message":"This pod has more than one PodDisruptionBudget, which the eviction'
            b' subresource does not support.","code":500}',
        ),
        Cause.DISRUPTION_BUDGET,
    ),
    (
        "priority and fairness",
        EVERY,
        error_from(429, TOO_MANY.encode(), "1"),
        Cause.API_SERVER,
    ),
    (
        "priority and fairness, as a Status",
        EVERY,
        status(429, "TooManyRequests", TOO_MANY, "", "", retryAfterSeconds=1),
        Cause.API_SERVER,
    ),
    (
        "a budget that was being written",
        (Move.RETIRE,),
        status(504, "Timeout", 'couldn\'t update PodDisruptionBudget "web" due to conflicts'),
        Cause.API_SERVER,
    ),
    # The API server, and the way to it.
    (
        "a webhook that does not answer",
        EVERY,
        status(
            500,
            "InternalError",
            'Internal error occurred: failed calling webhook "w.example.com": connection refused',
            "",
            "",
        ),
        Cause.API_SERVER,
    ),
    ("a token that is not accepted", EVERY, status(401, "Unauthorized", "no"), Cause.API_SERVER),
    ("a lost answer", EVERY, Unreachable(0, "Unreachable", "no answer"), Cause.API_SERVER),
    ("a proxy", EVERY, error_from(503, b'{"details":["no"]}'), Cause.API_SERVER),
    (
        "a name that is taken",
        (Move.RECORD,),
        status(409, "AlreadyExists", 'pods "w" already exists', "pods", "w"),
        Cause.API_SERVER,
    ),
]
TOLD = [
    pytest.param(move, error, cause, id=f"{what}: {move}")
    for what, moves, error, cause in CASES
    for move in moves
]


@pytest.mark.parametrize(("move", "error", "cause"), TOLD)
def test_cause_is_read_from_the_answer(move: Move, error: ApiError, cause: Cause) -> None:
    assert cause_of(move, error) is cause


def the_case(what: str) -> ApiError:
    return next(error for name, _, error, _ in CASES if name == what)


def test_blocking_disruption_budget_is_named() -> None:
    assert the_case("a budget").message == BUDGET


@pytest.mark.parametrize(
    "what", ["a policy, 403", "a webhook, 429", "a webhook that says the cause DisruptionBudget"]
)
def test_refusing_policy_or_webhook_is_quoted(what: str) -> None:
    message = the_case(what).message
    assert "not now" in message
    assert "'moving'" in message or "drain.example.com" in message


@pytest.mark.parametrize("code", [401, 404, 409, 410])
def test_webhook_says_nothing_of_the_object(code: int) -> None:
    """Otherwise an eviction that it denies counts as done, and a name as taken."""
    error = denied_by_webhook(code, "")
    assert isinstance(error, Forbidden)
    assert error.status == code


def test_patch_of_an_object_with_another_uid_is_a_conflict() -> None:
    assert isinstance(ANOTHER_UID, Conflict)
    assert isinstance(the_case("a pod that went between two requests"), NotFound)


def test_answer_that_is_no_status_object_is_quoted_in_short() -> None:
    error = error_from(502, b"<html>" + b"x" * 1000)
    assert isinstance(error, ServerTrouble)
    assert len(error.message) <= 200


def _said(cause: Cause, error: ApiError) -> Refused:
    invalid = refused(Move.CREATE, error).is_invalid
    return Refused(cause, error.message, error.retry_after, is_invalid=invalid)


def tries(cause: Cause, error: ApiError, seconds: float) -> list[float]:
    """When it is tried again, as long as it is refused."""
    at, found = 0.0, list[float]()
    while at < seconds:
        at += pause_after(_said(cause, error), len(found) + 1, at)
        found.append(at)
    return found


def test_missing_dependency_is_retried_each_second_at_first() -> None:
    asked = tries(Cause.DEPENDENCY, the_case("an account"), 600)
    assert asked[:30] == [float(second) for second in range(1, 31)]
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert max(pauses) <= 30.0
    assert len(asked) < 90, "then ever rarer"


@pytest.mark.parametrize("cause", [Cause.ADMISSION, Cause.TEMPLATE])
@pytest.mark.parametrize(
    "what", ["a policy, of a birth", "a policy, 413", "a webhook, 400", "pod security"]
)
def test_lifted_policy_is_noticed_within_half_a_minute(cause: Cause, what: str) -> None:
    asked = tries(cause, the_case(what), 600)
    assert max(b - a for a, b in itertools.pairwise(asked)) <= 30.0


@pytest.mark.parametrize(
    "what", ["a wrong field", "a record that is too large", f"more than is stored: {TOO_LONG}"]
)
def test_invalid_template_is_retried_rarely(what: str) -> None:
    assert len(tries(Cause.TEMPLATE, the_case(what), 3600)) < 20


def test_retry_after_of_the_api_server_is_the_minimum() -> None:
    assert pause_after(_said(Cause.API_SERVER, error_from(429, b"{}", "7")), 1, 0.0) == 7.0
    long = _said(Cause.API_SERVER, error_from(429, b"{}", "9" * 99))
    assert pause_after(long, 1, 0.0) == 300.0


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_retry_pause(cause: Cause) -> None:
    asked = tries(cause, Unreachable(0, "", "no"), 100_000)
    assert asked[0] > 0
    assert len(asked) < 20_000
